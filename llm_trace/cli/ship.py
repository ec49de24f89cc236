"""`llm-trace ship`: move what this machine recorded into a lake that many machines share."""

import contextlib
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from llm_trace.cli.output import make_console, print_complaint, print_json
from llm_trace.rendering.formatting import count_things, format_size

if TYPE_CHECKING:
    from llm_trace.stores.lake.shipping import ShipReport

EXAMPLE = "Example: llm-trace ship --to delta:///srv/lake --store traces.duckdb --follow"


def ship_calls(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="ADDRESS",
            help="The lake: delta://FOLDER, or delta+s3://BUCKET/PREFIX in a bucket.",
        ),
    ],
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="PATH",
            help="Move the calls of this store; if absent, what was recorded for the lake itself.",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on while anything is recorded; Ctrl-C leaves.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0.1, help="With --follow: the time between.")
    ] = 5.0,
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0, help="Seconds to wait for another that ships."),
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Move what was recorded on this machine to a lake, each call once;
    calls that are still open stay, with their traces.
    """
    from llm_trace.spool.paths import is_lake_address
    from llm_trace.stores.lake.shipping import ship

    if not is_lake_address(to):
        raise typer.BadParameter(
            f"{to!r} is no lake: give delta://FOLDER or delta+s3://BUCKET/PREFIX", param_hint="--to"
        )
    if follow:
        _follow(to, store, every)
    else:
        _print(ship(to, store, timeout=timeout), as_json=as_json)


def _follow(to: str, store: str | None, every: float) -> None:
    from llm_trace.shipper import serve_lake

    stop = threading.Event()
    print_complaint(f"what is recorded goes to {to}; Ctrl-C leaves")
    with contextlib.suppress(KeyboardInterrupt):
        serve_lake(to, store, stop=stop, every_s=every, say=lambda report: _print(report, as_json=False))


def _print(report: "ShipReport", *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    for notice in report.notices:
        print_complaint(notice)
    held = f"; {count_things(report.held, 'call')} wait for open ones of their traces" if report.held else ""
    make_console().print(
        f"shipped  {count_things(report.calls, 'call')}, {format_size(report.bytes)}, in "
        f"{count_things(report.shipments, 'shipment')}, {report.seconds:.2f} s{held}"
    )
