"""`llm-trace runs`: the runs with what their calls came to."""

from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.stores.run_tree import RunLine

EXAMPLE = "Example: llm-trace runs --limit 5"


def list_runs(
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most N runs.")] = 20,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """List the runs, newest first: calls, failures, tokens, cost, configuration. Forks stand below the run
    they fork, reruns of one kind in one line; --json has each by itself.
    """
    from llm_trace.stores.duckdb import open_store
    from llm_trace.stores.run_totals import read_runs
    from llm_trace.stores.run_tree import read_run_tree

    with open_store(store) as opened:
        runs = read_runs(opened, limit) if as_json else ()
        lines = () if as_json else read_run_tree(opened, limit)
    if as_json:
        print_json(runs)
    elif lines:
        _print(lines)
    if not runs and not lines:
        exit_nothing("no run was recorded: with llm_trace.start_run(name): …", quiet=as_json)


def _print(lines: "Sequence[RunLine]") -> None:
    runs = [line.run for line in lines]
    columns: dict[str, list[Any]] = {
        "started": [formatting.format_clock(r["start_ns"]) for r in runs],
        "id": [r["id"][:8] for r in runs],
        "name": [_name(line) for line in lines],
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


def _name(line: "RunLine") -> str:
    guide = f"{'  ' * (line.depth - 1)}└ " if line.depth else ""
    return guide + ((line.run["name"] or "") if line.count == 1 else line.title)
