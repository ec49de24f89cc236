"""`llm-trace runs`: the runs with what their calls came to."""

from typing import Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import (
    exit_nothing,
    make_console,
    make_plain_text,
    make_table,
    print_json,
    print_table,
)
from llm_trace.rendering import formatting

NAME = "runs"
EXAMPLE = "Example: llm-trace runs --limit 5"


def list_runs(
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most N runs.")] = 20,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """List the runs, newest first: calls, failures, tokens, cost, configuration."""
    from llm_trace.stores.duckdb import open_store
    from llm_trace.stores.run_totals import read_runs

    with open_store(store) as opened:
        runs = read_runs(opened, limit)
    if as_json:
        print_json(runs)
    elif runs:
        _print(runs)
    if not runs:
        exit_nothing("no run was recorded: with llm_trace.start_run(name): …", quiet=as_json)


def _print(runs: list[dict[str, Any]]) -> None:
    columns: dict[str, list[Any]] = {
        "started": [formatting.format_clock(r["start_ns"]) for r in runs],
        "id": [r["id"][:8] for r in runs],
        "name": [r["name"] or "" for r in runs],
        "calls": [f"{r['calls']:,}" for r in runs],
        "failed": [make_plain_text(f"{r['failed']:,}" if r["failed"] else "", "red") for r in runs],
        "took": [
            formatting.format_duration(r["end_ns"] - r["start_ns"]) if r["end_ns"] else "no end" for r in runs
        ],
        "tokens": [formatting.format_tokens(r["input_tokens"], r["output_tokens"]) for r in runs],
        "cost": [formatting.format_cost(r["cost_usd"]) for r in runs],
        "config": [formatting.format_one_line(r["config"]) if r["config"] else "" for r in runs],
    }
    print_table(
        make_console(),
        make_table(columns, wide=("config",), right=("calls", "failed", "took", "tokens", "cost")),
    )
