"""How far reviewers agree about the same calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.lazy_names import check_library
from llm_trace.operations.reviews import RATING, choose_latest, read_reviews
from llm_trace.record import Record
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.operations.reviews import Review
    from llm_trace.stores.duckdb import Store


class Agreement(Record):
    """Krippendorff's alpha of a score over the calls that several have reviewed."""

    rating: str
    reviewers: int
    """People who have reviewed at least one of the calls."""
    calls: int
    """That at least two people have reviewed; the last decision of each counts."""
    alpha: float | None
    """1 where all say the same, 0 where they agree as by chance; `None` where that cannot be said."""
    low: float | None
    high: float | None
    confidence: float

    def __str__(self) -> str:
        if self.alpha is None:
            return (
                f"How far reviewers agree on {self.rating} is not known: several people reviewed "
                f"{count_things(self.calls, 'call')}, and alpha needs two with decisions that are not all "
                f"the same"
            )
        return (
            f"Krippendorff's alpha of {self.rating} is {self.alpha:.2f} ({self.low:.2f} to "
            f"{self.high:.2f} at {self.confidence:.0%}), over {count_things(self.calls, 'call')} that "
            f"{self.reviewers:,} people reviewed"
        )


def measure_reviewer_agreement(store: Store, rating: str = RATING, *, confidence: float = 0.95) -> Agreement:
    """Return how far reviewers agree on a score; numbers and yes or no by squared distance, labels by being
    the same.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    check_library("scipy", "measure_reviewer_agreement")
    return compute_agreement(read_reviews(store, rating), rating, confidence)


def compute_agreement(reviews: Sequence[Review], rating: str, confidence: float) -> Agreement:
    """Return how far the reviewers of one score agree."""
    from llm_trace.statistics.agreement import measure_alpha

    by_call: dict[str, list[Review]] = {}
    for review in choose_latest(reviews):
        by_call.setdefault(review.span_id, []).append(review)
    shared = [each for each in by_call.values() if len(each) > 1]
    values = [[review.value for review in each] for each in shared]
    numeric = not any(isinstance(value, str) for each in values for value in each)
    alpha = measure_alpha(values, numeric=numeric, confidence=confidence)
    return Agreement(
        rating=rating,
        reviewers=len({review.reviewer for each in shared for review in each}),
        calls=len(shared),
        alpha=None if alpha is None else alpha.value,
        low=None if alpha is None else alpha.low,
        high=None if alpha is None else alpha.high,
        confidence=confidence,
    )
