"""How often `optimize` calls a template better that is not, and how often it finds one that is.

    python benchmarks/optimize.py               minutes
    python benchmarks/optimize.py --seeds 10

The reflection is scripted: it writes a new template each time. A model is right by chance, with a probability
that only the template decides, so that the truth is known. Where no template is better than the one at hand,
each prompt is optimized five times, and the store remembers it.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import llm_trace
from llm_trace.capture.prompts import Prompt
from llm_trace.comparison.dataset import Dataset, Example
from llm_trace.operations import Optimization, optimize
from llm_trace.stores.duckdb import Store

AT_HAND, TIMES, BUDGET = 0.6, 5, 300
"""How often the template at hand is right, how often a prompt is optimized, the grades of each search."""
GOOD = "Count twice."


def draw(*keys: Any) -> float:
    """Return a number from 0 to 1, the same for the same keys."""
    digest = hashlib.sha256(repr(keys).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def make_prompt(seed: int) -> Prompt:
    return Prompt(f"tally{seed}", "Count the letters of {word}.")


def make_examples(n: int, seed: int) -> Dataset:
    return Dataset("words", tuple(Example(input={"word": f"word{i} of {seed}"}) for i in range(n)))


def make_reflection(good_at: int | None) -> Callable[[str], str]:
    """Return what writes a template that is like the one at hand; at a number of them, one that is better."""
    numbers = count()

    def reflect(_: str) -> str:
        number = next(numbers)
        extra = GOOD if number == good_at else f"Remark {number}."
        return f"```\nCount the letters of {{word}}. {extra}\n```"

    return reflect


def run(
    store: Store, seed: int, n: int, gain: float = 0.0, *, graded: bool = False, turn: int = 0
) -> Optimization:
    """Return what is found with n examples, where one of the templates gains so much, or none."""

    def score(answer: str, _: Any) -> float:
        right = AT_HAND + (gain if GOOD in answer else 0)
        hit = draw(seed, answer) < right
        return (0.4 + 0.6 * draw(answer)) if graded and hit else float(hit)

    return optimize(
        make_prompt(seed), store=store, model=lambda prompt: prompt, score=score, seed=turn, budget=BUDGET,
        reflect=make_reflection(1 if gain else None), examples=make_examples(n, seed), record=not gain,
    )  # fmt: skip


def measure_claims(store: Store, seeds: range, n: int, *, graded: bool) -> None:
    """Print how often a template is called better where none is."""
    claims, families, tried, promised = 0, 0, 0, 0
    for seed in seeds:
        results = [run(store, seed, n, graded=graded, turn=turn) for turn in range(TIMES)]
        better = sum(result.status == "better" for result in results)
        claims, families = claims + better, families + (better > 0)
        tried += sum(result.tried for result in results)
        promised += sum(result.validation_gain > 0 for result in results)
    runs = len(seeds) * TIMES
    kind = "from 0 to 1" if graded else "right or wrong"
    print(
        f"none is better, {n} examples, {kind}: {tried / runs:.1f} templates tried; better in validation in "
        f"{promised} of {runs} runs, called better in {claims}; in any of {TIMES} runs of a prompt: "
        f"{families} of {len(seeds)}"
    )


def measure_finds(store: Store, seeds: range, n: int, gain: float) -> None:
    """Print how often one better template among others is found and confirmed."""
    results = [run(store, seed, n, gain) for seed in seeds]
    chosen = sum(GOOD in result.winner for result in results)
    verdicts = Counter(result.status for result in results if GOOD in result.winner)
    print(
        f"one is better by {100 * gain:.0f} points, {n} examples: chosen in {chosen} of {len(seeds)} runs, "
        f"called better in {verdicts['better']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=40)
    seeds = parser.parse_args().seeds
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traces.duckdb"
        llm_trace.configure(path)
        for seed in range(3 * seeds):
            llm_trace.trace(kind="llm", prompt=make_prompt(seed))(lambda prompt: prompt)("any")
        llm_trace.shutdown()
        begin = time.perf_counter()
        with llm_trace.open_store(path) as store:
            measure_claims(store, range(seeds), 200, graded=False)
            measure_claims(store, range(seeds, 2 * seeds), 200, graded=True)
            for n, gain in ((200, 0.2), (200, 0.3), (800, 0.1), (800, 0.2)):
                measure_finds(store, range(2 * seeds, 3 * seeds), n, gain)
        print(f"{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
