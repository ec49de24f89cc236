"""How many errors gates and rules have prevented.

In the stages `shadow` and `advise`, and outside the share of the traffic of `act`, nothing is held back: the
share of wrong calls there is what would go out. Where a decision is carried out (its effect is `act`), calls
that run alone still go out wrong; the audits, drawn by chance, say how many. What was prevented is the
difference, for as many calls as were decided so.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from math import hypot
from typing import TYPE_CHECKING, NamedTuple

from llm_trace.operations.worth_figures import Figure, leave_unknown
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llm_trace.stores.duckdb import Store

NOT_ACTED = "nothing was decided in the stage act yet: llm-trace gate promote takes a gate there"

# The last decision of each gate or rule about a call. An audit says what a score does, where there is none.
_DECISIONS = """
    WITH decisions AS (
        SELECT subject, span_id, time_ns, body ->> '$.effect' AS effect, body ->> '$.action' AS action,
               coalesce((body ->> '$.audit') = 'true', false) AS audited
        FROM operations WHERE kind = 'decision' AND span_id IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY subject, span_id ORDER BY time_ns DESC, id) = 1),
    scored AS (
        SELECT span_id, number >= $2 AS passes FROM scores
        WHERE name = $1 AND number IS NOT NULL AND source IN ('human', 'code')
        QUALIFY row_number() OVER (
            PARTITION BY span_id ORDER BY source = 'human' DESC, time_ns DESC, id) = 1),
    audits AS (
        SELECT subject, span_id, (body ->> '$.right') = 'true' AS passes FROM operations
        WHERE kind = 'audit' AND (body ->> '$.right') IN ('true', 'false')
        QUALIFY row_number() OVER (PARTITION BY subject, span_id ORDER BY time_ns DESC, id) = 1)
    SELECT d.subject, coalesce(d.effect = 'act', false), d.action IN ('check', 'block') AND NOT d.audited,
           d.audited, NOT coalesce(c.passes, a.passes)
    FROM decisions d
    LEFT JOIN scored c USING (span_id)
    LEFT JOIN audits a ON a.subject = d.subject AND a.span_id = d.span_id
    WHERE d.action IN ('check', 'block', 'automate') ORDER BY d.subject, d.time_ns, d.span_id"""


class DecidedCall(NamedTuple):
    """What a gate or rule decided about a call, and what became of it."""

    subject: str
    acted: bool
    """Whether it was carried out, as the stage `act` allows."""
    held: bool
    """Whether it was not to run alone."""
    audited: bool
    """Whether it would run alone and was drawn to be checked."""
    wrong: bool | None
    """`None` where nobody has scored it."""


@dataclass(frozen=True)
class Share:
    """A share with bounds, times how often it counts."""

    times: int
    value: float
    low: float
    high: float
    n: int


def read_decided(store: Store, score: str, passing: float) -> list[DecidedCall]:
    """Return what gates and rules decided, with whether the call is known to be wrong."""
    return [DecidedCall(*row) for row in store.fetch(_DECISIONS, score, passing)]


def measure_errors(decided: Sequence[DecidedCall], score: str, confidence: float) -> list[Figure]:
    """Return of each gate or rule the errors that people caught, and those that were prevented."""
    if not decided:
        why = "no gate or rule has decided about a call: llm-trace gate, llm-trace rules"
        return [leave_unknown("errors", "Errors prevented", "calls", why)]
    figures: list[Figure] = []
    for subject, group in groupby(decided, key=lambda each: each.subject):
        calls = list(group)
        figures.append(_count_caught(subject, calls, score))
        figures.append(_estimate_prevented(subject, calls, score, confidence))
    return figures


def _count_caught(subject: str, calls: Sequence[DecidedCall], score: str) -> Figure:
    """Return how many of the calls that were held back people have found wrong: counted, not estimated."""
    held = [each for each in calls if each.acted and (each.held or each.audited)]
    known = [each for each in held if each.wrong is not None]
    name = f"Errors caught before they went out, by {subject}"
    if not any(each.acted for each in calls):
        return leave_unknown("errors", name, "calls", NOT_ACTED)
    if not known:
        why = f"none of {count_things(len(held), 'call')} sent to a person in the stage act has a {score} yet"
        return leave_unknown("errors", name, "calls", why, len(held))
    words = f"counted among {len(known):,} checked of {count_things(len(held), 'call')} sent to a person"
    caught = sum(bool(each.wrong) for each in known)
    return Figure(topic="errors", name=name, value=float(caught), unit="calls", n=len(known), words=words)


def _estimate_prevented(subject: str, calls: Sequence[DecidedCall], score: str, confidence: float) -> Figure:
    name = f"Errors prevented against the shadow stage, by {subject}"
    acted, alone = sum(each.acted for each in calls), count_alone(calls)
    before = _bound_wrong((e for e in calls if not e.acted), acted, confidence)
    audits = _bound_wrong((e for e in calls if e.acted and e.audited), alone, confidence)
    if not acted:
        return leave_unknown("errors", name, "calls", NOT_ACTED)
    if before is None:
        why = f"no call of the stages shadow and advise has a {score}: score some, as llm-trace review does"
        return leave_unknown("errors", name, "calls", why, acted)
    if audits is None and alone:
        why = (
            f"{count_things(alone, 'call')} ran alone, and none of the audited ones has a {score}: score "
            f"these"
        )
        return leave_unknown("errors", name, "calls", why, acted)
    now = audits or Share(0, 0.0, 0.0, 0.0, 0)
    value = before.times * before.value - now.times * now.value
    down = hypot(before.times * (before.value - before.low), now.times * (now.high - now.value))
    up = hypot(before.times * (before.high - before.value), now.times * (now.value - now.low))
    words = (
        f"{count_things(acted, 'call')} decided in act; before {before.value:.1%} of {before.n:,} scored "
        f"ones were wrong"
        f", now {now.value:.1%} of {now.n:,} audited ones among the {alone:,} that ran alone; at "
        f"{confidence:.0%}, if the scored calls are like the others"
    )
    return Figure(
        topic="errors", name=name, value=value, low=value - down, high=value + up, unit="calls",
        n=before.n + now.n, words=words,
    )  # fmt: skip


def count_alone(calls: Iterable[DecidedCall]) -> int:
    """Return how many calls ran alone because a gate or rule let them."""
    return sum(each.acted and not each.held and not each.audited for each in calls)


def _bound_wrong(calls: Iterable[DecidedCall], times: int, confidence: float) -> Share | None:
    """Return the share of wrong calls among those that are scored; `None` where none is."""
    from scipy import stats

    known = [each.wrong for each in calls if each.wrong is not None]
    if not known:
        return None
    wrong, n = sum(known), len(known)
    wilson = stats.binomtest(wrong, n).proportion_ci(confidence, method="wilson")
    return Share(times, wrong / n, float(wilson.low), float(wilson.high), n)
