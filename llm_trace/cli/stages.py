"""`llm-trace stages`: what gates, rules and new versions of prompts may do; taking them further or back."""

import enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import (
    exit_nothing,
    make_console,
    make_plain_text,
    make_table,
    print_json,
    print_table,
)
from llm_trace.rendering.formatting import format_clock

if TYPE_CHECKING:
    from llm_trace.operations.stages import Stage
    from llm_trace.stores.duckdb import Store

EXAMPLE = "Example: llm-trace stages promote 'weight on the example'"


class StagesAction(enum.StrEnum):
    """What to do."""

    LIST = "list"
    PROMOTE = "promote"
    BACK = "back"
    CANARY = "canary"
    END = "end"


ActionArgument = Annotated[
    StagesAction,
    typer.Argument(
        metavar="ACTION",
        help="list; promote NAME: one step further, if the evidence is there; back NAME: to shadow; canary "
        "PROMPT A B: try version B against A, or without A and B judge the one that runs; end PROMPT: all "
        "traffic back to A.",
    ),
]
Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="A gate or rule; a prompt and two versions.")
]
Reason = Annotated[
    str | None,
    typer.Option(
        "--reason",
        metavar="TEXT",
        help="Why, which is kept: back and end need it; promote goes on without evidence by it.",
    ),
]
StageError = Annotated[
    float | None,
    typer.Option("--error", help="Error rate that must be shown; else the gate's own, of a rule 0.5."),
]
CanaryScore = Annotated[str, typer.Option("--score", metavar="SCORE", help="That canaries are judged by.")]
RangeOption = Annotated[
    tuple[float, float], typer.Option("--range", metavar="LOW HIGH", help="Of that score.")
]
ShareOption = Annotated[float, typer.Option("--share", help="Of the traffic that a canary gets.")]
MarginOption = Annotated[
    float, typer.Option("--margin", help="Loss of the mean score that still is not worse.")
]


def run_stages(
    action: ActionArgument = StagesAction.LIST,
    names: Names = None,
    reason: Reason = None,
    error: StageError = None,
    score: CanaryScore = "correct",
    score_range: RangeOption = (0.0, 1.0),
    share: ShareOption = 0.1,
    margin: MarginOption = 0.02,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """List what gates and rules may do (shadow, advise, act) and what the next step lacks; promote one or
    take it back; try a prompt's new version on a share of the traffic.
    """
    from llm_trace.stores.duckdb import open_store

    names = names or []
    wanted = {
        StagesAction.LIST: (0,), StagesAction.PROMOTE: (1,), StagesAction.BACK: (1,),
        StagesAction.CANARY: (1, 3), StagesAction.END: (1,),
    }[action]  # fmt: skip
    if len(names) not in wanted:
        raise typer.BadParameter(f"{action} takes {' or '.join(map(str, wanted))} names, not {len(names)}")
    if reason is None and action in (StagesAction.BACK, StagesAction.END):
        raise typer.BadParameter("say why: it is kept", param_hint="--reason")
    with open_store(store) as opened:
        if action is StagesAction.LIST:
            _list(opened, error, as_json=as_json)
        elif action in (StagesAction.PROMOTE, StagesAction.BACK):
            _move(opened, names[0], reason, error, promotes=action is StagesAction.PROMOTE, as_json=as_json)
        elif len(names) == 3:
            settings = {"score": score, "share": share, "margin": margin}
            _start(opened, names, settings, score_range, as_json=as_json)
        else:
            _judge(opened, names[0], reason if action is StagesAction.END else None, as_json=as_json)


def _list(store: "Store", error: float | None, *, as_json: bool) -> None:
    from llm_trace.operations.stages import list_stages

    stages = list_stages(store)
    needs = [_list_missing(store, stage, error) for stage in stages]
    if as_json:
        print_json([s.model_dump() | {"missing": n} for s, n in zip(stages, needs, strict=True)])
    elif stages:
        columns: dict[str, list[Any]] = {
            "name": [stage.subject for stage in stages],
            "stage": [stage.stage for stage in stages],
            "share": ["" if stage.stage == "shadow" else f"{stage.share:.0%}" for stage in stages],
            "since": ["" if s.since_ns is None else format_clock(s.since_ns) for s in stages],
            "the next step lacks": [
                "" if n is None else " and ".join(n) or "nothing: promote it" for n in needs
            ],
        }
        print_table(make_console(), make_table(columns, wide=("name", "the next step lacks")))
    if not stages:
        exit_nothing("no gate or rule has decided: llm-trace rules run FILE", quiet=as_json)


def _list_missing(store: "Store", stage: "Stage", error: float | None) -> list[str] | None:
    """Return what the next step lacks; `None` where there is none."""
    from llm_trace.operations.stages import find_next_step
    from llm_trace.operations.stages_evidence import read_stage_evidence

    step = find_next_step(stage)
    return None if step is None else step.list_missing(read_stage_evidence(store, stage.subject, error=error))


def _move(
    store: "Store", name: str, reason: str | None, error: float | None, *, promotes: bool, as_json: bool
) -> None:
    from llm_trace.operations.stages import promote, roll_back
    from llm_trace.operations.stages_evidence import read_stage_evidence

    if promotes:
        stage = promote(store, name, evidence=read_stage_evidence(store, name, error=error), force=reason)
    else:
        stage = roll_back(store, name, reason or "")
    if as_json:
        print_json(stage)
    else:
        make_console().print(make_plain_text(str(stage)), soft_wrap=True)


def _start(
    store: "Store", names: list[str], settings: Any, score_range: tuple[float, float], *, as_json: bool
) -> None:
    from llm_trace.comparison.iterations import find_prompt_version
    from llm_trace.operations.canary import Canary, start_canary

    prompt, *versions = names
    control, candidate = (find_prompt_version(store, prompt, version).version for version in versions)
    low, high = score_range
    canary = Canary(prompt=prompt, control=control, candidate=candidate, low=low, high=high, **settings)
    begun = start_canary(store, canary)
    text = f"{candidate} of {prompt!r} is tried on {begun.share:.0%} of the traffic against {control}"
    if as_json:
        print_json(begun)
    else:
        make_console().print(make_plain_text(text), soft_wrap=True)


def _judge(store: "Store", prompt: str, reason: str | None, *, as_json: bool) -> None:
    from llm_trace.operations.canary import end_canary, judge_canary

    result = judge_canary(store, prompt) if reason is None else end_canary(store, prompt, reason)
    if as_json:
        print_json(result)
    else:
        make_console().print(make_plain_text(result.text), soft_wrap=True)
