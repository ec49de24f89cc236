"""`llm-trace worth`: what operating with explanations is worth."""

from typing import TYPE_CHECKING, Annotated

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import exit_nothing, make_console, make_plain_text, print_json

if TYPE_CHECKING:
    from llm_trace.operations.worth_summary import Worth

EXAMPLE = "Example: llm-trace worth --hourly 40"


def print_worth(
    score: Annotated[
        str, typer.Option("--score", metavar="NAME", help="The score that says whether a call is right.")
    ] = "correct",
    truth: Annotated[
        str | None,
        typer.Option(
            "--truth",
            metavar="NAME",
            help="The score of a program that says which decisions of people are right; absent: --score.",
        ),
    ] = None,
    passing: Annotated[
        float, typer.Option("--passing", metavar="N", help="A call is right from this number on.")
    ] = 0.5,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="NAME", help="Only failures of this prompt.")
    ] = None,
    hourly: Annotated[
        float | None, typer.Option("--hourly", metavar="USD", help="What an hour of a reviewer costs.")
    ] = None,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Say what it is worth: time from failure to fix, errors prevented, what was saved, and reviewers with
    and without explanations; what is not known says so and why.
    """
    from llm_trace.operations.worth_summary import worth

    result = worth(store, score=score, truth=truth, passing=passing, prompt=prompt, hourly_usd=hourly)
    if as_json:
        print_json(result)
    else:
        _print(result)
    if not result.known:
        exit_nothing("none of it is known yet", quiet=as_json)


def _print(result: "Worth") -> None:
    from llm_trace.operations.worth_figures import TOPICS

    out = make_console()
    for topic, title in TOPICS.items():
        out.print(make_plain_text(title, "bold"))
        for figure in result.choose(topic):
            line = make_plain_text(f"  {figure.name}: ")
            line.append(make_plain_text(figure.shown, "dim" if figure.value is None else "bold"))
            out.print(line, soft_wrap=True)
            out.print(make_plain_text(f"    {figure.words}", "dim"), soft_wrap=True)
