"""`llm-trace report`: a run, or one run against another, as a page that stands alone."""

from pathlib import Path
from typing import Annotated

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import print_complaint

EXAMPLE = "Example: llm-trace report 'refund-desk v1' 'refund-desk v2' -o refund.html"


def write_report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run: its id, or its name for the newest.")],
    other: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A second run, judged against the first.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page; what is there is replaced.")
    ] = Path("report.html"),
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="PLACE", help="Pair calls by this instead of their input; as compare."),
    ] = None,
    calls: Annotated[
        int, typer.Option("--calls", metavar="N", min=0, help="At most N calls are shown in full.")
    ] = 12,
    store: o.StoreOption = o.STORE,
) -> None:
    """Write a page about a run, or about a second run against it: what it came to, the comparison,
    failures, and what mattered in the calls to look at.

    The page is one file without script or request: attach it, print it.
    """
    from llm_trace.run_report.page import render_report
    from llm_trace.spool.private import open_private
    from llm_trace.stores.duckdb import open_store

    with open_store(store) as opened:
        page = render_report(opened, run, other, by=by, most=calls)
    with open_private(output, "w", encoding="utf-8") as file:
        file.write(page)
    print_complaint(f"wrote {output}")
