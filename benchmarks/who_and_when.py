"""Which step of a failed agent run was the mistake? Steps of stored runs, ranked by attribution.

    python benchmarks/who_and_when.py DATA_DIR --model PATH

DATA_DIR is the folder `Who&When` of the data set of Zhang et al. 2025 ("Which Agent Causes Task Failures and
When?", ICML; MIT licence): 184 runs, each with the agent and the step that people blame. Nothing is run
again: a small open model reads the run as text and says how much less likely the last message is without each
earlier step (occlusion). The step without which it loses most is named, and its agent.

Beside it: a step by chance, the last step before the end, and what the paper's abstract reports. A model that
reads few tokens sees the beginning of each step only, of long runs of the last ones alone; how many mistakes
it could see is printed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import llm_trace
from llm_trace.attribution.models.loading import resolve_model

PAPER = "paper, abstract: the best method names the agent in 53.5 % and the step in 14.2 %"
LEAST = 30
"""Characters of a step that are shown at least; else the oldest steps are left out."""
ANSWER = 160
"""Characters of the last message that are explained."""


@dataclass(frozen=True)
class BlamedRun:
    """A failed run, and what people blame."""

    question: str
    steps: tuple[tuple[str, str], ...]
    """Agent and words."""
    agent: str
    step: int


@dataclass(frozen=True)
class Ranking:
    """The steps of one run as they were ranked."""

    run: BlamedRun
    order: tuple[int, ...]
    """Numbers of the steps that were seen, strongest first."""


def read_runs(folder: Path) -> list[BlamedRun]:
    """Return the runs of one part of the data set, in the order of their numbers."""
    runs = []
    for place in sorted(folder.glob("*.json"), key=lambda place: int(place.stem)):
        data = json.loads(place.read_text(encoding="utf-8"))
        steps = tuple(
            (str(message.get("name") or message["role"]).split(" (")[0], str(message["content"]))
            for message in data["history"]
        )
        runs.append(BlamedRun(data["question"], steps, data["mistake_agent"], int(data["mistake_step"])))
    return runs


def rank_steps(run: BlamedRun, model: Any, tokenizer: Any) -> Ranking:
    """Return the steps before the last one by what the last one loses without them."""
    answer = " " + " ".join(run.steps[-1][1].split())[:ANSWER]
    prompt, spans = _write_prompt(run, answer, model, tokenizer)
    places = [(start, end) for start, end, _ in spans]
    attribution = llm_trace.attribute(
        prompt,
        answer,
        model=model,
        tokenizer=tokenizer,
        method="occlusion",
        segments=places,
        baseline="delete",
    )
    strongest = np.argsort(-np.array(attribution.values), kind="stable")
    return Ranking(run, tuple(spans[i][2] for i in strongest))


def _write_prompt(
    run: BlamedRun, answer: str, model: Any, tokenizer: Any
) -> tuple[str, list[tuple[int, int, int]]]:
    """Return the run as a text that the model can read whole, and where each step stands (start, end,
    number).
    """
    most, first, size = model.config.max_position_embeddings - 8, 0, 400
    while True:
        text, spans = " ".join(run.question.split())[:ANSWER] + "\n", []
        for number, (agent, words) in enumerate(run.steps[:-1]):
            if number >= first:
                line = f"{agent}: {' '.join(words.split())[:size]}\n"
                spans.append((len(text), len(text) + len(line), number))
                text += line
        if len(tokenizer(text + answer)["input_ids"]) <= most or len(spans) == 1:
            return text, spans
        size, first = (size * 3 // 4, first) if size * 3 // 4 >= LEAST else (size, first + 1)


def print_part(name: str, rankings: Sequence[Ranking], seconds: float) -> None:
    """Print how often the blamed step and its agent are named, beside chance and the last step."""
    runs = [ranking.run for ranking in rankings]
    seen = sum(ranking.run.step in ranking.order for ranking in rankings)
    print(f"{name}: {len(runs)} runs, {seen} with the blamed step among those that the model reads")
    top = [(ranking.run.steps[ranking.order[0]][0], ranking.order[0]) for ranking in rankings]
    last = [(run.steps[-2][0], len(run.steps) - 2) for run in runs]
    _print_rates("attribution", runs, top)
    _print_rates("the last step", runs, last)
    step = float(np.mean([1 / len(run.steps) for run in runs]))
    agent = float(np.mean([np.mean([who == run.agent for who, _ in run.steps]) for run in runs]))
    print(f"  {'a step by chance':<16} step {step:.1%}, agent {agent:.1%}")
    places = [r.order.index(r.run.step) / max(1, len(r.order) - 1) for r in rankings if r.run.step in r.order]
    print(f"  the blamed step stands at {np.mean(places):.2f} of the ranking (0 first, 0.5 chance)")
    print(f"  {seconds / len(runs):.2f} s a run")


def _print_rates(name: str, runs: Sequence[BlamedRun], named: Sequence[tuple[str, int]]) -> None:
    texts = []
    for what, hits in (
        ("step", [step == run.step for run, (_, step) in zip(runs, named, strict=True)]),
        ("agent", [agent == run.agent for run, (agent, _) in zip(runs, named, strict=True)]),
    ):
        ends = stats.binomtest(sum(hits), len(hits)).proportion_ci()
        texts.append(f"{what} {np.mean(hits):.1%} ({ends.low:.0%} to {ends.high:.0%})")
    print(f"  {name:<16} {', '.join(texts)}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the folder Who&When")
    parser.add_argument("--model", required=True, help="an open model: a folder, a name, demo")
    parser.add_argument("--runs", type=int, help="of each part, at most")
    options = parser.parse_args()
    model, tokenizer, _ = resolve_model(options.model)
    for part in ("Algorithm-Generated", "Hand-Crafted"):
        begin = time.perf_counter()
        runs = read_runs(options.folder / part)[: options.runs]
        rankings = [rank_steps(run, model, tokenizer) for run in runs]
        print_part(part, rankings, time.perf_counter() - begin)
    print(PAPER)


if __name__ == "__main__":
    main()
