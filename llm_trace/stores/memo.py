"""Answers that take a look at every call, kept for as long as the store's file is the same."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

MOST = 200
"""Answers in memory."""
LARGE_BYTES = 100 << 20
"""Size of a file from which on answers may be older than it, where that is asked for."""
T = TypeVar("T")


class _KeptAnswer(NamedTuple):
    value: Any
    state: object
    """Of the file when the answer was computed."""
    time_s: float


class Memo:
    """Answers by their question, forgotten as soon as the file has changed.

    Ask while the file is open: nobody writes to it meanwhile.

    Args:
        read_state: says in which state the store is, and its bytes.
    """

    def __init__(self, read_state: Callable[[], tuple[object, int]]) -> None:
        self._read_state = read_state
        self._answers: dict[Hashable, _KeptAnswer] = {}
        self.patience_s = 0.0
        """How old an answer about a large file may be, though the file has changed since."""

    def get(self, question: Hashable | None, compute: Callable[[], T]) -> T:
        """Return the answer to a question, computed if it is not known; always where there is no question."""
        if question is None:
            return compute()
        state, size = self._read_state()
        is_large = size >= LARGE_BYTES
        known = self._answers.get(question)
        oldest = time.monotonic() - (self.patience_s if is_large else 0.0)
        if known is not None and (known.state == state or known.time_s > oldest):
            answer: T = known.value
            return answer
        answer = compute()
        others = {q: kept for q, kept in self._answers.items() if kept.state == state or kept.time_s > oldest}
        self._answers = others if len(others) < MOST else {}
        self._answers[question] = _KeptAnswer(answer, state, time.monotonic())
        return answer
