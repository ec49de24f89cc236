"""Which calls a reviewer is to look at: first what gates and rules have sent to a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.operations.reviews import RATING, choose_latest, read_reviews
from llm_trace.stores.filters import Filter

if TYPE_CHECKING:
    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

NEWEST = 500
"""Calls that are looked at: of those to check, and of the others that match."""
# Of each gate or rule the last decision about a call counts.
_CHECKS = """
    SELECT span_id, subject, body FROM operations WHERE kind = 'decision' AND span_id IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY span_id, subject ORDER BY time_ns DESC, id) = 1
        AND (body ->> '$.action' = 'check' OR body ->> '$.audit' = 'true')"""
_ASKED = f"""
    SELECT span_id, any_value(subject), any_value(body ->> '$.reason') FROM ({_CHECKS})
    WHERE list_contains(?, span_id) GROUP BY span_id"""
_SCORED = "SELECT DISTINCT span_id FROM scores WHERE name = ? AND source = 'human'"


@dataclass(frozen=True)
class QueuedCall:
    """A call to look at."""

    call: Call
    asked_by: str | None = None
    """The gate or rule that sent it to a person."""
    reason: str | None = None
    """Why, in its words; whoever is to see no explanation is not to see it either."""


def build_queue(
    store: Store,
    filters: dict[str, Any],
    *,
    reviewer: str,
    rating: str = RATING,
    others: bool = False,
    limit: int = NEWEST,
) -> list[QueuedCall]:
    """Return the calls that a reviewer has not decided yet: those that a gate or rule sent to a person, then
    the others, each newest first.

    Args:
        filters: which calls, as `Store.calls` takes them.
        others: also calls that other people have scored, so that their agreement can be measured.
        limit: the most calls of each kind.
    """
    checks = store.calls(**filters | {"where": _add_sent(filters.get("where"))}, limit=limit, brief=True)
    calls = {call.span_id: call for call in (*checks, *store.calls(**filters, limit=limit, brief=True))}
    done = _list_done(store, reviewer, rating, others=others)
    left = [call for span_id, call in calls.items() if span_id not in done]
    asked = {row[0]: row[1:] for row in store.fetch(_ASKED, [call.span_id for call in left])}
    return [QueuedCall(call, *asked.get(call.span_id, ())) for call in left]


def _add_sent(where: str | Filter | None) -> str | Filter:
    """Return a condition with one more: that a gate or rule sent the call to a person."""
    sent = f"span_id IN (SELECT span_id FROM ({_CHECKS}))"
    if isinstance(where, Filter):
        return where.and_(sent)
    return Filter(sent, ()) if where is None else f"({where}\n) AND {sent}"


def _list_done(store: Store, reviewer: str, rating: str, *, others: bool) -> set[str]:
    """Return the calls that need no decision of this reviewer."""
    latest = choose_latest(read_reviews(store, rating))
    done = {review.span_id for review in latest if review.reviewer == reviewer}
    return done if others else done | {str(row[0]) for row in store.fetch(_SCORED, rating)}
