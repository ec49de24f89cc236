"""Conversations of Claude's applications: `conversations.json` of a data export, or the export's zip.

What the model says between two results of tools is one call. The export names no models and no tokens.
Source: data exports of 2024 to 2026 as public descriptions show them; Anthropic documents no schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm_trace.imports import Imported, Origin
from llm_trace.imports.conversations import Conversation
from llm_trace.imports.values import list_left_over, parse_nanoseconds
from llm_trace.semconv.values import list_fields, list_mappings

NAME = "claude_chat"
_READ = {
    "uuid", "name", "created_at", "updated_at", "chat_messages", "account", "model",
    "current_leaf_message_uuid",
}  # fmt: skip
_SENDERS = {"human": "user", "assistant": "assistant"}
_BLOCKS = {
    "text": ("text",),
    "thinking": ("thinking",),
    "tool_use": ("id", "name", "input"),
    "tool_result": ("tool_use_id", "content", "is_error"),
}
"""What a model is shown of a block; times, flags and layouts are the application's own."""


def recognises(record: Any) -> bool:
    """Say whether a record is a conversation."""
    return isinstance(record, dict) and "uuid" in record and isinstance(record.get("chat_messages"), list)


def calls(record: Any, origin: Origin) -> Iterator[Imported]:
    """Yield the conversation, the model's answers and the tools that were run."""
    if not recognises(record):
        raise ValueError("no conversation: it has no `uuid` with `chat_messages`")
    messages = list_mappings(record["chat_messages"])
    began = parse_nanoseconds(record.get("created_at")) or origin.time_ns
    conversation = Conversation(
        NAME, str(record["uuid"]), record.get("name") or None, "anthropic",
        began, parse_nanoseconds(record.get("updated_at")) or began,
    )  # fmt: skip
    history: dict[Any, list[dict[str, Any]]] = {}
    """What was said up to each message: one that was written anew follows the same parent."""
    known = {message.get("uuid") for message in messages}
    latest: list[dict[str, Any]] = []
    at = began
    for number, message in enumerate(messages):
        parent = message.get("parent_message_uuid")
        heard = history.get(parent, []) if parent in known else ([] if parent else latest)
        latest, at = _take_message(conversation, message, number, heard, at, record.get("model"))
        history[message.get("uuid") or number] = latest
    yield from conversation.build(list_left_over(record, _READ))


def _take_message(
    conversation: Conversation, message: Mapping[str, Any], number: int, heard: list[dict[str, Any]],
    before_ns: int, model: Any,
) -> tuple[list[dict[str, Any]], int]:  # fmt: skip
    """Add the calls in a message; return what was said up to its end, and when that was."""
    at = parse_nanoseconds(message.get("created_at")) or before_ns
    own = str(message.get("uuid") or number)
    blocks = _list_blocks(message)
    if message.get("sender") != "assistant":
        role = _SENDERS.get(str(message.get("sender")), "user")
        return [*heard, {"role": role, "content": [_cut(block) for block in blocks] or ""}], at
    start = min(before_ns, at)
    for step, (spoken, results) in enumerate(_split_steps(blocks)):
        end = max(start, at, *(_get_time(block, "stop_timestamp") or 0 for block in spoken))
        answer = {"role": "assistant", "content": [_cut(block) for block in spoken]}
        if spoken:
            conversation.add_answer(
                ("message", own, step), heard, answer, model=model, start_ns=start, end_ns=end
            )
            heard = [*heard, answer]
        start = end
        for result in results:
            start = max(start, _add_tool(conversation, own, step, spoken, result, end))
        if results:
            heard = [*heard, {"role": "user", "content": [_cut(result) for result in results]}]
    return heard, max(start, at)


def _add_tool(
    conversation: Conversation, own: str, step: int, spoken: list[dict[str, Any]], result: dict[str, Any],
    end_ns: int,
) -> int:  # fmt: skip
    """Add the call of the tool that a result is of; return when it ended."""
    asked = [block for block in spoken if block.get("type") == "tool_use"]
    key = result.get("tool_use_id")
    request = next((block for block in asked if key and block.get("id") == key), asked[-1] if asked else {})
    start = _get_time(result, "start_timestamp") or end_ns
    end = max(start, _get_time(result, "stop_timestamp") or start)
    content = result.get("content")
    words = "\n".join(str(part.get("text")) for part in list_mappings(content) if part.get("text"))
    outcome: dict[str, Any] = {}
    if result.get("is_error"):
        outcome = {"status": "error", "error": {"type": "error", "message": words or str(content)}}
    conversation.add_tool(
        ("tool", own, step, str(key or result.get("name"))),
        str(request.get("name") or result.get("name") or "tool"),
        input=request.get("input"), output=content, start_ns=start, end_ns=end, **outcome,
    )  # fmt: skip
    return end


def _list_blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a message holds: its blocks, in old exports its text, and what is attached to it."""
    blocks = [dict(block) for block in list_mappings(message.get("content"))]
    if not blocks and message.get("text"):
        blocks = [{"type": "text", "text": message["text"]}]
    for attached in list_mappings(message.get("attachments")):
        source = {"type": "text", "media_type": "text/plain", "data": attached.get("extracted_content") or ""}
        blocks.append({"type": "document", "source": source, "title": attached.get("file_name")})
    for file in list_mappings(message.get("files")):
        if file.get("file_name"):
            blocks.append({"type": "text", "text": f"[file: {file['file_name']}]"})
    return [block for block in blocks if block.get("type") != "text" or block.get("text")]


def _split_steps(blocks: list[dict[str, Any]]) -> list[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Return what the model said, and the results of tools after it, in turns."""
    steps: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = [([], [])]
    for block in blocks:
        if block.get("type") == "tool_result":
            steps[-1][1].append(block)
        else:
            if steps[-1][1]:
                steps.append(([], []))
            steps[-1][0].append(block)
    return [step for step in steps if any(step)]


def _cut(block: dict[str, Any]) -> dict[str, Any]:
    names = _BLOCKS.get(str(block.get("type")))
    if names is None:
        return block
    return {"type": block["type"], **{name: block[name] for name in names if block.get(name) is not None}}


def _get_time(block: Mapping[str, Any], name: str) -> int | None:
    return parse_nanoseconds(list_fields(block).get(name))
