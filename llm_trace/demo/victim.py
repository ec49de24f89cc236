"""Kill a process in the middle of its work and count what is left of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import llm_trace
from llm_trace.demo.crash import BEGUN, RETURNED, RUN

AFTER = 40
"""Answers after which the process is killed, in the middle of the next."""
PATIENCE_S = 120.0
MODULE = "llm_trace.demo.crash"


@dataclass(frozen=True)
class Crash:
    """A process that was killed, and what the store has of it."""

    returned: int
    """Answers that the pipeline had returned when it died: each is two calls."""
    found: int
    """Of these in the store, whole."""
    interrupted: int
    """Calls that were open, in the store with their input."""
    exit_code: int
    run_id: str | None
    doubts: tuple[str, ...]


def run_and_kill(path: Path, after: int = AFTER) -> Crash:
    """Start the pipeline in another process, kill it during a model call, and read the store."""
    command = [sys.executable, "-P", "-m", MODULE, str(path)]
    with subprocess.Popen(
        command, env=build_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        last = threading.Timer(PATIENCE_S, child.kill)
        last.start()
        returned = _watch(child, after)
        last.cancel()
        complaint = child.stderr.read() if child.stderr else ""
    doubts = () if returned >= after else (f"the other process ended by itself: {complaint.strip()[-300:]}",)
    return _count_doubts(path, returned, child.returncode, doubts)


def build_environment() -> dict[str, str]:
    """Return this process's environment for another one, which finds this package and no settings."""
    source = str(Path(llm_trace.__file__).resolve().parents[1])
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LLM_TRACE_", "PYTEST_"))}
    return environment | {
        "PYTHONPATH": os.pathsep.join(filter(None, [source, environment.get("PYTHONPATH")]))
    }


def _watch(child: subprocess.Popen[str], after: int) -> int:
    """Kill the child once it is in the middle of a call; return how many answers it had returned by then."""
    returned = 0
    for line in child.stdout or ():  # to the end of the pipe: what it still said before it died counts too
        returned += line.strip() == RETURNED
        if line.strip() == BEGUN and returned == after:
            with contextlib.suppress(ProcessLookupError):
                child.kill()  # SIGKILL: no handler, no atexit, no flush
    return returned


def _count_doubts(path: Path, returned: int, code: int, doubts: tuple[str, ...]) -> Crash:
    from llm_trace.stores.duckdb import open_store

    with open_store(path) as store:
        row = store.sql("SELECT id FROM runs WHERE name = ? ORDER BY start_ns DESC LIMIT 1", RUN).fetchone()
        run = None if row is None else str(row[0])
        query = "SELECT name, status, count(*) FROM calls WHERE run = ? GROUP BY ALL"
        counts = {(str(name), str(status)): int(count) for name, status, count in store.sql(query, run)}
    whole = min(counts.get((name, "ok"), 0) for name in ("handle", "ask"))
    interrupted = sum(count for (_, status), count in counts.items() if status == "interrupted")
    if whole < returned:
        doubts = (*doubts, f"{returned - whole} answers that were returned are not in the store")
    if not interrupted:
        doubts = (*doubts, "no call was open when the process died")
    return Crash(returned, whole, interrupted, code, run, doubts)
