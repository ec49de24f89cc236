"""`why`: what a decision came from, by making it again without each of the steps before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.causes.decision_forks import fork_decision
from llm_trace.causes.why_chain import find_chain
from llm_trace.causes.why_order import order_steps
from llm_trace.causes.why_record import Causes
from llm_trace.causes.why_search import search_causes
from llm_trace.causes.why_steps import list_seen_steps
from llm_trace.causes.why_trials import Trials, plan_trials
from llm_trace.causes.why_values import check_replacement, describe_replacement, list_recorded_values
from llm_trace.replays.playing import open_replayed_store

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from llm_trace.attribution_settings import Budget
    from llm_trace.causes.why_values import Replacement
    from llm_trace.record import Call
    from llm_trace.replays.roots import Function
    from llm_trace.stores.duckdb import Store

LEAST = 0.5
"""Share of reruns with everything as it was that must decide the same: below, nothing can be said."""


def why(
    call: str | Call,
    *,
    store: str | os.PathLike[str] | Store | None = None,
    functions: str | Function | Iterable[str | Function] | None = None,
    model: Any = None,
    repeats: int = 20,
    budget: int | Budget | None = None,
    overrides: Mapping[str, Any] | None = None,
    replace: Replacement = "removed",
    confidence: float = 0.95,
) -> Causes:
    """Return which steps before it caused a tool call, or an answer of a model.

    The model's call that decided is made again, all before it answered from the record: as it was, and
    without each message, tool result, retrieved text, variable or line that it saw. What is taken away is
    replaced by `[removed]`, or what the same tools gave in other traces. A rerun ends where the decision is
    known: the tool is not run, nor anything that the record does not answer.

    Args:
        call: of a tool, or of a model; or its `span_id`.
        store: where it was recorded; the configured one where not given.
        functions: the function that the run began with, or that of the model's call, or `"module:function"`.
        model: for attribution, by which the steps are ordered where the store has none (as for
            `llm_trace.attribute`); without it the nearest are tried first.
        repeats: how many reruns at most for each step, and with everything as it was.
        budget: calls of the model in all, or dollars (`Budget(usd=…)`).
        overrides: as for `replay`: arguments of the function that the record does not hold.
        replace: `removed`, or `recorded`: in place of what a tool or a retriever gave stands what it gave in
            other traces of the store, one value after the other.
        confidence: of the bounds; 1 less it is how often any step may be accused wrongly.

    Raises:
        ConfigurationError: the budget, or the repeats, cannot tell anything from chance; or `replace` is
            unknown.
        ReplayError: the function cannot be called again, or does not come to the decision as it did; or the
            model failed, then or now.
        NotFoundError: the store has no such call, or no call of a model before the tool's.
    """
    check_replacement(replace)
    opened = open_replayed_store(store)
    asked = opened.call(call if isinstance(call, str) else call.span_id)
    with fork_decision(asked, opened, functions, budget, overrides) as forked:
        decision = forked.decision
        deciding = opened.call(decision.deciding.span_id)
        seen, notes = list_seen_steps(decision.tape, decision.deciding)
        plan = plan_trials(len(seen), repeats, forked.limit, confidence)
        recorded = replace == "recorded"
        values = list_recorded_values(seen, decision.tape, opened, asked.trace_id) if recorded else {}
        trials = Trials(forked.forking, decision, plan, values)
        trials.check(seen)
        steps, order, remarks = order_steps(seen, deciding, opened, model)
        share = trials.try_control(trials.looks[0].control).share
        tested = plan.steps if share >= LEAST else 0
        causes = search_causes(trials, steps, tested, 1 - confidence)
    about = describe_replacement(replace, values, len(seen))
    limits = _list_limits(len(steps), tested, share)
    chain = find_chain(decision, causes, 1 - confidence)
    return Causes(
        asked.span_id, decision.describe(), deciding.span_id, tuple(causes), trials.control, trials.spent,
        confidence, order, chain, (about, *notes, *remarks, *limits),
    )  # fmt: skip


def _list_limits(steps: int, tested: int, share: float) -> list[str]:
    if share < LEAST:
        remark = (
            f"only {share:.0%} of the reruns with everything as it was decide so: the model is not the "
            "recorded one, or decides by chance; no step was tried"
        )
        return [remark]
    return [f"the budget reached {tested} of {steps} steps"] if tested < steps else []
