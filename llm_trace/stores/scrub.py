"""Take removed calls out of spool files, quarantine, and what exporters' destinations refused.

Spool files that are complete but still needed by an exporter keep their length: its cursor is an offset. A
removed line becomes a `lost` event of nothing, filled up with spaces, that keeps the bodies of messages which
lines that stay refer to.
"""

from __future__ import annotations

import os
import re
import time
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.spool.files import list_spool_files
from llm_trace.stores.columns import LISTS
from llm_trace.stores.compact import COMPACT, compact
from llm_trace.stores.staging import MOST_MESSAGES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from llm_trace.stores.connection import Database

_REMEMBERED_NS = 7 * 24 * 3600 * 10**9
_SPAN_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")
_NOTHING: dict[str, Any] = {"event": "lost", "count": 0, "reason": "purged"}


def find_files(folder: Path, spans: set[str]) -> list[str]:
    """Return the files of living writers that hold lines about these calls."""
    return [
        f.name
        for f in list_spool_files(folder)
        if f.live and any(_check_about(line, spans) for line in _iter_lines(f.path))
    ]


def list_unfinished_purges(connection: DuckDBPyConnection) -> set[str]:
    """Return the files that earlier purges had to leave; where there are none, old purges are forgotten."""
    waiting = {str(row[0]) for row in connection.execute("SELECT file FROM _purge_later").fetchall()}
    if not waiting:
        connection.execute("DELETE FROM _purged WHERE time_ns < ?", [time.time_ns() - _REMEMBERED_NS])
    return waiting


def finish_purges(database: Database, connection: DuckDBPyConnection, waiting: set[str]) -> None:
    """Remove what earlier purges had to leave: to writers that have gone since, or because they were killed.

    The caller holds `ingest.lock`.
    """
    with database.writing(connection):
        live = {file.name for file in list_spool_files(database.lock_dir) if file.live}
        for name in waiting - live - {COMPACT}:
            connection.execute("DELETE FROM _purge_later WHERE file = ?", [name])
        spans = {str(row[0]) for row in connection.execute("SELECT span_id FROM _purged").fetchall()}
    if waiting - live:
        scrub_complete(database.lock_dir, spans)
        compact(database)


def scrub_complete(folder: Path, spans: set[str]) -> int:
    """Overwrite the lines about these calls in complete files; return how many."""
    return sum(_scrub(file.path, spans) for file in list_spool_files(folder) if not file.live)


def _scrub(path: Path, spans: set[str]) -> int:
    needed: set[int] = set()
    places: list[tuple[int, bytes]] = []
    offset = 0
    for line in _iter_lines(path):
        if _check_about(line, spans):
            places.append((offset, line))
        else:
            needed |= _list_referred(line)
        offset += len(line)
    with path.open("r+b") as file:
        for place, line in places:
            file.seek(place)
            file.write(_make_blank(line, needed))
    return len(places)


def _make_blank(line: bytes, needed: set[int]) -> bytes:
    """Return a line of the same length that says nothing, save for the messages that others need."""
    bodies = _parse_event(line).get("messages")
    messages = [
        m
        for m in (bodies if isinstance(bodies, list) else ())
        if isinstance(m, dict) and isinstance(m.get("n"), int) and m["n"] in needed
    ]
    blank = orjson.dumps(_NOTHING | ({"messages": messages} if messages else {}))
    room = len(line) - 1
    return (blank.ljust(room) if len(blank) <= room else b" " * room) + line[-1:]


def scrub_quarantine(connection: DuckDBPyConnection, folder: Path, spans: set[str], user: str | None) -> int:
    """Remove quarantined lines that name one of these calls, or the user; return how many."""
    removed = 0
    for path in sorted((folder / "quarantine").glob("*.jsonl")):
        if count := _thin_file(path, spans, user):
            removed += count
            connection.execute(
                "UPDATE _files SET quarantine_bytes = ? WHERE file = ?", [path.stat().st_size, path.name]
            )
    return removed


def scrub_rejected(folder: Path, spans: set[str], user: str | None) -> int:
    """Remove what exporters' destinations refused of these calls, or of the user; return how many lines."""
    return sum(_thin_file(path, spans, user) for path in sorted((folder / "rejected").glob("*")))


def _thin_file(path: Path, spans: set[str], user: str | None) -> int:
    """Take the lines out that name one of the calls, or the user; return how many."""
    name = None if user is None else orjson.dumps(user)
    removed = 0
    with path.open("r+b") as source, path.open("r+b") as target:
        for line in source:
            if _check_names(line, spans, name):
                removed += 1
            elif removed:
                target.write(line)
            else:
                target.seek(len(line), os.SEEK_CUR)
        if removed:
            target.truncate()
    return removed


def _check_names(line: bytes, spans: set[str], user: bytes | None) -> bool:
    span_ids = (match.decode() for match in _SPAN_ID.findall(line))
    return (user is not None and user in line) or not spans.isdisjoint(span_ids)


def _iter_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _parse_event(line: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return event if isinstance(event, dict) else {}


def _check_about(line: bytes, spans: set[str]) -> bool:
    return _parse_event(line).get("span_id") in spans


def _list_referred(line: bytes) -> set[int]:
    """Return the numbers of the messages that an event refers to; none of one that cannot be ingested."""
    event = _parse_event(line)
    try:
        ranges = [
            range(first, last + 1) for name in LISTS for first, last in event.get(name) or () if first <= last
        ]
        return set(chain.from_iterable(ranges)) if sum(map(len, ranges)) <= 2 * MOST_MESSAGES else set()
    except (TypeError, ValueError, OverflowError):
        return set()
