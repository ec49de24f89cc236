"""The facts of an exchange, by the dialect that its provider speaks at its endpoint."""

from __future__ import annotations

from tests.traffic import read_openai as openai
from tests.traffic import read_others as others
from tests.traffic.exchanges import Exchange
from tests.traffic.facts import Facts
from tests.traffic.sdks import model_in

_SILENT = ("embed", "Embed", "rerank", "okenize", "ount", "achedContents", "guardrail", "interactions")


def is_conversation(exchange: Exchange) -> bool:
    """Say whether a model is asked for words; embeddings, counts and the like are other things."""
    return not any(word in exchange.endpoint for word in _SILENT)


def facts_of(exchange: Exchange) -> Facts:
    """Return what the raw payloads of a conversation say."""
    facts = Facts(asked_model=exchange.request.get("model") or model_in(exchange))
    _DIALECTS[_dialect(exchange)](exchange, facts)
    return facts


def _dialect(exchange: Exchange) -> str:
    at = exchange.endpoint
    if exchange.provider == "bedrock":
        return "converse" if "/converse" in at else "invoke"
    if exchange.provider in ("google", "google-vertex") and "/openai/" not in at:
        return "gemini"
    if exchange.provider == "ollama":
        return "ollama" if at.startswith("/api") else "chat"
    if exchange.provider in ("anthropic", "cohere"):
        return exchange.provider
    if "/responses" in at:
        return "responses"
    return "chat" if "chat/completions" in at else "completion"


def _chat(exchange: Exchange, facts: Facts) -> None:
    openai.chat_request(exchange.request, facts)
    if not exchange.failed:
        events = exchange.events()
        openai.chat_answer(openai.join_chat(events) if events else exchange.json(), facts)


def _completion(exchange: Exchange, facts: Facts) -> None:
    prompts = exchange.request["prompt"]
    for told in prompts if isinstance(prompts, list) else [prompts]:
        facts.ask("user")("text", told)
    _chat(exchange, facts)


def _responses(exchange: Exchange, facts: Facts) -> None:
    openai.responses_request(exchange.request, facts)
    if not exchange.failed:
        events = exchange.events()
        openai.responses_answer(openai.join_responses(events) if events else exchange.json(), facts)


def _anthropic(exchange: Exchange, facts: Facts) -> None:
    others.anthropic_request(exchange.request, facts)
    if not exchange.failed:
        events = exchange.events()
        others.anthropic_answer(others.join_anthropic(events) if events else exchange.json(), facts)


def _gemini(exchange: Exchange, facts: Facts) -> None:
    others.gemini_request(exchange.request, facts)
    if not exchange.failed:
        others.gemini_answer(exchange.events() or [exchange.json()], facts)


def _converse(exchange: Exchange, facts: Facts) -> None:
    others.converse_request(exchange.request, facts)
    if not exchange.failed:
        frames = [{name: payload} for name, payload in exchange.frames()]
        others.converse_answer(others.join_converse(frames) if frames else exchange.json(), facts)


def _invoke(exchange: Exchange, facts: Facts) -> None:
    others.invoke_request(exchange.request, facts)
    if "stream" in exchange.endpoint:
        others.invoke_stream(exchange, facts)
    elif not exchange.failed:
        others.invoke_answer(exchange.json(), facts)


def _cohere(exchange: Exchange, facts: Facts) -> None:
    others.cohere_request(exchange, facts)
    if not exchange.failed:
        others.cohere_answer(exchange, facts)


def _ollama(exchange: Exchange, facts: Facts) -> None:
    others.ollama_request(exchange.request, facts)
    if not exchange.failed:
        others.ollama_answer(exchange, facts)


_DIALECTS = {
    "chat": _chat, "completion": _completion, "responses": _responses, "anthropic": _anthropic,
    "gemini": _gemini, "converse": _converse, "invoke": _invoke, "cohere": _cohere, "ollama": _ollama,
}  # fmt: skip
