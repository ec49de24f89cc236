"""Costs of calls that are in the store already: of earlier versions, or after prices have changed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llm_trace.pricing.book import open_price_book
from llm_trace.spool.paths import get_spool_dir
from llm_trace.stores import costs
from llm_trace.stores.connection import Database
from llm_trace.stores.instances import connect
from llm_trace.stores.load import list_limits

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from llm_trace.stores.duckdb import Store

_ROWS = 50_000
"""Calls to a transaction: what it changes is in memory until it ends."""
_OWN = "cost_basis ->> '$.source' IS DISTINCT FROM 'reported' AND model IS NOT NULL"
_COUNTED = "(input_tokens IS NOT NULL OR output_tokens IS NOT NULL)"
_NEEDED = f"""
SELECT DISTINCT provider, model, coalesce(tier, params ->> '$.service_tier') FROM calls
WHERE {_OWN} AND {_COUNTED}"""
_UNPRICED = f"""
SELECT provider, model, coalesce(tier, params ->> '$.service_tier') AS tier, count(*) FROM calls
WHERE model IS NOT NULL AND cost_usd IS NULL AND {_COUNTED} GROUP BY ALL ORDER BY 4 DESC, 2"""
_REPLACE = f"""
UPDATE calls SET cost_usd = n.cost, cost_basis = n.basis FROM (
    SELECT span_id, {costs.COST} AS cost, CASE WHEN {costs.COST} IS NOT NULL THEN basis END AS basis FROM (
        SELECT c.span_id, r.basis, {costs.TOTAL} AS total
        FROM (SELECT * FROM calls WHERE start_ns >= $begin AND start_ns < $end AND {_OWN}) c {costs.JOIN}
    )
) n WHERE calls.span_id = n.span_id AND calls.start_ns >= $begin AND calls.start_ns < $end
AND (calls.cost_usd IS DISTINCT FROM n.cost OR calls.cost_basis::TEXT IS DISTINCT FROM n.basis::TEXT)"""


def reprice(path: Path, *, timeout: float = 60.0) -> int:
    """Compute the costs of all calls anew, save those that were reported; return how many have changed.

    Raises:
        StoreLockedError: another process held the store longer than the time-out.
        ConfigurationError: the price file cannot be read.
    """
    folder = get_spool_dir(path)
    database = Database(path, folder, timeout)
    with (
        tempfile.TemporaryDirectory(prefix="work-", dir=folder) as scratch,
        connect(**list_limits(scratch)) as connection,
    ):
        changed = 0
        begin: int | None = 0
        while begin is not None:
            with database.writing(connection):
                connection.execute("BEGIN")
                version = costs.load_rates(connection, _NEEDED)
                end = _find_end(connection, begin)
                window = {"begin": begin, "end": 2**63 - 1 if end is None else end}
                row = connection.execute(_REPLACE.replace("{}", version), window).fetchone()
                connection.execute("COMMIT")
            changed, begin = changed + (int(row[0]) if row else 0), end
    return changed


def _find_end(connection: DuckDBPyConnection, begin: int) -> int | None:
    """Return where the next transaction begins, `None` where this one is the last."""
    row = connection.execute(
        f"SELECT start_ns FROM calls WHERE start_ns >= ? ORDER BY start_ns LIMIT 1 OFFSET {_ROWS}", [begin]
    ).fetchone()
    return None if row is None or row[0] == begin else int(row[0])


@dataclass(frozen=True)
class Unpriced:
    """Calls that have tokens and no cost."""

    models: dict[str, int]
    """Models without a price, by number of calls."""
    waiting: int
    """Calls of models that have one: of earlier versions, or a count that is paid for is missing."""


def count_unpriced(store: Store) -> Unpriced:
    """Return which models have no price.

    Raises:
        StoreError: the store cannot be read.
        ConfigurationError: the price file cannot be read.
    """
    book = open_price_book()
    models: dict[str, int] = {}
    waiting = 0
    for provider, model, tier, number in store.fetch(_UNPRICED):
        name = model if provider is None else f"{model} ({provider})"
        if book.find_rates(provider, model, tier):
            waiting += number
        else:
            models[name] = models.get(name, 0) + int(number)
    return Unpriced(models, waiting)
