"""`llm-trace watch`: what moved among the calls, in sentences, at a stated rate of false alarms."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import exit_nothing, make_console, make_plain_text, print_complaint, to_json
from llm_trace.cli.rules import say_unsent
from llm_trace.cli.waiting import stop_at_interrupt
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from llm_trace.operations.monitors import Movement, Watch

EXAMPLE = "Example: llm-trace watch --to https://hooks.example.com/llm --text Example:"

AlarmTargets = Annotated[
    list[str] | None,
    typer.Option(
        "--to",
        metavar="TARGET",
        help="Send alarms there, each once: https://…, command:PROGRAM ARGUMENTS, or what apprise reaches "
        "(mailto://…). May be given again.",
    ),
]
TextsOption = Annotated[
    list[str] | None,
    typer.Option("--text", metavar="WORDS", help="Follow the weight on these words too. May be given again."),
]
WatchedPrompt = Annotated[str | None, typer.Option("--prompt", metavar="PROMPT", help="Only this prompt's.")]
FalseAlarms = Annotated[
    float, typer.Option("--false-alarms", metavar="RATE", help="A call, of all monitors together.")
]
LookOnce = Annotated[bool, typer.Option("--once", help="Look once and leave.")]
WatchInterval = Annotated[
    float, typer.Option("--interval", metavar="SECONDS", min=0.05, help="Between two looks.")
]


def run_watch(
    to: AlarmTargets = None,
    text: TextsOption = None,
    prompt: WatchedPrompt = None,
    false_alarms: FalseAlarms = 1e-4,
    once: LookOnce = False,
    interval: WatchInterval = 30.0,
    name: o.Name = None,
    model: o.ModelFilter = None,
    tag: o.Tag = None,
    since: o.Since = None,
    where: o.Where = None,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Say what moved among the model calls (errors, refusals, latency, cost, scores, verdicts, the weight on
    each part of a prompt), since when and with which version; Ctrl-C leaves. With --json one a line.
    """
    from llm_trace.operations.monitors import watch

    filters = o.build_filters(name=name, model=model, tag=tag, since=since, where=where)
    with stop_at_interrupt():
        watching = watch(
            store, prompt=prompt, texts=text or (), targets=to or (), false_alarms=false_alarms, **filters
        )
        _print(watching.movements, as_json=as_json)
        arrived = say_unsent(watching.sendings)
        if once:
            if not arrived:
                raise typer.Exit(1)
            if not watching.movements:
                exit_nothing(_describe_states(watching), quiet=as_json)
            return
        print_complaint(f"{_describe_states(watching)} Ctrl-C leaves.")
        while True:
            time.sleep(interval)
            count = len(watching.sendings)
            _print(watching.look(), as_json=as_json)
            say_unsent(watching.sendings[count:])


def _print(movements: "list[Movement]", *, as_json: bool) -> None:
    out = make_console()
    for movement in movements:
        line: Any = to_json(movement) if as_json else make_plain_text(movement.text)
        out.print(line, soft_wrap=True, markup=False)


def _describe_states(watching: "Watch") -> str:
    if not watching.states:
        return "no call matches yet: llm-trace ls shows calls, llm-trace prompts their prompts."
    learning = sum(state.is_learning for state in watching.states)
    moved = len(watching.movements)
    return (
        f"{moved or 'nothing'} moved so far; {count_things(len(watching.states), 'monitor')}, {learning} of "
        "them with too few values yet (200 each)."
    )
