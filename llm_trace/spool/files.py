"""The files of a spool folder: which there are, which are complete, and which nobody needs."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nobody can say whether a writer lives, so each is taken for gone
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
CURSOR_IDLE_NS = 7 * 24 * 3600 * 10**9
ACTIVE_NS = 2 * 3600 * 10**9
"""A reader that goes on writes its cursor every hour."""
_NAME = re.compile(r"([0-9a-f]{16})\.(\d{8,})\.jsonl")
_STALE_S = 24 * 3600


@dataclass(frozen=True)
class SpoolFile:
    """One file of one writer, as it stands now."""

    path: Path
    writer: str
    seq: int
    size: int
    """Bytes; those of a live file only grow."""
    live: bool
    """Whether its writer may still append to it."""
    format: int
    """What the header says; 1 where the header cannot be read."""
    begun_ns: int
    """What the header says; 0 where the header cannot be read."""
    exporters: frozenset[str] | None = None
    """Names of the destinations that its events are for; `None`: any."""

    @property
    def name(self) -> str:
        return self.path.name


def list_spool_files(folder: Path) -> list[SpoolFile]:
    """Return the files in the order they were begun; sizes are taken after liveness, so a file that is not
    live is all there.
    """
    tested: dict[str, int] = {}
    held: dict[str, bool] = {}
    while True:
        names = sorted(_list_names(folder))
        newest = dict(names)
        # A writer holds its next file before it lets go of the last: it is gone only if no newer file has
        # appeared by now.
        untested = [(w, seq) for w, seq in newest.items() if not held.get(w) and tested.get(w) != seq]
        if not untested:
            break
        for writer, seq in untested:
            tested[writer] = seq
            held[writer] = _is_held(_build_path(folder, writer, seq))
    files = (_describe(folder, writer, seq, held[writer] and seq == newest[writer]) for writer, seq in names)
    return sorted((f for f in files if f), key=lambda f: (f.begun_ns, f.writer, f.seq))


def _build_path(folder: Path, writer: str, seq: int) -> Path:
    return folder / f"{writer}.{seq:08d}.jsonl"


def _list_names(folder: Path) -> list[tuple[str, int]]:
    try:
        matches = [_NAME.fullmatch(path.name) for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    return [(m[1], int(m[2])) for m in matches if m]


def _is_held(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(handle, shared=True)
    finally:
        os.close(handle)


def try_lock(handle: int, *, shared: bool) -> bool:
    """Take the lock of an open file without waiting; return whether that worked."""
    try:
        if fcntl is not None:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _describe(folder: Path, writer: str, seq: int, live: bool) -> SpoolFile | None:
    path = _build_path(folder, writer, seq)
    try:
        with path.open("rb") as file:
            first = file.readline(1 << 16)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:  # removed by hand just now
        return None
    header = _read_header(first)
    numbers = {k: header[k] for k in ("format", "time_ns") if type(header.get(k)) is int}
    names = header.get("exporters")
    exporters = frozenset(map(str, names)) if isinstance(names, list) else None
    return SpoolFile(
        path,
        writer,
        seq,
        size,
        live,
        numbers.get("format", FORMAT),
        numbers.get("time_ns", 0),
        exporters,
    )


def _read_header(line: bytes) -> dict[str, Any]:
    try:
        header = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(header, dict) or header.get("event") != "file":
        return {}
    return header


def find_live_writers(files: list[SpoolFile]) -> set[str]:
    """Return the writers that still hold a file."""
    return {file.writer for file in files if file.live}


@dataclass(frozen=True)
class OtherReader:
    """A reader of the spool beside the store, as the file of its cursor describes it."""

    positions: dict[str, tuple[int, int]]
    """By writer: (seq, offset), everything before that is done."""
    name: str | None = None
    """Of the destination that it reads for; `None` where it reads every file."""
    active: bool = True
    """Whether it is to read on, and has lately: it learns then from the files of others which calls are not
    for it, so that nothing that is said of them later goes there either.
    """

    def needs(self, file: SpoolFile) -> bool:
        """Return whether it has not read the whole file, which is for it, or which it is to pass over."""
        is_for_others = file.exporters is not None and self.name not in file.exporters
        if self.name is not None and is_for_others and not self.active:
            return False
        return self.positions.get(file.writer, (0, 0)) < (file.seq, file.size)


def read_positions_of_others(folder: Path, *, now_ns: int | None = None) -> list[OtherReader]:
    """Return the other readers of the spool.

    A reader keeps `cursors/<name>.json`: `{"time_ns": …, "positions": {"<writer>": {"file": …, "offset":
    …}}}`, and its `name` where it reads only what is for that destination (`every` false). A writer it does
    not name is wholly unread. One that has not moved for 7 days no longer counts. Beside it,
    `cursors/<name>.wanted` is empty where nobody is to read for the destination any more.
    """
    now = time.time_ns() if now_ns is None else now_ns
    cursors = []
    for path in sorted((folder / "cursors").glob("*.json")):
        try:
            cursor = orjson.loads(path.read_bytes())
            idle = now - cursor["time_ns"]
            places = cursor["positions"].values() if "positions" in cursor else [cursor]
            positions = dict(_read_position(place) for place in places if place.get("file"))
            name = None if cursor.get("every", "name" not in cursor) else str(cursor["name"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            # unreadable: keep everything until it is stale
            idle, positions, name = now - path.stat().st_mtime_ns, {}, None
        if idle < CURSOR_IDLE_NS:
            cursors.append(OtherReader(positions, name, idle < ACTIVE_NS and _is_wanted(path)))
    return cursors


def _is_wanted(cursor: Path) -> bool:
    try:
        return bool(cursor.with_suffix(".wanted").read_text())
    except OSError:
        return False


def _read_position(place: dict[str, object]) -> tuple[str, tuple[int, int]]:
    match = _NAME.fullmatch(str(place["file"]))
    if match is None:
        raise ValueError(place["file"])
    return match[1], (int(match[2]), int(str(place["offset"])))


def is_needed(file: SpoolFile, readers: list[OtherReader]) -> bool:
    """Return whether some other reader has not read the whole file."""
    return any(reader.needs(file) for reader in readers)


def remove_stale(folder: Path) -> None:
    """Remove what dead processes left: `*.tmp`, a file begun but without events, and work of an ingest.

    The caller holds `ingest.lock`.
    """
    for path in folder.glob("work-*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob("*.tmp"):
        try:
            if time.time() - path.stat().st_mtime > _STALE_S and not _is_held(path):
                path.unlink()
        except OSError:
            continue


def count_quarantined(folder: Path) -> int:
    """Return how many unreadable lines lie in a spool's `quarantine`; 0 where that cannot be said."""
    try:
        return sum(path.read_bytes().count(b"\n") for path in (folder / "quarantine").iterdir())
    except OSError:
        return 0
