"""One spool file: its events in order, any event again by its place, and the messages that the file holds."""

from __future__ import annotations

import json
import os
from array import array
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import orjson

from llm_trace import semconv
from llm_trace.bounded_dict import BoundedDict
from llm_trace.spool.messages import LOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_LONGEST = 64 << 20  # the writer's limit is 8 MB an event
_LINE_BYTES = 8192
_RECENT = 256
_CACHE_BYTES = 4 << 20
_MOST_GAP = 100_000
_NOWHERE = -1


class Lines:
    """Reads one file. Memory stays small however long it is: of old messages only the place is kept.

    Args:
        path: the file; it may be deleted while it is read.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=1 << 18)
        self._offsets = array("q")
        """Where the line is that holds message n."""
        self._noted = 0
        """The messages of all lines before this offset are in `_offsets`."""
        self._recent: BoundedDict[int, dict[str, Any]] = BoundedDict(_RECENT)
        """Short lines that were read last, by offset: most calls begin shortly before they end."""
        self._cache: OrderedDict[int, tuple[Any, dict[str, Any], int]] = OrderedDict()
        self._cached_bytes = 0

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def events(self, begin: int, end: int) -> Iterator[tuple[int, int, dict[str, Any] | None]]:
        """Yield where each line between two offsets begins and ends, and its event, `None` if it is none."""
        while begin < end:
            self._file.seek(begin)  # messages may have been looked up since
            line = self._file.readline(_LONGEST)
            if not line.endswith(b"\n") and len(line) < _LONGEST:
                return
            event, after = parse_line(line), begin + len(line)
            if event is not None:
                self._note(begin, after, event)
                if len(line) <= _LINE_BYTES:
                    self._recent[begin] = event
            yield begin, after, event
            begin = after

    def at(self, offset: int) -> dict[str, Any]:
        """Return the event of the line at an offset, empty where it is none (any more)."""
        if (known := self._recent.get(offset)) is not None:
            return known
        size = _LINE_BYTES
        while True:
            data = os.pread(self._file.fileno(), size, offset)
            if (cut := data.find(b"\n")) >= 0:
                return parse_line(data[:cut]) or {}
            if len(data) < size:
                return {}
            size *= 8

    def bodies(self, ranges: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
        """Return the messages of ranges of numbers as they were logged."""
        return [self._message(n)[0] for n in _iter_numbers(ranges)]

    def messages(self, ranges: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
        """Return the same messages, normalised."""
        return [self._message(n)[1] for n in _iter_numbers(ranges)]

    def _message(self, number: int) -> tuple[Any, dict[str, Any], int]:
        message = self._cache.get(number)
        if message is None:
            self._load(number)
            message = self._cache.get(number)
        else:
            self._cache.move_to_end(number)
        return message or (LOST, {"role": LOST["role"], "parts": []}, 0)

    def _load(self, number: int) -> None:
        if number >= len(self._offsets) or self._offsets[number] == _NOWHERE:
            for _ in self.events(self._noted, os.fstat(self._file.fileno()).st_size):
                pass
        if number < len(self._offsets) and (offset := self._offsets[number]) != _NOWHERE:
            for n, body in _iter_messages(self.at(offset)):
                self._keep(n, body)

    def _note(self, begin: int, after: int, event: dict[str, Any]) -> None:
        for number, body in _iter_messages(event):
            if not 0 <= number < len(self._offsets) + _MOST_GAP:
                continue
            while number >= len(self._offsets):
                self._offsets.append(_NOWHERE)
            self._offsets[number] = begin
            self._keep(number, body)
        if begin == self._noted:
            self._noted = after

    def _keep(self, number: int, body: Any) -> None:
        if number in self._cache:
            return
        normal = semconv.message(body)
        size = 1000 + len(str(body.get("content"))) if isinstance(body, dict) else 1000
        self._cache[number] = (body, normal, size)
        self._cached_bytes += size
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            self._cached_bytes -= self._cache.popitem(last=False)[1][2]


def _iter_messages(event: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    """Yield the messages that an event gives, by number."""
    for message in event.get("messages") or ():
        if isinstance(message, dict) and isinstance(number := message.get("n"), int):
            yield number, message.get("body")


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a line, `None` where it is none."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        event = _parse_leniently(line)
    return event if isinstance(event, dict) else None


def _parse_leniently(line: bytes) -> Any:
    """Read what orjson refuses: NaN, lone surrogates, bytes that are no UTF-8."""
    try:
        event = json.loads(line.decode("utf-8", "replace"), parse_constant=str)
        return json.loads(json.dumps(event, ensure_ascii=False).encode("utf-8", "replace"))
    except ValueError:
        return None


def _iter_numbers(ranges: Sequence[Sequence[int]]) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, min(last, first + _MOST_GAP) + 1)
