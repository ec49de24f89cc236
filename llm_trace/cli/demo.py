"""`llm-trace demo`: the tour."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import make_console, print_json

EXAMPLE = "Example: llm-trace demo"


def run_demo(
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="PATH", help="Record to this store; a temporary folder otherwise."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Leave the temporary folder, to look around in it.")
    ] = True,
    as_json: o.JsonOption = False,
) -> None:
    """Take the tour: two prompts, 100 customers, a wrong refund, the words that caused it, a crash, and an
    agent's mistake. Offline, under a minute.
    """
    _require_model()
    from llm_trace.demo import story

    out = None
    if not as_json:
        out = make_console()
        out.width = min(out.width, 100) if out.is_terminal else 80
    figures = story.tell(out, store, keep=keep)
    if as_json:
        print_json(figures)


def _require_model() -> None:
    """Stop before the tour begins where a library that its model needs is absent."""
    for library in ("torch", "transformers"):
        if find_spec(library) is None:
            raise ModuleNotFoundError(f"No module named {library!r}", name=library)
