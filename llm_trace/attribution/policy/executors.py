"""Where many calls are explained: what a pool of workers must do, here or on other machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from llm_trace.attribution.core import plugins
from llm_trace.attribution.models.loading import resolve_model
from llm_trace.attribution.policy.policy import Hook
from llm_trace.attribution.policy.serialization import decode
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from llm_trace.record import Call

GROUP = "llm_trace.executors"
"""Entry points of engines: functions of an address (what stands behind `name://`, empty without) and a
number of workers (`None`: as many as there are devices) that return an `Executor`.
"""
_BUILTIN = {"local": "llm_trace.attribution.policy.local_executor:make_local_executor"}

ReportKind = Literal["ready", "events", "refused", "died"]
"""`ready`: the model is loaded; `refused`: it cannot be, or the budget is too small; `died`: nothing more
comes from this worker.
"""


@dataclass(frozen=True)
class WorkerTask:
    """What every worker of a job is told."""

    policy: bytes
    """As `serialization.encode` returns it."""
    first: Call | None = None
    """A call whose price must lie within `total`."""
    total: int | None = None
    """Evaluations of the whole job."""


@dataclass(frozen=True)
class WorkerReport:
    """What a worker tells."""

    worker: ExplainingWorker
    kind: ReportKind
    events: Sequence[tuple[str, dict[str, Any] | None]] = ()
    """Span ids with their `attribution` events."""
    why: str = ""
    """Of a worker that refused or died."""


class ExplainingWorker(Protocol):
    """A process that has the model loaded and explains the calls that it is sent, in their order."""

    def send(self, calls: Sequence[Call]) -> None:
        """Give it calls that are explained together, after those that it has."""

    def stop(self) -> None:
        """End it; what it has not told is lost."""


class Executor(Protocol):
    """A pool of workers, on this machine or on others; it starts and watches them, and decides nothing."""

    workers: int
    """How many there should be."""

    def start(self, task: WorkerTask) -> ExplainingWorker:
        """Start a worker; it reports when it is ready."""

    def wait(self, workers: Sequence[ExplainingWorker]) -> list[WorkerReport]:
        """Wait until one of the workers has something to tell."""

    def close(self) -> None:
        """Give back what the executor holds."""


ExecutorFactory = Callable[[str, "int | None"], Executor]


def make_executor(place: str, workers: int | None) -> Executor:
    """Return the executor that a place names, such as `local`, `ray` or `ray://host:10001`.

    Args:
        place: name of an engine, and where it answers.
        workers: how many; as the engine thinks best when absent.

    Raises:
        AttributionError: no engine has this name, or it does not answer there.
        MissingExtraError: the engine is not installed.
    """
    name, _, address = place.partition("://")
    builtin: Mapping[str, Any] = _BUILTIN
    factory: ExecutorFactory = plugins.find_plugin(GROUP, name, builtin, "engine")
    return factory(address, workers)


def prepare_hook(task: WorkerTask) -> Hook:
    """Return what explains calls in a worker, once its model is loaded and the budget is worth beginning.

    Raises:
        AttributionError: the model cannot be loaded or does not fit, or the budget does not pay for the first
            call.
    """
    hook = Hook(decode(task.policy)[0])
    resolve_model("demo" if hook.policy.model is None else hook.policy.model)
    check_budget(hook, task.first, task.total)
    return hook


def check_budget(hook: Hook, first: Call | None, total: int | None) -> None:
    """Check that the budget of a job pays for its first call; two passes through the model say so.

    Raises:
        AttributionError: it does not.
    """
    if first is None or total is None:
        return
    needed = hook.price(first).evaluations
    if needed > total:
        raise AttributionError(
            f"a total budget of {total} passes explains no call: {first.span_id} alone takes {needed}; raise "
            "it, or take larger segments"
        )
