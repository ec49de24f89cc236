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


ForkAt = Annotated[
    str | None,
    typer.Option(
        "--fork-at",
        metavar="SPAN_ID",
        help=(
            "Answer what was before this call from the record, change it by --set and let the rest run; "
            "tools only where --live names them."
        ),
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="WHAT=VALUE",
        help=(
            "What is changed at the fork: output=VALUE, output_text.OLD=NEW, arguments.NAME=VALUE, "
            "messages.INDEX=TEXT or input_text.OLD=NEW; a value is JSON or a text."
        ),
    ),
]
ForkRepeats = Annotated[
    int, typer.Option("--repeats", metavar="N", min=1, help="Run the fork so often, and judge what it did.")
]
Control = Annotated[
    bool, typer.Option("--control", help="Run the fork as often without the change, to tell it from chance.")
]
Serve = Annotated[
    list[str] | None,
    typer.Option(
        "--serve",
        metavar="NAME",
        help="Answer this function from the record, after a fork too where it is asked the same.",
    ),
]


def replay_run(
    what: What,
    function: Functions = None,
    mode: ModeOption = None,
    model: LiveModelOption = None,
    prompt: PromptsOption = None,
    param: Params = None,
    live: Live = None,
    serve: Serve = None,
    fork_at: ForkAt = None,
    set_: Sets = None,
    repeats: ForkRepeats = 1,
    control: Control = False,
    pace: Annotated[bool, typer.Option("--pace", help="Let streams come as slowly as they did.")] = False,
    clock: Annotated[bool, typer.Option("--clock", help="Set the program's clock back.")] = False,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Run a recorded run or call again: answered from the record,
    live with another model, prompt or parameters, or from one of its calls on with that one changed.
    """
    from llm_trace import replay
    from llm_trace.capture.spec import SERVED
    from llm_trace.replays.load import find_id
    from llm_trace.replays.report import Report
    from llm_trace.stores.duckdb import open_store

    sys.path.insert(0, str(Path.cwd()))
    what = find_id(open_store(store), what)
    overrides: dict[str, Any] = {"model": model, "params": dict(map(_parse_param, param or ()))}
    overrides["prompt"] = [_read_prompt(text, what, store) for text in prompt or ()]
    overrides = {name: value for name, value in overrides.items() if value}
    options: dict[str, Any] = {"store": store, "functions": function or (), "live": live or ()}
    options |= {"pace": pace, "clock": clock, "overrides": overrides}
    if fork_at is not None:
        change = _read_change(set_ or [])
        _fork(what, find_id(open_store(store), fork_at), change, as_json=as_json, serve=serve or (),
              repeats=repeats, control=control, **options)  # fmt: skip
        return
    chosen = mode or ("live" if overrides else "recorded")
    run = replay(what, mode=chosen, serve=SERVED.union(serve or ()), **options)
    report = Report(**run.config["replay"])
    if as_json:
        print_json(run)
    else:
        _print(run, report)
        if chosen != "recorded":
            _compare(run, store)
    if chosen == "recorded" and report.differs:
        raise typer.Exit(1)


def _fork(what: str, fork_at: str, change: dict[str, Any], *, as_json: bool, **options: Any) -> None:
    """Run a fork and print what came of it."""
    from llm_trace.replays.forks import fork

    result = fork(what, fork_at, change, **options)
    if as_json:
        control = [rerun.run for rerun in result.control]
        print_json({"summary": result.summary(), "runs": result.runs, "control": control})
        return
    out = make_console()
    out.print(make_plain_text(result.summary()), soft_wrap=True)
    first = result.reruns[0]
    if first.divergence is not None:
        out.print(make_plain_text(first.divergence), soft_wrap=True)
    out.print(make_plain_text(f"run {first.run.id}: llm-trace ls --run {first.run.id}"))


def _read_change(texts: list[str]) -> dict[str, Any]:
    """Return what `--set` says, as `fork` takes it."""
    change: dict[str, Any] = {}
    for text in texts:
        name, value = _parse_param(text, "--set")
        kind, dot, inside = name.partition(".")
        if kind in ("messages", "output_text", "input_text") and isinstance(value, int | float | list):
            value = text.partition("=")[2]  # a text, whatever it reads like
        if dot:
            change.setdefault(kind, {})[inside] = value
        else:
            change[kind] = value
    return change


def _parse_param(text: str, option: str = "--param") -> tuple[str, Any]:
    from llm_trace.errors import ReplayError
    from llm_trace.replays.overrides import parse_parameter

    try:
        return parse_parameter(text)
    except ReplayError as exc:
        raise typer.BadParameter(str(exc), param_hint=option) from exc


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
