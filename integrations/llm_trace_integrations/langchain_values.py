"""What LangChain's messages, documents and results say, as JSON."""

from __future__ import annotations

from typing import Any

from llm_trace.semconv import usage

_PROVIDERS = {
    "azure": "azure.ai.openai", "amazon_bedrock": "aws.bedrock", "mistral": "mistral_ai",
    "google_genai": "gcp.gen_ai", "google_vertexai": "gcp.vertex_ai", "together": "together_ai",
}  # fmt: skip
_SESSIONS = ("session_id", "thread_id", "conversation_id")
_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "function": "tool"}
_SCORES = ("score", "relevance_score", "similarity_score")
_CALL_BLOCKS = ("tool_use", "tool_call", "function_call", "input_json_delta")
_BESIDE = ("reasoning_content", "refusal", "audio")


def dump_message(message: Any) -> dict[str, Any]:
    """Return what a message says as JSON, each tool call once."""
    calls = [
        *(getattr(message, "tool_calls", None) or ()),
        *(getattr(message, "invalid_tool_calls", None) or ()),
    ]
    content = message.content
    if calls and isinstance(content, list):
        content = [
            block for block in content if not (isinstance(block, dict) and block.get("type") in _CALL_BLOCKS)
        ]
    fields = {
        "role": getattr(message, "role", None) or _ROLES.get(message.type, message.type),
        "content": content,
        "tool_calls": calls or None,
        "tool_call_id": getattr(message, "tool_call_id", None),
        "name": message.name,
        **{key: message.additional_kwargs.get(key) for key in _BESIDE},
    }
    return {name: value for name, value in fields.items() if value is not None}


def dump_output(output: Any) -> Any:
    if isinstance(output, list) and output and all(hasattr(each, "page_content") for each in output):
        return [_dump_document(each) for each in output]
    return output


def _dump_document(document: Any) -> dict[str, Any]:
    metadata = document.metadata
    fields = {"id": document.id, "score": next((metadata[key] for key in _SCORES if key in metadata), None)}
    content = {"page_content": document.page_content, "metadata": metadata}
    return {**content, **{name: value for name, value in fields.items() if value is not None}}


def has_chunks(response: Any) -> bool:
    """Return whether a model that failed had said something: else its answer is made of the error."""
    generations = response.generations[0] if response is not None and response.generations else ()
    return any(type(each).__name__.endswith("Chunk") for each in generations)


def read_result(response: Any) -> tuple[Any, dict[str, Any]]:
    """Return a model's answer and what is said beside it: model, tokens."""
    generations = response.generations[0] if response.generations else []
    answers = [_dump_generation(each) for each in generations]
    first = getattr(generations[0], "message", None) if generations else None
    beside = {**(response.llm_output or {}), **(first.response_metadata if first is not None else {})}
    counts = getattr(first, "usage_metadata", None) or beside.get("token_usage") or beside.get("usage")
    fields = {
        "usage": usage(counts) if counts else None,
        "model": beside.get("model_name") or beside.get("model"),
    }
    output = answers[0] if len(answers) == 1 and first is not None else {"generations": answers}
    answer_id = beside.get("id") or getattr(first, "id", None) or ""
    if not str(answer_id).startswith(("lc_", "run-")) and answer_id:
        output = {"id": answer_id, **output}
    return output, {name: value for name, value in fields.items() if value is not None}


def _dump_generation(generation: Any) -> dict[str, Any]:
    message = getattr(generation, "message", None)
    beside = {
        **(generation.generation_info or {}),
        **(message.response_metadata if message is not None else {}),
    }
    reason = next(
        (beside[key] for key in ("finish_reason", "stop_reason", "done_reason") if beside.get(key)), None
    )
    answer = dump_message(message) if message is not None else {"text": generation.text}
    return answer if reason is None else {**answer, "finish_reason": reason}


def read_name(serialized: Any, run: dict[str, Any]) -> str:
    """Return what a run is called."""
    shown = serialized or {}
    return str(run.get("name") or shown.get("name") or (shown.get("id") or ["Runnable"])[-1])


def read_streamed_input(inputs: Any) -> dict[str, Any]:
    """Return the input of a stream, which is known at its end."""
    return {} if inputs is None else {"input": inputs if type(inputs) is dict else {"input": inputs}}


def read_metadata(metadata: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the provider and the session that a run's metadata names."""
    provider = str(metadata.get("ls_provider", "")) if kind == "llm" else ""
    session = next((metadata[key] for key in _SESSIONS if metadata.get(key)), None)
    fields = {"likely_provider": _PROVIDERS.get(provider, provider) or None, "session": session}
    return {name: value for name, value in fields.items() if value is not None}
