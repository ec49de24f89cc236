"""The calls of an agent's session, put together line by line: turns, with model calls and tools inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from llm_trace.imports import Imported
from llm_trace.imports.values import parse_nanoseconds
from llm_trace.semconv.shapes import CallDict


class Line(NamedTuple):
    """One line of a session."""

    number: int
    fields: dict[str, Any]
    at_ns: int
    """When it was written; a line without a time has that of the one before it."""


def read_lines(records: Any, time: str) -> Iterator[Line]:
    """Yield the lines of a session with their times, which stand under a name.

    Raises:
        ValueError: no line has a time.
    """
    lines = [record for record in records if isinstance(record, dict)] if isinstance(records, list) else []
    times = [at for line in lines if (at := parse_nanoseconds(line.get(time))) is not None]
    if not times:
        raise ValueError(f"no line of the session has a {time}")
    at = times[0]
    for number, line in enumerate(lines):
        at = parse_nanoseconds(line.get(time)) or at
        yield Line(number, line, at)


class Transcript:
    """Collects the calls of one conversation.

    Args:
        name: the format's.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.turn: CallDict | None = None
        self._calls: dict[str, CallDict] = {}
        """By what they are known by in the file, in the order in which they began."""

    def begin_turn(self, call: CallDict) -> None:
        """Begin a turn, which ends the one before it."""
        self.turn = call
        self._calls[f"turn {call['span_id']}"] = call

    def touch(self, at_ns: int) -> None:
        """Note that the turn went on."""
        if self.turn is not None:
            self.turn["end_ns"] = max(self.turn["end_ns"], at_ns)

    def add_answer(self, own: str) -> None:
        """Give an answer its place in the order, before what it asks for."""
        self._calls[f"answer {own}"] = {}

    def set_answer(self, own: str, call: CallDict, text: str) -> None:
        """Set what is known of an answer; the turn ends as its last one does."""
        self._calls[f"answer {own}"] = self._place(call)
        if self.turn is not None:
            self.turn["status"] = call["status"]
            self.turn["error"] = call.get("error")
            if call["status"] == "ok" and text:
                self.turn["output"] = text

    def begin_tool(self, own: str, call: CallDict) -> None:
        """Begin a tool's call, unless it has begun."""
        self._calls.setdefault(f"tool {own}", self._place(call))

    def end_tool(self, own: str, at_ns: int, output: Any, error: str | None) -> CallDict | None:
        """End a tool's call; return it, None for one that never began."""
        call = self._calls.get(f"tool {own}")
        if call is None:
            return None
        call |= {"end_ns": max(at_ns, call["start_ns"]), "output": output}
        if error is not None:
            call |= {"status": "error", "error": {"type": "error", "message": error}}
        return call

    def list_calls(self) -> Iterator[Imported]:
        """Yield what was collected; a tool without a result was cut off."""
        for own, call in self._calls.items():
            if own.startswith("tool ") and "output" not in call:
                call["status"] = "cancelled"
            yield Imported(drop_absent(call))

    def _place(self, call: CallDict) -> CallDict:
        return call if self.turn is None else {"parent_id": self.turn["span_id"], **call}


def drop_absent(fields: CallDict) -> CallDict:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None and value != {}}
