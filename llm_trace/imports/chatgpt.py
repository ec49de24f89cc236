"""Conversations of ChatGPT: `conversations.json` of a data export, or the export's zip.

A conversation is a tree: an answer that was asked for again stands beside the first. Every answer is a call
with the messages on the way to it; `metadata["shown"]` says whether it is on the branch that was left open.
Source: data exports of 2023 to 2026 as public descriptions show them; OpenAI documents no schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from llm_trace.imports import Imported, LeftOut, Origin
from llm_trace.imports.conversations import Conversation
from llm_trace.imports.values import list_left_over, parse_nanoseconds
from llm_trace.semconv.values import list_fields

NAME = "chatgpt"
_READ = {
    "id", "conversation_id", "title", "create_time", "update_time", "mapping", "current_node",
    "default_model_slug",
}  # fmt: skip
_REASONING = ("thoughts", "reasoning_recap")


class _Step(NamedTuple):
    """What a message of the tree says."""

    own: str
    role: str
    at_ns: int
    end_ns: int
    text: str
    kind: str
    """Of the content, as ChatGPT calls it."""
    tool: str | None
    """Which tool a message of the model asks, or which tool answers."""
    spoken: dict[str, Any]
    """As a message to a model."""
    fields: Mapping[str, Any]


def recognises(record: Any) -> bool:
    """Say whether a record is a conversation."""
    if not isinstance(record, dict) or not isinstance(record.get("mapping"), dict):
        return False
    nodes = record["mapping"].values()
    return all(isinstance(node, dict) and {"message", "children"} & node.keys() for node in nodes)


def calls(record: Any, origin: Origin) -> Iterator[Imported | LeftOut]:
    """Yield the conversation, the model's answers and the tools that were run."""
    if not recognises(record):
        raise ValueError("no conversation: it has no `mapping` of messages with their parents and children")
    nodes = record["mapping"]
    began = parse_nanoseconds(record.get("create_time")) or origin.time_ns
    own = str(record.get("conversation_id") or record.get("id") or origin.key)
    conversation = Conversation(
        NAME, own, record.get("title") or None, "openai",
        began, parse_nanoseconds(record.get("update_time")) or began,
    )  # fmt: skip
    shown = _list_shown(nodes, record.get("current_node"))
    heard: dict[Any, list[_Step]] = {}
    silent = 0
    for node in _list_in_order(nodes):
        before = heard.get(nodes[node].get("parent"), [])
        step = _read_step(node, nodes[node].get("message"), before, began)
        heard[node] = before if step is None else [*before, step]
        silent += step is None and nodes[node].get("message") is not None
        if step is not None:
            _add_step(conversation, step, before, record.get("default_model_slug"), node in shown)
    yield from conversation.build(list_left_over(record, _READ))
    if silent:
        yield LeftOut("message without words", silent)


def _list_in_order(nodes: Mapping[str, Any]) -> list[str]:
    """Return the nodes, each after its parent.

    Raises:
        ValueError: messages stand in a circle.
    """
    children: dict[Any, list[str]] = {}
    for node, fields in nodes.items():
        parent = fields.get("parent")
        children.setdefault(parent if parent in nodes else None, []).append(node)
    order = list(children.get(None, ()))
    for node in order:  # grows as it is walked
        order += children.get(node, ())
    if len(order) < len(nodes):
        raise ValueError(f"{len(nodes) - len(order)} messages of its mapping are their own ancestors")
    return order


def _list_shown(nodes: Mapping[str, Any], last: Any) -> set[str]:
    """Return the nodes on the branch that was left open; all where the file does not say which."""
    shown: set[str] = set()
    while isinstance(last, str) and last in nodes and last not in shown:
        shown.add(last)
        last = nodes[last].get("parent")
    return shown or set(nodes)


def _read_step(own: str, message: Any, before: list[_Step], began: int) -> _Step | None:
    """Return what a message says; None for one that says nothing, such as the empty first one."""
    if not isinstance(message, Mapping):
        return None
    author, content = list_fields(message.get("author")), list_fields(message.get("content"))
    role, kind = str(author.get("role") or "user"), str(content.get("content_type") or "text")
    parts = _list_parts(content)
    if not parts:
        return None
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    at = parse_nanoseconds(message.get("create_time")) or (before[-1].end_ns if before else began)
    asked = message.get("recipient") if role == "assistant" else author.get("name")
    tool = str(asked) if asked and asked != "all" and role in ("assistant", "tool") else None
    fields = list_fields(message.get("metadata"))
    step = _Step(
        str(message.get("id") or own), role, at, max(at, parse_nanoseconds(message.get("update_time")) or at),
        text, kind, tool, {}, fields,
    )  # fmt: skip
    return step._replace(spoken=_write_message(step, parts, before))


def _list_parts(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a message holds: its texts, and where its pictures and files are."""
    raw = content.get("parts")
    pieces = list(raw) if isinstance(raw, list) else []
    if isinstance(content.get("thoughts"), list):
        pieces += [list_fields(thought).get("content") for thought in content["thoughts"]]
    pieces += [
        content.get(name) for name in ("text", "result", "content", "user_profile", "user_instructions")
    ]
    parts: list[dict[str, Any]] = []
    for piece in pieces:
        text = piece.get("text") if isinstance(piece, Mapping) else piece
        if isinstance(text, str) and text.strip():
            parts.append({"type": "text", "text": text})
        elif isinstance(piece, Mapping) and isinstance(piece.get("asset_pointer"), str):
            parts.append({"type": "image_url", "image_url": {"url": piece["asset_pointer"]}})
    return parts


def _write_message(step: _Step, parts: list[dict[str, Any]], before: list[_Step]) -> dict[str, Any]:
    """Return a message as OpenAI's interface would have it."""
    plain = step.text if all(part["type"] == "text" for part in parts) else parts
    if step.role == "assistant" and step.tool:
        function = {"name": step.tool, "arguments": step.text}
        request = {"id": step.own, "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [request]}
    if step.role == "assistant" and step.kind in _REASONING:
        return {"role": "assistant", "content": None, "reasoning_content": step.text}
    if step.role == "tool":
        request_id = next(
            (each.own for each in reversed(before) if each.role == "assistant" and each.tool), ""
        )
        return {"role": "tool", "tool_call_id": request_id, "content": plain}
    return {"role": step.role, "content": plain}


def _add_step(conversation: Conversation, step: _Step, before: list[_Step], model: Any, shown: bool) -> None:
    """Add the call that a message is the end of; what the user says and the model thinks is none."""
    asked = before[-1] if before else None
    start = min(asked.end_ns, step.at_ns) if asked else step.at_ns
    times = {"start_ns": start, "end_ns": step.end_ns, "metadata": {"shown": shown}}
    if step.role == "assistant" and step.kind not in _REASONING:
        answer, heard = dict(step.spoken), list(before)
        thoughts: list[str] = []
        while heard and heard[-1].role == "assistant" and heard[-1].kind in _REASONING:
            thoughts.insert(0, heard.pop().text)
        if thoughts:
            answer["reasoning_content"] = "\n".join(thoughts)
        conversation.add_answer(
            ("message", step.own), [each.spoken for each in heard], answer,
            model=step.fields.get("model_slug") or model, **times,
        )  # fmt: skip
    elif step.role == "tool":
        arguments = asked.text if asked and asked.tool and asked.role == "assistant" else None
        failed = {"type": "system_error", "message": step.text} if step.kind == "system_error" else None
        outcome = {"status": "error", "error": failed} if failed else {}
        conversation.add_tool(
            ("message", step.own), step.tool or "tool",
            input=arguments, output=step.spoken["content"], **times, **outcome,
        )  # fmt: skip
