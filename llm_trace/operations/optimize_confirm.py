"""Whether the winner of a search is better, by examples that had no part in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.errors import StoreError
from llm_trace.operations.log import OperationLog, read_operations
from llm_trace.operations.optimize_record import Optimization, OptimizationStatus
from llm_trace.statistics.equivalence import PairedChange, measure_change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.operations.optimize_adapter import PromptTrial
    from llm_trace.operations.optimize_examples import Split, Trying
    from llm_trace.record import PromptVersion
    from llm_trace.statistics.floats import Floats
    from llm_trace.stores.duckdb import Store

_WHAT = "optimize"


def _grade(trial: PromptTrial, examples: Sequence[Trying], template: str) -> Floats:
    return np.array([outcome.grade for outcome in trial.try_template(examples, template)])


def confirm_winner(
    trial: PromptTrial,
    version: PromptVersion,
    winner: str,
    split: Split,
    confirmed: int,
    confidence: float,
) -> Optimization:
    """Return the record, with the test on the held-out examples.

    The k-th confirmation has a share of 1 / k(k + 1) of the level: however many follow, all shares together
    are at most the whole (alpha spending).

    Args:
        confirmed: winners that were held against this version before.
    """
    template, is_other = version.template, winner != version.template
    confirmations = confirmed + is_other
    gain = float((_grade(trial, split.validation, winner) - _grade(trial, split.validation, template)).mean())
    fields: dict[str, Any] = dict.fromkeys(("before", "after", "gain", "low", "high", "p_value"))
    status: OptimizationStatus = "nothing"
    if is_other:
        before, after = (_grade(trial, split.held_out, each) for each in (template, winner))
        share = confirmations * (confirmations + 1)
        change = measure_change(before, after, 1 - (1 - confidence) / share)
        p_value = min(1.0, change.p_value * share)
        status = _judge(change, p_value, 1 - confidence)
        fields = {
            "before": float(before.mean()), "after": float(after.mean()), "gain": change.value,
            "low": change.low, "high": change.high, "p_value": p_value,
        }  # fmt: skip
    return Optimization(
        prompt=version.name,
        version=version.version,
        template=template,
        winner=winner,
        status=status,
        train=len(split.train),
        validation=len(split.validation),
        held_out=len(split.held_out),
        tried=len(trial.tried) - 1,
        asked=trial.asked,
        validation_gain=gain,
        **fields,
        confirmations=confirmations,
        confidence=confidence,
        notes=(),
    )


def _judge(change: PairedChange, p_value: float, level: float) -> OptimizationStatus:
    if p_value > level or change.low is None or change.high is None:
        return "undecided"
    return "better" if change.low > 0 else "worse" if change.high < 0 else "undecided"


def count_confirmed(store: Store, version: PromptVersion) -> int:
    """Return how many winners have been held against a version so far."""
    store.ingest()  # what an optimization before this one has noted
    bodies = [operation.body for operation in read_operations(store, kind="note", subject=version.name)]
    return sum(
        (body.get("what"), body.get("version")) == (_WHAT, version.version)
        and body.get("status") != "nothing"
        for body in bodies
    )


def keep_note(store: Store, result: Optimization) -> Optimization:
    """Write a note to the store's spool; return the optimization, which says where that fails."""
    names = ("version", "status", "tried", "gain", "low", "high", "p_value", "confirmations")
    body = {"what": _WHAT, **{name: getattr(result, name) for name in names}}
    body["winner"] = result.diff.after.version
    try:
        with OperationLog(store.path) as log:
            log.append("note", result.prompt, body)
    except StoreError as exc:
        return result.model_copy(update={"notes": (*result.notes, str(exc))})
    return result
