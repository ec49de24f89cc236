"""Work that takes long: it goes on when the answer must be given, and is asked for again by its id."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from llm_trace.errors import ConfigurationError, NotFoundError, ReplayError
from llm_trace.mcp.answers import MoreRequest, ToolAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

AT_ONCE = 4
"""Pieces of work that go on at the same time."""
_LAST_WORDS = 2000
"""Characters of what a process that broke down has printed last."""
JobId = Annotated[
    str | None, Field(description="Instead of all else: the id that an earlier answer gave, to ask again.")
]
WaitSeconds = Annotated[
    float, Field(ge=0, le=300, description="How long to wait before the answer is that it still runs.")
]


class ToolJobs:
    """Pieces of work by id, at most `AT_ONCE` at a time; they are known until the server ends."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE, "llm_trace-mcp")
        self._jobs: dict[str, Future[ToolAnswer]] = {}
        self._processes: set[subprocess.Popen[bytes]] = set()

    def begin(self, tool: str, wait_s: float, work: Callable[[], ToolAnswer]) -> ToolAnswer:
        """Begin work and return its answer, or how to ask for it.

        Raises:
            ConfigurationError: too much goes on.
            LLMTraceError: what the work raised.
        """
        return self.follow(tool, self._start(work), wait_s)

    def follow(self, tool: str, job_id: str, wait_s: float) -> ToolAnswer:
        """Wait for work that was begun and return its answer, or how to ask again.

        Raises:
            NotFoundError: there is no job of this id.
            LLMTraceError: what the work raised.
        """
        if job_id not in self._jobs:
            raise NotFoundError(
                f"there is no job {job_id!r}: jobs are known until the server ends; ask for the work itself"
            )
        try:
            return self._jobs[job_id].result(timeout=wait_s)
        except LateError:
            again = MoreRequest(gives="its answer", tool=tool, arguments={"job": job_id})
            return ToolAnswer(
                verdict=f"It still runs, as job {job_id}: nothing is decided yet.", more=(again,)
            )

    def _start(self, work: Callable[[], ToolAnswer]) -> str:
        if sum(not job.done() for job in self._jobs.values()) >= AT_ONCE:
            raise ConfigurationError(f"{AT_ONCE} jobs are running: ask for one of them first")
        job_id = secrets.token_hex(4)
        self._jobs[job_id] = self._pool.submit(work)
        return job_id

    def run_process(self, module: str, task: bytes, *, folder: str | None, env: Mapping[str, str]) -> bytes:
        """Return what a Python module printed that was given a task on its standard input.

        Raises:
            ReplayError: it broke down, with its last words.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", module], cwd=folder, env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._processes.add(process)
        try:
            out, err = process.communicate(task)
        finally:
            self._processes.discard(process)
        if not out:
            last = err.decode("utf-8", "replace").strip()[-_LAST_WORDS:]
            raise ReplayError(f"the process ended with {process.returncode}: {last}")
        return out

    def close(self) -> None:
        """End what still runs; what it has recorded stays."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in list(self._processes):
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
