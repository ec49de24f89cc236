"""Where spans without a parent are open: a client's call beside one, in a trace of its own, may be the same.

A stream of LlamaIndex outside any step asks its client when its first chunk is wanted, and is not current
then. Only calls that end in the thread and task that the span began in are looked at.
"""

from __future__ import annotations

import sys
import threading

from llm_trace.bounded_dict import BoundedDict

_MOST = 10_000


class OpenRoots:
    """The threads and tasks with such spans, by a key that no span's id has."""

    def __init__(self) -> None:
        self._open: BoundedDict[str, int] = BoundedDict(_MOST)

    def enter(self) -> str:
        """Note that a span without a parent begins here; return the key."""
        place = _describe_place()
        self._open[place] = self._open.get(place, 0) + 1
        return place

    def leave(self, place: str) -> bool:
        """Note that one has ended; return whether it was the last."""
        left = self._open.pop(place, 1) - 1
        if left > 0:
            self._open[place] = left
        return left <= 0

    def find(self) -> str | None:
        """Return the key of this thread and task where a span is open in it."""
        if not self._open:
            return None
        place = _describe_place()
        return place if place in self._open else None


def _describe_place() -> str:
    asyncio = sys.modules.get("asyncio")  # not imported for it: that is too slow
    try:
        task = None if asyncio is None else asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        task = None
    return f"root {threading.get_ident()} {id(task)}"
