"""How many events a writer has lost, in the name of an empty file: on a full disk a name can still change.

`<writer>.<count>.<reasons>.lost` stands in the spool folder from the first lost event until the writer says
the same by a `lost` event, or until a reader takes the note of a writer that has gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_NAME = re.compile(r"([0-9a-f]{16})\.(\d+)\.([A-Za-z0-9+]+)(?:\.lost|\.(\d+)\.taken)")


class LossNote:
    """The note of one writer; calls are made under the writer's lock."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._count = 0

    def write(self, folder: Path, writer: str, count: int, reasons: Collection[str]) -> int:
        """Note that so many events are lost; return how many of them a reader has taken over already."""
        taken = self.count_taken()
        name = folder / f"{writer}.{count - taken}.{'+'.join(sorted(reasons))}.lost"
        with contextlib.suppress(OSError):  # then only this process knows
            if self._path is None:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600))
            else:
                self._path.rename(name)
            self._path, self._count = name, count - taken
        return taken

    def count_taken(self) -> int:
        """Return how many lost events a reader has taken over from the note, and forget it then."""
        if self._path is None or self._path.exists():
            return 0
        taken, self._path, self._count = self._count, None, 0
        return taken

    def remove(self) -> None:
        """Take the note back, for the spool says the same now."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._path, self._count = None, 0


@dataclass(frozen=True)
class NotedLoss:
    """Events that a writer lost, by its note."""

    path: Path
    writer: str
    count: int
    reason: str
    time_ns: int | None
    """When a reader took the note; `None`: none did."""


def list_noted_losses(folder: Path) -> list[NotedLoss]:
    """Return what the notes in a spool folder say."""
    try:
        matches = [(path, _NAME.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    except FileNotFoundError:
        return []
    return [
        NotedLoss(path, m[1], int(m[2]), m[3].replace("+", ", "), int(m[4]) if m[4] else None)
        for path, m in matches
        if m
    ]


def find_left_losses(folder: Path, writers: Collection[str]) -> list[NotedLoss]:
    """Return the notes of writers that have gone.

    Args:
        writers: those that live.
    """
    return [loss for loss in list_noted_losses(folder) if loss.time_ns or loss.writer not in writers]


def take_losses(folder: Path, writers: Collection[str]) -> list[NotedLoss]:
    """Take the notes of writers that have gone, so that nobody else counts them; the caller removes them."""
    now = time.time_ns()
    for loss in find_left_losses(folder, writers):
        if loss.time_ns is None:
            with contextlib.suppress(OSError):  # its writer changed it just now
                loss.path.rename(loss.path.with_name(f"{loss.path.name.removesuffix('.lost')}.{now}.taken"))
    return [loss for loss in list_noted_losses(folder) if loss.time_ns is not None]
