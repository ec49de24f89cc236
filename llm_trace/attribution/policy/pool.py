"""Attribution of many calls: here, in several processes of this machine, or where an engine has workers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llm_trace.attribution.policy.executors import WorkerTask, check_budget, make_executor
from llm_trace.attribution.policy.hourly_budget import Allowance
from llm_trace.attribution.policy.policy import AttributionPolicy, Hook
from llm_trace.attribution.policy.serialization import encode
from llm_trace.attribution.policy.spread import SpreadJob
from llm_trace.attribution.policy.together import explain_together

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from llm_trace.attribution.policy.executors import Executor
    from llm_trace.attribution.policy.together import CallEvent
    from llm_trace.record import Call


def iter_events(
    calls: Iterable[Call],
    policy: AttributionPolicy,
    *,
    workers: int | None = None,
    place: str | None = None,
    total: int | None = None,
) -> Iterator[CallEvent]:
    """Yield each call, once done, with its `attribution` event, or `None` where the policy passes it over.

    Each call is explained once, also where workers die. Whoever stops has what was yielded.

    Args:
        calls: those that were logged.
        policy: which of them are explained, and how.
        workers: processes; each loads the model itself, so more than one needs it by name or path and the
            policy without functions.
        place: an engine, see `make_executor`; this process where it is absent and one worker is enough.
        total: most evaluations of all calls together; those beyond it are left out.

    Raises:
        AttributionError: the policy cannot leave this process, the model does not fit or cannot be loaded,
            `total` pays for no call, or workers die again and again.
    """
    calls = list(calls)
    if place is None and (workers or 1) < 2:
        hook = Hook(policy)
        check_budget(hook, next(filter(policy.wants, calls), None), total)
        yield from explain_together(hook, calls, Allowance(total, None))
    elif calls:
        encode(policy)  # what cannot leave this process is said before anything is started
        yield from spread_calls(calls, policy, make_executor(place or "local", workers), total)


def spread_calls(
    calls: Sequence[Call], policy: AttributionPolicy, executor: Executor, total: int | None = None
) -> Iterator[CallEvent]:
    """Yield what `iter_events` does, by the workers of an executor.

    Raises:
        AttributionError: as for `iter_events`.
    """
    hook = Hook(policy)
    wanted = []
    for call in calls:
        if policy.wants(call):
            wanted.append(call)
        else:
            yield call, None
    first = wanted[0] if wanted else None
    task = WorkerTask(encode(replace(policy, budget_per_hour=None)), first, total)
    allowance = hook.allowance if total is None else Allowance(total, None)
    yield from SpreadJob(wanted, task, executor, hook, allowance).run()
