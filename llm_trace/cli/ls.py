"""`llm-trace ls`: calls as a table, the newest, slowest or dearest first."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import (
    exit_nothing,
    make_console,
    make_status,
    make_table,
    print_complaint,
    print_json,
    print_table,
    say_left_out,
)
from llm_trace.rendering import formatting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.record import Call

EXAMPLE = "Example: llm-trace ls --status error --since 2h"

ROOM = {"kind": 120, "cost": 90, "model": 90, "tokens": 70, "took": 60, "time": 50}
"""How wide the terminal must be for a column to be shown."""

WIDE = 10_000
"""Columns of a terminal that has room for all."""
WIDTHS = {
    "time": 8,
    "id": 8,
    "name": 14,
    "kind": 9,
    "model": 14,
    "status": 11,
    "took": 7,
    "tokens": 9,
    "cost": 8,
}


CallsLimitOption = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most N calls.")]
SortOption = Annotated[Any, typer.Option("--sort", metavar="ORDER", help="newest, slowest or dearest first.")]
PageOption = Annotated[
    int, typer.Option("--page", metavar="N", min=1, help="The N-th page of calls in that order.")
]


def list_calls(
    run: o.RunFilter = None,
    name: o.Name = None,
    kind: o.KindFilter = None,
    model: o.ModelFilter = None,
    tag: o.Tag = None,
    session: o.SessionFilter = None,
    user: o.UserFilter = None,
    status: o.StatusFilter = None,
    since: o.Since = None,
    until: o.Until = None,
    text: o.Text = None,
    where: o.Where = None,
    limit: CallsLimitOption = 20,
    sort: SortOption = "newest",
    page: PageOption = 1,
    wide: o.Wide = False,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """List calls, the newest first: when, what, how long, tokens, cost, and what was asked and answered."""
    from llm_trace.stores.duckdb import open_store
    from llm_trace.stores.filters import Order

    chosen = o.build_filters(
        run=run, name=name, kind=kind, model=model, tag=tag, session=session, user=user, status=status,
        since=since, until=until, text=text, where=where,
    )  # fmt: skip
    o.check_one_of("--sort", sort, Order)
    with open_store(store) as opened:
        calls = opened.calls(**chosen, limit=limit + 1, offset=(page - 1) * limit, order=sort)
    if as_json:
        print_json(calls[:limit])
    elif calls:
        print_calls(calls[:limit], wide=wide)
        if len(calls) > limit:
            print_complaint(f"… and more: --page {page + 1}")
    if not calls:
        exit_nothing("no call matches", quiet=as_json)


def print_calls(
    calls: "Sequence[Call]", *, header: bool = True, steady: bool = False, wide: bool = False
) -> None:
    """Print a line for each call, as much of it as the terminal has room for, or all of it; `steady`
    tables fit below each other.
    """
    out = make_console(width=WIDE if wide else None)
    columns = list_table_columns(calls)
    if steady:
        columns["time"] = [formatting.format_hour(c.end_ns or c.start_ns) for c in calls]
    hidden = [name for name, least in ROOM.items() if out.width < least and any(columns[name])]
    for name in [name for name, least in ROOM.items() if out.width < least]:
        del columns[name]
    flexible = tuple(columns) if wide else ("input", "output")
    table = make_table(
        columns, wide=flexible, right=("took", "tokens", "cost"), widths=WIDTHS if steady else None
    )
    table.show_header = header
    cut = print_table(out, table, quiet=True)
    if not steady:
        say_left_out({"not shown": hidden, "cut": cut}, "--wide or --json")


def list_table_columns(calls: "Sequence[Call]") -> dict[str, list[Any]]:
    """Return the table's columns, in order."""
    return {
        "time": [formatting.format_clock(c.start_ns) for c in calls],
        "id": [c.span_id[:8] for c in calls],
        "name": [c.name for c in calls],
        "kind": [c.kind for c in calls],
        "model": [c.model or "" for c in calls],
        "status": [make_status(c.status) for c in calls],
        "took": [formatting.format_duration(c.duration_ns) for c in calls],
        "tokens": [
            formatting.format_tokens(c.usage.input_tokens, c.usage.output_tokens) if c.usage else ""
            for c in calls
        ],
        "cost": [formatting.format_cost(c.cost_usd) for c in calls],
        "input": [formatting.describe_input(c) for c in calls],
        "output": [formatting.describe_output(c) for c in calls],
    }
