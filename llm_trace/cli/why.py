"""`llm-trace why`: what a tool call or an answer came from, proved by making it again without each step."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llm_trace.cli import options as o
from llm_trace.cli.find import find_call_argument
from llm_trace.cli.output import make_console, make_plain_text, make_table, print_json, print_table
from llm_trace.cli.replay import Functions

if TYPE_CHECKING:
    from llm_trace.causes.why_record import Causes

EXAMPLE = "Example: llm-trace why 00f067aa0ba902b7 --function app:solve --budget 100"


def explain_decision(
    call: Annotated[
        str,
        typer.Argument(metavar="CALL", help="A call of a tool or a model, by the beginning of its id."),
    ],
    function: Functions = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODEL", help="Order the steps by attribution with this model."),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", metavar="N", min=1, help="At most N reruns for each step.")
    ] = 20,
    budget: Annotated[
        int | None, typer.Option("--budget", metavar="N", min=1, help="At most N calls of the model in all.")
    ] = None,
    usd: Annotated[
        float | None, typer.Option("--usd", metavar="DOLLARS", help="Spend at most this much.")
    ] = None,
    replace: Annotated[
        Literal["removed", "recorded"],
        typer.Option(
            "--replace",
            metavar="HOW",
            help="removed: [removed] stands in place of a step. recorded: what the same tool gave elsewhere.",
        ),
    ] = "removed",
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Say which message, tool result or text made a model call a tool or answer so: the model decides again
    without each of them, all before it from the record; no tool is run.

    Exit code 0: a step is proved to be to blame; 3: none is; 1: an error.
    """
    from llm_trace import open_store, why
    from llm_trace.attribution_settings import Budget

    sys.path.insert(0, str(Path.cwd()))
    means = Budget(evaluations=budget, usd=usd) if usd is not None else budget
    with open_store(store) as opened:
        span_id = find_call_argument(opened, call).span_id
        causes = why(
            span_id,
            store=opened,
            functions=function or (),
            model=model,
            repeats=repeats,
            budget=means,
            replace=replace,
        )
    if as_json:
        print_json(_describe(causes))
    else:
        _print(causes)
    if not causes.significant:
        raise typer.Exit(3)


def _describe(causes: "Causes") -> dict[str, Any]:
    from dataclasses import asdict

    return {"summary": causes.summary(), **asdict(causes)}


def _print(causes: "Causes") -> None:
    out = make_console()
    out.print(make_plain_text(causes.summary()), soft_wrap=True)
    if causes.chain:
        out.print(make_plain_text(" <- ".join(causes.chain)), soft_wrap=True)
    columns: dict[str, list[Any]] = {
        "step": [step.label for step in causes.steps],
        "without it": [str(step.without) if step.without.n else "not tried" for step in causes.steps],
        "effect": [f"{step.effect:+.0%}" if step.without.n else "" for step in causes.steps],
        "bounds": [f"{step.low:+.0%} to {step.high:+.0%}" if step.without.n else "" for step in causes.steps],
        "q": [f"{step.q_value:.2g}" if step.without.n else "" for step in causes.steps],
        "text": [" ".join(step.text.split()) for step in causes.steps],
    }
    print_table(out, make_table(columns, wide=("text",), right=("without it", "effect", "q")))
    out.print(make_plain_text(f"{causes.calls} calls of the model, steps by {causes.order}"))
    for note in causes.notes:
        out.print(make_plain_text(note), soft_wrap=True)
