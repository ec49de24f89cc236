"""What an evaluation came to, read from its run in the store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from llm_trace.comparison.conditions import parse_condition
from llm_trace.errors import NotFoundError
from llm_trace.evaluation import words
from llm_trace.evaluation.agreement import build_agreement
from llm_trace.evaluation.bias import build_probes
from llm_trace.evaluation.calibration import build_calibrations
from llm_trace.evaluation.dimensions import (
    RIGHT,
    Dimension,
    ScoreTable,
    build_dimensions,
    build_tables,
)
from llm_trace.evaluation.evaluation_record import EvaluationRecord, FailedAnswer, FailureKind
from llm_trace.evaluation.group_weights import measure_weights
from llm_trace.evaluation.memorisation import MemorisationGap, build_gaps
from llm_trace.evaluation.outcomes import Outcome, read_outcomes
from llm_trace.record import Run
from llm_trace.stores.duckdb import Store, open_store
from llm_trace.stores.lookup import read_run_attributions

TAG = "evaluation"
"""Tag of the runs of evaluations."""
MARGIN = 0.05
GAP = " gap"
CONDITION_FIELDS = ("n", "instances", "value", "low", "high", "failed", "p_value", "verdict")


class Evaluation(EvaluationRecord):
    """Each quality of a function apart, with bounds; `str()` is a table, `model_dump_json()` all of it."""

    @property
    def memorisation_gap(self) -> MemorisationGap | None:
        """The gap of the first score; `None` where there is no public set."""
        return next(iter(self.memorisation_gaps), None)

    def dimension(self, name: str, slice_: str | None = None) -> Dimension:
        """Return a dimension by its name.

        Raises:
            NotFoundError: there is none; the message lists them.
        """
        for each in self.dimensions:
            if each.name == name and each.slice == slice_:
                return each
        names = (f"{each.name}[{each.slice}]" if each.slice else each.name for each in self.dimensions)
        wanted = f"{name}[{slice_}]" if slice_ else name
        raise NotFoundError(f"there is no dimension {wanted!r}: there are {', '.join(names) or 'none'}")

    def fails(self, condition: str) -> bool:
        """Return whether a condition for CI holds: `exact.low < 0.8`, `exact[position 3].value < 0.9` or, of
        the memorisation gap, `exact gap.low > 0.05`.

        Raises:
            ConfigurationError: it cannot be read, or what it asks for is not known.
            NotFoundError: there is no such dimension or gap.
        """
        parsed = parse_condition(condition, CONDITION_FIELDS, "'exact.low < 0.8' or 'exact gap.low > 0.05'")
        score = parsed.metric.removesuffix(GAP)
        of_score = (gap for gap in self.memorisation_gaps if gap.score == score)
        gap = next(of_score, None) if parsed.metric.endswith(GAP) else None
        record = gap or self.dimension(parsed.metric, parsed.slice)
        return parsed.holds(getattr(record, parsed.field, None))

    def __str__(self) -> str:
        return words.write_evaluation(self)


def read_evaluation(
    run: str | Run,
    *,
    store: str | os.PathLike[str] | Store,
    confidence: float | None = None,
    margin: float | None = None,
) -> Evaluation:
    """Return what an evaluation came to, of all that the store has of its run.

    Args:
        run: the run, its id, or its name (the newest of that name).
        store: a path or an open store.
        confidence: of the bounds; by default as when it ran.
        margin: a gap that would not matter; by default as when it ran.

    Raises:
        NotFoundError: the store has no evaluation of that name or id.
    """
    if isinstance(store, Store):
        store.ingest()
    opened = store if isinstance(store, Store) else open_store(store)
    with opened.hold():
        return build_evaluation(
            opened, find_evaluation_run(opened, run), confidence=confidence, margin=margin
        )


def build_evaluation(
    store: Store, run: Run, *, confidence: float | None = None, margin: float | None = None
) -> Evaluation:
    """Return what an evaluation came to, of what an open store has of its run by now."""
    config = run.config
    outcomes = read_outcomes(store, run, config.get("scorers", ()))
    tables = build_tables(outcomes)
    attributions = read_run_attributions(store, run.id) if _need_attributions(outcomes) else []
    confidence = confidence or config.get("confidence", 0.95)
    margin = config.get("margin", MARGIN) if margin is None else margin
    return Evaluation(
        run=run,
        dimensions=(
            *build_dimensions(tables, confidence),
            *build_agreement(outcomes, attributions, confidence),
        ),
        memorisation_gaps=build_gaps(tables, confidence=confidence, margin=margin),
        calibrations=build_calibrations(outcomes, confidence),
        bias_probes=build_probes(
            outcomes, tables, measure_weights(outcomes, attributions), confidence=confidence, margin=margin
        ),
        failures=tuple(_list_failures(outcomes, tables)),
        planned=config.get("planned", len(outcomes)),
        answered=len(outcomes),
        confidence=confidence,
        outcomes=tuple(outcomes),
    )


def _need_attributions(outcomes: Sequence[Outcome]) -> bool:
    return any(each.instance.decisive or each.instance.variant == "swapped" for each in outcomes)


def find_evaluation_run(store: Store, run: str | Run) -> Run:
    """Return the run of an evaluation by its id or name, the newest of that name.

    Raises:
        NotFoundError: there is none.
    """
    wanted = run.id if isinstance(run, Run) else run
    runs = [each for each in store.runs() if TAG in each.tags]
    match = next((each for each in runs if each.id == wanted), None)
    match = match or next((each for each in runs if each.name == wanted), None)
    if match is None:
        names = ", ".join(dict.fromkeys(each.name for each in runs[:5])) or "none"
        raise NotFoundError(f"no evaluation {wanted!r} in {str(store.path)!r}: the newest are {names}")
    return match


def _list_failures(outcomes: Sequence[Outcome], tables: Sequence[ScoreTable]) -> list[FailedAnswer]:
    shares = [table.name for table in tables if table.is_share]
    return [failure for outcome in outcomes for failure in _list_failures_of(outcome, shares)]


def _list_failures_of(outcome: Outcome, shares: Sequence[str]) -> list[FailedAnswer]:
    instance = outcome.instance
    about: dict[str, Any] = {
        "instance": instance.id, "scenario": instance.scenario, "variant": instance.variant,
        "repeat": outcome.repeat, "span_id": outcome.span_id,
    }  # fmt: skip
    if outcome.status == "error":
        kind: FailureKind = "timeout" if outcome.timed_out else "error"
        return [FailedAnswer(**about, kind=kind, words=outcome.error or "it failed")]
    failures = [
        FailedAnswer(**about, kind="scorer", score=name, words=text)
        for name, text in outcome.failed_scorers.items()
    ]
    for name in shares:
        if outcome.scores.get(name, 1.0) < RIGHT:
            text = outcome.comments.get(name) or words.describe_wrong(outcome)
            failures.append(FailedAnswer(**about, kind="wrong", score=name, words=text))
    return failures
