"""What an exchange's payloads say, read by their providers' documentation alone: none of our code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["text", "reasoning", "call", "result", "media", "other"]
AddFact = Callable[[Kind, Any], None]
"""Notes one thing of a message whose role is known."""
Operation = Literal["llm", "embedding", "reranker"]

_ROLES = {
    "model": "assistant", "developer": "system", "function": "tool", "chatbot": "assistant",
}  # fmt: skip


@dataclass(frozen=True)
class MessageFact:
    """One thing that a message holds."""

    role: str
    kind: Kind
    value: Any
    """Text; `(id, name, arguments)` of a tool call; `(id, answer)` of a tool's result; the provider's name of
    media and of other things.
    """


@dataclass
class Facts:
    """What a call must have in the store."""

    operation: Operation = "llm"
    request: list[MessageFact] = field(default_factory=list)
    response: list[MessageFact] = field(default_factory=list)
    finish: list[str] = field(default_factory=list)
    model: str | None = None
    requested_model: str | None = None
    usage: dict[str, int | None] = field(default_factory=dict)
    """Under the names of `llm_trace.record.Usage`."""
    failed: bool = False
    """The provider refused, so that only the request can be compared."""

    def speak(self, role: str) -> AddFact:
        """Return what notes the things of a role in the request."""
        return lambda kind, value: self.request.append(
            MessageFact("tool" if kind == "result" else _ROLES.get(role.lower(), role), kind, value)
        )

    def answer(self, kind: Kind, value: Any) -> None:
        """Note one thing of the response."""
        self.response.append(MessageFact("assistant", kind, value))

    def count(self, **counts: int | None) -> None:
        """Take the provider's counts; what it does not report is not there."""
        self.usage = {name: value for name, value in counts.items() if value is not None}


def get(value: Any, *path: str | int) -> Any:
    """Return what stands at a path in JSON, None where nothing does."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def load_json(value: Any) -> Any:
    """Return the JSON in a text, or the value itself."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def add_counts(*counts: int | None) -> int | None:
    """Return the sum of the counts that are there, None where none is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
