"""Many calls explained in one process: their perturbed prompts go through the model together, by length."""

from __future__ import annotations

from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.methods import registry
from llm_trace.attribution.models.turns import take_turns
from llm_trace.attribution.policy.hourly_budget import Allowance
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from llm_trace.attribution.policy.policy import AttributionPolicy, Hook
    from llm_trace.record import Call

    CallEvent = tuple[Call, dict[str, Any] | None]

MOST_CALLS = 16
"""Calls that are explained at once: more fill the batches no better."""
_MOST_CHARACTERS = 100_000
"""Of their prompts in all: what the model computed for each is kept meanwhile, and long ones fill a batch
alone.
"""


def explain_together(
    hook: Hook, calls: Iterable[Call], allowance: Allowance | None = None
) -> Iterator[CallEvent]:
    """Yield each call, once done, with its event, as the hook gives it for one call after another.

    Methods that look inside the model, and models that are no open decoders, ask one by one.

    Args:
        hook: explains a call.
        calls: those that were logged.
        allowance: what all of them may cost; calls beyond it are left out.
    """
    job = allowance or Allowance()
    affordable = takewhile(lambda _: job.allows(hook.now()), calls)
    for call, event in _explain_each(hook, affordable, job):
        if event is not None and event["attribution"] is not None:
            job.spend(hook.now(), event["attribution"])
        yield call, event


def _explain_each(hook: Hook, calls: Iterable[Call], job: Allowance) -> Iterator[CallEvent]:
    if not _asks_values(hook.policy):
        yield from ((call, hook(call)) for call in calls)
        return
    from llm_trace.attribution.models.causal_passes import answer_requests

    sizes: dict[str, int] = {}

    def list_tasks() -> Iterator[Callable[[], CallEvent]]:
        for call in calls:
            sizes[call.span_id] = _count_characters(call)
            yield partial(_explain_call, hook, call)

    def may_begin(beside: int) -> bool:
        if beside == 0:
            return True
        fits = beside < MOST_CALLS and sum(sizes.values()) < _MOST_CHARACTERS
        return fits and all(a.allows(hook.now(), beside) for a in (hook.allowance, job))

    for call, event in take_turns(
        list_tasks(), answer_requests, may_begin=may_begin, weigh=lambda request: request.tokens
    ):
        del sizes[call.span_id]
        yield call, event


def _explain_call(hook: Hook, call: Call) -> CallEvent:
    return call, hook(call)


def _asks_values(policy: AttributionPolicy) -> bool:
    """Whether the method asks for values of perturbed prompts and nothing else."""
    try:
        return policy.method == "auto" or registry.get_info(policy.method).access == "values"
    except AttributionError:  # said of each call
        return False


def _count_characters(call: Call) -> int:
    return sum(len(m.text) for m in call.messages_in) or len(str(call.input))
