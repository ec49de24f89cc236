"""What the stand-ins of Langfuse, Opik and LangSmith share; `test_own_clients` lets their clients ask."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from tests.helpers.loopback import Received, Reply
from tests.platforms.standins import BEGIN_S

CHOICES = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}}]}
LONG = "refund policy " * 40
"""Longer than Langfuse shows without being asked."""
PROJECT_ID = str(UUID(int=7))
Row = dict[str, Any]


def reply(body: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(body).encode())


def write_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class Hosted:
    """A project named `desk` with traces of a pipeline that asks a model; a call may still run."""

    keys: ClassVar[dict[str, str]]
    """Environment variables with which it answers."""

    def __init__(self, traces: int = 0) -> None:
        self.rows: list[Row] = []
        self.traces = 0
        self.page = 1_000
        """The most that it lists at once, whatever is asked for."""
        self.gone: set[str] = set()
        """Ids of spans that it had."""
        self.add(traces)

    def add(self, number: int, *, begin_s: float | None = None, running: bool = False) -> None:
        """Let traces arrive, each a second after the one before."""
        for _ in range(number):
            self.traces += 1
            begin = BEGIN_S + self.traces if begin_s is None else begin_s
            self.rows += self.build_rows(self.traces, begin, running)

    def build_rows(self, number: int, begin_s: float, running: bool) -> list[Row]:
        """Return the pipeline and the model's call of a trace."""
        raise NotImplementedError

    def end(self) -> None:
        """End the calls that run."""
        raise NotImplementedError

    def answer(self, request: Received) -> Reply:
        """Answer a request as the platform does."""
        raise NotImplementedError

    def list_shown(self) -> dict[tuple[str, str], tuple[Any, str]]:
        """Return (value, explanation) of what stands on spans, by the span's id and a name."""
        raise NotImplementedError
