"""What a reader knows of calls that it has handed on or passed over, and how it learns it after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.bounded_dict import BoundedDict

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

MOST = 20_000
"""Calls of each kind that are remembered."""
_NEEDED = ("trace_id", "usage", "cost_usd")


class Memory:
    """What later lines refer to: the calls that came last, bounded in memory."""

    def __init__(self) -> None:
        self.traces: BoundedDict[str, str] = BoundedDict(MOST)
        """By the id of a call that was handed on: its trace."""
        self.counted: BoundedDict[str, None] = BoundedDict(MOST)
        """Calls that were handed on with tokens or a cost."""
        self.stands_for: BoundedDict[str, str] = BoundedDict(MOST)
        """By the id of a call that was not handed on: the call that stands for it."""
        self.others: BoundedDict[str, None] = BoundedDict(MOST)
        """Calls that are not for this destination; what is said about them is not either."""

    def find_whole(self, span_id: str) -> str:
        """Return the call that stands for one, itself where none does."""
        while span_id in self.stands_for:
            span_id = self.stands_for[span_id]
        return span_id

    def pass_over(self, event: dict[str, Any]) -> None:
        """Note an event that is not for this destination."""
        if isinstance(span_id := event.get("span_id"), str):
            self.others[span_id] = None

    def hand_on(self, span_id: str, trace: str, *, counted: bool) -> None:
        """Note a call that was handed on."""
        self.traces[span_id] = trace
        if counted:
            self.counted[span_id] = None

    def recall(self, events: Iterable[dict[str, Any]], waiting: Container[str]) -> None:
        """Learn from what was read before which calls were handed on then.

        Args:
            events: what was for this destination, in order.
            waiting: calls that are not handed on yet.
        """
        starts: BoundedDict[str, dict[str, Any]] = BoundedDict(MOST)
        held: BoundedDict[str, list[dict[str, Any]]] = BoundedDict(MOST)
        for event in events:
            if not isinstance(span_id := event.get("span_id"), str) or span_id in self.others:
                continue
            if event.get("event") == "start":
                starts[span_id] = {name: event[name] for name in _NEEDED if event.get(name)}
            elif event.get("event") == "end":
                for other in event.get("same") or ():
                    if str(other) not in self.traces:
                        self.stands_for[str(other)] = span_id
                call = {"span_id": span_id, **starts.get(span_id, {})}
                call |= {name: event[name] for name in _NEEDED if event.get(name)}
                free = held.pop(span_id, [])
                if isinstance(around := event.get("inside"), str) and around not in self.traces:
                    held[around] = [*held.get(around, ()), call]
                else:
                    free.append(call)
                for each in free:
                    if each["span_id"] not in waiting and each["span_id"] not in self.stands_for:
                        counted = "usage" in each or "cost_usd" in each
                        self.hand_on(each["span_id"], str(each.get("trace_id")), counted=counted)
