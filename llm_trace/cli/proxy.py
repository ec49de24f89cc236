"""`llm-trace proxy`: whether a small open model may explain the calls of a large closed one."""

import enum
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import (
    exit_nothing,
    make_console,
    make_notes_console,
    make_plain_text,
    make_table,
    print_complaint,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.attribution.proxies.model import Proxied
    from llm_trace.attribution.proxies.screen_state import Screen, ScreenedCall
    from llm_trace.record import Call

EXAMPLE = "Example: llm-trace proxy screen --run nightly --oracle my_app.llm:ask --proxy demo"
_MOST_CALLS = 500


class ProxyAction(enum.StrEnum):
    """What to do."""

    SCREEN = "screen"
    SHOW = "show"


class ScreenTest(enum.StrEnum):
    """How the qualities are compared."""

    BETTING = "betting"
    T = "t"


ProxyActionArgument = Annotated[
    ProxyAction,
    typer.Argument(
        metavar="ACTION", help="screen: examine logged calls with both models; show: list the screens."
    ),
]
OracleOption = Annotated[
    str | None,
    typer.Option(
        "--oracle",
        metavar="MODEL",
        help="module:function from prompt to answer, an endpoint (http://…/v1), a folder, or demo.",
    ),
]
OracleModelOption = Annotated[
    str, typer.Option("--oracle-model", metavar="NAME", help="The model to ask an endpoint for.")
]
ProxyOption = Annotated[
    str, typer.Option("--proxy", metavar="MODEL", help="demo, a folder or a name to load.")
]
TaskOption = Annotated[
    str | None,
    typer.Option("--task", metavar="TASK", help="Else the prompt's or the function's name."),
]
ScreenSegmentsOption = Annotated[
    str, typer.Option("--segments", metavar="SEGMENTS", help="word, sentence, line …")
]
ScreenBudgetOption = Annotated[
    int | None, typer.Option("--budget", metavar="N", min=1, help="At most N calls of the oracle.")
]
TauOption = Annotated[
    float, typer.Option("--tau", help="Part of the oracle's quality that the proxy must reach.")
]
ConfidenceOption = Annotated[float, typer.Option("--confidence", help="Of the decision.")]
MostOption = Annotated[
    int | None,
    typer.Option(
        "--most", metavar="N", min=1, help="At most N instances; 100 by default, with the t-test 50."
    ),
]
TestOption = Annotated[
    ScreenTest,
    typer.Option("--test", metavar="TEST", help="betting (holds at every look) or t (the published one)."),
]
ScreenSeedOption = Annotated[
    int, typer.Option("--seed", metavar="N", help="Of order, explanations, prompts.")
]
AgainOption = Annotated[bool, typer.Option("--again", help="Forget what an earlier screen found.")]


def run_proxy(
    action: ProxyActionArgument,
    run: o.RunFilter = None,
    name: o.Name = None,
    oracle: OracleOption = None,
    oracle_model: OracleModelOption = "",
    proxy: ProxyOption = "demo",
    task: TaskOption = None,
    segments: ScreenSegmentsOption = "word",
    budget: ScreenBudgetOption = None,
    tau: TauOption = 0.9,
    confidence: ConfidenceOption = 0.99,
    most: MostOption = None,
    test: TestOption = ScreenTest.BETTING,
    seed: ScreenSeedOption = 0,
    again: AgainOption = False,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Find out whether a small open model explains the calls of a large closed one as well
    as that one itself would.
    """
    from llm_trace.attribution.proxies.model import Proxied, get_proxy_folder
    from llm_trace.attribution.proxies.screen import screen
    from llm_trace.attribution.proxies.screen_file import list_screens

    folder = get_proxy_folder(store)
    if action is ProxyAction.SHOW:
        _show(list_screens(folder), as_json=as_json)
        return
    if oracle is None:
        raise typer.BadParameter("name the model that is to be explained", param_hint="--oracle")
    models = Proxied(oracle=_load_oracle(oracle, oracle_model), proxy=proxy, task=task, folder=folder)
    calls = _select_calls(models, store, run, name)
    asks: dict[str, Any] = {
        "tau": tau, "confidence": confidence, "most": most, "test": test.value, "segments": segments,
        "budget": budget, "again": again, "seed": seed,
    }  # fmt: skip
    with make_notes_console().status("screening") as status:

        def report_progress(instance: "ScreenedCall", count: int) -> None:
            status.update(f"screening: {count} calls, the last one {instance.kind}")

        outcome = screen(calls, models, progress=report_progress, **asks)
    _print(outcome, as_json=as_json)


def _load_oracle(named: str, model: str) -> Any:
    """Return what asks the oracle; a function is imported because its name was given here."""
    if named.startswith(("http://", "https://")):
        from llm_trace.attribution.remote.completions import Completions
        from llm_trace.attribution.remote.model import Remote

        if not model:
            raise typer.BadParameter("an endpoint needs --oracle-model", param_hint="--oracle")
        asked = Completions(named, model, api_key=os.environ.get("OPENAI_API_KEY"))
        return Remote(asked, name=model, max_output_tokens=asked.max_tokens)
    module, colon, attribute = named.partition(":")
    if not colon or Path(named).exists():
        return named
    import importlib

    sys.path.insert(0, str(Path.cwd()))
    try:
        oracle = importlib.import_module(module)
        for part in attribute.split("."):
            oracle = getattr(oracle, part)
    except (ImportError, AttributeError) as exc:
        raise typer.BadParameter(f"{named!r} cannot be imported: {exc}", param_hint="--oracle") from exc
    return oracle


def _select_calls(models: "Proxied", store: str, run: str | None, name: str | None) -> "list[Call]":
    """Return the calls to screen on: answered ones of one task."""
    from llm_trace.stores.duckdb import open_store

    chosen = o.build_filters(run=run, name=name, kind=None if name else "llm", status="ok")
    with open_store(store) as opened:
        calls = opened.calls(**chosen, limit=_MOST_CALLS)
    if not calls:
        exit_nothing("no call matches: choose others by --run or --name")
    tasks = sorted({models.task_of(call) for call in calls})
    if len(tasks) > 1:
        raise typer.BadParameter(
            f"the calls are of {len(tasks)} tasks ({', '.join(tasks)}): choose one by --name, or give them "
            f"one --task",
            param_hint="--task",
        )
    return calls


def _print(outcome: "Screen", *, as_json: bool) -> None:
    facts = outcome.list_evidence()
    if as_json:
        print_json(facts)
        return
    out = make_console()
    out.print(make_plain_text(f"{facts['outcome']}: {facts['why']}", "bold"))
    for line in (_format_qualities(facts), _format_counts(facts)):
        if line:
            out.print(make_plain_text(line))


def _format_qualities(facts: "dict[str, Any]") -> str:
    if facts["difference"] is None:
        return ""
    return (
        f"quality on held-out prompts: oracle {facts['oracle_quality']:.2f}, proxy "
        f"{facts['proxy_quality']:.2f}; "
        f"proxy - {facts['tau']:g} x oracle: {facts['difference']:+.3f} ({facts['low']:+.3f} to "
        f"{facts['high']:+.3f})"
    )


def _format_counts(facts: "dict[str, Any]") -> str:
    counts = {
        "measured": "instances",
        "answered differently": "disagreed",
        "poor": "poor",
        "failed": "failed",
    }
    shown = ", ".join(f"{facts[key]} {name}" for name, key in counts.items() if facts[key])
    cost = f"{facts['calls']:,} calls and {facts['tokens']:,} tokens of the oracle"
    return f"{shown or 'no calls'}; {cost}" + (f", {facts['usd']:.4f} USD" if facts["usd"] else "")


def _show(screens: "Sequence[Screen]", *, as_json: bool) -> None:
    rows = [screen.list_evidence() for screen in screens]
    if as_json:
        print_json(rows)
        return
    if not rows:
        exit_nothing("no proxy was screened for this store: llm-trace proxy screen")
    columns = {
        "task": [t["task"] for t in rows],
        "oracle": [t["oracle"] for t in rows],
        "proxy": [t["proxy"] for t in rows],
        "outcome": [t["outcome"] for t in rows],
        "instances": [t["instances"] for t in rows],
        "why": [t["why"] for t in rows],
    }
    print_table(make_console(), make_table(columns, wide=["why"], right=["instances"]))
    print_complaint("as last written; whether the models are still the same is looked up when they are used")
