"""Asks a judge many times, so many at a time; one that fails costs its own rating."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from llm_trace.evaluation.calling import ReusedThreads, call_function, run_outside_loops
from llm_trace.evaluation.grades import read_grades

RatingKey = TypeVar("RatingKey", bound=Hashable)


class Ratings(NamedTuple):
    """Scores from 0 to 1, and what failed."""

    scores: dict[Any, float]
    failures: list[str]
    """Words of what failed, in the order in which it did."""


def rate_all(calls: Mapping[RatingKey, Callable[[], Any]], concurrency: int) -> Ratings:
    """Return the score that each call gives; what raises or is no score from 0 to 1 is a failure."""
    ratings, workers, waiting = Ratings({}, []), ReusedThreads(), iter(calls.items())

    async def work(waiting: Iterator[tuple[RatingKey, Callable[[], Any]]]) -> None:
        for key, call in waiting:
            try:
                ratings.scores[key] = read_share(await call_function(call, None, workers))
            except Exception as exc:  # noqa: BLE001  # the judge's own, with its words
                ratings.failures.append(f"{type(exc).__name__}: {exc}")

    async def work_all() -> None:
        try:
            await asyncio.gather(*(work(waiting) for _ in range(concurrency)))
        finally:
            workers.close()

    run_outside_loops(work_all)
    return ratings


def read_share(result: Any) -> float:
    """Return the score from 0 to 1 that a scorer returned.

    Raises:
        ValueError: it is none, or several.
    """
    grades = read_grades("judge", result)
    if len(grades) != 1:
        raise ValueError(f"the judge gives {len(grades)} scores, {', '.join(grades)}: audit one at a time")
    value = float(next(iter(grades.values())).value)
    if not 0 <= value <= 1:
        raise ValueError(f"the judge gives {value!r}, which is no score from 0 to 1")
    return value
