"""`llm-trace collect`: take the traces of other programs, hosts and languages."""

import contextlib
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import print_complaint
from llm_trace.paths import make_absolute

if TYPE_CHECKING:
    from llm_trace.collect.receiver import Receiver

EXAMPLE = "Example: llm-trace collect --port 4318 --store traces.duckdb"


def run_collect(
    host: Annotated[
        str,
        typer.Option("--host", metavar="HOST", help="Where to listen; beyond this machine needs a token."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="0 takes a free one.")
    ] = 4318,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="LLM_TRACE_COLLECT_TOKEN",
            metavar="TOKEN",
            help="What senders must give as 'Authorization: Bearer TOKEN'.",
        ),
    ] = None,
    genai_only: Annotated[
        bool, typer.Option("--genai-only", help="Leave out spans that tell of no model, tool or agent.")
    ] = False,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, max=64, help="Processes that share the port.")
    ] = 1,
    store: o.StoreOption = o.STORE,
) -> None:
    """Receive OpenTelemetry traces, and what coding agents log (OTLP over HTTP), until Ctrl-C."""
    from llm_trace.collect.server import check_token, open_listener, serve_collector

    check_token(host, token)
    build = partial(build_receiver, make_absolute(store), genai_only=genai_only)
    with open_listener(host, port) as listener:
        address = listener.getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        sentence = f"http://{shown}:{address[1]} takes traces into {make_absolute(store)}; Ctrl-C ends"
        if workers > 1:
            from llm_trace.collect.workers import serve_workers

            print_complaint(sentence)
            serve_workers(build, listener, token, workers)
            return
        receiver = build()
        with contextlib.closing(receiver.spool):
            print_complaint(sentence)
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends a container, as Ctrl-C does
            with contextlib.suppress(KeyboardInterrupt):
                serve_collector(receiver, listener, token)
            receiver.close()


def build_receiver(store: Path, *, genai_only: bool) -> "Receiver":
    """Return what takes spans into a store's spool, by the settings of the environment."""
    from llm_trace.collect.receiver import Receiver
    from llm_trace.settings import build_spool_writer, resolve_settings

    settings = resolve_settings({})
    spool, encoder = build_spool_writer(settings, store)
    return Receiver(spool, encoder, genai_only=genai_only, capture_content=settings["capture_content"])
