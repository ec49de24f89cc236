"""`llm-trace collect`: take the traces of other programs, hosts and languages."""

import contextlib
import signal
from typing import Annotated

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import print_complaint
from llm_trace.paths import make_absolute

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
    store: o.StoreOption = o.STORE,
) -> None:
    """Receive OpenTelemetry traces, and what coding agents log (OTLP over HTTP), until Ctrl-C."""
    from llm_trace.collect.receiver import Receiver
    from llm_trace.collect.server import check_token, open_listener, serve_collector
    from llm_trace.settings import build_spool_writer, resolve_settings

    check_token(host, token)
    path = make_absolute(store)
    settings = resolve_settings({})
    spool, encoder = build_spool_writer(settings, path)
    receiver = Receiver(spool, encoder, genai_only=genai_only, capture_content=settings["capture_content"])
    with contextlib.closing(spool), open_listener(host, port) as listener:
        address = listener.getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        print_complaint(f"http://{shown}:{address[1]} takes traces into {path}; Ctrl-C ends")
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends a container ends it like Ctrl-C
        with contextlib.suppress(KeyboardInterrupt):
            serve_collector(receiver, listener, token)
        receiver.close()
