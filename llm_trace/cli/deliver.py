"""`llm-trace export --to ADDRESS`: to a platform instead of a file, or archives for one out of reach."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace import stored_events
from llm_trace.cli.output import exit_nothing, print_complaint
from llm_trace.paths import find_existing
from llm_trace.spool.paths import get_spool_dir

if TYPE_CHECKING:
    from pathlib import Path

    from llm_trace.exporters.delivery.delivery import Delivery
    from llm_trace.exporters.protocol import Exporter
    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

WAIT_S = 60.0
"""How long to wait for the process that delivers to send again what was set aside."""

FollowOption = Annotated[
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
        limit: the most of them, newest first.
        headers: `NAME=VALUE`.
        follow: deliver the spool instead, until Ctrl-C.
        retry_rejected: deliver what was set aside instead.
    """
    exporter = _make_exporter(address, headers)
    folder = get_spool_dir(find_existing(store))
    if follow:
        _follow(exporter, folder)
    elif retry_rejected:
        _retry(exporter, folder)
    else:
        _send(exporter, folder, store, lambda opened: stored_events.iter_pages(opened, chosen, limit))


def _make_exporter(address: str, headers: list[str] | None) -> "Exporter":
    from llm_trace.exporters.registry import make_exporter

    exporter = make_exporter(address)
    pairs = [header.partition("=") for header in headers or ()]
    if wrong := ["".join(parts) for parts in pairs if not (parts[0].strip() and parts[1])]:
        raise typer.BadParameter(f"{wrong[0]!r} is no header: write NAME=VALUE", param_hint="--header")
    exporter.headers = {**exporter.headers, **{name.strip(): value for name, _, value in pairs}}
    return exporter


def _follow(exporter: "Exporter", folder: "Path") -> None:
    from llm_trace.exporters.delivery.delivery import Delivery

    delivery = Delivery(folder, exporter, every=True)
    if not delivery.claim():
        print_complaint(f"another process delivers to {exporter.name} already")
        return
    print_complaint(f"{folder} goes to {exporter.name}; Ctrl-C leaves")
    with contextlib.suppress(KeyboardInterrupt):
        delivery.run()
    _exit_delivery(delivery, folder)


def _exit_delivery(delivery: "Delivery", folder: "Path") -> None:
    from llm_trace.exporters.delivery.status import get_standing

    delivery.close()
    stands = get_standing(folder, delivery.name)
    print_complaint(
        f"{stands.name}: {stands.delivered:,} delivered, {stands.pending:,} pending, {stands.rejected:,} "
        f"rejected"
    )


def _retry(exporter: "Exporter", folder: "Path") -> None:
    from llm_trace.exporters.delivery.delivery import Delivery
    from llm_trace.exporters.delivery.status import list_rejected
    from llm_trace.exporters.delivery.transport import DestinationRefusedError

    rejected = list_rejected(folder, exporter.name)
    before = len(rejected.events())
    if not before:
        exit_nothing(f"nothing was set aside for {exporter.name}")
    delivery = Delivery(folder, exporter)
    if delivery.claim():
        try:
            delivery.retry_rejected()
        except DestinationRefusedError as exc:
            print_complaint(f"llm-trace: {exc}")
            raise typer.Exit(1) from exc
        finally:
            delivery.close()
    else:  # the process that delivers keeps the counts
        rejected.ask()
        deadline = time.monotonic() + WAIT_S
        while rejected.is_asked() and time.monotonic() < deadline:
            time.sleep(0.1)
    left = len(rejected.events())
    print_complaint(f"{exporter.name}: {before - left:,} of {before:,} delivered")
    if left:
        raise typer.Exit(1)


def _send(
    exporter: "Exporter", folder: "Path", path: str, pages: "Callable[[Store], Iterator[list[Call]]]"
) -> None:
    """Send stored calls; what is refused is set aside."""
    from llm_trace.exporters.delivery.status import list_rejected
    from llm_trace.exporters.delivery.transport import DestinationRefusedError, Sender, Sent
    from llm_trace.stores.duckdb import open_store

    sender = Sender(exporter, set_aside=list_rejected(folder, exporter.name).add, say=_print_reason)
    sent = Sent()
    try:
        with open_store(path) as store:
            whole, most = exporter.whole_traces, exporter.max_events
            for batch in stored_events.iter_batches(store, pages(store), whole_traces=whole, most=most):
                sent.add(sender.send(batch))
    except DestinationRefusedError as exc:
        print_complaint(f"llm-trace: {exc}")
        raise typer.Exit(1) from exc
    finally:
        sender.close()
    if not sent.delivered and not sent.rejected:
        exit_nothing("no call matches")
    print_complaint(f"{exporter.name}: {sent.delivered:,} delivered, {sent.rejected:,} set aside")
    if sent.rejected:
        raise typer.Exit(1)


def _print_reason(reason: str) -> None:
    if reason:
        print_complaint(reason)


def archive(store: "Store", chosen: dict[str, Any], limit: int | None, out: "Path") -> int:
    """Write the traces and runs of stored calls as archives that `comet upload` takes; return how many."""
    from llm_trace.exporters.comet.archive import write_archives

    count = 0
    for batch in stored_events.iter_batches(
        store, stored_events.iter_pages(store, chosen, limit), whole_traces=True, most=100
    ):
        events = [event for group in batch for event in group]
        count += len(write_archives(events, out))
    return count
