"""`llm-trace purge`: remove calls for good."""

import re
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.find import find_call_argument
from llm_trace.cli.output import exit_nothing, make_console, print_complaint, print_json
from llm_trace.cli.times import parse_seconds_option
from llm_trace.paths import find_existing
from llm_trace.rendering.formatting import count_things, format_size

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.purge_conditions import PurgeReport

EXAMPLE = "Example: llm-trace purge --user anna@example.com"

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}

PurgeUserOption = Annotated[str | None, typer.Option("--user", metavar="USER", help="Calls for this user.")]
PurgeRunOption = Annotated[
    str | None, typer.Option("--run", metavar="RUN", help="Calls of this run, by name or id, and the run.")
]
Identity = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="The call or the trace with this id, or its beginning."),
]
Age = Annotated[
    str | None, typer.Option("--older-than", metavar="AGE", help="Calls that began longer ago: 12h, 30d, 8w.")
]
MaxSize = Annotated[
    str | None,
    typer.Option(
        "--max-size", metavar="SIZE", help="The oldest calls, until the store is no larger: 500MB, 2GB."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def purge_calls(
    user: PurgeUserOption = None,
    run: PurgeRunOption = None,
    identity: Identity = None,
    older_than: Age = None,
    max_size: MaxSize = None,
    yes: Yes = False,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Remove calls for good, from store and spool: those that match all that is given,
    and all that is known of them.
    """
    from llm_trace.stores.duckdb import open_store
    from llm_trace.stores.purge import count_matching

    before = (
        None
        if older_than is None
        else time.time_ns() - int(parse_seconds_option(older_than, "--older-than") * 1e9)
    )
    chosen: dict[str, Any] = {"user": user, "run": run, "id": identity, "older_than": before}
    most = None if max_size is None else _parse_bytes(max_size)
    if most is None and all(value is None for value in chosen.values()):
        raise typer.BadParameter("say what to remove: --user, --run, --id, --older-than or --max-size")
    find_existing(store)
    with open_store(store) as opened:
        if identity is not None:
            chosen["id"] = _find_whole(opened, identity)
        count = count_matching(opened, **chosen)
    if not count and most is None and run is None:
        exit_nothing("no call matches")
    if not yes:
        what = count_things(count, "call") if most is None else _estimate_share(store, count, most)
        _ask(f"Remove {what} from {store} for good?")
    _print(_purge_until(store, most, chosen), as_json=as_json)


def _estimate_share(store: str, count: int, most: int) -> str:
    """Say what part of the calls a limit of bytes takes, by their mean size."""
    has = find_existing(store).stat().st_size
    share = 0.0 if has <= most else 1 - most / has
    return (
        f"about {round(count * share):,} of {count_things(count, 'call')}, the oldest, until its "
        f"{format_size(has)} are at most {format_size(most)},"
    )


def _ask(question: str) -> None:
    """Leave with exit code 1 unless the answer is yes; all of it on stderr."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        print_complaint("nothing was removed")
        raise typer.Exit(1)


def _purge_until(store: str, most: int | None, chosen: dict[str, Any]) -> "PurgeReport":
    from llm_trace.stores.purge import purge

    report = purge(store, max_bytes=most, **chosen)
    if most is None and not report.calls and not report.runs:
        exit_nothing("no call matches")
    return report


def _parse_bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(b|[kmg]b?)", text.strip().lower())
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is no size with its unit: give 800kB, 500MB or 2GB", param_hint="--max-size"
        )
    return int(float(match[1]) * UNITS[match[2].removesuffix("b")])


def _find_whole(store: "Store", identity: str) -> str:
    """Return the span id, or the trace id, that begins so."""
    if identity == "last":
        raise typer.BadParameter("name the call or the trace by its id", param_hint="--id")
    call = find_call_argument(store, identity)
    return call.span_id if call.span_id.startswith(identity.strip().lower()) else call.trace_id


def _print(report: "PurgeReport", *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    out = make_console()
    parts = {
        "call": report.calls, "message": report.messages, "score": report.scores,
        "attribution": report.attributions, "run": report.runs, "spool line": report.spool_lines,
    }  # fmt: skip
    out.print(
        "removed  "
        + ", ".join(count_things(count, name) for name, count in parts.items() if count or name == "call")
    )
    out.print(f"store    {format_size(report.bytes_before)} before, {format_size(report.bytes_after)} now")
    for name in report.pending:
        print_complaint(f"still in {name}, which its process holds: removed when it is done with the file")
