"""`llm-trace ingest`: bring the spool into the store, and say what became of it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import make_console, print_json
from llm_trace.paths import find_existing, open_as_it_stands
from llm_trace.rendering.formatting import format_size

EXAMPLE = "Example: llm-trace ingest --store traces.duckdb"


def run_ingest(
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", metavar="SECONDS", min=0, help="Seconds to wait for another process that ingests."
        ),
    ] = 60.0,
    reprice: Annotated[
        bool,
        typer.Option("--reprice", help="Compute costs anew: of calls of earlier versions, or by new prices."),
    ] = False,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Bring what was logged into the store. Every command that reads does this by itself;
    a cron job keeps it short.
    """
    from llm_trace.stores.catch_up import ingest_in_child
    from llm_trace.stores.diagnostics import count_totals

    path = find_existing(store)
    report = ingest_in_child(path, timeout=timeout)
    repriced = _reprice(path, timeout) if reprice else {}
    figures = (
        repriced
        | asdict(report)
        | {"deleted": len(report.deleted)}
        | count_totals(open_as_it_stands(path, timeout))
    )
    if as_json:
        print_json(figures)
    else:
        _print(figures)


def _reprice(path: Path, timeout: float) -> dict[str, Any]:
    from llm_trace.stores.repricing import reprice

    return {"repriced": reprice(path, timeout=timeout)}


def _print(figures: dict[str, Any]) -> None:
    out = make_console()
    out.print(
        f"read         {figures['lines']:,} lines, {format_size(figures['bytes'])}, "
        f"in {figures['seconds']:.2f} s"
    )
    out.print(f"quarantined  {figures['bad_lines']:,} lines now, {figures['quarantined']:,} in all")
    out.print(f"deleted      {figures['deleted']:,} spool files that nobody needs any more")
    out.print(f"lost         {figures['lost']:,} events that could not be written")
    if "repriced" in figures:
        out.print(f"repriced     {figures['repriced']:,} calls have another cost than before")
    out.print(f"store        {figures['calls']:,} calls, {figures['interrupted']:,} of them interrupted")
