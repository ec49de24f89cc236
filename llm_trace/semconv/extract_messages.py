"""Where the messages are in a call's input and output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_trace.semconv.messages import MessageFields, build_message, is_message, message
from llm_trace.semconv.values import (
    EMPTY,
    get_field,
    get_text,
    is_subclass,
    list_items,
    list_mappings,
    load_container,
)

_NESTED = (
    "kwargs",
    "request",
    "body",
    "params",
    "payload",
    "inputs",
    "input",
    "data",
    "options",
    "json",
    "input_data",
)
_SYSTEM = (
    "system",
    "systemInstruction",
    "system_instruction",
    "preamble",
    "system_prompt",
    "system_message",
)
_CONFIGS = ("config", "generation_config", "generationConfig")
_PLACES = frozenset((*_SYSTEM, *_CONFIGS, "instructions"))
_DEPTH = 2
_REQUEST_SIGNS = (
    "model",
    "modelId",
    "max_tokens",
    "max_gen_len",
    "max_tokens_to_sample",
    "textGenerationConfig",
)
_EMBEDDING_ONLY = ("dimensions", "encoding_format", "input_type", "embedding_types")


def messages_in(input: Any) -> list[MessageFields]:  # noqa: A002  the contract's name
    """Return the messages that a call was made with, in order, system message first; empty without any.

    Args:
        input: arguments bound by name as JSON values, or a request body; messages may lie one level down, as
            under `kwargs` or in a body that is JSON text.
    """
    return _search_within(input, _DEPTH)


def _search_within(source: Any, depth: int) -> list[MessageFields]:
    """Return the messages of a mapping or of what lies in it: a provider's names, then any `**arguments`."""
    messages = _read_messages(source)
    if messages or depth == 0 or not isinstance(source, Mapping):
        return messages
    known = [load_container(source.get(name)) for name in _NESTED]
    others = [value for name, value in source.items() if name not in _NESTED]
    for inner in (*known, *others):
        if isinstance(inner, Mapping) and (messages := _search_within(inner, depth - 1)):
            return messages
    return []


def _read_messages(source: Any) -> list[MessageFields]:
    if isinstance(source, (list, tuple)):
        return _read_list(source)
    if not isinstance(source, Mapping):
        return []
    messages = _read_conversation(source)
    messages = messages or _read_any_list(source)
    return (
        [message(instruction) for instruction in extract_instructions(source)] + messages if messages else []
    )


def _read_conversation(source: Mapping[str, Any]) -> list[MessageFields]:
    """Return the messages under a name that a provider's API uses."""
    return (
        _read_list(source.get("messages"))
        or _read_contents(source.get("contents"))
        or _read_items(source)
        or _read_cohere(source)
        or _read_prompt(source)
    )


def _read_list(value: Any) -> list[MessageFields]:
    """Return a list of messages; a list of lists (LangChain's batches) is flattened."""
    flat = [m for entry in list_items(value) for m in (entry if isinstance(entry, list) else [entry])]
    if not flat or not all(is_message(entry) for entry in flat):
        return []
    return [message(entry) for entry in flat]


def _read_any_list(source: Mapping[str, Any]) -> list[MessageFields]:
    """Return messages under a name of the user's own: `def ask(history)`."""
    for value in source.values():
        if isinstance(value, (list, tuple)):
            messages = _read_list(value)
            if messages:
                return messages
    return []


def _read_contents(value: Any) -> list[MessageFields]:
    """Return Gemini's contents: a text, a content, or a list of either or of parts."""
    if value in EMPTY:
        return []
    entries = list_items(value) or [value]
    if not all(isinstance(entry, (str, Mapping)) for entry in entries):
        return []
    return [_read_content(entry) for entry in entries]


def _read_content(entry: Any) -> MessageFields:
    spoken = not isinstance(entry, Mapping) or "parts" in entry or "role" in entry
    return message(entry) if spoken else build_message([entry], "user")


def _read_items(source: Mapping[str, Any]) -> list[MessageFields]:
    """Return the `input` of the Responses API; embeddings have one too and no messages."""
    value = source.get("input")
    entries = list_mappings(value)
    if entries and len(entries) == len(list_items(value)):
        typed = all(is_message(entry) or isinstance(entry.get("type"), str) for entry in entries)
        return [message(entry) for entry in entries] if typed else []
    model = get_field(source, "model", "agent")
    if not get_text(value) or not isinstance(model, str) or "embed" in model:
        return []
    return (
        []
        if any(source.get(name) is not None for name in _EMBEDDING_ONLY)
        else [build_message(value, "user")]
    )


def _read_cohere(source: Mapping[str, Any]) -> list[MessageFields]:
    text = source.get("message")
    if not isinstance(text, str) or not ("chat_history" in source or "model" in source):
        return []
    return [
        *(message(entry) for entry in list_mappings(source.get("chat_history"))),
        build_message(text, "user"),
    ]


def _read_prompt(source: Mapping[str, Any]) -> list[MessageFields]:
    """Return a completion's prompt; without a model it may be anything, so it is left alone."""
    prompt = get_field(source, "prompt", "inputText")
    if not any(source.get(name) is not None for name in _REQUEST_SIGNS):
        return []
    if get_text(prompt):
        return [build_message(prompt, "user")]
    return [build_message(entry, "user") for entry in list_items(prompt) if get_text(entry)]


def extract_instructions(source: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the system prompt beside a conversation, as messages: `system`, `instructions` …"""
    if _PLACES.isdisjoint(source):  # most calls; this is asked in the caller's thread
        return []
    sources = [get_field(source, *_SYSTEM)]
    if sources[0] is None:
        sources = [get_field(get_field(source, *_CONFIGS), *_SYSTEM)]
    if "input" in source:
        sources.append(source.get("instructions"))
    return [instruction for entry in sources if (instruction := _read_instruction(entry)) is not None]


def _read_instruction(value: Any) -> dict[str, Any] | None:
    """Return a system message, `None` for what is none: a switch, an SDK's mark for what was not given."""
    if type(value) in (str, list, tuple) and value:
        return {"role": "system", "content": value}
    if is_subclass(type(value), Mapping) and not issubclass(type(value), dict):  # its methods may do anything
        return None
    if (parts := get_field(value, "parts")) is not None:
        return {"role": "system", "parts": parts}
    content = get_field(value, "content", "text")
    return {"role": "system", "content": content} if isinstance(content, (str, list)) and content else None


def messages_out(output: Any, *, plain: bool = False) -> list[MessageFields]:
    """Return what the model said; empty where `output` is no answer of a model.

    Args:
        output: a return value as JSON values.
        plain: take a string as the answer's text.
    """
    if isinstance(output, str):
        return [build_message(output, "assistant")] if plain and output else []
    if isinstance(output, (list, tuple)):
        return _read_list(output) or _read_item_list(output)
    if not isinstance(output, Mapping):
        return []
    for read in (_read_choices, _read_responses, _read_candidates, _read_single, _read_generations):
        messages = read(output)
        if messages:
            return messages
    inner = load_container(output.get("body", output.get("data")))  # a raw response; Mistral's stream events
    return (
        messages_out(inner)
        if isinstance(inner, Mapping) and not {"body", "data"} & inner.keys()
        else _read_list(output.get("messages"))
    )


def _add_finish_reason(entry: MessageFields, reason: Any) -> MessageFields:
    return entry if reason in EMPTY else {**entry, "finish_reason": str(reason)}


def _read_choices(output: Mapping[str, Any]) -> list[MessageFields]:
    """Return OpenAI's choices: messages, deltas of a stream, or bare texts."""
    messages = []
    for choice in list_mappings(output.get("choices")):
        spoken = get_field(choice, "message", "delta")
        entry = message(spoken, role="assistant") if spoken is not None else None
        if entry is None and isinstance(choice.get("text"), str):
            entry = build_message(choice["text"], "assistant")
        if entry is not None or choice.get("finish_reason") is not None:  # a content filter leaves no message
            messages.append(
                _add_finish_reason(entry or message(None, role="assistant"), choice.get("finish_reason"))
            )
    return messages


def _read_responses(output: Mapping[str, Any]) -> list[MessageFields]:
    """Return the items of a Responses (or Gemini Interactions) answer as one message."""
    entries = get_field(output, "output", "steps", "outputs")
    messages = _read_item_list(entries)
    if not messages:
        return []
    why = get_field(get_field(output, "incomplete_details"), "reason") or output.get("status")
    return [_add_finish_reason(messages[0], why), *messages[1:]]


def _read_item_list(entries: Any) -> list[MessageFields]:
    items = list_mappings(entries)
    if not items or not all(isinstance(entry.get("type"), str) for entry in items):
        return []
    parts = [p for entry in items for p in message(_step(entry), role="assistant")["parts"]]
    return [{"role": "assistant", "parts": parts}] if parts else []


def _step(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a step of Gemini's Interactions as a message."""
    if entry.get("type") == "model_output":
        return {**entry, "type": "message"}
    return {**entry, "type": "reasoning"} if entry.get("type") == "thought" else entry


def _read_candidates(output: Mapping[str, Any]) -> list[MessageFields]:
    """Return Gemini's candidates."""
    return [
        _add_finish_reason(
            message(get_field(candidate, "content"), role="assistant"),
            get_field(candidate, "finishReason", "finish_reason"),
        )
        for candidate in list_mappings(output.get("candidates"))
    ]


def _read_single(output: Mapping[str, Any]) -> list[MessageFields]:
    """Return the one message of Anthropic, Bedrock Converse, Ollama, Cohere, or a message itself."""
    why = get_field(output, "stop_reason", "stopReason", "finish_reason", "done_reason")
    inner = get_field(get_field(output, "output"), "message")
    if inner is None and not is_message(output):
        inner = output.get("message")
    if isinstance(inner, Mapping):
        return [_add_finish_reason(message(inner, role="assistant"), why)]
    if not is_message(output) and output.get("type") != "message":
        return []
    fields = {
        k: output[k] for k in output if output.get("type") != "message" or k in ("role", "content", "parts")
    }
    return [_add_finish_reason(message(fields, role="assistant"), why)]


def _read_generations(output: Mapping[str, Any]) -> list[MessageFields]:
    """Return bare texts: Ollama generate, Cohere, Titan, Llama on Bedrock, LangChain's generations."""
    messages: list[MessageFields] = []
    if "assessments" in output:
        return messages  # a guardrail's verdict has `outputs` too
    for entry in list_items(get_field(output, "generations", "results", "outputs")):
        for one in list_mappings(entry) if isinstance(entry, list) else list_mappings([entry]):
            text = get_field(one, "message", "text", "outputText")
            if text is not None:
                messages.append(
                    _add_finish_reason(
                        message(text, role="assistant"),
                        get_field(one, "finish_reason", "completionReason", "stop_reason"),
                    )
                )
    text = (
        get_field(output, "response", "generation", "completion") if _is_bare(output) else output.get("text")
    )
    if not messages and isinstance(text, str) and (_is_bare(output) or "generation_id" in output):
        thought = get_text(output.get("thinking"))
        fields = {
            "role": "assistant",
            "content": text,
            "thinking": thought,
            "tool_calls": output.get("tool_calls"),
        }
        messages = [
            _add_finish_reason(
                message(fields), get_field(output, "done_reason", "stop_reason", "finish_reason")
            )
        ]
    return messages


def _is_bare(output: Mapping[str, Any]) -> bool:
    return "done" in output or "stop_reason" in output
