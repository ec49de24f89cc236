"""Cut the unread part of the spool into slices that are folded one at a time, within bounded memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm_trace.stores.lines import BLANK, is_deep, measure_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

    from llm_trace.spool.files import SpoolFile

LONGEST_LINE = 64 << 20  # the writer's limit is 8 MB an event; what is longer is not a line of ours
_CHUNK = 2 << 20
_STEP = 1 << 16

Place = tuple[str, int]
"""A line: the name of its file and where it begins."""


@dataclass(frozen=True)
class Unread:
    """What is still to be read of one file."""

    file: SpoolFile
    position: int


@dataclass(frozen=True)
class Stretch:
    """Bytes of a file, `stop` excluded."""

    start: int
    stop: int


@dataclass
class FilePiece:
    """Whole lines of one file, as rows `first` to `stop` (excluded) of a slice."""

    file: SpoolFile
    position: int
    """Where the next piece of the file begins."""
    first: int
    stop: int = 0
    bad: list[Stretch] = field(default_factory=list)
    """Lines that are not in the slice: too long, nested too deeply, torn, or refused."""

    @property
    def done(self) -> bool:
        """Whether the file is complete and read to its end."""
        return not self.file.live and self.position >= self.file.size


@dataclass(frozen=True)
class SpoolSlice:
    """Lines of one or more files, copied to one JSON Lines file."""

    path: Path
    pieces: list[FilePiece]
    lines: int
    longest: int
    """Bytes of the longest line."""
    bytes: int
    last: Place
    """The last line."""


def iter_slices(
    unread: list[Unread], folder: Path, size: Callable[[], int], refused: Collection[Place] = ()
) -> Iterator[SpoolSlice]:
    """Yield the unread lines in slices, each in a file of `folder` that the next but one is written over.

    Args:
        size: asked before each slice for its bytes; one line is the least, and only the last line may go
            beyond.
        refused: lines to leave out.
    """
    waiting = unread[::-1]
    for number in itertools.count():
        if not waiting:
            return
        part = _Part(folder / f"slice{number % 2}.jsonl", size(), refused)
        while waiting and part.bytes < part.size and not part.full:
            item = waiting.pop()
            position = part.take(item)
            if part.full or item.position < position < item.file.size:
                waiting.append(Unread(item.file, position))
        yield part.close()


class _Part:
    """Writes one slice."""

    def __init__(self, target: Path, size: int, refused: Collection[Place]) -> None:
        self.path = target
        self.size = size
        self.full = False
        """Whether the next line is so long that it goes into a slice of its own."""
        self.bytes = self.lines = self.longest = 0
        self.pieces: list[FilePiece] = []
        self._last: Place = ("", 0)
        self._refused = refused
        self._file = target.open("wb", buffering=0)
        self._buffer = bytearray(_CHUNK)  # one for all: fresh ones cost more page faults than the copying

    def take(self, item: Unread) -> int:
        """Copy the next lines of a file; return where they end, the old position if a live file has none."""
        piece = FilePiece(item.file, item.position, self.lines)
        left, room = item.file.size - item.position, self.size - self.bytes
        length = left if left < room * 1.5 else room  # no tiny slice for the rest of a file
        with item.file.path.open("rb", buffering=0) as source:
            source.seek(item.position)
            self._copy(source, piece, item.position + length)
        piece.stop = self.lines
        self.pieces.append(piece)
        return piece.position

    def _copy(self, source: FileIO, piece: FilePiece, until: int) -> None:
        """Copy whole lines, the one with the byte before the offset `until` as the last."""
        buffer, size = self._buffer, piece.file.size
        held, at = 0, piece.position  # held: bytes of a line not yet ended, at: where to read on
        while at < size and (at < until or held):
            if held > LONGEST_LINE:
                at, held = self._pass_over(source, piece, at), 0
                continue
            if held == len(buffer):
                buffer.extend(bytes(held))
            with memoryview(buffer) as view:
                length = min(len(buffer) - held, size - at, max(until - at, _STEP))
                count = source.readinto(view[held : held + length])
            if not count:
                break
            at, end = at + count, held + count
            cut = self._cut(held, end, until - piece.position - 1 if at >= until else None)
            if cut:
                self._write(piece, cut)
                buffer[: end - cut] = buffer[cut:end]
                held = end - cut
                if at >= until:
                    return
            elif self.lines and at >= until:
                self.full = True
                return
            else:
                held = end
        if held and not piece.file.live:
            self._leave_out(piece, piece.position + held)

    def _cut(self, held: int, end: int, mark: int | None) -> int:
        """Return where whole lines end in the buffer: at the byte `mark` or the last newline; 0 for none."""
        newline = -1 if mark is None else self._buffer.find(b"\n", max(mark, held), end)
        return (newline if newline >= 0 else self._buffer.rfind(b"\n", held, end)) + 1

    def _pass_over(self, source: FileIO, piece: FilePiece, at: int) -> int:
        """Leave out the line that has been read up to `at`, without keeping it; return where to read on."""
        while at < piece.file.size:
            with memoryview(self._buffer) as view:
                count = source.readinto(view[: min(len(view), piece.file.size - at)])
            if not count:
                break
            newline = self._buffer.find(b"\n", 0, count)
            if newline >= 0:
                self._leave_out(piece, at + newline)
                piece.position += 1
                source.seek(piece.position)
                return piece.position
            at += count
        if not piece.file.live:
            self._leave_out(piece, at)
        return piece.file.size

    def _leave_out(self, piece: FilePiece, stop: int) -> None:
        piece.bad.append(Stretch(piece.position, stop))
        piece.position = stop

    def _write(self, piece: FilePiece, stop: int) -> None:
        """Append the lines of the first `stop` bytes of the buffer, which begins at the piece's position."""
        name, begin = piece.file.name, piece.position
        measured = measure_lines(self._buffer, stop)
        if measured.odd or any(file == name and begin <= at < begin + stop for file, at in self._refused):
            self._write_good(piece, stop)
            return
        self.lines += measured.lines
        self.longest = max(self.longest, measured.longest)
        self._last = name, begin + measured.last
        with memoryview(self._buffer) as view:
            self.bytes += self._file.write(view[:stop])
        piece.position += stop

    def _write_good(self, piece: FilePiece, stop: int) -> None:
        """Append the lines one by one, without blank lines, unreadable ones and refused ones."""
        for line in bytes(self._buffer[: stop - 1]).split(b"\n"):
            place = piece.file.name, piece.position
            if place in self._refused or is_deep(line):
                self._leave_out(piece, piece.position + len(line))
            elif line.strip(BLANK):
                self.bytes += self._file.write(line + b"\n")
                self.lines += 1
                self.longest = max(self.longest, len(line))
                self._last = place
            piece.position = place[1] + len(line) + 1

    def close(self) -> SpoolSlice:
        """Return the finished slice."""
        self._file.close()
        return SpoolSlice(self.path, self.pieces, self.lines, self.longest, self.bytes, self._last)
