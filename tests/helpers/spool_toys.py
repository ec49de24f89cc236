"""A spool written by hand, as docs/spool-format.md says it: readers are tested without our own writer."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

BEGIN = 1_763_740_000_000_000_000


def span(number: int) -> str:
    return f"{number:016x}"


class HandWriter:
    """One writer's files, locked and renamed as the format demands."""

    def __init__(
        self, folder: Path, *, writer: str | None = None, format_: int = 1, exporters: list[str] | None = None
    ) -> None:
        self.folder = folder
        self.exporters = exporters
        self.id = writer or os.urandom(8).hex()
        self.format = format_
        self.seq = 0
        self._handle: int | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.rotate()

    @property
    def path(self) -> Path:
        return self.folder / f"{self.id}.{self.seq:08d}.jsonl"

    def rotate(self) -> None:
        """Begin the next file before letting go of the last."""
        self.seq += 1
        temporary = self.path.with_suffix(".tmp")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        fcntl.flock(handle, fcntl.LOCK_EX)
        header = {
            "event": "file",
            "format": self.format,
            "writer": self.id,
            "pid": os.getpid(),
            "time_ns": BEGIN + self.seq,
        }
        if self.exporters is not None:
            header["exporters"] = self.exporters
        os.write(handle, json.dumps(header).encode() + b"\n")
        temporary.rename(self.path)
        self.close()
        self._handle = handle

    def close(self) -> None:
        """End as a process does: the lock is gone."""
        if self._handle is not None:
            os.close(self._handle)
        self._handle = None

    def raw(self, data: bytes) -> None:
        assert self._handle is not None
        os.write(self._handle, data)

    def event(self, event: str, **keys: Any) -> None:
        self.raw(json.dumps({"event": event, **keys}, ensure_ascii=False).encode() + b"\n")

    def start(self, number: int, **keys: Any) -> None:
        """Begin call `number`, which starts that many seconds after BEGIN."""
        fields = {
            "trace_id": f"{number:032x}",
            "start_ns": BEGIN + number * 10**9,
            "name": "ask",
            "kind": "llm",
        }
        self.event("start", span_id=span(number), **(fields | keys))

    def end(self, number: int, **keys: Any) -> None:
        """End it half a second later."""
        fields = {"end_ns": BEGIN + number * 10**9 + 5 * 10**8, "status": "ok"}
        self.event("end", span_id=span(number), **(fields | keys))

    def call(self, number: int, *, output: Any = "yes", **keys: Any) -> None:
        self.start(number, **keys)
        self.end(number, output=output)


def spool_of(store: Path) -> Path:
    return store.with_name(store.name + ".spool")


def bodies(*messages: dict[str, Any], first: int = 0) -> list[dict[str, Any]]:
    """Return messages as an event gives them, numbered from `first`."""
    return [{"n": n, "body": body} for n, body in enumerate(messages, start=first)]
