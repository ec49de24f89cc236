"""The steps that a model saw before it decided: messages, variables, lines, and the calls that gave them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.errors import ReplayError
from llm_trace.rendering.leaves import walk_texts
from llm_trace.replays.messages import find_messages, find_messages_holder, read_message_field

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.causes.why_record import CauseKind
    from llm_trace.replays.tape import Tape, Taped

    SeenText = tuple[CauseKind, str, int | None]

_LEAST = 3
"""Characters of a text that is known again in another."""
_ROLES: dict[str, CauseKind] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
}
"""Whose words a message holds by its role; else a tool's."""
_SYSTEM_NAMES = ("system", "instructions", "system_instruction")
"""Arguments that hold the system prompt beside the messages."""
_BODIES = ("content", "parts", "output")
"""Fields that hold what a message or a part of one says."""
_REQUESTS = ("tool_use", "tool_call", "function_call")
_ANSWERS = ("tool_result", "tool_call_response", "function_call_output")
_GIVING: dict[str, CauseKind] = {"tool": "tool", "retriever": "retrieved", "reranker": "retrieved"}


@dataclass(frozen=True)
class SeenStep:
    """A text that a model saw, and where it is from."""

    label: str
    kind: CauseKind
    text: str
    place: int | None = None
    """Index of the message; `None` for a part of a text, or a system prompt beside the messages."""
    span_id: str | None = None


def list_seen_steps(tape: Tape, deciding: Taped) -> tuple[list[SeenStep], list[str]]:
    """Return what a model saw, in the order in which it stood there, and remarks on what was left out.

    Raises:
        ReplayError: nothing in its input can be taken away.
    """
    givers = [c for c in tape.calls.values() if c.kind in _GIVING and c.start_ns < deciding.start_ns]
    messages = find_messages(deciding.input)
    seen = list(_read_messages(messages, deciding.input)) if messages else list(_read_prompt(deciding))
    acts = sum(_asks_tools(message, after) for message, after in _pair_messages(messages))
    steps = list(_name_steps(seen, givers))
    if not steps:
        raise ReplayError(
            f"{deciding.name} ({deciding.span_id}) was asked nothing that can be taken away: its input has "
            "neither messages nor a text"
        )
    remark = f"{acts} messages of the agent itself ask for tools: they are left, with what they asked for"
    return steps, [remark] if acts else []


def _read_messages(messages: Sequence[Any], asked: Any) -> Iterator[SeenText]:
    """Yield the texts of the messages, and of a system prompt beside them; of the agent's own messages those
    that are no request for a tool.
    """
    beside = find_messages_holder(asked) or {}
    for name in () if "__type__" in beside else _SYSTEM_NAMES:  # an object's own fields are left
        for kind, text in _list_texts({"content": beside.get(name)}, "system"):
            yield kind, text, None
    for place, (message, after) in enumerate(_pair_messages(messages)):
        role = str(read_message_field(message, "role"))
        if not _asks_tools(message, after):
            for kind, text in _list_texts(message, _ROLES.get(role, "tool")):
                yield kind, text, place


def _pair_messages(messages: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield each message with the one after it."""
    return zip(messages, [*messages[1:], {}], strict=False)


def _asks_tools(message: Any, after: Any) -> bool:
    """Return whether a message is the agent's own and asks for a tool."""
    if read_message_field(message, "type") in ("function_call", "reasoning"):
        return True
    if _ROLES.get(str(read_message_field(message, "role"))) != "assistant":
        return False
    parts = read_message_field(message, "content") or read_message_field(message, "parts")
    asks = isinstance(parts, list) and any(
        read_message_field(part, "type") in _REQUESTS or read_message_field(part, "function_call")
        for part in parts
    )
    return (
        asks or bool(read_message_field(message, "tool_calls")) or read_message_field(after, "role") == "tool"
    )


def _list_texts(message: Any, kind: CauseKind) -> Iterator[tuple[CauseKind, str]]:
    """Yield the texts of a message: all of it, or part by part; what a tool answered is a tool's, whoever's
    message holds it.
    """
    bodies = [read_message_field(message, name) for name in _BODIES]
    for part in next((body if isinstance(body, list) else [body] for body in bodies if body), []):
        if isinstance(part, str):
            yield kind, part
        elif (response := read_message_field(part, "function_response")) is not None:
            yield from (("tool", text) for text in walk_texts(read_message_field(response, "response")))
        elif read_message_field(part, "type") in _ANSWERS:
            yield from _list_texts(part, "tool")
        else:
            text = read_message_field(part, "text") or read_message_field(part, "content")
            if isinstance(text, str) and text:
                yield kind, text


def _read_prompt(deciding: Taped) -> Iterator[SeenText]:
    """Yield the variables of the prompt that a call was asked, and the lines of its texts without them."""
    texts = [text for text in walk_texts(deciding.input) if len(text) >= _LEAST]
    variables = ((deciding.prompt or {}).get("variables") or {}).values()
    values = [str(value) for value in variables if any(str(value) in text for text in texts)]
    for value in dict.fromkeys(value for value in values if len(value) >= _LEAST):
        yield "variable", value, None
    whole = max(texts, key=len, default="")
    lines = [line.strip() for line in whole.splitlines()]
    for line in dict.fromkeys(lines):
        if len(line) >= _LEAST and not any(value in line or line in value for value in values):
            yield "line", line, None


def _name_steps(seen: Sequence[SeenText], givers: Sequence[Taped]) -> Iterator[SeenStep]:
    """Yield the texts with a name each, and with the call that gave them."""
    counts: dict[str, int] = {}
    unused = list(givers)
    names = {"system": "the system prompt", "user": "the user's words", "assistant": "the agent's own words"}
    for kind, text, place in seen:
        giver = next((call for call in unused if _gave(call, text)), None)
        if giver is not None:
            unused.remove(giver)
            kind = _GIVING[giver.kind]  # what it is by its origin
        counts[kind] = number = counts.get(kind, 0) + 1
        if kind in ("tool", "retrieved"):
            noun = "tool result" if kind == "tool" else "retrieved text"
            label = f"{noun} {number}" + (f" ({giver.name})" if giver is not None else "")
        else:
            label = names.get(kind, kind if kind == "line" else "variable")
            if number > 1 or kind in ("line", "variable"):
                label += f" {number}"
        yield SeenStep(label, kind, text, place, giver.span_id if giver is not None else None)


def _gave(call: Taped, text: str) -> bool:
    """Return whether a text is, or holds, what a call gave."""
    if isinstance(call.output, str):
        return len(call.output) >= _LEAST and call.output in text
    if any(form in text for form in list_forms(call.output)):
        return True
    leaves = [leaf for leaf in walk_texts(call.output) if len(leaf) >= _LEAST]
    return bool(leaves) and all(leaf in text for leaf in leaves)


def list_forms(output: Any) -> tuple[str, ...]:
    """Return the texts that a program may make of what a call gave: the likeliest first."""
    forms = json.dumps(output), json.dumps(output, ensure_ascii=False), json.dumps(output, indent=2)
    return (output,) if isinstance(output, str) else (*forms, str(output))
