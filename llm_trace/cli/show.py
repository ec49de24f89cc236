"""`llm-trace show`: one trace as a tree, and one of its calls in full."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.find import find_call_argument
from llm_trace.cli.output import make_console, print_json
from llm_trace.cli.tree import print_trace

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.find import CallInTrace

EXAMPLE = "Example: llm-trace show last"


def show_call(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help=(
                "A span or trace id, its beginning, or last. Of a trace the call that is explained, failed "
                "or asked a model is shown."
            ),
        ),
    ] = "last",
    full: Annotated[bool, typer.Option("--full", help="Print long prompts and answers whole.")] = False,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Show a trace as a tree and one call in full: prompt, answer, the words that mattered, scores, error.

    Images, sounds and files are named by media type and size; --json has them whole.
    """
    from llm_trace.stores.duckdb import open_store

    with open_store(store) as opened:
        place = find_call_argument(opened, identity)
        if as_json:
            _print_json(opened, place)
        else:
            print_trace(make_console(), opened, place, full=full)


def _print_json(store: "Store", place: "CallInTrace") -> None:
    from dataclasses import asdict

    call = store.call(place.span_id)
    answer: dict[str, Any] = {
        "trace_id": place.trace_id,
        "calls": place.calls,
        "trace": [asdict(row) for row in place.rows],
        "call": call,
        "attributions": store.attributions(place.span_id),
        "scores": store.scores(place.span_id),
        "documents": list(call.documents),
    }
    print_json(answer)
