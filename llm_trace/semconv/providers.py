"""Who answered, as far as an answer shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_trace.semconv.values import get_field, get_text, list_items

_OF_SDK = {
    "anthropic": "anthropic", "mistralai": "mistral_ai", "cohere": "cohere", "groq": "groq",
    "ollama": "ollama",
    "together": "together_ai", "vertexai": "gcp.vertex_ai", "google": "gcp.gen_ai",
}  # fmt: skip
_OF_MODEL = (
    ("gpt-", "openai"), ("chatgpt-", "openai"), ("o1", "openai"), ("o3", "openai"), ("o4-", "openai"),
    ("ft:gpt-", "openai"), ("codex-", "openai"), ("computer-use", "openai"), ("text-embedding-3", "openai"),
    ("text-embedding-ada", "openai"), ("davinci", "openai"), ("babbage", "openai"),
    ("omni-moderation", "openai"),
    ("claude-", "anthropic"), ("gemini-", "gcp.gen_ai"), ("deepseek-", "deepseek"), ("grok-", "x_ai"),
    ("mistral-", "mistral_ai"), ("ministral-", "mistral_ai"), ("codestral-", "mistral_ai"),
    ("pixtral-", "mistral_ai"),
    ("magistral-", "mistral_ai"), ("open-mi", "mistral_ai"), ("command-", "cohere"), ("sonar", "perplexity"),
    ("kimi-", "moonshot_ai"), ("moonshot-", "moonshot_ai"),
)  # fmt: skip
"""Beginnings of the names of providers' own models; `owner/model` names are others' to sell."""


def find_provider(output: Any, source: Mapping[str, Any], model: str | None) -> str | None:
    """Return who answered: as the answer shows, else whose client made it, else who sells such a model.

    Args:
        output: the answer as it came, for its class.
        source: its fields.
        model: its model.
    """
    return _read_shown(source) or find_sdk_provider(output) or find_seller(model)


def find_sdk_provider(value: Any) -> str | None:
    """Return whose client an object comes from; OpenAI's is none, for many speak its language."""
    if issubclass(type(value), Mapping):
        return None
    return _OF_SDK.get(str(type(value).__module__).partition(".")[0])


def find_seller(model: str | None) -> str | None:
    """Return the provider that sells models of such a name as its own, `None` where none is known."""
    name = (model or "").lower()
    return next((provider for start, provider in _OF_MODEL if name.startswith(start)), None)


_SIGNS = {"x_groq": "groq", "stopReason": "aws.bedrock", "amazon-bedrock-invocationMetrics": "aws.bedrock",
          "prompt_filter_results": "azure.ai.openai"}  # fmt: skip


def _read_shown(source: Mapping[str, Any]) -> str | None:
    ident = source.get("id")
    if isinstance(ident, str) and ident.startswith("msg_") and get_text(source.get("type")) == "message":
        return "aws.bedrock" if ident.startswith("msg_bdrk_") else "anthropic"
    if "candidates" in source or "usageMetadata" in source:
        vertex = get_field(source.get("usageMetadata"), "trafficType") is not None
        return "gcp.vertex_ai" if vertex else "gcp.gen_ai"
    for name, provider in _SIGNS.items():
        if source.get(name) is not None:
            return provider
    if ("done" in source and "created_at" in source) or source.get("system_fingerprint") == "fp_ollama":
        return "ollama"
    if get_field(get_field(source, "usage", "meta"), "billed_units") is not None:
        return "cohere"
    return _find_provider_of_choices(source)


def _find_provider_of_choices(source: Mapping[str, Any]) -> str | None:
    """Return who answered in OpenAI's shape with a mark of their own: Azure's filters, `provider` …"""
    first = next(iter(list_items(source.get("choices"))), None)
    if get_field(first, "content_filter_results"):
        return "azure.ai.openai"
    routed = isinstance(source.get("provider"), str) and str(source.get("id")).startswith("gen-")
    return "openrouter" if routed else None
