"""What costs rest on, and the counts and service tiers that have prices of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_STEPS = (
    "ALTER TABLE calls ADD COLUMN usage_details JSON",
    "ALTER TABLE calls ADD COLUMN tier TEXT",
    "ALTER TABLE calls ADD COLUMN cost_basis JSON",
    """UPDATE calls SET cost_basis = '{"source":"reported"}' WHERE cost_usd IS NOT NULL""",
    """CREATE TABLE _rates (
        version TEXT, provider TEXT, model TEXT, tier TEXT, since_ns BIGINT, until_ns BIGINT,
        from_s BIGINT, to_s BIGINT, over BIGINT, upto BIGINT, fixed DOUBLE, input_tokens DOUBLE,
        output_tokens DOUBLE, cache_read_tokens DOUBLE, cache_write_tokens DOUBLE, reasoning_tokens DOUBLE,
        details JSON, basis JSON
    )""",
)


def apply(connection: DuckDBPyConnection) -> None:
    """Add what costs rest on to `calls`, and `_rates`: the prices that were looked up."""
    for step in _STEPS:
        connection.execute(step)
