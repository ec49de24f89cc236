"""`llm-trace runs`: the runs with what their calls came to."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import formatting
from llm_trace.cli import options as o
from llm_trace.cli.output import (
    exit_nothing,
    make_console,
    make_plain_text,
    make_table,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

NAME = "runs"
EXAMPLE = "Example: llm-trace runs --limit 5"

QUERY = """
    SELECT r.id, r.name, r.config, r.tags, r.start_ns, r.end_ns, coalesce(c.calls, 0) AS calls, coalesce(c.failed, 0) AS failed,
           r.environment ->> '$.git_commit' AS git_commit
    FROM (SELECT * FROM runs ORDER BY start_ns DESC, id LIMIT ?) r LEFT JOIN (
        SELECT run, count(*) AS calls, count(*) FILTER (status NOT IN ('ok', 'open')) AS failed
        FROM calls WHERE run IS NOT NULL GROUP BY run
    ) c ON c.run = r.id
    ORDER BY r.start_ns DESC, r.id"""


def list_runs(
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many runs.")
    ] = 20,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """List the runs, newest first: calls, failures, tokens, cost, configuration."""
    from llm_trace.stores.duckdb import open_store

    with open_store(store) as opened:
        found = _read_runs(opened, limit)
    if as_json:
        print_json(found)
    elif found:
        _print(found)
    if not found:
        exit_nothing("no run was recorded: with llm_trace.start_run(name): …", quiet=as_json)


def _read_runs(store: "Store", limit: int) -> list[dict[str, Any]]:
    import json

    from llm_trace.stores.totals import Totals, total_runs

    result = store.sql(QUERY, limit)
    runs = [dict(zip(result.columns, row, strict=True)) for row in result]
    totals = total_runs(store, [run["id"] for run in runs])
    for run in runs:
        run["config"] = json.loads(run["config"]) if run["config"] else {}
        run |= totals.get(run["id"], Totals())._asdict()
    return runs


def _print(found: list[dict[str, Any]]) -> None:
    columns: dict[str, list[Any]] = {
        "started": [formatting.format_clock(r["start_ns"]) for r in found],
        "id": [r["id"][:8] for r in found],
        "name": [r["name"] or "" for r in found],
        "calls": [f"{r['calls']:,}" for r in found],
        "failed": [make_plain_text(f"{r['failed']:,}" if r["failed"] else "", "red") for r in found],
        "took": [
            formatting.format_duration(r["end_ns"] - r["start_ns"]) if r["end_ns"] else "no end"
            for r in found
        ],
        "tokens": [formatting.format_tokens(r["input_tokens"], r["output_tokens"]) for r in found],
        "cost": [formatting.format_cost(r["cost_usd"]) for r in found],
        "config": [formatting.format_one_line(r["config"]) if r["config"] else "" for r in found],
    }
    print_table(
        make_console(),
        make_table(columns, wide=("config",), right=("calls", "failed", "took", "tokens", "cost")),
    )
