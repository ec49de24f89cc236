"""How far each spool file has been read; what was no event goes to quarantine, exactly once too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_trace.spool.private import open_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

    from duckdb import DuckDBPyConnection

    from llm_trace.spool.files import SpoolFile
    from llm_trace.stores.slices import FilePiece, Stretch
    from llm_trace.stores.staging import Staged

_CHUNK = 1 << 20


@dataclass
class _Row:
    position: int = 0
    lines: int = 0
    bad_lines: int = 0
    quarantine_bytes: int = 0


class IngestProgress:
    """The table `_files`, as this ingest, which is the only one, has read and written it.

    Args:
        connection: has the store in use.
        folder: the spool folder.
    """

    def __init__(self, connection: DuckDBPyConnection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder
        rows = connection.execute(
            "SELECT file, position, lines, bad_lines, quarantine_bytes FROM _files"
        ).fetchall()
        self._rows = {str(row[0]): _Row(*row[1:]) for row in rows}

    def position(self, file: SpoolFile) -> int:
        """Return up to where the file has been read."""
        return self._rows.get(file.name, _Row()).position

    def advance(self, staged: Staged) -> list[SpoolFile]:
        """Move the positions of the files past a folded slice; return those that are read to their end."""
        part = staged.part
        for piece, bad in zip(part.pieces, _find_bad_rows(staged), strict=True):
            row = self._rows.setdefault(piece.file.name, _Row())
            row.position = piece.position
            row.lines += piece.stop - piece.first + len(piece.bad)
            row.bad_lines += len(bad) + len(piece.bad)
            row.quarantine_bytes = _append_quarantine(
                self._folder / "quarantine" / piece.file.name, row.quarantine_bytes, bad, piece
            )
            self._save(piece.file.name, row)
        return [piece.file for piece in part.pieces if piece.done]

    def tidy(self, files: Sequence[SpoolFile]) -> None:
        """Forget message numbers of files that are read, and files that are gone, save quarantined lines."""
        unread = [f.name for f in files if f.live or self.position(f) < f.size]
        self._connection.execute(
            "DELETE FROM _numbers WHERE file NOT IN (SELECT unnest(?::TEXT[]))", [unread]
        )
        present = {file.name for file in files}
        for name in [n for n, row in self._rows.items() if n not in present and not row.bad_lines]:
            self._connection.execute("DELETE FROM _files WHERE file = ?", [name])

    def _save(self, name: str, row: _Row) -> None:
        self._connection.execute("DELETE FROM _files WHERE file = ?", [name])
        values = [name, row.position, row.lines, row.bad_lines, row.quarantine_bytes]
        self._connection.execute("INSERT INTO _files VALUES (?, ?, ?, ?, ?)", values)


def _find_bad_rows(staged: Staged) -> list[list[bytes]]:
    """Return for each piece of a slice the lines that are no events."""
    part, bad_rows = staged.part, set(staged.bad)
    rows: dict[int, bytes] = {}
    if bad_rows:
        with part.path.open("rb") as file:
            rows = {row: line.rstrip(b"\n") for row, line in enumerate(file) if row in bad_rows}
    return [[rows[row] for row in staged.bad if piece.first <= row < piece.stop] for piece in part.pieces]


def _append_quarantine(path: Path, size: int, lines: list[bytes], piece: FilePiece) -> int:
    """Append lines to a quarantine file of which `size` bytes are committed; return its new length.

    What stands after them was written by an ingest that died before its commit, and comes again now.
    """
    if not lines and not piece.bad:
        return size
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with open_private(path, "ab") as file:
        file.truncate(min(size, file.tell()))
        file.seek(0, 2)
        file.write(b"".join(line + b"\n" for line in lines))
        for stretch in piece.bad:
            _copy(piece.file.path, stretch, file)
            file.write(b"\n")
        return file.tell()


def _copy(path: Path, stretch: Stretch, target: IO[bytes]) -> None:
    """Copy a line of any length."""
    with path.open("rb") as source:
        source.seek(stretch.start)
        target.writelines(
            source.read(min(_CHUNK, stretch.stop - at)) for at in range(stretch.start, stretch.stop, _CHUNK)
        )
