"""Replays that pages have asked for, each in a process of its own, and what became of them."""

from __future__ import annotations

import atexit
import os
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.replays.request import ReplayAnswer, match_function

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_trace.replays.request import ReplayRequest

AT_ONCE = 4
"""Replays that run at the same time."""
_LAST_WORDS = 2000
"""Characters of what a process that broke down has printed last."""


@dataclass
class ReplayJob:
    """A replay that runs or ran."""

    request: ReplayRequest
    process: subprocess.Popen[bytes]
    began: float = field(default_factory=time.monotonic)
    seconds: float | None = None
    """How long it took; `None` while it runs."""
    answer: ReplayAnswer = field(default_factory=ReplayAnswer)
    stopped: bool = False


class ReplayJobs:
    """Starts replays of functions that were named when the viewer was started, and of no others.

    Args:
        functions: `module:function`, each.
        on_end: called after each replay.
    """

    def __init__(self, functions: Sequence[str], on_end: Callable[[], None]) -> None:
        for name in functions:
            if not all(name.partition(":")):
                raise ConfigurationError(f"--replay {name!r} is no module:function, such as app:answer")
        self.functions = tuple(functions)
        self._on_end = on_end
        self._jobs: dict[str, ReplayJob] = {}

    def find_function(self, function: str | None, name: str) -> str | None:
        """Return the named function that a call was of, by its recorded place, else by its name alone."""
        return match_function(self.functions, function, name)

    def get(self, job_id: str) -> ReplayJob:
        """Return a replay.

        Raises:
            NotFoundError: there is none of this id.
        """
        if job_id not in self._jobs:
            raise NotFoundError(
                f"no replay {job_id!r}: they are known until llm-trace view ends; their runs stay"
            )
        return self._jobs[job_id]

    def start(self, request: ReplayRequest) -> str:
        """Start a replay and return its id.

        Raises:
            ConfigurationError: its function was not named, or too many run.
        """
        if request.function not in self.functions:
            raise ConfigurationError(
                f"{request.function!r} may not run: llm-trace view was not started with --replay "
                f"{request.function}"
            )
        if sum(job.seconds is None for job in self._jobs.values()) >= AT_ONCE:
            raise ConfigurationError(f"{AT_ONCE} replays are running: wait for one to end, or stop one")
        if not self._jobs:
            atexit.register(self.stop_all)
        job = ReplayJob(request, _start_process(request))
        job_id = secrets.token_hex(8)
        self._jobs[job_id] = job
        threading.Thread(target=self._follow, args=(job,), name="llm_trace-replay", daemon=True).start()
        return job_id

    def _follow(self, job: ReplayJob) -> None:
        out, err = job.process.communicate(job.request.model_dump_json().encode())
        job.answer = _read_answer(job, out, err.decode("utf-8", "replace"))
        self._on_end()
        job.seconds = time.monotonic() - job.began

    def stop(self, job_id: str) -> None:
        """End a replay; what it has recorded stays.

        Raises:
            NotFoundError: there is none of this id.
        """
        job = self.get(job_id)
        if job.seconds is None:
            job.stopped = True
            job.process.terminate()

    def stop_all(self) -> None:
        """End all replays that run."""
        for job_id in self._jobs:
            self.stop(job_id)


def _start_process(request: ReplayRequest) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "llm_trace.replays.request"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LLM_TRACE_STORE": request.store},
    )


def _read_answer(job: ReplayJob, out: bytes, err: str) -> ReplayAnswer:
    if job.stopped:
        return ReplayAnswer(problem="it was stopped; what was recorded until then is in the store")
    if out:
        return ReplayAnswer.model_validate_json(out)
    return ReplayAnswer(
        problem=f"the process that ran {job.request.function} ended with {job.process.returncode}:\n"
        f"{err.strip()[-_LAST_WORDS:]}"
    )
