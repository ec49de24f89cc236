"""Cut the unread part of the spool into slices that are folded one at a time, so that memory stays bounded."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

    from llm_trace.spool.files import SpoolFile

LONGEST_LINE = 64 << 20  # the writer's limit is 8 MB an event; what is longer is not a line of ours
_CHUNK = 2 << 20
_BLANK = b" \t\r"
_BRACE = ord("{")


@dataclass(frozen=True)
class Unread:
    """What is still to be read of one file."""

    file: SpoolFile
    position: int


@dataclass
class Piece:
    """Whole lines of one file, as rows `first` to `stop` (excluded) of a slice."""

    file: SpoolFile
    position: int
    """Where the next piece of the file begins."""
    first: int
    stop: int = 0
    bad: list[bytes] = field(default_factory=list)
    """Bytes that are not lines: too long or torn."""

    @property
    def done(self) -> bool:
        """Whether the file is complete and read to its end."""
        return not self.file.live and self.position >= self.file.size


@dataclass(frozen=True)
class Slice:
    """Lines of one or more files, copied to one JSON Lines file."""

    path: Path
    pieces: list[Piece]
    lines: int
    longest: int
    """Bytes of the longest line."""
    bytes: int


def slices(unread: list[Unread], folder: Path, size: int) -> Iterator[Slice]:
    """Yield the unread lines in slices of about `size` bytes, each in a file of `folder` that the next but one is written over."""
    waiting = unread[::-1]
    for number in itertools.count():
        if not waiting:
            return
        part = _Part(folder / f"slice{number % 2}.jsonl", size)
        while waiting and part.bytes < size:
            item = waiting.pop()
            position = part.take(item)
            if item.position < position < item.file.size:
                waiting.append(Unread(item.file, position))
        yield part.close()


class _Part:
    """Writes one slice."""

    def __init__(self, target: Path, size: int) -> None:
        self.path = target
        self.size = size
        self.bytes = self.lines = self.longest = 0
        self.pieces: list[Piece] = []
        self._file = target.open("wb", buffering=0)
        self._buffer = bytearray(_CHUNK)  # one for all: fresh ones cost more page faults than the copying

    def take(self, item: Unread) -> int:
        """Copy the next lines of a file; return where they end, its old position where a live file has none yet."""
        piece = Piece(item.file, item.position, self.lines)
        left, room = item.file.size - item.position, self.size - self.bytes
        wanted = left if left < room * 1.5 else room  # no tiny slice for the rest of a file
        with item.file.path.open("rb", buffering=0) as source:
            source.seek(item.position)
            self._copy(source, piece, item.position + wanted)
        piece.stop = self.lines
        self.pieces.append(piece)
        return piece.position

    def _copy(self, source: FileIO, piece: Piece, until: int) -> None:
        """Copy lines up to about the offset `until`, whole ones only."""
        buffer, held, at = (
            self._buffer,
            0,
            piece.position,
        )  # held: bytes of a line not yet ended, at: where to read on
        while at < piece.file.size and (at < until or held):
            if held == len(buffer):
                buffer.extend(bytes(held))
            with memoryview(buffer) as view:
                count = source.readinto(view[held : held + min(len(buffer) - held, piece.file.size - at)])
            if not count:
                break
            at += count
            end = held + count
            cut = buffer.rfind(b"\n", held, end) + 1
            if cut:
                self._write(buffer, cut)
                piece.position += cut
                buffer[: end - cut] = buffer[cut:end]
                held = end - cut
                if at >= until:
                    return
            else:
                held = end
                if held > LONGEST_LINE:
                    held = self._quarantine(piece, held)
        if held and not piece.file.live:
            self._quarantine(piece, held)

    def _quarantine(self, piece: Piece, count: int) -> int:
        piece.bad.append(bytes(self._buffer[:count]))
        piece.position += count
        return 0

    def _write(self, buffer: bytearray, stop: int) -> None:
        """Append the lines of the first `stop` bytes."""
        measured = _measure(buffer, stop)
        self.lines += measured.lines
        self.longest = max(self.longest, measured.longest)
        if measured.blank:
            lines = bytes(buffer[: stop - 1]).split(b"\n")
            self.bytes += self._file.write(b"".join(line + b"\n" for line in lines if line.strip(_BLANK)))
            return
        with memoryview(buffer) as view:
            self.bytes += self._file.write(view[:stop])

    def close(self) -> Slice:
        """Return the finished slice."""
        self._file.close()
        return Slice(self.path, self.pieces, self.lines, self.longest, self.bytes)


@dataclass(frozen=True)
class _Measured:
    lines: int
    """Lines that are not blank."""
    longest: int
    blank: bool
    """Whether one is blank: DuckDB skips those, which would shift its row numbers."""


def _measure(buffer: bytearray, stop: int) -> _Measured:
    lines = longest = start = blank = 0
    while start < stop:
        end = buffer.find(b"\n", start, stop)
        if end - start > longest:
            longest = end - start
        if buffer[start] != _BRACE and not buffer[start:end].strip(_BLANK):
            blank += 1
        lines += 1
        start = end + 1
    return _Measured(lines - blank, longest, blank > 0)
