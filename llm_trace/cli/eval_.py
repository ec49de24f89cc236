"""`llm-trace eval`: ask a function fresh instances of scenarios, and judge each quality of its answers."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.eval_files import write_from_calls, write_test
from llm_trace.cli.eval_options import refuse_unused
from llm_trace.cli.output import (
    make_console,
    make_notes_console,
    make_plain_text,
    print_complaint,
    print_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llm_trace.evaluation.evaluation import Evaluation

EXAMPLE = "Example: llm-trace eval refund app:answer -n 100 --fail-if 'exact.low < 0.9'"

BUILT_IN = ("exact", "contains", "numeric", "similarity")

Scenarios = Annotated[
    str | None,
    typer.Argument(
        metavar="SCENARIOS",
        help="A scenario file (YAML), or the name of one that is shipped: refund, arithmetic, retrieval. "
        "Not with --to.",
    ),
]
FunctionArgument = Annotated[
    str | None,
    typer.Argument(metavar="MODULE:FUNCTION", help="The function, to be imported from here and asked."),
]
Scorers = Annotated[
    list[str] | None,
    typer.Option(
        "--scorer",
        metavar="NAME",
        help=f"{', '.join(BUILT_IN)}, or MODULE:FUNCTION of (output, instance); may be repeated.",
    ),
]
Instances = Annotated[
    int,
    typer.Option(
        "-n", metavar="COUNT", help="Fresh instances of each scenario; with --to x.yaml the most calls."
    ),
]
InstanceSeed = Annotated[
    int, typer.Option("--seed", help="Of the instances; another one asks other questions.")
]
Repeats = Annotated[int, typer.Option("--repeats", help="How often each instance is asked.")]
RunName = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Of the run.")]
Concurrency = Annotated[int, typer.Option("--concurrency", help="Calls at a time.")]
CallBudget = Annotated[
    int | None, typer.Option("--budget", metavar="CALLS", help="The most calls to make now.")
]
Seconds = Annotated[float | None, typer.Option("--max-seconds", help="Begin no call after so many.")]
Dollars = Annotated[float | None, typer.Option("--max-usd", help="Begin no call after so much was spent.")]
Timeout = Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help="For one call.")]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume", metavar="RUN", help="Complete this run: what is in the store is not asked again."
    ),
]
RetryOption = Annotated[bool, typer.Option("--retry", help="With --resume: ask again what failed.")]
PublicOption = Annotated[
    Path | None,
    typer.Option("--public", metavar="FILE", help="JSON Lines in place of the public set's file."),
]
FailIfScores = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        metavar="CONDITION",
        help="Leave with exit code 1 if this holds: exact.low < 0.8, exact gap.low > 0.05.",
    ),
]
DraftFile = Annotated[
    Path | None,
    typer.Option(
        "--to",
        metavar="FILE",
        help="Turn logged calls into this file: .jsonl is a dataset, .yaml a scenario to be completed, .py a "
        "test of a failure for pytest (with MODULE:FUNCTION first).",
    ),
]
FromRun = Annotated[
    str | None, typer.Option("--from-run", metavar="RUN", help="With --to: the calls of this run.")
]
FromCall = Annotated[str | None, typer.Option("--from-call", metavar="ID", help="With --to: this call.")]
Right = Annotated[
    str | None,
    typer.Option("--right", metavar="ANSWER", help="With --to x.py: the right answer (JSON, or a text)."),
]
ExplainerOption = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="With --to x.py: what explains the right answer."),
]
Expected = Annotated[
    bool, typer.Option("--expected", help="With --to x.jsonl: what the calls returned is right.")
]


def evaluate_function(
    ctx: typer.Context,
    scenarios: Scenarios = None,
    function: FunctionArgument = None,
    scorer: Scorers = None,
    n: Instances = 20,
    seed: InstanceSeed = 0,
    repeats: Repeats = 1,
    name: RunName = None,
    concurrency: Concurrency = 1,
    budget: CallBudget = None,
    max_seconds: Seconds = None,
    max_usd: Dollars = None,
    timeout: Timeout = None,
    resume: Resume = None,
    retry: RetryOption = False,
    public: PublicOption = None,
    fail_if: FailIfScores = None,
    to: DraftFile = None,
    from_run: FromRun = None,
    from_call: FromCall = None,
    where: o.Where = None,
    expected: Expected = False,
    right: Right = None,
    model: ExplainerOption = None,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Ask a function fresh instances of scenarios: each quality apart, with bounds.

    With --to: turn logged calls into a dataset, a scenario file or a test.

    Exit code 0: all was asked and no --fail-if holds; 1: one holds, calls are lacking, or an error.
    """
    from llm_trace import evaluate
    from llm_trace.attribution_settings import Budget
    from llm_trace.evaluation.scenario_file import find_example, load_scenarios
    from llm_trace.replays.roots import import_function

    refuse_unused(ctx, to, call=from_call)
    if to is not None and to.suffix == ".py":
        write_test(to, store, scenarios, call=from_call, right=right, model=model)
        return
    if to is not None:
        write_from_calls(to, store, run=from_run, call=from_call, where=where, n=n, expected=expected)
        return
    if scenarios is None or function is None:
        raise typer.BadParameter("give SCENARIOS and MODULE:FUNCTION, or --to FILE with logged calls")
    sys.path.insert(0, str(Path.cwd()))
    path = Path(scenarios) if Path(scenarios).exists() or Path(scenarios).suffix else find_example(scenarios)
    with _show_bar(quiet=as_json) as progress:
        evaluation = evaluate(
            import_function(function), load_scenarios(path, public=public),
            dict(map(_find_scorer, scorer or ["exact"])), n=n, seed=seed, repeats=repeats, name=name,
            concurrency=concurrency, budget=Budget(evaluations=budget, seconds=max_seconds, usd=max_usd),
            timeout=timeout, resume=resume, retry=retry, store=_find_store(ctx, store), progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(evaluation)
    else:
        for line in str(evaluation).splitlines():
            make_console().print(make_plain_text(line), soft_wrap=True)
    _judge(evaluation, fail_if or ())


def _find_store(ctx: typer.Context, store: str) -> str | None:
    """Return where to record; `None` where the program that was imported says it itself, and nobody else."""
    from llm_trace import config

    asked = getattr(ctx.get_parameter_source("store"), "name", "")
    return store if config.current is None or asked == "COMMANDLINE" else None


def _find_scorer(name: str) -> tuple[str, Any]:
    from llm_trace.evaluation import scorers
    from llm_trace.replays.roots import import_function

    if ":" in name:
        return name.rpartition(":")[2], import_function(name)
    if name not in BUILT_IN:
        choices = f"{', '.join(BUILT_IN)} and no MODULE:FUNCTION"
        raise typer.BadParameter(f"{name!r} is none of {choices}", param_hint="--scorer")
    scorer = getattr(scorers, name)
    return name, scorer() if name in ("numeric", "similarity") else scorer


@contextlib.contextmanager
def _show_bar(*, quiet: bool) -> "Iterator[Callable[[int, int], None]]":
    """Give a function that shows how far it is, on stderr where that is a terminal."""
    console = make_notes_console()
    if quiet or not console.is_terminal:
        yield lambda done, total: None  # noqa: ARG005
        return
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("asking", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _judge(evaluation: "Evaluation", conditions: "list[str] | tuple[str, ...]") -> None:
    """Leave with exit code 1 if a condition holds or calls are lacking."""
    complaints = [f"failed, as {condition}" for condition in conditions if evaluation.fails(condition)]
    lacking = evaluation.planned - evaluation.answered
    complaints += [f"{lacking:,} calls are lacking: --resume {evaluation.run.id}"] if lacking else []
    for complaint in complaints:
        print_complaint(f"llm-trace: {complaint}")
    if complaints:
        raise typer.Exit(1)
