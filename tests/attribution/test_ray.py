"""Attribution on Ray: the contract of all executors, on a real cluster of this machine."""

from __future__ import annotations

import os
import signal

import pytest

from llm_trace.attribution.policy.executors import Executor
from llm_trace.errors import AttributionError
from tests.helpers.executor_contract import ExecutorContract

pytest.importorskip("ray", reason="Ray is not installed: make test-ray")
psutil = pytest.importorskip("psutil")

from llm_trace_integrations.ray import make_ray_executor  # noqa: E402


class TestRayExecutor(ExecutorContract):
    def make_executor(self, workers: int) -> Executor:
        return make_ray_executor("", workers)

    def kill_worker(self) -> None:
        children = psutil.Process().children(recursive=True)
        actors = [child for child in children if child.name().startswith("ray::Explainer")]
        os.kill(actors[0].pid, signal.SIGKILL)


def test_a_cluster_that_is_not_there_is_named() -> None:
    with pytest.raises(AttributionError, match=r"no Ray answers at 'ray://127\.0\.0\.1:1'"):
        make_ray_executor("127.0.0.1:1", 1)


def test_more_workers_than_devices_are_refused() -> None:
    with pytest.raises(AttributionError, match=r"CPUs for 1000 workers: take --workers"):
        make_ray_executor("", 1000)
