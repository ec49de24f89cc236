"""`why`: what a decision came from, by making it again without each of the steps before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.attribution.core.value import as_budget
from llm_trace.causes.deciding_calls import find_deciding_call
from llm_trace.causes.why_chain import find_chain
from llm_trace.causes.why_decision import ModelDecision
from llm_trace.causes.why_order import order_steps
from llm_trace.causes.why_record import Causes
from llm_trace.causes.why_search import search_causes
from llm_trace.causes.why_steps import list_seen_steps
from llm_trace.causes.why_trials import Trials, plan_trials
from llm_trace.causes.why_values import check_replacement, describe_replacement, list_recorded_values
from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.replays.forking import begin_forking
from llm_trace.replays.playing import open_replayed_store
from llm_trace.replays.roots import choose_root

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from llm_trace.attribution_settings import Budget
    from llm_trace.causes.why_values import Replacement
    from llm_trace.record import Call
    from llm_trace.replays.roots import Function
    from llm_trace.replays.tape import Tape
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
        ReplayError: the function cannot be called again, or does not come to the decision as it did.
        NotFoundError: the store has no such call, or no call of a model before the tool's.
    """
    check_replacement(replace)
    opened = open_replayed_store(store)
    asked = opened.call(call if isinstance(call, str) else call.span_id)
    deciding = asked if asked.kind == "llm" else find_deciding_call(asked, opened)
    limit = _count_affordable(as_budget(budget), deciding)
    root = choose_root(_list_around(opened, deciding), functions or ())
    tools = {each.name for each in opened.trace(asked.trace_id) if each.kind == "tool"}
    with begin_forking(
        root.span_id, deciding.span_id, store=opened, overrides=overrides, functions=functions or (),
        serve=tools, record_env=False,
    ) as forking:  # fmt: skip
        decision = _build_decision(forking.recording.tape, asked, deciding, root)
        seen, notes = list_seen_steps(decision.tape, decision.deciding)
        plan = plan_trials(len(seen), repeats, limit, confidence)
        recorded = replace == "recorded"
        values = list_recorded_values(seen, decision.tape, opened, asked.trace_id) if recorded else {}
        trials = Trials(forking, decision, plan, values)
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


def _build_decision(tape: Tape, asked: Call, deciding: Call, root: Call) -> ModelDecision:
    """Return what is explained.

    Raises:
        NotFoundError: the call did not run inside the root.
    """
    explained = tape.calls.get(asked.span_id)
    if explained is None:
        raise NotFoundError(
            f"{asked.name} ({asked.span_id}) did not run inside {root.name} ({root.span_id}): name the "
            "function that the run began with in functions"
        )
    return ModelDecision(explained, tape.calls[deciding.span_id], tape)


def _list_around(store: Store, call: Call) -> list[Call]:
    """Return the calls inside which a call ran and the call itself, from the outermost inwards."""
    calls = {each.span_id: each for each in store.trace(call.trace_id)}
    path = [call]
    while (outer := calls.get(path[0].parent_id or "")) is not None and outer not in path:
        path.insert(0, outer)
    return path


def _count_affordable(budget: Budget | None, deciding: Call) -> int | None:
    """Return how many calls of the model a budget pays for.

    Raises:
        ConfigurationError: it is in dollars, and what the call costs is not known.
    """
    if budget is None:
        return None
    limits = [budget.evaluations] if budget.evaluations is not None else []
    if budget.usd is not None:
        if not deciding.cost_usd:
            raise ConfigurationError(
                f"what {deciding.name} ({deciding.span_id}) costs is not known, so a budget in dollars "
                "counts nothing: give the number of calls, budget=200"
            )
        limits.append(int(budget.usd / deciding.cost_usd))
    if budget.tokens is not None or budget.seconds is not None or not limits:
        raise ConfigurationError("a budget of `why` is a number of calls, or Budget(usd=…)")
    return min(limits)


def _list_limits(steps: int, tested: int, share: float) -> list[str]:
    if share < LEAST:
        remark = (
            f"only {share:.0%} of the reruns with everything as it was decide so: the model is not the "
            "recorded one, or decides by chance; no step was tried"
        )
        return [remark]
    return [f"the budget reached {tested} of {steps} steps"] if tested < steps else []
