"""`llm-trace compare`: is b better than a, by how much, where, and how sure is that."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import make_console, make_plain_text, print_complaint, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llm_trace.comparison.comparison import Comparison

EXAMPLE = "Example: llm-trace compare 'refund-desk v1' 'refund-desk v2' --fail-if 'accuracy.low < -0.02'"

A = Annotated[
    str, typer.Argument(metavar="A", help="A run, a prompt version ('qa v3', qa@3, its hash) or a model.")
]
B = Annotated[str, typer.Argument(metavar="B", help="The same, for what is to be judged.")]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="PLACE",
        help=(
            "Pair calls by this instead of their input: dataset, metadata.example, input.question, "
            "variables.name."
        ),
    ),
]
Metrics = Annotated[
    list[str] | None, typer.Option("--metric", metavar="NAME", help="Only this metric; may be repeated.")
]
Slices = Annotated[
    list[str] | None,
    typer.Option(
        "--slice", metavar="PLACE", help="Compare each value of this as well: tag, metadata.language …"
    ),
]
Lower = Annotated[
    list[str] | None, typer.Option("--lower", metavar="NAME", help="A score that is better when lower.")
]
FailIf = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        metavar="CONDITION",
        help=(
            "Leave with exit code 1 if this holds: accuracy.low < -0.02, accuracy[tag late].verdict == worse."
        ),
    ),
]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a page that stands alone.")
]
Confidence = Annotated[float, typer.Option("--confidence", metavar="SHARE", help="Of the bounds.")]


def compare_runs(
    a: A,
    b: B,
    by: By = None,
    metric: Metrics = None,
    slice_: Slices = None,
    lower: Lower = None,
    fail_if: FailIf = None,
    html: HtmlOption = None,
    confidence: Confidence = 0.95,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Compare two runs, prompt versions or models on the inputs that both answered:
    differences with bounds, tests, slices.
    """
    from llm_trace import compare

    comparison = compare(
        a,
        b,
        store=store,
        by=by,
        metrics=metric,
        slices=slice_ or ("tag",),
        lower=lower or (),
        confidence=confidence,
    )
    if html is not None:
        comparison.to_html(html)
    if as_json:
        print_json(comparison)
    else:
        _print(comparison)
    _judge(comparison, fail_if or ())


def _print(comparison: "Comparison") -> None:
    """Print the tables; in a pipe without the blanks that fill their lines."""
    out = make_console()
    if out.is_terminal:
        out.print(comparison)
        return
    for line in str(comparison).splitlines():
        out.print(make_plain_text(line), soft_wrap=True)


def _judge(comparison: "Comparison", conditions: "Iterable[str]") -> None:
    """Leave with exit code 1 if a condition holds."""
    failed = [condition for condition in conditions if comparison.fails(condition)]
    for condition in failed:
        print_complaint(f"llm-trace: failed, as {condition}")
    if failed:
        raise typer.Exit(1)
