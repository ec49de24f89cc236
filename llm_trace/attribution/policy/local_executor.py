"""Workers of this machine: processes that explain calls and tell each event as soon as it is there."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, cast

from llm_trace.attribution.models.loading import check_memory
from llm_trace.attribution.policy.executors import WorkerReport, WorkerTask, prepare_hook
from llm_trace.attribution.policy.serialization import decode
from llm_trace.attribution.policy.together import explain_together
from llm_trace.errors import AttributionError, LLMTraceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.attribution.policy.executors import ExplainingWorker, ReportKind
    from llm_trace.record import Call


def make_local_executor(address: str, workers: int | None) -> LocalExecutor:
    """Return a pool of processes of this machine.

    Raises:
        AttributionError: an address, which it has none.
    """
    if address:
        raise AttributionError(f"local://{address}: this machine has no address; say how many by --workers")
    return LocalExecutor(workers or 1)


class LocalWorker:
    """A process that shares the processor's cores with the other workers.

    Args:
        task: what it is told.
        threads: cores that it takes.
    """

    def __init__(self, task: WorkerTask, threads: int) -> None:
        context = get_context("spawn")
        self.pipe, end = context.Pipe()
        self.process = context.Process(
            target=serve_calls, args=(end, task, threads), daemon=True, name="llm_trace-worker"
        )
        self.process.start()
        end.close()

    def send(self, calls: Sequence[Call]) -> None:
        """Give it calls that are explained together, after those that it has."""
        try:
            self.pipe.send(list(calls))
        except OSError:  # it has died: `LocalExecutor.wait` reports that
            pass

    def stop(self) -> None:
        """End it; what it has not told is lost."""
        self.process.terminate()
        self.process.join()
        self.pipe.close()

    def read_report(self) -> WorkerReport:
        """Return what it tells next, or that it has died."""
        try:
            kind, data = cast("tuple[ReportKind, Any]", self.pipe.recv())
        except (EOFError, OSError):
            self.process.join()
            return WorkerReport(self, "died", why=f"exit code {self.process.exitcode}")
        if kind == "refused":
            return WorkerReport(self, kind, why=data)
        return WorkerReport(self, kind, events=data)


class LocalExecutor:
    """Processes of this machine.

    Args:
        workers: how many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._threads = max(1, (os.cpu_count() or 1) // workers)
        self._checked = False

    def start(self, task: WorkerTask) -> LocalWorker:
        """Start a worker; it reports when it is ready.

        Raises:
            AttributionError: the memory does not hold the model as often as there are workers.
        """
        if not self._checked:
            check_memory(decode(task.policy)[0].model, copies=self.workers)
            self._checked = True
        return LocalWorker(task, self._threads)

    def wait(self, workers: Sequence[ExplainingWorker]) -> list[WorkerReport]:
        """Wait until one of the workers has something to tell."""
        by_pipe = {worker.pipe: worker for worker in cast("Sequence[LocalWorker]", workers)}
        return [by_pipe[cast("Connection", pipe)].read_report() for pipe in wait(list(by_pipe))]

    def close(self) -> None:
        """Hold nothing."""


def serve_calls(pipe: Connection, task: WorkerTask, threads: int) -> None:
    """Be a worker until nobody sends calls any more."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who stops the job ends its workers
    torch.set_num_threads(threads)
    try:
        hook = prepare_hook(task)
        pipe.send(("ready", ()))
        while True:
            for call, event in explain_together(hook, pipe.recv()):
                pipe.send(("events", [(call.span_id, event)]))
    except (EOFError, BrokenPipeError):  # who sent the calls has gone
        return
    except LLMTraceError as exc:
        pipe.send(("refused", str(exc)))
