"""`llm-trace export --to ADDRESS`: to a platform instead of a file."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli.output import complain, nothing
from llm_trace.cli.place import existing
from llm_trace.spool.paths import spool_dir

if TYPE_CHECKING:
    from pathlib import Path

    from llm_trace.exporters.delivery import Delivery
    from llm_trace.exporters.seam import Event, Exporter
    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

PAGE = 500
"""Calls in memory at a time."""
WAIT_S = 60.0
"""How long to wait for the process that delivers to send again what was set aside."""

Follow = Annotated[
    bool,
    typer.Option(
        "--follow", help="To an address: carry the spool there, also what is still recorded; Ctrl-C leaves."
    ),
]
Header = Annotated[
    list[str] | None,
    typer.Option(
        "--header", metavar="NAME=VALUE", help="To an address: a header of each request; repeatable."
    ),
]
RetryRejected = Annotated[
    bool,
    typer.Option("--retry-rejected", help="To an address: send again what it refused and was set aside."),
]


def deliver(
    address: str,
    store: str,
    chosen: dict[str, Any],
    limit: int | None,
    *,
    headers: list[str] | None,
    follow: bool,
    retry_rejected: bool,
) -> None:
    """Deliver what the spool holds, what was set aside, or stored calls.

    Args:
        address: of the destination.
        store: path of the store.
        chosen: filters of the stored calls.
        limit: at most so many of them, the newest.
        headers: `NAME=VALUE`.
        follow: deliver the spool instead, until Ctrl-C.
        retry_rejected: deliver what was set aside instead.
    """
    exporter = _exporter(address, headers)
    folder = spool_dir(existing(store))
    if follow:
        _follow(exporter, folder)
    elif retry_rejected:
        _retry(exporter, folder)
    else:
        _send(exporter, folder, store, lambda opened: _pages(opened, chosen, limit))


def _exporter(address: str, headers: list[str] | None) -> "Exporter":
    from llm_trace.exporters.registry import exporter

    made = exporter(address)
    given = [header.partition("=") for header in headers or ()]
    if wrong := ["".join(parts) for parts in given if not (parts[0].strip() and parts[1])]:
        raise typer.BadParameter(f"{wrong[0]!r} is no header: write NAME=VALUE", param_hint="--header")
    made.headers = {**made.headers, **{name.strip(): value for name, _, value in given}}
    return made


def _follow(exporter: "Exporter", folder: "Path") -> None:
    from llm_trace.exporters.delivery import Delivery

    delivery = Delivery(folder, exporter)
    if not delivery.claim():
        complain(f"another process delivers to {exporter.name} already")
        return
    complain(f"{folder} goes to {exporter.name}; Ctrl-C leaves")
    with contextlib.suppress(KeyboardInterrupt):
        delivery.run()
    _leave(delivery, folder)


def _leave(delivery: "Delivery", folder: "Path") -> None:
    from llm_trace.exporters.standing import standing

    delivery.close()
    stands = standing(folder, delivery.name)
    complain(
        f"{stands.name}: {stands.delivered:,} delivered, {stands.pending:,} pending, {stands.rejected:,} rejected"
    )


def _retry(exporter: "Exporter", folder: "Path") -> None:
    from llm_trace.exporters.delivery import Delivery
    from llm_trace.exporters.sending import RefusedError
    from llm_trace.exporters.standing import rejected

    kept = rejected(folder, exporter.name)
    before = len(kept.events())
    if not before:
        nothing(f"nothing was set aside for {exporter.name}")
    delivery = Delivery(folder, exporter)
    if delivery.claim():
        try:
            delivery.retry_rejected()
        except RefusedError as exc:
            complain(f"llm-trace: {exc}")
            raise typer.Exit(1) from exc
        finally:
            delivery.close()
    else:  # the process that delivers keeps the counts
        kept.ask()
        deadline = time.monotonic() + WAIT_S
        while kept.asked() and time.monotonic() < deadline:
            time.sleep(0.1)
    left = len(kept.events())
    complain(f"{exporter.name}: {before - left:,} of {before:,} delivered")
    if left:
        raise typer.Exit(1)


def _send(
    exporter: "Exporter", folder: "Path", path: str, pages: "Callable[[Store], Iterator[list[Call]]]"
) -> None:
    """Send stored calls; what is refused is set aside."""
    from llm_trace.exporters.sending import RefusedError, Sender, Sent
    from llm_trace.exporters.standing import rejected
    from llm_trace.stores.duckdb import open_store

    sender = Sender(exporter, set_aside=rejected(folder, exporter.name).add, say=_say)
    sent = Sent()
    try:
        with open_store(path) as store:
            for batch in _batches(store, pages(store), exporter):
                sent.add(sender.send(batch))
    except RefusedError as exc:
        complain(f"llm-trace: {exc}")
        raise typer.Exit(1) from exc
    finally:
        sender.close()
    if not sent.delivered and not sent.rejected:
        nothing("no call matches")
    complain(f"{exporter.name}: {sent.delivered:,} delivered, {sent.rejected:,} set aside")
    if sent.rejected:
        raise typer.Exit(1)


def _say(reason: str) -> None:
    if reason:
        complain(reason)


def _pages(store: "Store", chosen: dict[str, Any], limit: int | None) -> "Iterator[list[Call]]":
    """Yield the calls that the filters choose, newest first, a page at a time."""
    from llm_trace.stores.bulk import RECORD, records

    return map(records, store.pages(", ".join(RECORD.values()), size=PAGE, limit=limit, **chosen))


def _batches(
    store: "Store", pages: "Iterator[list[Call]]", exporter: "Exporter"
) -> "Iterator[list[list[Event]]]":
    """Yield calls as events with their scores and attributions; whole traces where a platform wants those."""
    seen: set[str] = set()
    for page in pages:
        groups = [[call] for call in page if call.status != "open"]
        if exporter.whole_traces:
            fresh = {call.trace_id: None for (call,) in groups if call.trace_id not in seen}
            seen |= set(fresh)
            groups = [list(store.trace(trace_id)) for trace_id in fresh]
        for begin in range(0, len(groups), exporter.max_events):
            batch = groups[begin : begin + exporter.max_events]
            yield [*([_event(call) for call in group] for group in batch), *_about(store, batch)]


def _event(call: "Call") -> "Event":
    from llm_trace.exporters.seam import Event

    data = {name: item for name, item in call.model_dump().items() if item is not None}
    for name in ("messages_in", "messages_out"):
        data[name] = [message.model_dump(exclude_none=True) for message in getattr(call, name)]
    return Event("call", call.span_id, data)


def _about(store: "Store", groups: "list[list[Call]]") -> "list[list[Event]]":
    """Return the scores and attributions of calls."""
    from llm_trace.exporters.seam import Event

    traces = {call.span_id: call.trace_id for group in groups for call in group}
    made = []
    for row in _rows(store, "scores", traces):
        data = {**row, "value": json.loads(row["value"]), "trace_id": traces[row["span_id"]]}
        made.append([Event("score", row["id"], data)])
    for row in _rows(store, "attributions", traces):
        found = json.loads(row.pop("attribution") or "{}")
        data = {**found, **row, "trace_id": traces[row["span_id"]]}
        made.append([Event("attribution", row["id"], data)])
    return made


def _rows(store: "Store", table: str, spans: dict[str, str]) -> list[dict[str, Any]]:
    result = store.sql(f"SELECT * FROM {table} WHERE span_id IN (SELECT unnest(?))", list(spans))
    rows = [dict(zip(result.columns, row, strict=True)) for row in result]
    return [{name: item for name, item in row.items() if item is not None} for row in rows]
