"""How far a destination is, durably: `<store>.spool/cursors/<name>.json`, written after each answer.

`positions` is what the ingest reads: everything before them is done. `read` is further on where calls are
open: those are kept by the places of their lines, so that a long call neither makes others be sent again nor
fills the memory.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import weakref
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from llm_trace.spool.files import CURSOR_IDLE_NS, try_lock

if TYPE_CHECKING:
    from llm_trace.spool.files import SpoolFile

CursorPlace = tuple[str, int]
"""Name of a spool file and offset of a line."""


@dataclass(slots=True)
class Waiting:
    """A call that was begun and is not delivered for good."""

    trace: str
    root: bool
    start: CursorPlace | None
    """`None`: its start was never seen."""
    end: CursorPlace | None = None
    state: Literal["open", "closed", "given"] = "open"
    """`closed`: ended, or its writer has gone, and waiting for its trace; `given`: handed on as
    interrupted, a late end may come.
    """
    said: list[CursorPlace] = field(default_factory=list)
    """Scores and attributions that came before it was handed on; they follow it."""
    inside: str | None = None
    """The open call or span around it that may tell of the same request: it is waited for."""
    same: list[CursorPlace] = field(default_factory=list)
    """Starts and ends of other accounts of it, for the messages that it lacks."""

    @property
    def writer(self) -> str:
        """Who began it."""
        return "" if self.start is None else get_writer(self.start)


@dataclass
class Cursor:
    """Where a destination stands; changed in memory while reading, written by `save`."""

    path: Path
    name: str
    read: dict[str, CursorPlace] = field(default_factory=dict)
    """By writer: every line before is delivered, or of a call that waits."""
    waiting: dict[str, Waiting] = field(default_factory=dict)
    """By span id, in the order in which they began."""
    finished: dict[str, str] = field(default_factory=dict)
    """By writer: the last file of which nothing is left to read."""
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Runs that have not ended."""
    templates: dict[str, str] = field(default_factory=dict)
    """Of the prompts that were seen, by version; calls that come later are made with them."""
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    """Spool files that were released unread, because nothing could be delivered for 7 days."""
    time_ns: int = 0
    """When it last moved."""
    every: bool = False
    """Whether it also takes the events of processes that were not configured with this destination."""

    @classmethod
    def load(cls, folder: Path, name: str) -> Cursor:
        """Return the cursor of a destination; one that was never written, or cannot be read, begins anew."""
        cursor = cls(get_cursor_path(folder, name), name)
        try:
            state = orjson.loads(cursor.path.read_bytes())
            cursor.read = {writer: _place(place) for writer, place in state["read"].items()}
            cursor.waiting = {span: _is_waiting(entry) for span, entry in state["waiting"].items()}
            for key in ("finished", "runs", "templates", "delivered", "rejected", "dropped", "time_ns"):
                setattr(cursor, key, state[key])
            cursor.every = state.get("every", False)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return cls(cursor.path, name)
        return cursor

    def takes(self, file: SpoolFile) -> bool:
        """Return whether the events of a file are for this destination."""
        return self.every or file.exporters is None or self.name in file.exporters

    def revive(self, now_ns: int) -> None:
        """Count what was released unread because the cursor had not moved for too long."""
        if not self.time_ns or now_ns - self.time_ns < CURSOR_IDLE_NS:
            return
        folder = self.path.parents[1]
        unread = {place[0] for writer, place in self.read.items() if self.finished.get(writer) != place[0]}
        unread |= {c.start[0] for c in self.waiting.values() if c.start is not None and c.state != "given"}
        self.dropped += sum(not (folder / name).exists() for name in unread)
        self.save()

    def save(self) -> None:
        """Write it, all or nothing."""
        self.time_ns = time.time_ns()
        state = {**asdict(self), "path": None, "positions": self.positions()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_bytes(orjson.dumps(state))
        temporary.replace(self.path)

    def positions(self) -> dict[str, dict[str, Any]]:
        """Return by writer up to where nothing is needed: a waiting call's first line, or what was read."""
        first = dict(self.read)
        for call in self.waiting.values():
            for place in (call.start, call.end, *call.said, *call.same) if call.state != "given" else ():
                if place is not None and place < first.get(get_writer(place), place):
                    first[get_writer(place)] = place  # names of one writer sort by their sequence
        return {writer: {"file": file, "offset": offset} for writer, (file, offset) in first.items()}


def get_writer(place: CursorPlace) -> str:
    """Return the writer of a file."""
    return place[0].partition(".")[0]


def _place(told: list[Any] | None) -> Any:
    return None if told is None else (str(told[0]), int(told[1]))


def _is_waiting(entry: dict[str, Any]) -> Waiting:
    places = [_place(place) for place in entry["said"]]
    return Waiting(
        entry["trace"],
        entry["root"],
        _place(entry["start"]),
        _place(entry["end"]),
        entry["state"],
        places,
        entry.get("inside"),
        [_place(place) for place in entry.get("same") or ()],
    )


def get_cursor_path(folder: Path, name: str) -> Path:
    """Return where the cursor of a destination lies in a spool folder."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48]
    return folder / "cursors" / f"{words}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.json"


_claims: weakref.WeakSet[Claim] = weakref.WeakSet()


class Claim:
    """The right to deliver to a destination: one process has it at a time, and loses it when it dies.

    Args:
        cursor: path of the destination's cursor.
        settings: digest of how this process delivers; `None`: as it likes.
    """

    def __init__(self, cursor: Path, settings: str | None = None) -> None:
        self._path = cursor.with_suffix(".lock")
        self._wanted = cursor.with_suffix(".wanted")
        self._settings = settings
        self._handle = -1
        _claims.add(self)

    def take(self) -> bool:
        """Return whether this process has it now."""
        if self._handle < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not try_lock(handle, shared=False):
                os.close(handle)
                return False
            self._handle = handle
        return True

    def want(self) -> bool:
        """Say that these settings hold for delivery from now on; return whether others held before."""
        before = self.unwanted
        self._say(self._settings or "")
        return before

    def revoke(self) -> None:
        """Say that nobody is to deliver from now on."""
        self._say("")

    @property
    def unwanted(self) -> bool:
        """Whether it is to be delivered with other settings, or by nobody."""
        if self._settings is None:
            return False
        try:
            return self._wanted.read_text() != self._settings
        except OSError:
            return False

    def _say(self, settings: str) -> None:
        self._wanted.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._wanted.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(settings)
        temporary.replace(self._wanted)

    def release(self) -> None:
        """Let others have it."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _release_after_fork() -> None:
    for claim in list(_claims):
        claim.release()  # the lock is the parent's; the child's copy would keep it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_after_fork)
