"""Forks of a run at the call of a model that made a decision."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.core.value import as_budget
from llm_trace.causes.deciding_calls import find_deciding_call
from llm_trace.causes.why_decision import ModelDecision
from llm_trace.errors import ConfigurationError, NotFoundError, ReplayError
from llm_trace.replays.forking import begin_forking
from llm_trace.replays.roots import choose_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from llm_trace.attribution_settings import Budget
    from llm_trace.record import Call
    from llm_trace.replays.forking import Forking
    from llm_trace.replays.roots import Function
    from llm_trace.stores.duckdb import Store


@dataclass(frozen=True)
class DecisionForking:
    """A decision whose run is forked where it was made."""

    forking: Forking
    decision: ModelDecision
    limit: int | None
    """Calls of the model that the budget pays for; `None` for as many as it takes."""


@contextlib.contextmanager
def fork_decision(
    asked: Call, store: Store, functions: str | Function | Iterable[str | Function] | None,
    budget: int | Budget | None, overrides: Mapping[str, Any] | None = None,
) -> Iterator[DecisionForking]:  # fmt: skip
    """Give a decision with its run, which is forked at the model's call that decided.

    Tools answer from the record; one that it does not have is not run.

    Args:
        asked: a call of a tool, or of a model.
        store: where it was recorded.
        functions: as for `why`.
        budget: as for `why`.
        overrides: as for `why`.

    Raises:
        ConfigurationError: the budget counts nothing.
        ReplayError: the function cannot be called again, or the model failed then.
        NotFoundError: no call of a model decided, or the function did not run around it.
    """
    deciding = asked if asked.kind == "llm" else find_deciding_call(asked, store)
    _check_decided(deciding)
    limit = _count_affordable(as_budget(budget), deciding)
    root = choose_root(_list_around(store, deciding), functions or ())
    tools = {each.name for each in store.trace(asked.trace_id) if each.kind == "tool"}
    with begin_forking(
        root.span_id, deciding.span_id, store=store, overrides=overrides, functions=functions or (),
        serve=tools, record_env=False,
    ) as forking:  # fmt: skip
        tape = forking.recording.tape
        explained = tape.calls.get(asked.span_id)
        if explained is None:
            raise NotFoundError(
                f"{asked.name} ({asked.span_id}) did not run inside {root.name} ({root.span_id}): name the "
                "function that the run began with in functions"
            )
        yield DecisionForking(forking, ModelDecision(explained, tape.calls[deciding.span_id], tape), limit)


def _check_decided(deciding: Call) -> None:
    """Refuse a call of a model that did not come to a decision.

    Raises:
        ReplayError: it failed, or has no end.
    """
    if deciding.status in ("error", "open", "interrupted"):
        raise ReplayError(
            f"{deciding.name} ({deciding.span_id}) has status {deciding.status!r}, so it decided nothing: "
            f"`llm-trace show {deciding.span_id}` says what happened; nothing was run"
        )


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
