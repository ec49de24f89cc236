"""Requests for attributions in files: hosts append lines, one worker reads behind a durable cursor.

The folder holds `<writer>.<seq>.jsonl` as the spool does, `policies/`, `cursor.json` and `worker.lock`.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.spool.paths import get_store_path

if TYPE_CHECKING:
    from collections.abc import Iterator

fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None
"""Absent on Windows: every host is taken to live until its file has been idle for an hour."""
_IDLE_S = 3600.0


def get_queue_folder(store: str | os.PathLike[str]) -> Path:
    """Return the folder `<store>.attribution` beside the store, by absolute path."""
    path = get_store_path(store)
    return path.with_name(path.name + ".attribution")


@dataclass(frozen=True)
class ExplainRequest:
    """A call that shall be explained."""

    span_id: str
    policy: str
    """Digest under which the policy is kept."""
    file: str
    end: int
    """Offset of the next line."""


class Queue:
    """The reading end; there is one reader at a time, see `claim`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state: dict[str, Any] = {}
        """What the worker wants to find again after a restart; written by `save`."""
        self._offsets: dict[str, int] = {}
        self._lock = -1
        self._load()

    def claim(self) -> bool:
        """Become the reader; False where another process is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / "worker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _lock_file(handle):
            os.close(handle)
            return False
        self._lock = handle
        self._load()
        return True

    def release(self) -> None:
        """Let another process read."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def next(self) -> ExplainRequest | None:
        """Return the first request after the cursor, `None` where none waits."""
        return next(self._iter_requests(self._offsets), None)

    def take(self, most: int) -> list[ExplainRequest]:
        """Return the first requests after the cursor, of one policy; the cursor stays where it is."""
        first = self.next()
        if first is None:
            return []
        waiting = self._iter_requests(self._offsets.copy())
        return list(islice(takewhile(lambda request: request.policy == first.policy, waiting), most))

    def count(self) -> int:
        """Return how many requests stand after the cursor."""
        return sum(1 for _ in self._iter_requests(self._offsets.copy()))

    def _iter_requests(self, offsets: dict[str, int]) -> Iterator[ExplainRequest]:
        """Yield what stands behind the offsets; those of files that are read to their end move there."""
        for path in self._files():
            at = offsets.get(path.name, 0)
            try:
                with path.open("rb") as lines:
                    lines.seek(at)
                    for line in lines:
                        if not line.endswith(b"\n"):
                            break  # the rest is being written
                        at += len(line)
                        if (request := _request(line, path.name, at)) is not None:
                            yield request
            except FileNotFoundError:
                continue
            offsets[path.name] = at

    def done(self, request: ExplainRequest) -> None:
        """Move the cursor behind a request, durably."""
        self._offsets[request.file] = request.end
        self.save()

    def save(self) -> None:
        """Write cursor and state, all or nothing."""
        temporary = self.folder / "cursor.tmp"
        temporary.write_bytes(json.dumps({"offsets": self._offsets, "state": self.state}).encode())
        temporary.replace(self.folder / "cursor.json")

    def policy(self, digest: str) -> bytes:
        """Return an encoded policy."""
        return (self.folder / "policies" / f"{digest}.json").read_bytes()

    def hosts(self) -> bool:
        """Whether a process may still append; files read to their end and without a writer are removed."""
        alive = False
        for path in self._files():
            if _is_written(path):
                alive = True
            elif self._offsets.get(path.name, 0) >= path.stat().st_size:
                path.unlink(missing_ok=True)
                self._offsets.pop(path.name, None)
        return alive

    def _files(self) -> list[Path]:
        files = [p for p in self.folder.glob("*.jsonl") if p.is_file()]
        return sorted(files, key=lambda p: (p.stat().st_ctime_ns, p.name))

    def _load(self) -> None:
        try:
            cursor = json.loads((self.folder / "cursor.json").read_bytes())
            self._offsets, self.state = dict(cursor["offsets"]), dict(cursor["state"])
        except (OSError, ValueError, KeyError, TypeError):
            self._offsets, self.state = {}, {}


def _request(line: bytes, file: str, end: int) -> ExplainRequest | None:
    try:
        event = orjson.loads(line)
        return ExplainRequest(str(event["span_id"]), str(event["policy"]), file, end)
    except (ValueError, KeyError, TypeError):
        return None


def _lock_file(handle: int) -> bool:
    """Whether this process now holds the file's lock."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_written(path: Path) -> bool:
    """Whether a living process holds the file."""
    if fcntl is None:
        return time.time() - path.stat().st_mtime < _IDLE_S
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock_file(handle)
    finally:
        os.close(handle)
