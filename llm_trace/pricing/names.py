"""Whose model a name means, as providers, clouds, routers and clients write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from llm_trace.semconv.providers import find_seller

if TYPE_CHECKING:
    from collections.abc import Collection

_SELLERS = {
    "azure.ai.openai": "azure", "azure.ai.inference": "azure", "azure_ai": "azure", "azure_openai": "azure",
    "aws.bedrock": "aws", "bedrock": "aws", "bedrock_converse": "aws", "amazon": "aws",
    "gcp.vertex_ai": "google", "gcp.gen_ai": "google", "gcp.gemini": "google", "vertex_ai": "google",
    "vertex_ai_beta": "google", "gemini": "google", "google_genai": "google",
    "mistral_ai": "mistral", "mistralai": "mistral", "x_ai": "x-ai", "xai": "x-ai", "together_ai": "together",
    "moonshot_ai": "moonshotai", "moonshot": "moonshotai", "fireworks_ai": "fireworks", "voyage": "voyageai",
    "cohere_chat": "cohere", "openai_responses": "openai", "text-completion-openai": "openai",
}  # fmt: skip
"""Names of providers in conventions and clients -> those of genai-prices, where they differ."""
_NOBODY = ("", "litellm", "langchain", "llamaindex", "llama_index", "unknown", "custom")
"""Names that do not say who is paid: clients, not providers."""
_RESOURCES = ("models/", "publishers/", "projects/", "tunedmodels/")


class ModelName(NamedTuple):
    """A provider of genai-prices, and a name that it may know a model by."""

    provider: str
    model: str


def list_candidates(provider: str | None, model: str, sellers: Collection[str]) -> list[ModelName]:
    """Return whose model may be meant, the likeliest first; none where the name does not say who is paid.

    An open model (`llama3.1`, `google/gemma-2b`) without a provider is anybody's to serve, so it has none.

    Args:
        provider: who answered, as the call says.
        model: the model's name.
        sellers: ids of the providers that have prices.
    """
    ref = _strip_resource(unquote(model.strip()))
    head, _, rest = ref.partition("/")
    name = (provider or "").lower()
    if name in _NOBODY:
        return _list_by_name(ref, head, rest, sellers)
    seller = _find_id(name, sellers)
    if seller is None:
        return []
    candidates = [ModelName(seller, ref)]
    if rest and (owner := _find_id(head.lower(), sellers)) is not None:
        if owner == seller:
            candidates.append(ModelName(seller, rest))
        elif seller == "openai":  # its client, pointed at a router
            candidates += _list_by_name(ref, head, rest, sellers)
    return candidates


def _list_by_name(ref: str, head: str, rest: str, sellers: Collection[str]) -> list[ModelName]:
    maker = _find_id(find_seller(rest or ref) or "", sellers)
    if not rest:
        return [] if maker is None or _is_open(ref) else [ModelName(maker, ref)]
    owner = _find_id(head.lower(), sellers)
    if owner is None or _is_open(rest):
        return []
    serves_others = owner in ("azure", "aws", "openrouter", "groq", "together", "fireworks", "cerebras")
    return [ModelName(owner, rest)] if serves_others or owner == maker or head in _SELLERS else []


def _is_open(ref: str) -> bool:
    """Say whether a model's weights are free, although its name begins like its maker's other models."""
    name = ref.lower()
    return name.startswith(("gpt-oss", "mistral-7b", "deepseek-r1-distill", "deepseek-coder"))


def _find_id(name: str, sellers: Collection[str]) -> str | None:
    known = _SELLERS.get(name, name)
    return known if known in sellers else None


def _strip_resource(ref: str) -> str:
    """Return the model in an ARN of Bedrock or a resource name of Google's."""
    lower = ref.lower()
    if lower.startswith("arn:"):
        return ref.rpartition("/")[2]
    if lower.startswith(_RESOURCES) and "models/" in lower:
        return ref[lower.rindex("models/") + len("models/") :]
    return ref
