"""`llm-trace rules`: read a rule file, try it on stored calls, decide about them, or have rules proposed."""

import enum
from collections import Counter
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
from llm_trace.rendering.formatting import count_things, format_one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.operations.alarms import Alarm, Sending
    from llm_trace.operations.rates import BoundedRate
    from llm_trace.operations.rules import Rule, RuleSet
    from llm_trace.operations.rules_trial import RulesTrial, RuleTrial
    from llm_trace.operations.stages import StageEffect
    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

EXAMPLE = "Example: llm-trace rules try rules.yaml --since 7d"


class RulesAction(enum.StrEnum):
    """What to do."""

    CHECK = "check"
    TRY = "try"
    RUN = "run"
    SUGGEST = "suggest"


RulesActionArgument = Annotated[
    RulesAction,
    typer.Argument(
        metavar="ACTION",
        help="check: read the file; try: what it would have found and cost; run: decide about calls, by the "
        "stage of each rule; suggest: print rules that tell wrong answers from right ones.",
    ),
]
RuleFile = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="The rules, in YAML; suggest takes none.")
]
RulesLabel = Annotated[
    str, typer.Option("--label", metavar="SCORE", help="People's score that says right or wrong.")
]
RulesLimit = Annotated[
    int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most the N newest calls.")
]
SeedOption = Annotated[
    int, typer.Option("--seed", help="Of the halves: rules are proposed on one, tested on the other.")
]


def run_rules(
    action: RulesActionArgument,
    file: RuleFile = None,
    label: RulesLabel = "correct",
    limit: RulesLimit = 10_000,
    seed: SeedOption = 0,
    run: o.RunFilter = None,
    name: o.Name = None,
    tag: o.Tag = None,
    since: o.Since = None,
    until: o.Until = None,
    where: o.Where = None,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Read a rule file, try it on stored model calls, let it decide about them, or have rules proposed.

    A rule begins in shadow, where run only notes what it says: llm-trace stages takes it further.
    """
    from llm_trace.stores.duckdb import open_store

    filters = o.build_filters(
        run=run, name=name, kind=None if name else "llm", tag=tag, since=since, until=until, where=where
    )
    if (file is None) != (action is RulesAction.SUGGEST):
        raise typer.BadParameter("suggest takes no file; check, try and run take one", param_hint="FILE")
    if action is RulesAction.CHECK:
        _check(_need(file), store, as_json=as_json)
        return
    with open_store(store) as opened:
        if action is RulesAction.SUGGEST:
            _suggest(opened, label, seed, filters | {"limit": limit}, as_json=as_json)
            return
        rules = _load(_need(file), opened)
        calls = opened.calls(**filters, limit=limit)
        if not calls:
            exit_nothing("no call matches: choose others by --name, --run or --since", quiet=as_json)
        if action is RulesAction.TRY:
            _try(rules, calls, opened, label, as_json=as_json)
        else:
            _run(rules, calls, opened, as_json=as_json)


def _need(file: Path | None) -> Path:
    assert file is not None
    return file


def _load(file: Path, store: "Store") -> "RuleSet":
    from llm_trace.operations.rules_file import load_rules

    return load_rules(file, store=store)


def _check(file: Path, path: str, *, as_json: bool) -> None:
    """Read the file; where there is a store, also say whether its prompts have the variables."""
    from llm_trace.errors import StoreNotFoundError
    from llm_trace.operations.rules_actions import find_rule_stage
    from llm_trace.operations.rules_file import load_rules
    from llm_trace.stores.duckdb import open_store

    stages: list[str | None]
    try:
        with open_store(path) as store:
            rules = _load(file, store)
            stages = [find_rule_stage(rule, store).stage for rule in rules]
    except StoreNotFoundError:
        rules = load_rules(file)
        stages = [None] * len(rules)
        print_complaint(f"… there is no store at {path!r}: names of variables were not looked up")
    if as_json:
        print_json([
            {"name": r.name, "when": r.condition.text, "action": r.action, "version": r.version,
             "line": r.line, "stage": s}
            for r, s in zip(rules, stages, strict=True)
        ])  # fmt: skip
        return
    columns: dict[str, list[Any]] = {
        "line": [rule.line for rule in rules],
        "rule": [rule.name for rule in rules],
        "action": [rule.action for rule in rules],
        "stage": [stage or "" for stage in stages],
        "when": [format_one_line(rule.condition.text, 200) for rule in rules],
    }
    print_table(make_console(), make_table(columns, wide=("rule", "when"), right=("line",)))


def _suggest(store: "Store", label: str, seed: int, filters: dict[str, Any], *, as_json: bool) -> None:
    from llm_trace.operations.rules_suggestions import suggest_rules

    suggestions = suggest_rules(store=store, label=label, seed=seed, **filters)
    if as_json:
        print_json(suggestions)
    else:
        make_console().print(make_plain_text(suggestions.to_yaml().rstrip("\n")), soft_wrap=True)
        for reason, count in suggestions.left_out.items():
            print_complaint(f"… {count_things(count, 'call')} left out: {reason}")
    if not suggestions.rules:
        raise typer.Exit(3)


def _try(rules: "RuleSet", calls: "list[Call]", store: "Store", label: str, *, as_json: bool) -> None:
    from llm_trace.operations.rules_trial import try_rules

    trial = try_rules(rules, calls, store, label=label)
    if as_json:
        print_json(trial)
        return
    rows = [*trial.rules, *([trial.together] if len(trial.rules) > 1 else [])]
    columns: dict[str, list[Any]] = {
        "rule": [row.rule for row in rows],
        "does": [row.action for row in rows],
        "fires on": [f"{row.fires.count:,}" for row in rows],
        "unknown": [f"{row.unknown:,}" if row.unknown else "" for row in rows],
        "wrong of these": [_format_rate(row.precision) for row in rows],
        "of all wrong": [_format_rate(row.recall) for row in rows],
        "checks": [f"{row.checks:,}" for row in rows],
        "minutes": [f"{row.seconds / 60:,.0f}" for row in rows],
        "right, blocked": [f"{row.stopped:,}" if row.stopped else "" for row in rows],
    }
    print_table(make_console(), make_table(columns, wide=("rule",), right=tuple(columns)[2:]), quiet=True)
    make_console().print(make_plain_text(_summarise(trial)), soft_wrap=True)
    for row in rows:
        for note in _list_notes(row):
            print_complaint(f"… {row.rule}: {note}")


def _format_rate(rate: "BoundedRate") -> str:
    return "" if rate.value is None else f"{rate.value:.0%} ({rate.low:.0%} to {rate.high:.0%})"


def _summarise(trial: "RulesTrial") -> str:
    how = "the reviews' median" if trial.measured else "assumed"
    tied = f", {trial.tied:,} more as right as wrong" if trial.tied else ""
    return (
        f"{count_things(trial.calls, 'call')}, {trial.labelled:,} with a score {trial.label!r} by "
        f"{trial.source}{tied}: {trial.wrong:,} wrong. Bounds at {trial.confidence:.0%}; "
        f"{trial.seconds_per_check:.0f} s a check "
        f"({how}). Nothing was decided."
    )


def _list_notes(row: "RuleTrial") -> list[str]:
    unknown = (
        [f"unknown of {count_things(row.unknown, 'call')}, mostly since {row.reason}"] if row.reason else []
    )
    return [*unknown, *row.notes]


def _run(rules: "RuleSet", calls: "list[Call]", store: "Store", *, as_json: bool) -> None:
    from llm_trace.operations.alarms import send_alarm
    from llm_trace.operations.rules_actions import act_on_calls, weigh_by_stage

    sendings: list[Sending] = []
    counts: Counter[tuple[str, str]] = Counter()
    by_stage = weigh_by_stage(rules, store)

    def weigh(rule: "Rule", call: "Call") -> "StageEffect":
        effect = by_stage(rule, call)
        counts[rule.name, effect] += 1
        return effect

    def send(alarm: "Alarm", targets: "Sequence[str]") -> "Sending":
        sendings.append(send_alarm(alarm, targets, store=store.path))
        return sendings[-1]

    decisions = act_on_calls(rules, calls[::-1], store, weigh=weigh, send=send)  # oldest first
    if as_json:
        print_json(decisions)
    else:
        columns: dict[str, list[Any]] = {
            "rule": [rule.name for rule in rules],
            "does": [rule.action for rule in rules],
            **{
                title: [f"{counts[rule.name, effect]:,}" for rule in rules]
                for effect, title in (("note", "only noted"), ("show", "shown"), ("act", "acted"))
            },
        }
        print_table(make_console(), make_table(columns, wide=("rule",), right=tuple(columns)[2:]))
        courses = Counter(decision.action for decision in decisions)
        text = (
            f"{count_things(len(calls), 'call')}: {courses['check']:,} to check, {courses['block']:,} "
            f"blocked."
        )
        make_console().print(make_plain_text(text))
    if not say_unsent(sendings):
        raise typer.Exit(1)


def say_unsent(sendings: "Sequence[Sending]") -> bool:
    """Wait for alarms, say which did not arrive, and return whether all did."""
    failures = Counter(
        (delivery.target, delivery.detail or "it does not answer")
        for sending in sendings
        for delivery in sending.wait(60)
        if delivery.state in ("failed", "pending")
    )
    for (target, detail), count in failures.items():
        print_complaint(
            f"llm-trace: {count_things(count, 'alarm')} did not reach {target}: {detail}. They are kept: "
            f"llm-trace sql "
            "\"SELECT * FROM operations WHERE kind = 'alarm'\""
        )
    return not failures
