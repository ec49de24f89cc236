"""A judge against people: how far both agree, and which of them is the more lenient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from llm_trace.call_parts import Record
from llm_trace.errors import ConfigurationError
from llm_trace.evaluation.outcomes import Outcome
from llm_trace.statistics.agreement import bound_kappa, compute_kappa
from llm_trace.statistics.correlation import bootstrap, rank_correlate, rank_correlate_rows
from llm_trace.statistics.floats import Floats
from llm_trace.statistics.paired import estimate
from llm_trace.statistics.scales import Scale

CalibrationVerdict = Literal["agrees", "disagrees", "undecided"]
"""`agrees`: kappa is shown to be above 0.6; `disagrees`: to be below; `undecided`: neither."""
SUBSTANTIAL = 0.6
"""Kappa from which agreement is called substantial (Landis & Koch 1977, Biometrics 33, 159-174)."""
Rating = float | bool | str


class Calibration(Record):
    """How far a judge agrees with people, on a scale from 0 to 1."""

    score: str
    human: str
    """Name of the people's score."""
    n: int
    """Answers that both have scored."""
    equal: float
    """Share of them with equal scores."""
    kappa: float
    """With squared weights; 0 is chance."""
    kappa_low: float
    kappa_high: float
    correlation: float | None
    """Spearman's; `None` where one of the two always says the same."""
    correlation_low: float | None
    correlation_high: float | None
    bias: float
    """Mean of the judge's score less the people's: above 0 it is the more lenient."""
    bias_low: float | None
    bias_high: float | None
    bias_p_value: float | None
    """Two-sided, that there is none; `None` where all scores are equal."""
    confidence: float
    verdict: CalibrationVerdict

    def __str__(self) -> str:
        verdict = {
            "agrees": "it agrees with people",
            "disagrees": "it does not agree with people",
            "undecided": "whether it agrees with people is open: score more answers",
        }[self.verdict]
        kappa = f"kappa {self.kappa:.2f} ({self.kappa_low:.2f} to {self.kappa_high:.2f})"
        text = f"{self.score}: {verdict}, {kappa} on {self.n:,} answers, {self.equal:.0%} of them equal"
        if self.bias_p_value is not None and self.bias_p_value <= 1 - self.confidence:
            side = "more lenient" if self.bias > 0 else "harsher"
            text += f"; it is {abs(self.bias) * 100:.1f} points {side}"
        return f"{text}."


def calibrate(
    judge: Sequence[float] | Sequence[Outcome],
    human: Sequence[Rating] | str,
    *,
    score: str = "judge",
    human_scale: Sequence[Rating] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Calibration:
    """Return how far a judge agrees with people.

    Args:
        judge: its scores from 0 to 1, or the outcomes of an evaluation (`evaluation.outcomes`).
        human: those of people for the same answers, or the name of their score in the store (source `human`).
        score: the judge's name.
        human_scale: the people's scores from worst to best, numbers or labels, taken as equal steps from 0 to
            1; by default they are numbers from 0 to 1, or yes and no.
        confidence: of the bounds.
        seed: of the draws for the bounds.

    Raises:
        ConfigurationError: there are fewer than two answers with both, or scores off their scale.
    """
    if isinstance(human, str):
        pairs = [
            (outcome.scores[score], outcome.human_scores[human])
            for outcome in judge
            if isinstance(outcome, Outcome) and score in outcome.scores and human in outcome.human_scores
        ]
        name = human
    else:
        if len(judge) != len(human):
            raise ConfigurationError(
                f"{len(judge)} scores of the judge and {len(human)} of people do not pair"
            )
        pairs, name = list(zip(judge, human, strict=True)), "human"  # type: ignore[arg-type]
    if len(pairs) < 2:
        raise ConfigurationError(
            f"{len(pairs)} answers have both {score!r} and {name!r} of people: score more of them, with "
            f"log_score({name!r}, …, call=…, source='human') or in the viewer"
        )
    ours = place_ratings([each for each, _ in pairs], None, score)
    theirs = place_ratings([each for _, each in pairs], human_scale, name)
    return _build_calibration(score, name, ours, theirs, confidence, seed)


def place_ratings(ratings: Iterable[Rating], scale: Sequence[Rating] | None, name: str) -> Floats:
    """Return ratings as numbers from 0 to 1.

    Raises:
        ConfigurationError: one is off the scale.
    """
    numbers = []
    for rating in ratings:
        if scale is not None and rating in scale:
            numbers.append(list(scale).index(rating) / max(1, len(scale) - 1))
        elif scale is None and not isinstance(rating, str) and 0 <= rating <= 1:
            numbers.append(float(rating))
        else:
            known = "a number from 0 to 1" if scale is None else f"one of {', '.join(map(repr, scale))}"
            raise ConfigurationError(
                f"{name!r} is {rating!r} of an answer, and not {known}: give human_scale="
            )
    return np.array(numbers, dtype=np.float64)


def build_calibrations(outcomes: Sequence[Outcome], confidence: float) -> tuple[Calibration, ...]:
    """Return the calibration of each score that people gave too, by the same name and from 0 to 1."""
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.human_scores)
    calibrations = []
    for name in names:
        both = [each for each in outcomes if name in each.scores and name in each.human_scores]
        values = [value for each in both for value in (each.scores[name], each.human_scores[name])]
        if len(both) > 1 and all(not isinstance(value, str) and 0 <= value <= 1 for value in values):
            calibrations.append(calibrate(both, name, score=name, confidence=confidence))
    return tuple(calibrations)


def _build_calibration(
    score: str, human: str, ours: Floats, theirs: Floats, confidence: float, seed: int
) -> Calibration:
    kappa = float(compute_kappa(ours, theirs))
    low, high = bound_kappa(ours, theirs, confidence=confidence, largest=1.0, seed=seed)
    shift = estimate(theirs, ours, scale=Scale(0.0, 1.0, fixed=True), confidence=confidence)
    correlation, bounds = None, (None, None)
    if np.ptp(ours) > 0 and np.ptp(theirs) > 0:
        correlation = rank_correlate(ours, theirs)
        bounds = bootstrap(rank_correlate_rows, ours, theirs, confidence=confidence, seed=seed)  # type: ignore[assignment]
    return Calibration(
        score=score, human=human, n=len(ours), equal=float((np.abs(ours - theirs) < 1e-9).mean()),
        kappa=kappa, kappa_low=low, kappa_high=high, correlation=correlation, correlation_low=bounds[0],
        correlation_high=bounds[1], bias=shift.difference, bias_low=shift.low, bias_high=shift.high,
        bias_p_value=shift.p_value, confidence=confidence,
        verdict="agrees" if low > SUBSTANTIAL else "disagrees" if high < SUBSTANTIAL else "undecided",
    )  # fmt: skip


__all__ = ["Calibration", "calibrate"]
