"""Costs of calls in SQL: the prices that a slice needs are put into `_rates`, and the fold joins them.

`_rates` keeps what was looked up, also that a model has no price: a later ingest asks genai-prices only for
what is new, or when the prices have changed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from llm_trace.pricing.book import open_price_book
from llm_trace.pricing.cost import REPORTED_JSON
from llm_trace.pricing.rates import ALWAYS_NS, ANY_LENGTH, COUNTS, DETAILS, UNBILLED, Rates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckdb import DuckDBPyConnection

_KEY = ("provider", "model", "tier")
_SPAN = ("since_ns", "until_ns", "from_s", "to_s", "over", "upto", "fixed")
_COLUMNS = ("version", *_KEY, *_SPAN, *COUNTS, "details", "basis")
_EVENT = """
SELECT span_id, provider, model, usage.tier AS tier, params, cost_usd FROM stage
WHERE event = '{}' AND (model IS NOT NULL OR provider IS NOT NULL OR usage IS NOT NULL)"""
_OLD = "SELECT span_id, provider, model, tier, params, cost_usd FROM old WHERE {} orphan"

# A start tells the model, the end the tokens.
_NEEDED = """
SELECT DISTINCT coalesce(e.provider, s.provider), coalesce(e.model, s.model),
       coalesce(e.tier, s.tier, e.params ->> '$.service_tier', s.params ->> '$.service_tier')
FROM ({}) e FULL JOIN ({}) s ON s.span_id = e.span_id
WHERE coalesce(e.model, s.model) IS NOT NULL AND coalesce(e.cost_usd, s.cost_usd) IS NULL"""
NEEDED_BY_NEW = _NEEDED.format(_EVENT.format("end"), _EVENT.format("start"))
"""A query for provider, model and tier of the calls of a slice."""
NEEDED_BY_ALL = _NEEDED.format(
    f"{_EVENT.format('end')} UNION ALL {_OLD.format('')}",
    f"{_EVENT.format('start')} UNION ALL {_OLD.format('NOT')}",
)
"""The same with the calls in `old` that the slice completes."""


def load_rates(connection: DuckDBPyConnection, needed: str) -> str:
    """Put the prices of what a query names into `_rates`; return the version that they have.

    Args:
        connection: has the store in use, within a transaction.
        needed: a query for provider, model, tier.
    """
    book = open_price_book()
    missing = connection.execute(
        f"""SELECT * FROM ({needed}) n({", ".join(_KEY)}) WHERE NOT EXISTS (
            SELECT 1 FROM _rates r WHERE r.version = ? AND r.model = n.model
            AND r.provider = coalesce(n.provider, '') AND r.tier = coalesce(n.tier, ''))""",
        [book.version],
    ).fetchall()
    for provider, model, tier in missing:
        key = (book.version, provider or "", model, tier or "")
        rows = [_build_row(rates) for rates in book.find_rates(provider, model, tier)] or [_UNKNOWN]
        for row in rows:
            connection.execute(
                f"INSERT INTO _rates ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})",
                [*key, *row],
            )
    return book.version


def _build_row(rates: Rates) -> Sequence[object]:
    span = (getattr(rates, name) for name in _SPAN)
    return *span, *rates.counts, json.dumps(rates.details), rates.basis


_UNKNOWN = (0, ALWAYS_NS, 0, 86_400, -1, ANY_LENGTH, None, *[None] * len(COUNTS), None, None)
"""What is kept of a model without a price."""
_SUM = " + ".join(("r.fixed", *(f"coalesce(c.{name}, 0) * r.{name}" for name in COUNTS)))
_EXTRA = " + ".join(
    f"coalesce((c.usage_details ->> '$.{name}')::DOUBLE * (r.details ->> '$.{name}')::DOUBLE, 0)"
    for name in (*DETAILS, *UNBILLED)
)
_PAID = " AND ".join(f"(c.{name} IS NOT NULL OR r.{name} = 0)" for name in ("input_tokens", "output_tokens"))
TOTAL = f"""CASE WHEN (c.input_tokens IS NOT NULL OR c.output_tokens IS NOT NULL) AND {_PAID}
    AND coalesce(c.cache_read_tokens, 0) + coalesce(c.cache_write_tokens, 0) <= coalesce(c.input_tokens, 0)
    AND coalesce(c.reasoning_tokens, 0) <= coalesce(c.output_tokens, 0)
    THEN {_SUM} + CASE WHEN c.usage_details IS NULL THEN 0 ELSE {_EXTRA} END END"""
"""What a call `c` comes to at the rates `r`, in 1e-12 USD: `Rates.compute_cost` in SQL.

Each copy takes milliseconds to parse and bind: a query has it once, in a subquery that calls it `total`.
"""
COST = "CASE WHEN total >= 0 THEN total / 1e12 END"
"""The cost of a call in USD, NULL where it is not known."""
JOIN = """LEFT JOIN _rates r ON r.version = '{}' AND r.model = c.model
    AND r.provider = coalesce(c.provider, '')
    AND r.tier = coalesce(c.tier, c.params ->> '$.service_tier', '')
    AND c.start_ns >= r.since_ns AND c.start_ns < r.until_ns
    AND c.start_ns // 1000000000 % 86400 >= r.from_s AND c.start_ns // 1000000000 % 86400 < r.to_s
    AND coalesce(c.input_tokens, 0) > r.over AND coalesce(c.input_tokens, 0) <= r.upto"""
"""Calls `c` with the rates that hold for them; the version is to be filled in."""
_OWN = f"CASE WHEN cost_usd IS NOT NULL THEN coalesce(cost_basis, '{REPORTED_JSON}'::JSON)"
REPORTED = {"cost_basis": f"{_OWN} END"}
"""The basis of the cost of a call without a model, which has its own cost or none."""
PICKS = {
    "cost_usd": f"coalesce(cost_usd, {COST})",
    "cost_basis": f"{_OWN} WHEN {COST} IS NOT NULL THEN basis END",
}
"""Cost and basis of a call, whose own cost wins."""
KEPT = {
    name: f"CASE WHEN cost_basis ->> '$.source' = 'reported' THEN {name} END"
    for name in ("cost_usd", "cost_basis")
}
"""Of an earlier row that more is told of: a cost that was computed is computed anew."""
