"""`llm-trace replay`: run what was recorded again, from the record or live with something changed."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import make_console, make_plain_text, print_complaint, print_json
from llm_trace.errors import LLMTraceError

if TYPE_CHECKING:
    from llm_trace.capture.prompts import Prompt
    from llm_trace.record import Run
    from llm_trace.replays.report import Report

NAME = "replay"
EXAMPLE = "Example: llm-trace replay nightly --function app:answer"

What = Annotated[
    str,
    typer.Argument(
        metavar="RUN|SPAN_ID",
        help="A run by name or id, one call by its span id, the beginning of an id, or last.",
    ),
]
Functions = Annotated[
    list[str] | None,
    typer.Option(
        "--function",
        "-f",
        metavar="MODULE:FUNCTION",
        help="A function that the run began with, to be imported from here and called; may be repeated.",
    ),
]
ModeOption = Annotated[
    Literal["recorded", "live", "mixed"] | None,
    typer.Option(
        "--mode",
        metavar="MODE",
        help=(
            "recorded: model and tool calls are answered from the record. live: all runs. mixed: what is "
            "not recorded runs. Without it: live where something is changed."
        ),
    ),
]
LiveModelOption = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help="Ask this model instead.")
]
PromptsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt", metavar="[NAME=]FILE", help="A template in place of the recorded prompt (of that name)."
    ),
]
Params = Annotated[
    list[str] | None,
    typer.Option(
        "--param", metavar="NAME=VALUE", help="A request parameter, as temperature=0; may be repeated."
    ),
]
Live = Annotated[
    list[str] | None, typer.Option("--live", metavar="NAME", help="Let this function run all the same.")
]


def replay_run(
    what: What,
    function: Functions = None,
    mode: ModeOption = None,
    model: LiveModelOption = None,
    prompt: PromptsOption = None,
    param: Params = None,
    live: Live = None,
    pace: Annotated[bool, typer.Option("--pace", help="Let streams come as slowly as they did.")] = False,
    clock: Annotated[bool, typer.Option("--clock", help="Set the program's clock back.")] = False,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Run a recorded run or call again: answered from the record,
    or live with another model, prompt or parameters.
    """
    from llm_trace import replay
    from llm_trace.replays.load import find_id
    from llm_trace.replays.report import Report
    from llm_trace.stores.duckdb import open_store

    sys.path.insert(0, str(Path.cwd()))
    what = find_id(open_store(store), what)
    overrides: dict[str, Any] = {"model": model, "params": dict(map(_parse_param, param or ()))}
    overrides["prompt"] = [_read_prompt(text, what, store) for text in prompt or ()]
    overrides = {name: value for name, value in overrides.items() if value}
    chosen = mode or ("live" if overrides else "recorded")
    run = replay(
        what, store=store, mode=chosen, overrides=overrides, functions=function or (), live=live or (),
        pace=pace, clock=clock,
    )  # fmt: skip
    report = Report(**run.config["replay"])
    if as_json:
        print_json(run)
    else:
        _print(run, report)
        if chosen != "recorded":
            _compare(run, store)
    if chosen == "recorded" and report.differs:
        raise typer.Exit(1)


def _parse_param(text: str) -> tuple[str, Any]:
    from llm_trace.errors import ReplayError
    from llm_trace.replays.overrides import parse_parameter

    try:
        return parse_parameter(text)
    except ReplayError as exc:
        raise typer.BadParameter(str(exc), param_hint="--param") from exc


def _read_prompt(text: str, what: str, store: str) -> "Prompt":
    """Return the prompt in a file; without a name it is the one that the calls were made with."""
    from llm_trace.capture.prompts import Prompt
    from llm_trace.replays.load import load
    from llm_trace.stores.duckdb import open_store

    name, equals, file = text.partition("=")
    path = Path(file if equals else text)
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {str(path)!r}", param_hint="--prompt")
    if not equals:
        names = {c.prompt["name"] for c in load(open_store(store), what).tape.calls.values() if c.prompt}
        if len(names) != 1:
            known = (
                f"the calls use {', '.join(sorted(names))}"
                if names
                else "the calls were made with no named prompt"
            )
            raise typer.BadParameter(f"say whose place it takes: NAME={path}; {known}", param_hint="--prompt")
        (name,) = names
    return Prompt(name, path.read_text(encoding="utf-8"))


def _print(run: "Run", report: "Report") -> None:
    out = make_console()
    out.print(make_plain_text(str(report)), soft_wrap=True)
    out.print(make_plain_text(f"run {run.id}: llm-trace ls --run {run.id}"))


def _compare(run: "Run", store: str) -> None:
    """Print how the new run differs from the recorded one; of a single call both answers."""
    from llm_trace import compare, open_store
    from llm_trace.replays.report import describe_difference

    original = str(run.replay_of)
    with open_store(store) as opened:
        again = [call for call in opened.calls(run=run.id) if call.replay_of == original]
        pairs = [(opened.call(original), call) for call in again]
    for then, now in pairs:
        make_console().print(
            make_plain_text(describe_difference(then.output, now.output, "answered") or "answered the same")
        )
    if pairs:
        return
    try:
        comparison = compare(original, run.id, store=store)
    except LLMTraceError as exc:
        print_complaint(f"not compared: {exc}")
        return
    make_console().print(comparison)
