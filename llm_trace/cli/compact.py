"""`llm-trace compact`: make few files of the many that shipments leave in a lake."""

from dataclasses import asdict
from typing import Annotated

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import make_console, print_complaint, print_json

EXAMPLE = "Example: llm-trace compact --store delta:///srv/lake"


def compact_files(
    store: Annotated[
        str,
        typer.Option(
            "--store", envvar="LLM_TRACE_STORE", metavar="ADDRESS", help="The lake: delta://FOLDER."
        ),
    ],
    as_json: o.JsonOption = False,
) -> None:
    """Put the small files of a lake together, while others ship and ask;
    a cron job keeps queries fast.
    """
    from llm_trace.spool.paths import is_lake_address
    from llm_trace.stores.lake.compaction import compact_lake

    if not is_lake_address(store):
        raise typer.BadParameter(f"{store!r} is no lake: give delta://FOLDER", param_hint="--store")
    report = compact_lake(store)
    if as_json:
        print_json(asdict(report))
        return
    for notice in report.notices:
        print_complaint(notice)
    make_console().print(
        f"files    {report.files_before:,} before, {report.files_after:,} now; {report.deleted:,} old ones "
        f"deleted"
    )
