"""The steps that a model saw before it decided: messages, variables, lines, and the calls that gave them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.errors import ReplayError
from llm_trace.rendering.leaves import walk_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from llm_trace.causes.why_record import CauseKind
    from llm_trace.replays.tape import Tape, Taped

    SeenText = tuple[CauseKind, str, int | None]

_LEAST = 3
"""Characters of a text that is known again in another."""
_GIVING: dict[str, CauseKind] = {"tool": "tool", "retriever": "retrieved", "reranker": "retrieved"}


@dataclass(frozen=True)
class SeenStep:
    """A text that a model saw, and where it is from."""

    label: str
    kind: CauseKind
    text: str
    place: int | None = None
    """Index of the message; `None` for a part of a text."""
    span_id: str | None = None


def list_seen_steps(tape: Tape, deciding: Taped) -> tuple[list[SeenStep], list[str]]:
    """Return what a model saw, in the order in which it stood there, and remarks on what was left out.

    Raises:
        ReplayError: nothing in its input can be taken away.
    """
    givers = [c for c in tape.calls.values() if c.kind in _GIVING and c.start_ns < deciding.start_ns]
    messages = _find_messages(deciding.input)
    seen = list(_read_messages(messages)) if messages else list(_read_prompt(deciding))
    spoken = sum(kind == "assistant" for kind, _, _ in seen)
    acts = sum(message.get("role") == "assistant" for message in messages) - spoken
    steps = list(_name_steps(seen, givers))
    if not steps:
        raise ReplayError(
            f"{deciding.name} ({deciding.span_id}) was asked nothing that can be taken away: its input has "
            "neither messages nor a text"
        )
    remark = f"{acts} messages of the agent itself ask for tools: they are left, with what they asked for"
    return steps, [remark] if acts else []


def _find_messages(value: Any) -> list[Mapping[str, Any]]:
    """Return the first list of messages in a call's input."""
    if isinstance(value, list) and value and all(isinstance(m, dict) and "role" in m for m in value):
        return value
    inside = value.values() if isinstance(value, dict) else ()
    return next((messages for item in inside if (messages := _find_messages(item))), [])


def _read_messages(messages: Sequence[Mapping[str, Any]]) -> Iterator[SeenText]:
    """Yield the messages with text; of the agent's own those that are no request for a tool."""
    kinds: dict[Any, CauseKind] = {"system": "system", "developer": "system", "user": "user"}
    for place, (message, after) in enumerate(zip(messages, [*messages[1:], {}], strict=True)):
        role, text = message.get("role"), _read_text(message.get("content"))
        if role == "assistant" and (message.get("tool_calls") or after.get("role") == "tool"):
            continue
        if text:
            yield "assistant" if role == "assistant" else kinds.get(role, "tool"), text, place


def _read_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return next((text for text in texts if isinstance(text, str)), "")


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
    output = call.output
    if isinstance(output, str):
        return len(output) >= _LEAST and output in text
    forms = (
        json.dumps(output),
        json.dumps(output, ensure_ascii=False),
        json.dumps(output, indent=2),
        str(output),
    )
    if any(form in text for form in forms):
        return True
    leaves = [leaf for leaf in walk_texts(output) if len(leaf) >= _LEAST]
    return bool(leaves) and all(leaf in text for leaf in leaves)
