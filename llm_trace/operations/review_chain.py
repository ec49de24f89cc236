"""The review log as a file: a header, then one line a review, each with the hash of the line before it.

A line holds no content, only the digest of the review's record, which lies in the store with a salt of its
own: when the record is purged the digest says nothing any more, and the chain still holds. In turn a record
has everything that its line is made of, so that no line, the last one included, can be changed, dropped or
moved without contradicting a record (`review_audit.verify_reviews` looks).

Writers of several processes take turns on a lock. A record is written before its line; a note in the spool
folder says so meanwhile, and the next writer finishes what a process that died has left.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import secrets
import time
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any

import orjson

from llm_trace.errors import StoreError
from llm_trace.spool.paths import get_spool_dir
from llm_trace.stores.locks import Deadline, lock_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT = 60.0
_BLOCK = 4096
_LARGEST = 2**53
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)


def hash_line(line: bytes) -> str:
    """Return the SHA-256 of a line, its end included, in hex."""
    return hashlib.sha256(line).hexdigest()


@dataclass(frozen=True)
class ChainLine:
    """One line of the log."""

    entry: int
    """1 for the first review."""
    id: str
    """Of the operation that holds the review."""
    time_ns: int
    """Of that operation."""
    digest: str
    """SHA-256 of the review with its salt."""
    before: str
    """SHA-256 of the line before."""

    def encode(self) -> bytes:
        """Return the bytes of the line; there is one way to write it."""
        return orjson.dumps(asdict(self)) + b"\n"

    @property
    def hash(self) -> str:
        """SHA-256 of the line."""
        return hash_line(self.encode())


@dataclass(frozen=True)
class ChainHead:
    """Where a log ends."""

    log: str
    """32 hex digits: the beginning of the header's hash."""
    count: int
    hash: str
    """Of the last line."""

    def __str__(self) -> str:
        return f"{self.count}:{self.hash}"


def seal_review(head: ChainHead, review: dict[str, Any]) -> dict[str, Any]:
    """Return the body of the operation that is to hold a review after this head: JSON values, no `None`."""
    fields = {
        "log": head.log,
        "entry": head.count + 1,
        "before": head.hash,
        "salt": secrets.token_hex(32),
        "review": review,
    }
    return {**fields, "digest": digest_record(fields)}


def digest_record(body: dict[str, Any]) -> str:
    """Return the digest of a review's record: of all its body but the digest itself."""
    sealed = {name: value for name, value in body.items() if name != "digest"}
    text = json.dumps(sealed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class ReviewChain:
    """The log of a store: `<store>.reviews.jsonl` beside it."""

    def __init__(self, store: Path, timeout: float = TIMEOUT) -> None:
        self.path = store.with_name(f"{store.name}.reviews.jsonl")
        self._imported = f"{glob.escape(store.name)}.reviews.*.jsonl"
        self._folder = get_spool_dir(store)
        self._note = self._folder / "reviews.unfinished"
        self._timeout = timeout

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Keep other writers out.

        Raises:
            StoreLockedError: others held it for longer than the time-out.
        """
        with contextlib.suppress(OSError):  # a read-only place: appending says so
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock_path(self._folder / "reviews.lock", Deadline(self._timeout)):
            yield

    def list_imported(self) -> list[Path]:
        """Return the logs of other stores whose reviews were imported: `<store>.reviews.NAME.jsonl`."""
        return sorted(self.path.parent.glob(self._imported))

    @property
    def is_unfinished(self) -> bool:
        """Whether a record may have been written whose line was not; asked by who holds the chain."""
        return self._note.exists()

    def begin(self) -> None:
        """Note that a record is about to be written."""
        try:
            self._note.touch(mode=0o600)
        except OSError as exc:
            raise StoreError(
                f"the review was not kept: {str(self._folder)!r} cannot be written ({exc})"
            ) from exc

    def finish(self) -> None:
        """Note that record and line are both there."""
        self._note.unlink(missing_ok=True)

    def read_head(self) -> ChainHead:
        """Return where the log ends; a log that is not there yet is begun."""
        try:
            with open(self.path, "rb+", opener=_open_log) as file:
                if not file.seek(0, os.SEEK_END):
                    header = {"log": secrets.token_hex(16), "time_ns": time.time_ns()}
                    file.write(orjson.dumps(header) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                return _read_head(file)
        except OSError as exc:
            raise StoreError(
                f"the review was not kept: {str(self.path)!r} cannot be written ({exc})"
            ) from exc

    def append(self, line: ChainLine) -> None:
        """Add a line and wait until it is on the disk."""
        try:
            with open(self.path, "rb+", opener=_open_log) as file:
                whole = _ends_whole(file)
                file.write(line.encode() if whole else b"\n" + line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            raise StoreError(
                f"the review is in the store and its line in {str(self.path)!r} is not yet ({exc}): the next "
                f"review, or llm-trace review --verify, adds it"
            ) from exc

    def drop_torn_end(self) -> None:
        """Remove what a writer that died has written of a line."""
        with open(self.path, "rb+", opener=_open_log) as file:
            if not _ends_whole(file):
                file.truncate(file.seek(0, os.SEEK_END) - len(_read_last_line(file)))


def _open_log(path: str, flags: int) -> int:
    return os.open(path, flags | _FLAGS, 0o600)


def _ends_whole(file: IO[bytes]) -> bool:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 1))
    return not size or file.read(1) == b"\n"


def _read_head(file: IO[bytes]) -> ChainHead:
    """Return the head of a log; after a last line that cannot be read the entry is that of its place."""
    last = _read_last_line(file)
    file.seek(0)
    header = file.readline()
    log = name_log(header)
    if last == header:
        return ChainHead(log, 0, hash_line(_end(last)))
    entry = _parse_entry(last)
    if entry is None:
        file.seek(0)
        entry = sum(1 for _ in file) - 1
    return ChainHead(log, entry, hash_line(_end(last)))


def name_log(header: bytes) -> str:
    """Return by which name records refer to the log with this header."""
    return hash_line(_end(header))[:32]


def _end(line: bytes) -> bytes:
    """Return a line with its end: the next writer adds one that is missing."""
    return line if line.endswith(b"\n") else line + b"\n"


def _read_last_line(file: IO[bytes]) -> bytes:
    """Return the last line, with its end where it has one."""
    end = file.seek(0, os.SEEK_END)
    tail = b""
    while end > 0:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        tail, end = file.read(end - begin) + tail, begin
        place = tail.rfind(b"\n", 0, len(tail) - 1)
        if place >= 0:
            return tail[place + 1 :]
    return tail


def _parse_entry(line: bytes) -> int | None:
    try:
        entry = orjson.loads(line)["entry"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return None
    return entry if type(entry) is int and 0 < entry < _LARGEST else None
