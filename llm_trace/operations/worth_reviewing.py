"""What reviewers need and get right, with and without explanations.

Only reviews whose explanations were drawn by chance compare: who is always shown them may be given other
calls. Right is a decision that equals what a program computed for the same call (a score of source `code`);
without such scores how often people are right is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_trace.operations.review_agreement import compute_agreement
from llm_trace.operations.reviews import Review, choose_latest, read_reviews
from llm_trace.operations.worth_figures import Figure, FigureUnit, leave_unknown
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.statistics.independent import ClusteredSample, Mean
    from llm_trace.stores.duckdb import Store

SECONDS = "Seconds of a review"
_TRUTH = "SELECT span_id, number FROM scores WHERE name = ? AND source = 'code' AND number IS NOT NULL"
_DRAW = "llm-trace review --explain random draws who sees explanations"
ReviewValues = list[tuple[Review, float]]


def measure_reviewing(
    store: Store, score: str, truth: str, passing: float, confidence: float
) -> list[Figure]:
    """Return seconds, accuracy and agreement of the reviewers.

    Args:
        truth: the score of source `code` that says what is right.
    """
    reviews = choose_latest(read_reviews(store, score))
    if not reviews:
        why = f"nobody has reviewed a call for {score}: llm-trace review, or the viewer's page Review"
        return [leave_unknown("reviewing", SECONDS, "seconds", why)]
    seconds = [(review, review.seconds) for review in reviews if review.seconds is not None]
    right = list(_judge(reviews, dict(store.fetch(_TRUTH, truth)), passing))
    no_truth = f"no reviewed call has a {truth} of a program: review some whose right answer is known"
    agreement, number = compute_agreement(reviews, score, confidence), count_things(len(reviews), "review")
    return [
        *_Measure(SECONDS, confidence).build(seconds, f"none of {number} was timed"),
        *_Measure("Right decisions", confidence, is_share=True).build(right, no_truth),
        Figure(
            topic="reviewing", name="Agreement of reviewers (alpha)", value=agreement.alpha,
            low=agreement.low, high=agreement.high, unit="alpha", n=agreement.calls, words=str(agreement),
        ),
    ]  # fmt: skip


def _judge(
    reviews: Sequence[Review], truths: dict[str, float], passing: float
) -> Iterator[tuple[Review, float]]:
    """Yield the reviews of calls that have a truth, with whether the decision is on its side."""
    for review in reviews:
        if review.span_id in truths and not isinstance(review.value, str):
            yield review, float((review.value >= passing) == (truths[review.span_id] >= passing))


@dataclass(frozen=True)
class _Measure:
    """Something that each review has a number of."""

    name: str
    confidence: float
    is_share: bool = False

    def build(self, values: ReviewValues, why: str) -> list[Figure]:
        """Return the mean over all reviews, with and without explanations, and the difference.

        Args:
            why: what is to say where there are no values.
        """
        if not values:
            return [leave_unknown("reviewing", self.name, self._unit, why)]
        drawn = [(r, value) for r, value in values if r.mode == "random" and r.available]
        shown = [(r, value) for r, value in drawn if r.explained]
        hidden = [(r, value) for r, value in drawn if not r.explained]
        return [
            self._bound(self.name, values, "all reviews"),
            self._bound(f"{self.name}, with explanations", shown, "drawn by chance"),
            self._bound(f"{self.name}, without explanations", hidden, "drawn by chance"),
            self._compare(shown, hidden),
        ]

    @property
    def _unit(self) -> FigureUnit:
        return "share" if self.is_share else "seconds"

    def _bound(self, name: str, values: ReviewValues, which: str) -> Figure:
        from llm_trace.statistics.independent import bound_sample

        if not values:
            why = f"no such review was drawn by chance: {_DRAW}"
            return leave_unknown("reviewing", name, self._unit, why)
        mean = bound_sample(_build_sample(values), self.confidence, share=self.is_share)
        words = (
            f"{which}: {len(values):,} of "
            f"{count_things(len({review.span_id for review, _ in values}), 'call')}"
        )
        return _make_figure(name, mean, self._unit, len(values), words)

    def _compare(self, shown: ReviewValues, hidden: ReviewValues) -> Figure:
        from llm_trace.statistics.independent import bound_difference

        name, n = f"{self.name}: difference that explanations make", len(shown) + len(hidden)
        unit: FigureUnit = "points" if self.is_share else "seconds"
        if not (shown and hidden):
            return leave_unknown("reviewing", name, unit, f"both kinds must have been drawn: {_DRAW}", n)
        one, other = map(_build_sample, (shown, hidden))
        mean = bound_difference(one, other, self.confidence, share=self.is_share)
        words = f"with less without, at {self.confidence:.0%}: {self._say_effect(mean)}"
        return _make_figure(name, mean, unit, n, words)

    def _say_effect(self, mean: Mean) -> str:
        if mean.low is None or mean.high is None:
            return "too few calls to bound it"
        if mean.low <= 0 <= mean.high:
            return "no effect is shown"
        words = ("more often right", "less often right") if self.is_share else ("slower", "faster")
        return f"explanations make people {words[0 if mean.low > 0 else 1]}"


def _build_sample(values: ReviewValues) -> ClusteredSample:
    """Return the numbers, of which those of the same call depend on each other."""
    import numpy as np

    from llm_trace.statistics.independent import ClusteredSample

    places = {span: place for place, span in enumerate(dict.fromkeys(review.span_id for review, _ in values))}
    clusters = np.array([places[review.span_id] for review, _ in values], dtype=np.int64)
    return ClusteredSample(np.array([value for _, value in values], dtype=np.float64), clusters)


def _make_figure(name: str, mean: Mean, unit: FigureUnit, n: int, words: str) -> Figure:
    return Figure(
        topic="reviewing", name=name, value=mean.value, low=mean.low, high=mean.high, unit=unit, n=n,
        words=words,
    )  # fmt: skip
