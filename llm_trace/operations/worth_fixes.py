"""How long it takes from a failure to its fix.

A failure is a call with a version of a prompt whose score is below what passes, by what filled the template.
It ends with the first call of a later version that was filled with the same and passes; when the same fails
again after that, it is another failure. One that no later version was asked about is not known to be fixed or
not, and counts apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from llm_trace.operations.worth_figures import Figure, leave_unknown
from llm_trace.rendering import formatting
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from llm_trace.stores.duckdb import Store

# The score of a call, or of its trace where that has a single one: a person's before others, then the newest.
_ASKED = """
    WITH scored AS (
        SELECT span_id, trace_id, number, count(*) OVER (PARTITION BY trace_id) AS inside FROM (
            SELECT s.span_id, c.trace_id, s.number FROM scores s JOIN calls c USING (span_id)
            WHERE s.name = $1 AND s.number IS NOT NULL
            QUALIFY row_number() OVER (
                PARTITION BY s.span_id ORDER BY s.source = 'human' DESC, s.time_ns DESC, s.id) = 1)),
    numbered AS (
        SELECT name, version, row_number() OVER (PARTITION BY name ORDER BY first_ns, version) AS number
        FROM prompts)
    SELECT c.prompt_name, coalesce(nullif(c.prompt_variables::TEXT, '{}'), c.input::TEXT, '') AS question,
           c.start_ns, v.number, coalesce(own.number, around.number) >= $2 AS passes
    FROM calls c
    JOIN numbered v ON v.name = c.prompt_name AND v.version = c.prompt_version
    LEFT JOIN scored own ON own.span_id = c.span_id
    LEFT JOIN scored around ON around.trace_id = c.trace_id AND around.inside = 1
    WHERE coalesce(own.number, around.number) IS NOT NULL AND ($3::TEXT IS NULL OR c.prompt_name = $3)
    ORDER BY 1, 2, 3, c.span_id"""


class AskedQuestion(NamedTuple):
    """A scored call with a version of a prompt."""

    prompt: str
    question: str
    start_ns: int
    version: int
    """1 for the first."""
    passes: bool


@dataclass(frozen=True)
class FixedFailure:
    """A failure, and how long it lasted or has been seen to last."""

    begin_ns: int
    seen_ns: int
    """When it was fixed, or else the last time that a later version failed at it; the beginning where no
    later version was asked.
    """
    is_fixed: bool

    @property
    def is_known(self) -> bool:
        """Whether a later version was asked at all."""
        return self.seen_ns > self.begin_ns


def list_failed_calls(asked: Iterable[AskedQuestion]) -> list[FixedFailure]:
    """Return the failures of questions, which come in the order of prompt, question and time."""
    groups = groupby(asked, key=lambda each: (each.prompt, each.question))
    return [failure for _, group in groups for failure in _list_of_question(list(group))]


def _list_of_question(asked: Sequence[AskedQuestion]) -> Iterator[FixedFailure]:
    failed: AskedQuestion | None = None
    seen = 0
    for each in asked:
        if failed is None:
            if not each.passes:
                failed, seen = each, each.start_ns
        elif each.version > failed.version:
            if each.passes:
                yield FixedFailure(failed.start_ns, each.start_ns, is_fixed=True)
                failed = None
            else:
                seen = each.start_ns
    if failed is not None:
        yield FixedFailure(failed.start_ns, seen, is_fixed=False)


def measure_fixes(store: Store, score: str, passing: float, prompt: str | None) -> list[Figure]:
    """Return how long failures last, and how many are fixed."""
    rows = store.fetch(_ASKED, score, passing, prompt)
    failures = list_failed_calls(AskedQuestion(*row) for row in rows)
    if not failures:
        why = (
            f"no scored call fails, of {count_things(len(rows), 'call')} of prompts that have a {score}"
            if rows
            else f"no call of a prompt has a {score}: name templates with llm_trace.Prompt and score calls"
        )
        return [leave_unknown("fixing", "Median time to the fix", "seconds", why)]
    known = [failure for failure in failures if failure.is_known]
    fixed = sum(failure.is_fixed for failure in failures)
    rest = (
        f"of {count_things(len(failures), 'failure')} in all; a failure is one question that a prompt "
        f"version got wrong"
    )
    return [
        _measure_median(known, fixed),
        _count("Failures fixed by a later version", fixed, rest),
        _count("Failures that later versions still have", len(known) - fixed, rest),
        _count("Failures that no later version was asked about", len(failures) - len(known), rest),
    ]


def _count(name: str, count: int, words: str) -> Figure:
    return Figure(topic="fixing", name=name, value=float(count), unit="calls", n=count, words=words)


def _measure_median(failures: Sequence[FixedFailure], fixed: int) -> Figure:
    """Return the time by which half of the failures are fixed (Kaplan-Meier: the others last longer)."""
    from scipy import stats

    name, n = "Median time to the fix", len(failures)
    times = [(failure.seen_ns - failure.begin_ns) / 1e9 for failure in failures]
    done = [time for time, failure in zip(times, failures, strict=True) if failure.is_fixed]
    left = [time for time, failure in zip(times, failures, strict=True) if not failure.is_fixed]
    if not done:
        why = f"none of {count_things(n, 'failure')} that a later version was asked about is fixed"
        why = why if n else "no later version was asked any of the questions that failed"
        return leave_unknown("fixing", name, "seconds", why, n)
    survival = stats.ecdf(stats.CensoredData(done, right=left)).sf
    median = next(
        (t for t, p in zip(survival.quantiles, survival.probabilities, strict=True) if p <= 0.5), None
    )
    fastest, slowest = (formatting.format_duration(1e9 * seconds) for seconds in (min(done), max(done)))
    words = (
        f"from the first wrong call to the first right one of a later version with the same question; fixed "
        f"{fixed:,} of {n:,} that were asked again, after {fastest} to {slowest}"
    )
    if median is None:
        return leave_unknown("fixing", name, "seconds", f"fewer than half are fixed so far: {words}", n)
    return Figure(topic="fixing", name=name, value=float(median), unit="seconds", n=n, words=words)
