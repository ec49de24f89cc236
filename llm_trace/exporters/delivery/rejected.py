"""What a destination refused for good, whole and with the reason: `<store>.spool/rejected/<name>.jsonl`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.exporters.delivery.spool_reader import parse_line
from llm_trace.exporters.protocol import Event
from llm_trace.spool.private import open_private

if TYPE_CHECKING:
    from pathlib import Path


class Rejected:
    """The events set aside for one destination.

    Args:
        cursor: path of the destination's cursor.
    """

    def __init__(self, cursor: Path) -> None:
        self.path = cursor.parents[1] / "rejected" / f"{cursor.stem}.jsonl"
        self._wanted = self.path.with_suffix(".wanted")

    def add(self, event: Event, reason: str) -> None:
        """Keep an event."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        entry = {
            "kind": event.kind,
            "id": event.id,
            "reason": reason,
            "time_ns": time.time_ns(),
            "data": event.data,
        }
        with open_private(self.path, "ab") as file:
            file.write(_encode(entry) + b"\n")

    def events(self) -> list[Event]:
        """Return what is kept, each event once."""
        paths = [path for path in (self._taken, self.path) if path.exists()]
        lines = [line for path in paths for line in path.read_bytes().splitlines()]
        entries = [entry for line in lines if (entry := parse_line(line)) and "data" in entry]
        return list({(e["kind"], e["id"]): Event(e["kind"], e["id"], e["data"]) for e in entries}.values())

    def take(self) -> list[Event]:
        """Return what is kept and move it away, until `forget` or `put_back`."""
        self.put_back()  # what a process that was killed had taken
        if self.path.exists():
            self.path.replace(self._taken)
        return self.events()

    def put_back(self) -> None:
        """Keep again what `take` returned last, beside what has come since."""
        if self._taken.exists():
            with open_private(self.path, "ab") as file:
                file.write(self._taken.read_bytes())
            self.forget()

    def forget(self) -> None:
        """Remove what `take` returned last."""
        self._taken.unlink(missing_ok=True)

    def ask(self) -> None:
        """Ask the process that delivers to send again what is kept."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._wanted.touch()

    def is_asked(self) -> bool:
        """Return whether somebody has asked, and not been served."""
        return self._wanted.exists()

    def finish_retry(self) -> None:
        """Say that what was asked for is done."""
        self._wanted.unlink(missing_ok=True)

    @property
    def _taken(self) -> Path:
        return self.path.with_suffix(".retried")


def _encode(kept: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(kept, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # lone surrogates, big integers
        import json

        return json.dumps(kept, default=str).encode()
