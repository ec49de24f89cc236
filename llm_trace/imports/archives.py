"""Zip files: inspect_ai's default logs, `.eval`, and what ChatGPT and Claude give who asks for their data.

A log of inspect_ai is a head and a JSON file for each sample, compressed with Zstandard in newer versions.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llm_trace.errors import ConfigurationError
from llm_trace.imports.values import parse_json

_ZSTD = 93
_LOCAL_HEADER = 30
_MOST_BYTES = 4 << 30
_CONVERSATIONS = re.compile(r"(.*/)?conversations[^/]*\.json")
"""Long exports are in several files."""


def iter_archive(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of an archive one by one: the whole would not fit into memory for many an evaluation.

    Raises:
        ConfigurationError: it is a zip of something else, or broken.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            head = members.get("header.json") or members.get("_journal/start.json")
            talks = [member for name, member in members.items() if _CONVERSATIONS.fullmatch(name)]
            if head is not None:
                yield from _iter_samples(archive, path, head)
            elif talks:
                for member in talks:
                    yield from _list_records(parse_json(_read(archive, path, member)))
            else:
                raise ConfigurationError(
                    f"{str(path)!r} is a zip with neither header.json nor conversations.json: of zips, .eval "
                    f"logs of inspect_ai and data exports of ChatGPT and Claude are read"
                )
    except (zipfile.BadZipFile, ValueError, OSError) as exc:
        raise ConfigurationError(f"{str(path)!r} is no archive that can be read: {exc}") from exc


def _iter_samples(archive: zipfile.ZipFile, path: Path, head: zipfile.ZipInfo) -> Iterator[dict[str, Any]]:
    """Yield a log for each sample."""
    log = parse_json(_read(archive, path, head))
    samples = [member for member in archive.infolist() if member.filename.startswith("samples/")]
    for member in samples:
        yield {**log, "samples": [parse_json(_read(archive, path, member))]}
    if not samples:
        yield log


def _list_records(document: Any) -> list[Any]:
    return document if isinstance(document, list) else [document]


def _read(archive: zipfile.ZipFile, path: Path, member: zipfile.ZipInfo) -> bytes:
    if member.file_size > _MOST_BYTES:
        raise ValueError(f"{member.filename} has {member.file_size:,} bytes")
    return _unpack(path, member) if member.compress_type == _ZSTD else archive.read(member)


def _unpack(path: Path, member: zipfile.ZipInfo) -> bytes:
    """Return the content of a file that Python's zipfile cannot unpack before 3.14; DuckDB can."""
    import duckdb

    with path.open("rb") as file, tempfile.TemporaryDirectory() as folder:
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER)
        file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
        packed = Path(folder) / "member.zst"
        packed.write_bytes(file.read(member.compress_size))
        query = (
            "SELECT json FROM read_json_objects(?, compression='zstd', format='unstructured', "
            "maximum_object_size=?)"
        )
        try:
            with duckdb.connect() as connection:
                row = connection.execute(query, [str(packed), member.file_size + 1024]).fetchone()
        except duckdb.Error as exc:
            raise ValueError(f"{member.filename}: {exc}") from exc
    if row is None:
        raise ValueError(f"{member.filename} is empty")
    return str(row[0]).encode()
