"""Facts in the dialect of Gemini, on Google's and on Vertex's address."""

from __future__ import annotations

from typing import Any

from tests.rig.exchanges import Exchange
from tests.rig.facts import AddFact, Facts, add_counts

_CAMEL = {
    "function_call": "functionCall", "function_response": "functionResponse", "inline_data": "inlineData",
    "file_data": "fileData", "executable_code": "executableCode",
    "code_execution_result": "codeExecutionResult",
}  # fmt: skip


def read_contents(exchange: Exchange, facts: Facts) -> None:
    """Note the system instruction, the contents and the candidates."""
    system = exchange.request.get("systemInstruction") or exchange.request.get("system_instruction")
    _read_parts(system, facts.speak("system"))
    for entry in exchange.request.get("contents") or ():
        _read_parts(entry, facts.speak(entry.get("role") or "user"))
    if not facts.failed:
        for chunk in exchange.events() or [exchange.json()]:
            _read_chunk(chunk, facts)


def read_embedding(exchange: Exchange, facts: Facts) -> None:
    """Note the texts that are embedded; Gemini does not count them."""
    facts.operation = "embedding"
    for request in exchange.request.get("requests") or ():
        _read_parts(request.get("content"), facts.speak("user"))


def _read_parts(entry: Any, add: AddFact) -> None:
    for raw in (entry or {}).get("parts") or ():
        part = {_CAMEL.get(name, name): value for name, value in raw.items()}
        if call := part.get("functionCall"):
            add("call", (call.get("id"), call["name"], call.get("args") or {}))
        elif answer := part.get("functionResponse"):
            add("result", (answer.get("id"), answer.get("response")))
        elif "text" in part:
            add("reasoning" if part.get("thought") else "text", part["text"])
        elif "inlineData" in part or "fileData" in part:
            add("media", "data")
        elif other := sorted(part.keys() - {"thought", "thoughtSignature", "thought_signature"}):
            add("other", other[0])


def _read_chunk(chunk: dict[str, Any], facts: Facts) -> None:
    """Note one answer, or one chunk of a stream; Gemini counts thoughts beside the output."""
    facts.model = chunk.get("modelVersion") or facts.model
    for candidate in chunk.get("candidates") or ():
        _read_parts(candidate.get("content"), facts.answer)
        if reason := candidate.get("finishReason"):
            facts.finish.append(reason)
    if usage := chunk.get("usageMetadata"):
        thoughts = usage.get("thoughtsTokenCount")
        facts.count(
            input_tokens=add_counts(usage.get("promptTokenCount"), usage.get("toolUsePromptTokenCount")),
            output_tokens=add_counts(usage.get("candidatesTokenCount"), thoughts),
            cache_read_tokens=usage.get("cachedContentTokenCount"),
            reasoning_tokens=thoughts,
        )
