"""`llm-trace gate`: which calls may run alone with an error rate that is kept, and which go to a person."""

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
from llm_trace.rendering import formatting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.operations.gate import Gate
    from llm_trace.operations.gate_state import Decision
    from llm_trace.operations.stages import Stage
    from llm_trace.stores.duckdb import Store

EXAMPLE = "Example: llm-trace gate fit desk --run checked --error 0.05"


class GateAction(enum.StrEnum):
    """What to do."""

    FIT = "fit"
    SHOW = "show"
    DECIDE = "decide"
    PROMOTE = "promote"
    ROLL_BACK = "roll-back"
    LS = "ls"


GateActionArgument = Annotated[
    GateAction,
    typer.Argument(
        metavar="ACTION",
        help=(
            "fit: on calls that people have checked; show: what a gate keeps, its audits and its stage; "
            "decide: about calls; promote: from shadow over advise to act, where its audits suffice; "
            "roll-back: to shadow; ls: the gates of the store."
        ),
    ),
]
GateNameArgument = Annotated[str, typer.Argument(metavar="GATE", help="The gate's name.")]
CallArguments = Annotated[
    list[str] | None, typer.Argument(metavar="CALL", help="decide: ids of calls, or their beginnings.")
]
GateError = Annotated[
    float, typer.Option("--error", metavar="SHARE", help="fit: so many automated calls may be wrong.")
]
GateConfidenceOption = Annotated[
    float, typer.Option("--confidence", metavar="SHARE", help="fit: that this is kept.")
]
GateLabel = Annotated[
    str, typer.Option("--label", metavar="NAME", help="fit: the score that says right or wrong.")
]
SignalOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--signal",
        metavar="NAME",
        help="fit: decide by this, such as logprob or share:days; may be repeated. Else by all there are.",
    ),
]
GateSeedOption = Annotated[int, typer.Option("--seed", metavar="N", help="fit: of the split and the audits.")]
ReasonOption = Annotated[
    str | None,
    typer.Option(
        "--reason", metavar="TEXT", help="roll-back: why; promote: why, although evidence is missing."
    ),
]
GateLimitOption = Annotated[
    int, typer.Option("--limit", "-n", metavar="N", min=1, help="decide: about at most N calls.")
]


def run_gate(
    action: GateActionArgument,
    gate: GateNameArgument = "gate",
    calls: CallArguments = None,
    run: o.RunFilter = None,
    name: o.Name = None,
    kind: o.KindFilter = None,
    model: o.ModelFilter = None,
    tag: o.Tag = None,
    since: o.Since = None,
    until: o.Until = None,
    where: o.Where = None,
    error: GateError = 0.05,
    confidence: GateConfidenceOption = 0.95,
    label: GateLabel = "correct",
    signal: SignalOptions = None,
    seed: GateSeedOption = 0,
    reason: ReasonOption = None,
    limit: GateLimitOption = 100,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Let calls run alone where their explanations and other signals allow it, with an error rate that is
    kept; the others go to a person.
    """
    from llm_trace.operations.gate import Gate
    from llm_trace.stores.duckdb import open_store

    chosen = o.build_filters(
        run=run, name=name, kind=kind, model=model, tag=tag, since=since, until=until, where=where
    )
    with open_store(store) as opened:
        if action is GateAction.LS:
            _list_gates(opened, as_json=as_json)
        elif action is GateAction.FIT:
            if chosen and not opened.calls(**chosen, limit=1, brief=True):
                exit_nothing("no call matches: `llm-trace ls` shows what there is")
            fitted = Gate.fit(
                chosen, error=error, confidence=confidence, label=label, signals=signal,
                store=opened, name=gate, seed=seed,
            ).save()  # fmt: skip
            _print_gate(fitted, opened, as_json=as_json)
        elif action is GateAction.SHOW:
            shown = Gate.load(gate, opened)
            shown.collect_audits()
            _print_gate(shown, opened, as_json=as_json)
        elif action in (GateAction.PROMOTE, GateAction.ROLL_BACK):
            _print_stage(_move(opened, gate, reason, up=action is GateAction.PROMOTE), as_json=as_json)
        else:
            loaded = Gate.load(gate, opened)
            spans = _find_calls(opened, calls, chosen, loaded.state.functions, limit)
            _print_decisions(loaded.decide_all(spans), as_json=as_json)


def _move(store: "Store", name: str, reason: str | None, *, up: bool) -> "Stage":
    from llm_trace.operations.gate import Gate
    from llm_trace.operations.stages import promote, roll_back

    Gate.load(name, store).collect_audits()
    store.ingest()
    return promote(store, name, force=reason) if up else roll_back(store, name, reason or "")


def _print_stage(stage: "Stage", *, as_json: bool) -> None:
    if as_json:
        print_json(stage)
    else:
        out = make_console()
        out.print(make_plain_text(f"{stage}"), soft_wrap=not out.is_terminal)


def _find_calls(
    store: "Store",
    beginnings: list[str] | None,
    chosen: dict[str, Any],
    functions: "Sequence[str]",
    limit: int,
) -> list[str]:
    """Return the ids of the calls that were asked for, else of the newest of the function that the gate was
    fitted on.
    """
    from llm_trace.stores.lookup import find_beginning

    if not beginnings:
        chosen = chosen or ({"name": functions[0]} if functions else {})
        spans = [call.span_id for call in store.calls(**chosen, limit=limit, brief=True)]
        return spans or exit_nothing("no call matches: `llm-trace ls` shows what there is")
    spans = []
    for text in beginnings:
        matches = find_beginning(store, text)
        if len(matches) != 1:
            exit_nothing(
                f"{text!r} begins the ids of {len(matches) or 'no'} calls: `llm-trace ls` lists them"
            )
        spans.append(matches[0][0])
    return spans


def _print_gate(gate: "Gate", store: "Store", *, as_json: bool) -> None:
    from llm_trace.operations.stages import read_stage

    audits, state, stage = gate.audits, gate.state, read_stage(store, gate.name)
    if as_json:
        from dataclasses import asdict

        from llm_trace.operations.gate_state import summarize_state

        print_json(
            summarize_state(state)
            | {"bound": gate.bound, "closed": gate.closed, "audits": asdict(audits)}
            | {"stage": stage.model_dump(mode="json")}
        )
        return
    lines = [str(gate), *(f"Note: {note}." for note in state.notes)]
    if state.signals:
        lines.append(f"Decides by: {', '.join(state.signals)}.")
    if state.limit is not None:
        lines += [f"Method: {state.method}.", f"It assumes that {'; that '.join(state.assumptions)}."]
    if audits.checked:
        lines.append(
            f"Audits: {audits.errors:,} of {audits.checked:,} automated calls drawn to be checked were "
            f"wrong, an error rate of {audits.low:.1%} to {audits.high:.1%}."
        )
    lines.append(f"Stage: {stage}.")
    out = make_console()
    for line in lines:
        out.print(make_plain_text(line), soft_wrap=not out.is_terminal)


def _print_decisions(decisions: "list[Decision]", *, as_json: bool) -> None:
    if as_json:
        print_json(decisions)
        return
    columns: dict[str, list[Any]] = {
        "id": [d.span_id[:8] for d in decisions],
        "decision": [
            make_plain_text(d.action, "green" if d.action == "automate" else "yellow") for d in decisions
        ],
        "chance of an error": ["" if d.chance is None else f"{d.chance:.1%}" for d in decisions],
        "why": [d.reason for d in decisions],
    }
    print_table(make_console(), make_table(columns, wide=("why",), right=("chance of an error",)))


def _list_gates(store: "Store", *, as_json: bool) -> None:
    from llm_trace.operations.gate_state import GateState
    from llm_trace.operations.log import read_operations

    newest = {operation.subject: operation for operation in read_operations(store, kind="gate")}
    states = {name: GateState.model_validate(operation.body) for name, operation in newest.items()}
    if as_json:
        print_json(
            [{"name": n, "time_ns": newest[n].time_ns, "bound": s.error if s.limit is not None else None,
              "confidence": s.confidence, "coverage": s.coverage} for n, s in states.items()]
        )  # fmt: skip
    elif states:
        columns: dict[str, list[Any]] = {
            "gate": list(states),
            "fitted": [formatting.format_clock(newest[name].time_ns) for name in states],
            "checked": [f"{s.checked:,}" for s in states.values()],
            "automates": [f"{s.coverage:.0%}" for s in states.values()],
            "errors below": ["" if s.limit is None else f"{s.error:.1%}" for s in states.values()],
            "why not": [s.reason for s in states.values()],
        }
        right = ("checked", "automates", "errors below")
        print_table(make_console(), make_table(columns, wide=("why not",), right=right))
    if not states:
        exit_nothing("no gate was fitted: llm-trace gate fit NAME --run RUN", quiet=as_json)
