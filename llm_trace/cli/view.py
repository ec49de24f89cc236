"""`llm-trace view`: the store in a browser on this machine."""

import contextlib
import signal
from typing import Annotated

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import print_complaint

EXAMPLE = "Example: llm-trace view --store traces.duckdb"


def run_viewer(
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="PORT",
            min=0,
            max=65535,
            help="0 takes a free one; absent: the store's own, or a free one where that is taken.",
        ),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the default browser.")
    ] = True,
    replay: Annotated[
        list[str] | None,
        typer.Option(
            "--replay",
            metavar="MODULE:FUNCTION",
            help=(
                "A function that pages may run again, imported from here when they do; may be repeated. "
                "Without it nothing runs."
            ),
        ),
    ] = None,
    store: o.StoreOption = o.STORE,
) -> None:
    """Show calls, traces, attributions, comparisons and prompts in a browser, until Ctrl-C.

    Listens on 127.0.0.1 alone; the printed link opens it once.
    """
    from llm_trace.stores.duckdb import open_store
    from llm_trace.viewer.server import build_viewer_server, make_link, make_token, open_viewer_listener

    with open_store(store) as opened, open_viewer_listener(opened.path, port) as listener:
        token = make_token()
        server = build_viewer_server(opened, listener, token, replay or ())
        link = make_link(listener, token)
        print_complaint(f"{link} shows {opened.path}; Ctrl-C ends")
        if browser:
            import webbrowser

            webbrowser.open(link)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
