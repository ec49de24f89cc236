"""Answers that take a look at every call, kept for as long as the store's file is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

MOST = 200
"""Answers in memory."""
T = TypeVar("T")


class Memo:
    """Answers by their question, forgotten as soon as the file has changed.

    Ask while the file is open: nobody writes to it meanwhile.
    """

    def __init__(self, file: Path) -> None:
        self._files = (file, file.with_name(file.name + ".wal"))
        self._answers: dict[Hashable, Any] = {}
        self._state: object = None

    def get(self, question: Hashable | None, compute: Callable[[], T]) -> T:
        """Return the answer to a question, computed if it is not known; always where there is no question."""
        if question is None:
            return compute()
        state = [(s.st_ino, s.st_size, s.st_mtime_ns) for f in self._files if f.exists() for s in [f.stat()]]
        if state != self._state or len(self._answers) >= MOST:
            self._state, self._answers = state, {}
        answers = self._answers
        if question not in answers:
            answers[question] = compute()
        answer: T = answers[question]
        return answer
