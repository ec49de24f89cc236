"""What operating with explanations is worth, in figures with bounds; what is not known says so, never 0."""

from __future__ import annotations

import math
import os

from llm_trace.errors import ConfigurationError
from llm_trace.lazy_names import check_library
from llm_trace.operations.reviews import RATING
from llm_trace.operations.worth_errors import measure_errors, read_decided
from llm_trace.operations.worth_figures import TOPICS, Figure, Topic
from llm_trace.operations.worth_fixes import measure_fixes
from llm_trace.operations.worth_reviewing import SECONDS, measure_reviewing
from llm_trace.operations.worth_savings import measure_automation, measure_diets, measure_optimizations
from llm_trace.record import Record
from llm_trace.stores.duckdb import Store, open_store


class Worth(Record):
    """What operating with explanations is worth."""

    figures: tuple[Figure, ...]
    score: str
    """That says whether a call is right."""
    confidence: float
    """Of the bounds."""

    def choose(self, topic: Topic) -> list[Figure]:
        """Return the figures of a topic."""
        return [figure for figure in self.figures if figure.topic == topic]

    @property
    def known(self) -> list[Figure]:
        """The figures that are known."""
        return [figure for figure in self.figures if figure.value is not None]

    def __str__(self) -> str:
        lines = []
        for topic, title in TOPICS.items():
            lines.append(title)
            lines += [f"  {f.name}: {f.shown}; {f.words}" for f in self.choose(topic)]
        return "\n".join(lines)


def worth(
    store: Store | str | os.PathLike[str] | None = None,
    *,
    score: str = RATING,
    truth: str | None = None,
    passing: float = 0.5,
    prompt: str | None = None,
    hourly_usd: float | None = None,
    confidence: float = 0.95,
) -> Worth:
    """Return what operating with explanations is worth: time from failure to fix, errors prevented, time and
    money saved, and what reviewers need and get right with and without explanations.

    Args:
        store: a store or its path; by default that of `LLM_TRACE_STORE`, or `llm_trace.duckdb`.
        score: says whether a call is right: yes or no, or a number.
        truth: the score, computed by a program (source `code`), by which reviewers are right or wrong; by
            default that of the same name.
        passing: from which number on a call is right.
        prompt: only failures of this prompt.
        hourly_usd: what an hour of a reviewer costs.
        confidence: of the bounds.

    Raises:
        ConfigurationError: a number that cannot be meant.
        StoreNotFoundError: there is no store.
    """
    check_library("scipy", "worth")
    if not 0 < confidence < 1:
        raise ConfigurationError(f"confidence={confidence!r} lies not between 0 and 1")
    if not math.isfinite(passing):
        raise ConfigurationError(f"passing={passing!r} is no number that a score can reach")
    if hourly_usd is not None and not 0 <= hourly_usd < 1e9:
        raise ConfigurationError(f"hourly_usd={hourly_usd!r} is no price of an hour")
    if not isinstance(store, Store):
        place = os.environ.get("LLM_TRACE_STORE", "llm_trace.duckdb") if store is None else store
        with open_store(place) as opened:
            return worth(opened, score=score, truth=truth, passing=passing, prompt=prompt,
                         hourly_usd=hourly_usd, confidence=confidence)  # fmt: skip
    decided = read_decided(store, score, passing)
    reviewing = measure_reviewing(store, score, truth or score, passing, confidence)
    figures = (
        *measure_fixes(store, score, passing, prompt),
        *measure_errors(decided, score, confidence),
        *measure_optimizations(store, prompt),
        *measure_automation(decided, next(f for f in reviewing if f.name == SECONDS), hourly_usd),
        *measure_diets(store, prompt, confidence),
        *reviewing,
    )
    return Worth(figures=figures, score=score, confidence=confidence)
