"""Attribution of many calls: here, or spread over several processes of this machine."""

from __future__ import annotations

import os
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.policy.policy import AttributionPolicy, Hook
from llm_trace.attribution.policy.together import explain_together
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llm_trace.record import Call

_AHEAD = 4
"""Calls handed out for each worker, so that none waits and few are lost by a cancel."""
_hooks: list[Hook] = []


def iter_events(
    calls: Iterable[Call], policy: AttributionPolicy, *, workers: int = 1
) -> Iterator[tuple[Call, dict[str, Any] | None]]:
    """Yield each call, once done, with its `attribution` event, or `None` where the policy passes it over.

    Args:
        calls: those that were logged.
        policy: which of them are explained, and how.
        workers: processes; each loads the model itself, so more than one needs it by name or path and the
            policy without functions.

    Raises:
        AttributionError: the policy cannot leave this process, or a worker died.
    """
    if workers < 2:
        yield from explain_together(Hook(policy), calls)
        return
    from llm_trace.attribution.policy.serialization import encode

    data = encode(policy)
    chosen = (call for call in calls if policy.wants(call))
    yield from _spread_calls(chosen, data, policy, workers)


def _spread_calls(
    calls: Iterator[Call], data: bytes, policy: AttributionPolicy, workers: int
) -> Iterator[tuple[Call, dict[str, Any] | None]]:
    from multiprocessing import get_context

    threads = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(data, threads)
    ) as pool:
        running: dict[Future[dict[str, Any] | None], Call] = {}
        try:
            while True:
                for call in islice(calls, _AHEAD * workers - len(running)):
                    running[pool.submit(_explain_call, call)] = call
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    event = done.result()
                    yield (
                        running.pop(done),
                        None if event is None else {**event, "config_hash": policy.config_hash},
                    )
        except BrokenProcessPool as exc:
            raise AttributionError(
                f"a worker died with {len(running)} calls begun, as when the memory runs out: take fewer "
                "workers"
            ) from exc
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(data: bytes, threads: int) -> None:
    """Prepare a worker: its hook, and its share of the cores."""
    import torch

    from llm_trace.attribution.policy.serialization import decode

    torch.set_num_threads(threads)
    _hooks[:] = [Hook(decode(data)[0])]


def _explain_call(call: Call) -> dict[str, Any] | None:
    return _hooks[0](call)
