"""Runs of which one was forked and explained often, as the spool has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.helpers.spool_toys import BEGIN, HandWriter, spool_of

OLD, FORK, DEEPER, NEW = "a" * 32, "b" * 32, "c" * 32, "d" * 32
RERUNS = 50


def write_forked_runs(path: Path, why_reruns: int = RERUNS, tags: Sequence[str] = ()) -> Path:
    """Write an old run with a fork, a fork of that, reruns of a `why`, 20 of one change; then a new one.

    Each rerun has a call that cost a cent; one of the `why` failed. A run that is gone was forked, too.

    Args:
        why_reruns: how many.
        tags: of the old run.
    """
    writer = HandWriter(spool_of(path))
    about = {"at": "1" * 16, "name": "look_up"}
    _write_run(writer, OLD, 0, name="nightly", tags=list(tags))
    change = about | {"set": {"output": "none"}, "repeat": 1}
    _write_fork(writer, FORK, 1, OLD, change)
    _write_fork(writer, DEEPER, 2, FORK, change | {"at": "2" * 16})
    for number in range(why_reruns):
        why = about | {"why": "3" * 16, "without": [f"tool result {number}"]}
        run = _write_fork(writer, f"e{number:031}", 3 + number, OLD, why)
        status = "error" if number == 7 else "ok"
        writer.start(number, run=run, start_ns=BEGIN, kind="llm", name="decide")
        writer.end(number, status=status, end_ns=BEGIN + 1, cost_usd=0.01, usage={"input_tokens": 2})
    for number in range(20):
        other = about | {"set": {"output": "late"}, "repeat": number + 1}
        _write_fork(writer, f"f{number:031}", 60 + number, OLD, other)
    _write_fork(writer, "0" * 32, 90, "9" * 32, about | {"set": {"output": "x"}})
    _write_run(writer, NEW, 99, name="new")
    writer.close()
    return path


def _write_fork(writer: HandWriter, run: str, second: int, fork_of: str, fork: dict[str, Any]) -> str:
    config = {"of": "nightly", "fork": fork}
    _write_run(writer, run, second, name="fork of nightly", fork_of=fork_of, config=config)
    return run


def _write_run(writer: HandWriter, run: str, second: int, **fields: Any) -> None:
    start_ns = BEGIN + second * 10**9
    writer.event(event="run", id=run, start_ns=start_ns, end_ns=start_ns + 10**9, **fields)
