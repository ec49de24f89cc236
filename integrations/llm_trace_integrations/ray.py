"""Ray: an actor for each device that has the model loaded once and explains calls.

Ray places the actors, carries calls and events, and notices which died; what is done again is decided by
`llm_trace.attribution.policy.spread`, as for the processes of one machine.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from llm_trace.attribution.policy.executors import ReportKind, WorkerReport, WorkerTask, prepare_hook
from llm_trace.attribution.policy.together import explain_together
from llm_trace.errors import AttributionError, LLMTraceError, MissingExtraError

if TYPE_CHECKING:
    from llm_trace.attribution.policy.executors import ExplainingWorker
    from llm_trace.record import Call

_OBJECT_STORE_BYTES = 100 << 20
"""Of a Ray of our own: calls and events are small."""
_PATIENCE_S = 10.0
"""For a cluster to answer at its port."""


def make_ray_executor(address: str, workers: int | None) -> RayExecutor:
    """Return the actors of a Ray cluster.

    Args:
        address: `host:port` of its Ray client server, `auto` for the cluster that this machine belongs to;
            empty: a Ray of this machine alone, which listens on 127.0.0.1 and ends with the job.
        workers: actors; one for each graphics card when absent, without any one.

    Raises:
        AttributionError: nothing answers there, or it has not the devices for so many workers.
        MissingExtraError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as exc:
        raise MissingExtraError("'ray' is not installed: pip install 'llm-trace[ray]'") from exc
    owns = not ray.is_initialized()
    if owns:
        _connect(ray, address)
    try:
        return RayExecutor(ray, workers, owns=owns)
    except BaseException:
        if owns:
            ray.shutdown()
        raise


def _connect(ray: Any, address: str) -> None:
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if not address:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            ray.init(
                "local",
                num_cpus=os.cpu_count(),
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                **settings,
            )
        elif address == "auto":
            ray.init("auto", **settings)
        else:
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()  # Ray would try for long
            ray.init(f"ray://{address}", **settings)
    except (OSError, ValueError, RuntimeError, ImportError) as exc:
        place = f"ray://{address}" if address else "ray"
        raise AttributionError(
            f"no Ray answers at {place!r} ({exc}): start one by `ray start --head`, whose clients use port "
            "10001, or give --on ray for one of this machine"
        ) from exc


class Explainer:
    """The actor: a model, loaded once, and what explains calls by it."""

    def prepare(self, task: WorkerTask) -> tuple[ReportKind, str]:
        """Load the model; return whether that was possible."""
        import torch

        try:
            self._hook = prepare_hook(task)
        except LLMTraceError as exc:
            return "refused", str(exc)
        if torch.cuda.is_available():
            _move_model(self._hook.policy.model)
        return "ready", ""

    def explain(self, calls: Sequence[Call]) -> list[tuple[str, dict[str, Any] | None]]:
        """Return the event of each call, by its span id."""
        return [(call.span_id, event) for call, event in explain_together(self._hook, calls)]


def _move_model(name: str | None) -> None:
    """Move the loaded model to the graphics card that Ray gave to this actor."""
    from llm_trace.attribution.models.loading import resolve_model

    resolve_model("demo" if name is None else name)[0].to("cuda")


class RayWorker:
    """One actor, and what it was asked in order."""

    def __init__(self, ray: Any, actor: Any, task: WorkerTask) -> None:
        self._ray, self._actor = ray, actor
        self.asked: deque[Any] = deque([actor.prepare.remote(task)])
        self._ready = False

    def send(self, calls: Sequence[Call]) -> None:
        """Give it calls that are explained together, after those that it has."""
        self.asked.append(self._actor.explain.remote(list(calls)))

    def stop(self) -> None:
        """End it; what it has not told is lost."""
        self._ray.kill(self._actor)

    def read_report(self) -> WorkerReport:
        """Return what it tells next, or that it has died."""
        try:
            answer = self._ray.get(self.asked.popleft())
        except self._ray.exceptions.RayError as exc:
            return WorkerReport(self, "died", why=str(exc).strip().splitlines()[0])
        if self._ready:
            return WorkerReport(self, "events", events=answer)
        kind, why = answer
        self._ready = kind == "ready"
        return WorkerReport(self, kind, why=why)


class RayExecutor:
    """Actors of a Ray cluster, one for each device.

    Args:
        ray: the library, connected.
        workers: how many; see `make_ray_executor`.
        owns: whether the connection ends with the job.

    Raises:
        AttributionError: the cluster has not the devices.
    """

    def __init__(self, ray: Any, workers: int | None, *, owns: bool = False) -> None:
        self._ray, self._owns = ray, owns
        resources = ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        self.workers = workers or gpus or 1
        most = gpus or cpus
        if self.workers > most:
            kind = "graphics cards" if gpus else "CPUs"
            raise AttributionError(f"Ray has {most} {kind} for {self.workers} workers: take --workers {most}")
        devices = {"num_cpus": max(1, cpus // self.workers), "num_gpus": int(gpus > 0)}
        self._options = {**devices, "max_restarts": 0}

    def start(self, task: WorkerTask) -> RayWorker:
        """Start an actor; it reports when it is ready."""
        actor = self._ray.remote(Explainer).options(**self._options).remote()
        return RayWorker(self._ray, actor, task)

    def wait(self, workers: Sequence[ExplainingWorker]) -> list[WorkerReport]:
        """Wait until one of the actors has something to tell."""
        by_ref = {worker.asked[0]: worker for worker in cast("Sequence[RayWorker]", workers) if worker.asked}
        ready, _ = self._ray.wait(list(by_ref), num_returns=1)
        return [by_ref[ref].read_report() for ref in ready]

    def close(self) -> None:
        """End the connection, and a Ray that was started for the job."""
        if self._owns:
            self._ray.shutdown()
