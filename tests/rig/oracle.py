"""The facts of an exchange, by the dialect that its provider speaks at its endpoint."""

from __future__ import annotations

from tests.rig.exchanges import Exchange
from tests.rig.facts import Facts
from tests.rig.payloads import amazon, anthropic, cohere, google, ollama, openai

_ELSEWHERE = ("okenize", "ount", "achedContents", "guardrail", "interactions")
"""Endpoints of no call: counts of tokens, caches, checks; and Gemini's jobs that run on."""


def is_call(exchange: Exchange) -> bool:
    """Say whether a model is asked for words, vectors or an order; counts and the like are other things."""
    return not any(word in exchange.endpoint for word in _ELSEWHERE)


def is_conversation(exchange: Exchange) -> bool:
    """Say whether a model is asked for words."""
    return is_call(exchange) and not any(word in exchange.endpoint for word in ("mbed", "rerank"))


def read_facts(exchange: Exchange) -> Facts:
    """Return what the raw payloads of a call say."""
    model = exchange.request.get("model") or exchange.url_model
    facts = Facts(requested_model=model, failed=exchange.failed)
    _DIALECTS[_find_dialect(exchange)](exchange, facts)
    return facts


def _find_dialect(exchange: Exchange) -> str:
    at, provider = exchange.endpoint, exchange.provider
    if provider == "bedrock":
        return "converse" if "/converse" in at else "invoke"
    if provider == "cohere":
        return "cohere " + ("embed" if "embed" in at else "rerank" if "rerank" in at else "chat")
    if provider in ("google", "google-vertex") and "/openai/" not in at:
        return "gemini embed" if "mbed" in at else "gemini"
    if provider == "ollama" and at.startswith("/api"):
        return "ollama embed" if "embed" in at else "ollama"
    if provider == "anthropic":
        return "anthropic"
    known = ("responses", "embeddings", "chat/completions", "completions")
    return next(name for name in known if name in at)


_DIALECTS = {
    "chat/completions": openai.read_chat, "completions": openai.read_completion,
    "responses": openai.read_responses, "embeddings": openai.read_embedding,
    "anthropic": anthropic.read_messages,
    "gemini": google.read_contents, "gemini embed": google.read_embedding,
    "converse": amazon.read_converse, "invoke": amazon.read_invoke,
    "cohere chat": cohere.read_chat, "cohere embed": cohere.read_embedding,
    "cohere rerank": cohere.read_rerank,
    "ollama": ollama.read_chat, "ollama embed": ollama.read_embedding,
}  # fmt: skip
