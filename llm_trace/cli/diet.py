"""`llm-trace diet`: parts of a prompt that never matter, what they cost, and whether answers need them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import (
    exit_nothing,
    make_console,
    make_plain_text,
    make_table,
    print_complaint,
    print_json,
    print_table,
)
from llm_trace.cli.prompts import print_pieces
from llm_trace.rendering.formatting import format_cost, format_one_line

if TYPE_CHECKING:
    from llm_trace.operations.diet_record import Diet

EXAMPLE = "Example: llm-trace diet refund --model app:ask --to refund-short.txt"

PromptName = Annotated[str, typer.Argument(metavar="PROMPT", help="The prompt's name.")]
PromptVersionOption = Annotated[
    str | None,
    typer.Option("--version", metavar="VERSION", help="v3 or a hash; else the one that was used last."),
]
DietModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="What is asked without the parts: MODULE:FUNCTION, imported from here, or a model to open. "
        "Without it parts are proposed by attributions alone.",
    ),
]
DietScore = Annotated[
    str | None,
    typer.Option(
        "--score",
        metavar="MODULE:FUNCTION",
        help="Of (answer, call), from 0 to 1: how good an answer is. Else: whether it is the logged one.",
    ),
]
Margin = Annotated[
    float, typer.Option("--margin", help="Loss of the mean score that is borne; 0.01 is one point.")
]
LossConfidence = Annotated[float, typer.Option("--confidence", help="That the loss is below the margin.")]
DietLimit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="Read at most N calls.")]
DietBudget = Annotated[
    int | None, typer.Option("--budget", metavar="QUESTIONS", help="The most questions to the model.")
]
HalvesSeed = Annotated[
    int, typer.Option("--seed", help="Of the halves: chosen on one, confirmed on the other.")
]
DietOutput = Annotated[
    Path | None, typer.Option("--to", metavar="FILE", help="Write the shorter template to this file.")
]


def run_diet(
    prompt: PromptName,
    version: PromptVersionOption = None,
    model: DietModel = None,
    score: DietScore = None,
    margin: Margin = 0.01,
    confidence: LossConfidence = 0.95,
    limit: DietLimit = 1000,
    budget: DietBudget = None,
    seed: HalvesSeed = 0,
    to: DietOutput = None,
    run: o.RunFilter = None,
    name: o.Name = None,
    tag: o.Tag = None,
    since: o.Since = None,
    until: o.Until = None,
    where: o.Where = None,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Find the parts of a prompt that never matter, with what they cost a month; with --model also prove on
    held-out calls that the answers do without them. Nothing is applied.
    """
    from llm_trace.operations.diet_api import diet

    filters = o.build_filters(name=name, tag=tag, since=since, until=until, where=where)
    result = diet(
        prompt, store=store, version=version, run=run, model=find_model(model),
        score=None if score is None else import_named(score), margin=margin, confidence=confidence,
        limit=limit, budget=budget, seed=seed, **filters,
    )  # fmt: skip
    if as_json:
        print_json(result)
    else:
        _print(result)
    if to is not None and result.status != "nothing":
        to.write_text(result.shorter, encoding="utf-8")
    if result.status == "nothing":
        exit_nothing(result.summary(), quiet=as_json)


def find_model(model: str | None) -> Any:
    """Return the function that MODULE:FUNCTION names, all else as it is."""
    return import_named(model) if model is not None and ":" in model else model


def import_named(function: str) -> Any:
    """Return a function by MODULE:FUNCTION, found from the folder at hand."""
    from llm_trace.replays.roots import import_function

    sys.path.insert(0, str(Path.cwd()))
    return import_function(function)


def _print(result: "Diet") -> None:
    out = make_console()
    columns: dict[str, list[Any]] = {
        "verdict": [part.verdict for part in result.parts],
        "kind": [part.kind for part in result.parts],
        "part": [format_one_line(part.name, 90) for part in result.parts],
        "tokens": ["" if part.tokens is None else f"{part.tokens:,.1f}" for part in result.parts],
        "$ a month": [format_cost(part.usd_per_month) for part in result.parts],
        "mattered in": [f"{p.mattered:,} of {p.examined:,}" if p.examined else "" for p in result.parts],
    }
    print_table(out, make_table(columns, wide=("part",), right=("tokens", "$ a month")), quiet=True)
    if result.status != "nothing":
        if result.shorter != result.template:
            print_pieces(result.diff)
        out.print(make_plain_text(result.summary()), soft_wrap=True)
    for note in result.notes:
        print_complaint(f"… {note}")
