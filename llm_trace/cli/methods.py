"""`llm-trace methods`: what is installed to explain answers, and which method pays on one's own model."""

import enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_trace.cli import options as o
from llm_trace.cli.output import (
    exit_nothing,
    make_console,
    make_notes_console,
    make_table,
    print_complaint,
    print_json,
    print_table,
    say_left_out,
)
from llm_trace.rendering.formatting import format_one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.attribution.studies.ranking import Ranked

EXAMPLE = "Example: llm-trace methods bench --model demo"
_QUESTIONS = 4


class MethodsAction(enum.StrEnum):
    """What to do."""

    LIST = "list"
    BENCH = "bench"


MethodsActionArgument = Annotated[
    MethodsAction,
    typer.Argument(metavar="ACTION", help="list, or bench: measure every method on a model and rank them."),
]
RankModelOption = Annotated[
    str, typer.Option("--model", metavar="MODEL", help="bench: demo, a folder or a name to load.")
]
PromptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt", metavar="TEXT", help="bench: on this prompt; may be repeated. Else on logged calls."
    ),
]
RankMethodOption = Annotated[
    list[str] | None,
    typer.Option("--method", metavar="METHOD", help="bench: only this one; may be repeated."),
]
RankSegmentsOption = Annotated[
    str, typer.Option("--segments", metavar="SEGMENTS", help="bench: word, sentence, line …")
]
RankBudgetOption = Annotated[
    int,
    typer.Option("--budget", metavar="N", min=1, help="bench: most evaluations of a method for a prompt."),
]
RankLimitOption = Annotated[
    int, typer.Option("--limit", "-n", metavar="N", min=1, help="bench: at most N prompts.")
]
RankSeedOption = Annotated[int, typer.Option("--seed", metavar="N", help="bench: of methods and masks.")]


def run_methods(
    action: MethodsActionArgument = MethodsAction.LIST,
    model: RankModelOption = "demo",
    prompt: PromptOption = None,
    method: RankMethodOption = None,
    segments: RankSegmentsOption = "word",
    budget: RankBudgetOption = 256,
    limit: RankLimitOption = _QUESTIONS,
    seed: RankSeedOption = 0,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """List the methods, segmenters, baselines and quality measures that are installed,
    or rank the methods on your model.
    """
    if action is MethodsAction.LIST:
        _list(as_json=as_json)
        return
    questions = [(text, None) for text in prompt or ()] or _read_questions(model, store)
    if not questions:
        exit_nothing("there is no prompt to measure on: give --prompt, or --store with logged calls")
    from llm_trace.attribution.studies.ranking import rank

    with make_notes_console().status("measuring") as status:
        ranks = rank(
            questions[:limit],
            model=model,
            names=method or (),
            segments=segments,
            budget=budget,
            seed=seed,
            progress=lambda name: status.update(f"measuring {name}"),
        )
    _print_ranks(ranks, min(limit, len(questions)), as_json=as_json)


def _read_questions(model: str, store: str) -> "list[tuple[Any, str | None]]":
    """Return what to measure on: the demo's own cases, or calls that were logged."""
    if model == "demo":
        from llm_trace.demo.world import make_cases

        return [
            (case.prompt, case.answer)
            for kind in ("single", "conjunction")
            for case in make_cases(kind, 2, 0)
        ]
    from llm_trace.attribution.models.questions import parse_question
    from llm_trace.errors import AttributionError, StoreNotFoundError
    from llm_trace.stores.duckdb import open_store

    try:
        with open_store(store) as opened:
            calls = opened.calls(kind="llm", status="ok")
    except StoreNotFoundError:
        return []
    questions: list[tuple[Any, str | None]] = []
    for call in calls:
        try:
            question = parse_question(call, None)
        except AttributionError:  # without a prompt or an answer in words
            continue
        questions.append((question.prompt, question.response))
    return questions


def _list(*, as_json: bool) -> None:
    from llm_trace.attribution.studies.catalogue import list_catalogue

    entries = list_catalogue()
    if as_json:
        print_json(entries)
        return
    out, cut = make_console(), list[str]()
    for kind in dict.fromkeys(entry["kind"] for entry in entries):
        rows = [entry for entry in entries if entry["kind"] == kind]
        columns = {kind: [r["name"] for r in rows]}
        for key, title in (("access", "needs"), ("cost", "evaluations"), ("package", "package")):
            columns[title] = [r.get(key) or "" for r in rows]
        if all(package == "llm_trace" for package in columns["package"]):
            del columns["package"]
        columns["source"] = [format_one_line(r["source"], 200) for r in rows]
        cut = print_table(out, make_table(columns, wide=["source"]), quiet=True) or cut
        out.print()
    say_left_out({"cut": cut}, "--json")


def _print_ranks(ranks: "Sequence[Ranked]", questions: int, *, as_json: bool) -> None:
    """Print the methods with their fidelity; exit code 1 where none could be measured."""
    if as_json:
        print_json([{**vars(r), "per_1000_tokens": r.per_1000_tokens} for r in ranks])
    else:
        done = [r for r in ranks if r.fidelity is not None]
        columns = {
            "method": [r.method for r in done],
            "fidelity": [f"{r.fidelity:.3f}" for r in done],
            "half": [f"{r.by_masks.get('half', 0):.3f}" for r in done],
            "near": [f"{r.by_masks.get('near', 0):.3f}" for r in done],
            "tokens": [f"{r.tokens:,.0f}" for r in done],
            "passes": [f"{r.passes:,.0f}" for r in done],
            "seconds": [f"{r.seconds:.2f}" for r in done],
            "per 1,000 tokens": [f"{r.per_1000_tokens:.3f}" for r in done],
        }
        print_table(make_console(), make_table(columns, wide=[], right=list(columns)[1:]))
        print_complaint(
            f"fidelity: rank correlation on held-out masks that keep each segment with probability 0.5 "
            f"(half) and 0.9 (near); "
            f"{questions} prompts; most fidelity per forward token first"
        )
        for r in ranks:
            if r.failed is not None:
                print_complaint(f"llm-trace: {r.method} ({r.questions} of {questions} prompts): {r.failed}")
    if all(r.fidelity is None for r in ranks):
        raise typer.Exit(1)
