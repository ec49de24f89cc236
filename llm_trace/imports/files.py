"""Read a file as records: JSON, JSON Lines, CSV, Parquet or a zip of these, recognised by content."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from llm_trace.errors import ConfigurationError
from llm_trace.imports.packed import Unpacked, find_damage
from llm_trace.imports.values import parse_json
from llm_trace.stores.parquet import is_parquet_export, read_parquet

_CELL_BYTES = 1 << 30


class FileRecord(NamedTuple):
    """One record of a file."""

    number: int
    """1 for the first line, element or row."""
    record: Any
    text: str = ""
    """The line, where it is broken."""
    reason: str = ""
    """Why it is."""
    ends_file: bool = False
    """No record: the rest of the file cannot be read, and `reason` says why."""


def iter_records(path: Path) -> Iterator[FileRecord]:
    """Yield the records of a file; those that cannot be read say why.

    Raises:
        ConfigurationError: the file as a whole is of no kind that is understood.
    """
    if is_parquet_export(path):
        yield from (
            FileRecord(number, parse_json(line.encode())) for number, line in enumerate(read_parquet(path), 1)
        )
        return
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"PAR1":
        yield from _read_rows(path)
        return
    if magic == b"PK\x03\x04":
        from llm_trace.imports.archives import iter_archive

        yield from (FileRecord(number, log) for number, log in enumerate(iter_archive(path), 1))
        return
    with io.BufferedReader(Unpacked(path)) if magic[:2] == b"\x1f\x8b" else path.open("rb") as opened:
        yield from _read_until_damage(opened, path)


def _read_until_damage(file: BinaryIO, path: Path) -> Iterator[FileRecord]:
    """Yield the records of a text file, and at the end why there may have been more."""
    number = 0
    try:
        for line in _open_text(file, path):
            number = line.number
            yield line
    except ConfigurationError as exc:
        if damage := find_damage(file):
            raise ConfigurationError(
                f"{str(path)!r} is cut: {damage}, and what is left is no file that can be read: get it again"
            ) from exc
        raise
    if damage := find_damage(file):
        yield FileRecord(number, None, reason=damage, ends_file=True)


def _open_text(file: BinaryIO, path: Path) -> Iterator[FileRecord]:
    first = _read_first_line(file)
    if path.suffixes[:1] == [".csv"] or first.lstrip()[:1] not in (b"{", b"["):
        yield from _read_csv(file, path)
    elif _is_whole(first) and _read_first_line(file):
        file.seek(0)
        yield from _read_json_lines(file)
    else:
        file.seek(0)
        yield from _read_document(file.read().removeprefix(b"\xef\xbb\xbf"), path)


def _read_first_line(file: BinaryIO) -> bytes:
    """Return the first line that says something."""
    for line in file:
        if line.strip():
            return line.removeprefix(b"\xef\xbb\xbf")
    return b""


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except ValueError:
        return line.rstrip()[-1:] == b"}" and line.lstrip()[:1] == b"{"


def _read_json_lines(file: BinaryIO) -> Iterator[FileRecord]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            yield FileRecord(number, parse_json(line.removeprefix(b"\xef\xbb\xbf")))
        except ValueError as exc:
            yield FileRecord(number, None, line.decode("utf-8", "replace").rstrip("\n"), f"no JSON: {exc}")


def _read_document(data: bytes, path: Path) -> Iterator[FileRecord]:
    try:
        document = parse_json(data)
    except ValueError as exc:
        raise ConfigurationError(f"{str(path)!r} is neither JSON nor JSON Lines: {exc}") from exc
    for number, record in enumerate(document if isinstance(document, list) else [document], 1):
        yield FileRecord(number, record)


def _read_csv(file: BinaryIO, path: Path) -> Iterator[FileRecord]:
    csv.field_size_limit(_CELL_BYTES)
    file.seek(0)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    rows = csv.DictReader(text)
    try:
        if len(rows.fieldnames or ()) < 2:
            raise ConfigurationError(
                f"{str(path)!r} is no JSON, JSON Lines, CSV with a header or Parquet file"
            )
        check_column_names(path, rows.fieldnames or ())
        yield from _read_whole_rows(rows, file)
    except UnicodeDecodeError as exc:
        message = f"{str(path)!r} is not in UTF-8 ({exc}): save it so, and import that"
        raise ConfigurationError(message) from exc
    except csv.Error as exc:
        raise ConfigurationError(f"{str(path)!r} is no CSV: {exc}") from exc
    finally:
        text.detach()  # the file is its opener's to close


def check_column_names(path: Path, names: Sequence[str]) -> None:
    """Check that each column of a CSV file has a name of its own.

    Raises:
        ConfigurationError: one stands twice: of its cells only the last would be taken.
    """
    twice = [name for i, name in enumerate(names) if name and name in names[:i]]
    if twice:
        raise ConfigurationError(f"{str(path)!r} has two columns {twice[0]!r}: rename or remove one")


def _read_whole_rows(rows: Iterable[dict[str, str]], file: BinaryIO) -> Iterator[FileRecord]:
    """Yield the rows; the last of a file that is cut is broken, for no one can tell whether it was longer."""
    last: FileRecord | None = None
    within_letter = False
    try:
        for number, row in enumerate(rows, 1):
            if last is not None:
                yield last
            last = FileRecord(
                number, {name: cell for name, cell in row.items() if name and cell not in ("", None)}
            )
    except UnicodeDecodeError:
        if not find_damage(file):
            raise
        within_letter = True  # of the row after the last
    if last is not None and find_damage(file) and not within_letter:
        last = last._replace(text=str(last.record), reason="the file is cut in this row or after it")
    if last is not None:
        yield last


def _read_rows(path: Path) -> Iterator[FileRecord]:
    import duckdb

    number = 0
    with duckdb.connect() as connection:
        try:
            cursor = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
            names = [column[0] for column in cursor.description]
            while rows := cursor.fetchmany(1000):
                for row in rows:
                    number += 1
                    yield FileRecord(
                        number, {n: v for n, v in zip(names, row, strict=True) if not _is_missing(v)}
                    )
        except duckdb.Error as exc:
            raise ConfigurationError(f"{str(path)!r} is no Parquet file that DuckDB reads: {exc}") from exc


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
