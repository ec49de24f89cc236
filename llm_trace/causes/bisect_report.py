"""Say what the answers to half-changed prompts come to: the hunks to blame, what is left open, the cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.causes.bisect_record import Bisection, BlamedHunk
from llm_trace.statistics.paired import estimate

if TYPE_CHECKING:
    from llm_trace.causes.bisect_hunks import Mixture
    from llm_trace.causes.bisect_scores import Grader
    from llm_trace.causes.bisect_search import HunkSearchResult
    from llm_trace.causes.bisect_sides import BisectSides
    from llm_trace.causes.bisect_trial import HalfwayTrial
    from llm_trace.statistics.floats import Floats
    from llm_trace.stores.duckdb import Store

_MUCH_LEFT = 0.25
"""Share of the loss without the hunks to blame that is worth a note."""


def list_blamed(mixture: Mixture, result: HunkSearchResult) -> tuple[BlamedHunk, ...]:
    """Return the hunks that a search proved to be to blame, with their bounds."""
    blamed = []
    for contrast in result.contrasts:
        assert contrast.hunk is not None
        shown = np.array(contrast.shown)
        low, high = contrast.bounds
        blamed.append(
            BlamedHunk(
                hunk=mixture.hunks[contrast.hunk], number=contrast.hunk + 1, low=low, high=high,
                loss_with=float(shown[:, 0].mean()), loss_without=float(shown[:, 1].mean()),
                answers=len(shown),
            )
        )  # fmt: skip
    return tuple(blamed)


def describe_rest(trial: HalfwayTrial, mixture: Mixture, result: HunkSearchResult) -> tuple[str, ...]:
    """Return what else is worth knowing of a search."""
    notes = []
    for reason, count in trial.replays.refused.most_common(3):
        notes.append(f"{count} answers count as half of the loss: {reason}; live= lets a tool run for real")
    if trial.grader.unknown:
        notes.append(
            f"{trial.grader.unknown} answers count as half of the loss: nothing grades them; a function as "
            f"metric grades any answer"
        )
    if result.relation is None:
        notes.append(
            f"{result.asked} answers on {len(mixture.hunks)} hunks do not prove it: raise the budget; or "
            f"more than two hunks act together, or each breaks a part"
        )
    rest = [contrast for contrast in result.contrasts if contrast.hunk is not None and contrast.shown]
    left = min((float(np.mean([pair[1] for pair in each.shown])) for each in rest), default=0.0)
    if result.relation in ("alone", "together") and left > _MUCH_LEFT:
        notes.append(
            f"without it {left:.0%} of the loss are still there: noise, or a further cause in the other hunks"
        )
    return tuple(notes)


def describe_grades(grader: Grader, grades: tuple[Floats, Floats]) -> tuple[str, ...]:
    """Return a note where a metric gives all answers of both sides the same grade."""
    every = np.concatenate(grades)
    if grader.metric is None or len(every) < 2 or len(np.unique(every)) > 1:
        return ()
    note = (
        f"all {len(every):,} answers of a and b have the grade {every[0]:g}: if they are not all as good, "
        f"the metric does not tell them apart"
    )
    return (note,)


def write_bisection(
    sides: BisectSides,
    confidence: float,
    grades: tuple[Floats, Floats],
    worse: int,
    **fields: Any,
) -> Bisection:
    """Return the record of a bisection.

    Args:
        grades: of a and of b on the inputs that both answered.
        worse: inputs that were asked again.
        fields: further ones of the record.
    """
    n = len(grades[0])
    bounds: dict[str, Any] = {}
    if n:
        change = estimate(*grades, confidence=confidence)
        bounds = {"difference": change.difference, "low": change.low, "high": change.high}
    return Bisection(
        a=sides.labels[0], b=sides.labels[1], inputs=n, worse=worse, confidence=confidence,
        **bounds, **fields,
    )  # fmt: skip


def add_cost(store: Store, result: Bisection) -> Bisection:
    """Return the bisection with the tokens and dollars of its run."""
    store.ingest()
    totals = store.run_totals([result.run or ""]).get(result.run or "")
    if totals is None:
        return result
    return result.model_copy(
        update={
            "input_tokens": totals.input_tokens, "output_tokens": totals.output_tokens,
            "cost_usd": totals.cost_usd,
        }
    )  # fmt: skip
