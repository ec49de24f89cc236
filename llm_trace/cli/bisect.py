"""`llm-trace bisect`: which hunk of a prompt's change broke it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.diet import import_named
from llm_trace.cli.output import (
    exit_nothing,
    make_console,
    make_plain_text,
    make_table,
    print_complaint,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.causes.bisect_record import Bisection, BlamedHunk

EXAMPLE = "Example: llm-trace bisect refund@v1 refund@v2 --function app:answer --metric correct"

GoodSide = Annotated[
    str, typer.Argument(metavar="A", help="What is good: a prompt's version (refund@v1) or a run.")
]
BadSide = Annotated[str, typer.Argument(metavar="B", help="What is worse: the same.")]
CalledFunctions = Annotated[
    list[str] | None,
    typer.Option(
        "--function",
        "-f",
        metavar="MODULE:FUNCTION",
        help="A function that the recorded calls began with, to be imported from here; may be repeated.",
    ),
]
MetricOption = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="SCORE|MODULE:FUNCTION",
        help="The name of a score, higher is better, or a function of (answer) or (answer, call). Else: "
        "whether an answer is A's.",
    ),
]
BisectBudget = Annotated[
    int | None, typer.Option("--budget", metavar="CALLS", help="The most calls that run for real.")
]
WordsFlag = Annotated[bool, typer.Option("--words", help="Look for the words inside the hunks, too.")]
LiveTools = Annotated[
    list[str] | None,
    typer.Option(
        "--live",
        metavar="NAME",
        help="A tool that may run for real where the record has no answer; may be repeated.",
    ),
]
BlameConfidence = Annotated[float, typer.Option("--confidence", help="Of all that is blamed at once.")]
OrderSeed = Annotated[int, typer.Option("--seed", help="Of the order of inputs.")]


def run_bisect(
    a: GoodSide,
    b: BadSide,
    function: CalledFunctions = None,
    metric: MetricOption = None,
    budget: BisectBudget = None,
    words: WordsFlag = False,
    live: LiveTools = None,
    confidence: BlameConfidence = 0.95,
    seed: OrderSeed = 0,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Find which hunks of the change from A to B broke the answers (lines, messages, parameters, model):
    recorded inputs are asked again with half-changed prompts. Leaves with 3 where nothing is proved.
    """
    from llm_trace.causes.bisect_api import bisect

    functions = [import_named(name) for name in function or ()]
    good = import_named(metric) if metric is not None and ":" in metric else metric
    result = bisect(
        a, b, store=store, functions=functions, metric=good, budget=budget, words=words, live=live or (),
        confidence=confidence, seed=seed,
    )  # fmt: skip
    if as_json:
        print_json(result)
    else:
        _print(result)
    if result.status != "found":
        exit_nothing(result.summary(), quiet=as_json)


def _print(result: "Bisection") -> None:
    out = make_console()
    for title, blamed in (("hunk", result.hunks), ("words", result.words)):
        if blamed:
            print_table(
                out, make_table(_list_columns(title, blamed), wide=(title,), right=_NUMBERS), quiet=True
            )
    if result.status == "found":
        out.print(make_plain_text(result.summary(), "bold"), soft_wrap=True)
        out.print(make_plain_text(_describe_basis(result), "dim"), soft_wrap=True)
    for note in result.notes:
        print_complaint(f"… {note}")


_NUMBERS = ("loss with it", "without it", "difference", "answers")


def _list_columns(title: str, blamed: "Sequence[BlamedHunk]") -> dict[str, list[Any]]:
    return {
        title: [each.hunk.describe(200) for each in blamed],
        "loss with it": [f"{each.loss_with:.0%}" for each in blamed],
        "without it": [f"{each.loss_without:.0%}" for each in blamed],
        "difference": [f"{each.difference:+.0%}" for each in blamed],
        "bounds": [f"{each.low:+.0%} to {each.high:+.0%}" for each in blamed],
        "answers": [f"2 x {each.answers}" for each in blamed],
    }


def _describe_basis(result: "Bisection") -> str:
    order = f", searched by {result.explained} attributions" if result.explained else ""
    return (
        f"{result.a} against {result.b}: {result.worse} of {result.inputs} recorded inputs got worse"
        f"{order}; confidence {result.confidence:.0%} over the whole search. llm-trace ls --run {result.run}"
    )
