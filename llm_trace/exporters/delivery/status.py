"""How destinations stand, read from the files beside their cursors by whoever asks."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from llm_trace.exporters.delivery.cursor import Cursor, get_cursor_path
from llm_trace.exporters.delivery.rejected import Rejected
from llm_trace.exporters.delivery.spool_reader import parse_line
from llm_trace.spool.files import FORMAT, find_live_writers, list_spool_files

if TYPE_CHECKING:
    from pathlib import Path

_EVENTS = {"end", "score", "attribution", "run", "prompt"}
_KIND = re.compile(rb'\{"event":"([a-z]+)"')
_SPAN = re.compile(rb'"span_id":"([0-9a-f]{16})"')


class DestinationStatus:
    """What stands in a destination's way, beside its cursor.

    Args:
        cursor: path of the destination's cursor.
    """

    def __init__(self, cursor: Path) -> None:
        self._path = cursor.with_suffix(".status")
        self.reason = ""
        """Why nothing is delivered at the moment, `""` where nothing is known."""
        self.refused = False
        """Whether a setting must be changed before anything is."""
        try:
            state = orjson.loads(self._path.read_bytes())
            self.reason, self.refused = str(state["said"]), bool(state["refused"])
        except (OSError, ValueError, LookupError, TypeError):
            pass

    def write(self, reason: str, *, refused: bool) -> None:
        """Let other processes know what stands in the way."""
        if (reason, refused) == (self.reason, self.refused):
            return
        self.reason, self.refused = reason, refused
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".said")
        temporary.write_bytes(orjson.dumps({"said": reason, "refused": refused, "time_ns": time.time_ns()}))
        temporary.replace(self._path)


@dataclass(frozen=True)
class Standing:
    """How one destination stands."""

    name: str
    delivered: int
    pending: int
    rejected: int
    dropped: int
    said: str
    """Why nothing is delivered at the moment, `""` where nothing is known; a name that `doctor` shows."""
    refused: bool


def get_standing(folder: Path, name: str) -> Standing:
    """Return how a destination stands."""
    cursor, status = Cursor.load(folder, name), DestinationStatus(get_cursor_path(folder, name))
    return Standing(
        name,
        cursor.delivered,
        _count_pending(folder, cursor),
        cursor.rejected,
        cursor.dropped,
        status.reason,
        status.refused,
    )


def list_destinations(folder: Path) -> list[str]:
    """Return the names of all destinations that the spool was ever delivered to and is kept for."""
    names = []
    for path in sorted((folder / "cursors").glob("*.json")):
        state = parse_line(path.read_bytes()) or {}
        if isinstance(name := state.get("name"), str):
            names.append(name)
    return names


def list_rejected(folder: Path, name: str) -> Rejected:
    """Return what was set aside for a destination."""
    return Rejected(get_cursor_path(folder, name))


def _count_pending(folder: Path, cursor: Cursor) -> int:
    """Return how many events wait: calls that have ended or were interrupted, scores and the others."""
    files = [file for file in list_spool_files(folder) if file.format <= FORMAT]
    live = find_live_writers(files)
    waiting = cursor.waiting.items()
    gone = {s for s, c in waiting if c.state == "open" and c.end is None and c.writer not in live}
    ended = (call.state == "closed" or (call.state == "open" and call.end is not None) for _, call in waiting)
    count = sum(ended) + sum(len(call.said) for _, call in waiting)
    for file in filter(cursor.takes, files):
        name, offset = cursor.read.get(file.writer, ("", 0))
        if name <= file.name:
            begin = offset if name == file.name else 0
            count += _count(file.path, begin, gone, lives=file.writer in live)
    return count + len(gone)


def _count(path: Path, begin: int, gone: set[str], *, lives: bool) -> int:
    """Return a file's events from an offset on; add to `gone` the calls that its writer cannot end."""
    count = 0
    with path.open("rb") as lines:
        lines.seek(begin)
        for line in lines:
            kind, span_id = _read_what(line)
            if kind == "start" and not lives:
                gone.add(span_id)
            count += kind in _EVENTS
            if kind == "end":
                gone.discard(span_id)
    return count


def _read_what(line: bytes) -> tuple[str, str]:
    """Return the kind and span id of a line; our own writer's lines are not parsed for it."""
    if (kind := _KIND.match(line)) and (span := _SPAN.search(line)):
        return kind[1].decode(), span[1].decode()
    event = parse_line(line) or {}
    return str(event.get("event")), str(event.get("span_id"))
