"""`llm-trace tail`: calls as they end, live."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.ls import print_calls
from llm_trace.cli.output import print_complaint, to_json
from llm_trace.cli.waiting import stop_at_interrupt
from llm_trace.errors import StoreNotFoundError

if TYPE_CHECKING:
    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

EXAMPLE = "Example: llm-trace tail --status error"

LATE_NS = 10 * 10**9
"""How much later than others an end may arrive and still be seen: writers are read in turns."""
DAY_NS = 86400 * 10**9
BATCH = 500

Last = Annotated[int, typer.Option("--last", metavar="N", min=0, help="Begin with the N newest calls.")]
LeaveAfterOption = Annotated[
    int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="Leave after N calls.")
]
IntervalOption = Annotated[
    float, typer.Option("--interval", metavar="SECONDS", min=0.05, help="Seconds between two looks.")
]


def follow_calls(
    run: o.RunFilter = None,
    name: o.Name = None,
    kind: o.KindFilter = None,
    status: o.StatusFilter = None,
    last: Last = 5,
    limit: LeaveAfterOption = None,
    interval: IntervalOption = 0.5,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Print calls as they end; Ctrl-C leaves. With --json one call a line."""
    chosen = o.build_filters(run=run, name=name, kind=kind, status=status)
    with stop_at_interrupt():
        printed = 0
        for calls in follow_store(_wait_for(store, interval), chosen, last=last, interval=interval):
            shown = calls[: None if limit is None else limit - printed]
            _print(shown, header=not printed, as_json=as_json)
            printed += len(shown)
            if limit is not None and printed >= limit:
                return


def _wait_for(path: str, interval: float) -> "Store":
    """Return the store, as soon as anything has been written to it."""
    from llm_trace.stores.duckdb import open_store

    noted = False
    while True:
        try:
            return open_store(path)
        except StoreNotFoundError:
            if not noted:
                print_complaint(f"waiting for the first call to {path}; Ctrl-C leaves")
            noted = True
            time.sleep(interval)


def follow_store(
    store: "Store", chosen: dict[str, Any], *, last: int, interval: float
) -> Iterator[list["Call"]]:
    """Yield the newest calls, then those that have ended since the last look, oldest first, without end."""
    from llm_trace.stores.lookup import list_ended

    begin = after = time.time_ns()
    seen = set(list_ended(store, after - LATE_NS, begin - DAY_NS))
    if last:
        finished = [call for call in store.calls(**chosen, limit=last) if call.status != "open"]
        seen |= {call.span_id for call in finished}
        yield finished[::-1]
    while True:
        store.ingest()
        ended = list_ended(store, after - LATE_NS, begin - DAY_NS)
        new = [span_id for span_id in ended if span_id not in seen]
        for i in range(0, len(new), BATCH):
            ids = ", ".join(f"'{span_id}'" for span_id in new[i : i + BATCH] if span_id.isalnum())
            calls = store.calls(**chosen, where=f"span_id IN ({ids})", limit=None)
            if calls:
                yield sorted(calls, key=lambda call: (ended[call.span_id], call.span_id))
        newest = max(ended.values(), default=after)
        # A clock that goes before ours must not hide the rest.
        after = max(after, min(newest, time.time_ns()))
        seen = set(ended)
        time.sleep(interval)


def _print(calls: "list[Call]", *, header: bool, as_json: bool) -> None:
    if not as_json:
        if calls:
            print_calls(calls, header=header, steady=True)
        return

    for call in calls:
        typer.echo(to_json(call.model_dump(mode="json")))
