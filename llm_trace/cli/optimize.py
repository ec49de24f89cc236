"""`llm-trace optimize`: a better prompt, by reflection on attributions, failures and scores."""

from pathlib import Path
from typing import Annotated

import typer

from llm_trace.cli import options as o
from llm_trace.cli.diet import PromptName, PromptVersionOption, find_model, import_named
from llm_trace.cli.output import exit_nothing, make_console, make_plain_text, print_complaint, print_json
from llm_trace.cli.prompts import print_pieces

EXAMPLE = "Example: llm-trace optimize refund --model app:ask --score app:grade --reflect app:write"

OptimizeModel = Annotated[
    str,
    typer.Option(
        "--model", metavar="MODEL", help="What answers: MODULE:FUNCTION, imported from here, or one to open."
    ),
]
OptimizeScore = Annotated[
    str,
    typer.Option(
        "--score",
        metavar="MODULE:FUNCTION",
        help="Of (answer, call), or (answer, example), from 0 to 1: how good an answer is.",
    ),
]
Reflect = Annotated[
    str,
    typer.Option(
        "--reflect",
        metavar="MODEL",
        help="What writes templates: MODULE:FUNCTION from a text to a text, or a name for LiteLLM.",
    ),
]
ExamplesFile = Annotated[
    Path | None,
    typer.Option(
        "--examples",
        metavar="FILE",
        help="A dataset (.jsonl or .csv) whose inputs are the prompt's variables. Else: the prompt's calls.",
    ),
]
OptimizeBudget = Annotated[
    int, typer.Option("--budget", metavar="GRADES", help="The most that the search takes.")
]
OptimizeLimit = Annotated[
    int, typer.Option("--limit", "-n", metavar="N", min=1, help="Read at most N calls.")
]
GainConfidence = Annotated[float, typer.Option("--confidence", help="Of the bounds of the gain.")]
SearchSeed = Annotated[int, typer.Option("--seed", help="Of the search, and of what is held out.")]
OptimizeOutput = Annotated[
    Path | None, typer.Option("--to", metavar="FILE", help="Write the best template to this file.")
]


def run_optimize(
    prompt: PromptName,
    model: OptimizeModel,
    score: OptimizeScore,
    reflect: Reflect,
    version: PromptVersionOption = None,
    examples: ExamplesFile = None,
    budget: OptimizeBudget = 500,
    limit: OptimizeLimit = 400,
    confidence: GainConfidence = 0.95,
    seed: SearchSeed = 0,
    to: OptimizeOutput = None,
    run: o.RunFilter = None,
    name: o.Name = None,
    tag: o.Tag = None,
    since: o.Since = None,
    until: o.Until = None,
    where: o.Where = None,
    store: o.StoreOption = o.STORE,
    as_json: o.JsonOption = False,
) -> None:
    """Search a better template by reflection on attributions, failures and scores, and say whether it is
    better on examples that had no part in the search. Nothing is applied.
    """
    from llm_trace.comparison.dataset import Dataset
    from llm_trace.operations.optimize_api import optimize

    filters = o.build_filters(name=name, tag=tag, since=since, until=until, where=where)
    result = optimize(
        prompt, store=store, version=version, run=run, model=find_model(model), score=import_named(score),
        reflect=find_model(reflect), examples=None if examples is None else Dataset.load(examples),
        budget=budget, limit=limit, confidence=confidence, seed=seed, **filters,
    )  # fmt: skip
    if as_json:
        print_json(result)
    elif result.status != "nothing":
        print_pieces(result.diff)
        make_console().print(make_plain_text(result.summary()), soft_wrap=True)
    for note in () if as_json else result.notes:
        print_complaint(f"… {note}")
    if to is not None and result.status != "nothing":
        to.write_text(result.winner, encoding="utf-8")
    if result.status == "nothing":
        exit_nothing(result.summary(), quiet=as_json)
