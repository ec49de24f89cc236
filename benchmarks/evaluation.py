"""How often an audit finds out judges that do not read the answer, and a probe functions that treat groups
differently; how often both accuse fair ones, and certify wrongly; how often bounds of kappa hold; how many
planted faults of the embedded model mutants from attribution kill (`evaluation_mutants.py`); how often models
that learned a public set by heart are found, one that learned the rule certified (`evaluation_memory.py`);
how long an evaluation takes beside the ideal.

    python benchmarks/evaluation.py               all but mutants and memory, about a minute
    python benchmarks/evaluation.py --only speed  1,000 instances, an answer takes 100 ms, 32 at a time
    python benchmarks/evaluation.py --only judges --seeds 100

    python benchmarks/evaluation.py --only mutants --seeds 10     10 messages of each of four kinds: minutes
    python benchmarks/evaluation.py --only memory                 trains a small model for each seed: minutes

Judges and functions are scripted, with noise.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import llm_trace
from llm_trace import evaluate
from llm_trace.evaluation import Scenario, exact
from llm_trace.evaluation.audit import audit_judge, audit_pair_judge
from llm_trace.evaluation.bias import build_probes
from llm_trace.evaluation.dimensions import build_tables
from llm_trace.evaluation.instances import Instance
from llm_trace.evaluation.interventions import NAMES
from llm_trace.evaluation.outcomes import Outcome
from llm_trace.statistics.agreement import bound_kappa

ANSWERS, QUESTIONS = 60, 200
INSTANCES, LATENCY_S, AT_ONCE = 1_000, 0.1, 32
Trait = Callable[[str], float]


def read_quality(answer: str) -> float:
    """Return what is right in an answer: 1 to 5, where its words are in their order."""
    at = answer.find("is worth ")
    return float(answer[at + 9]) if at >= 0 and answer[at + 9 : at + 10].isdigit() else 1.0


TRAITS: dict[str, Trait] = {
    "fair": lambda answer: 0.0,
    "longer": lambda answer: min(1.0, len(answer) / 400),
    "shorter": lambda answer: -min(1.0, len(answer) / 400),
    "named": lambda answer: 0.3 if answer.startswith(NAMES[0]) else 0.0,
}


def draw_noise(seed: int, *key: Any) -> float:
    """Return noise between -0.25 and 0.25 that is the same for the same question."""
    digest = hashlib.blake2b(repr((seed, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**65 - 0.25


def make_answer(random: Random, number: int) -> tuple[str, Instance]:
    quality, length = random.randint(1, 5), random.randint(0, 3)
    text = f"Case {number} is worth {quality} of five points." + " More of it stands below." * length
    return text, Instance(id=f"q/{number}", scenario="q", input={"question": f"What of case {number}?"})


def make_grader(trait: Trait, seed: int, weight: float) -> Callable[[str, Instance], float]:
    """Return a judge that grades in fifths by quality, what else moves it, and noise."""

    def grade(answer: str, instance: Instance) -> float:
        value = (
            weight * (read_quality(answer) - 1) / 4 + trait(answer) + draw_noise(seed, answer, instance.id)
        )
        return round(min(1.0, max(0.0, value)) * 4) / 4

    return grade


def make_comparer(trait: Trait, first: float, seed: int) -> Callable[[str, str, Instance], float]:
    """Return a judge that says which of two answers is better, by quality, what else moves it, and noise."""

    def prefer(one: str, other: str, instance: Instance) -> float:
        quality = (read_quality(one) - read_quality(other)) / 4
        lead = quality + trait(one) - trait(other) + first + 2 * draw_noise(seed, one, other, instance.id)
        return float(lead > 0)

    return prefer


def audit_seed(kind: str, form: str, seed: int) -> str:
    """Return what an audit says of a judge: its verdict, and what it found besides the content."""
    random = Random(f"{kind} {form} {seed}")
    trait = TRAITS.get(kind, TRAITS["fair"])
    answers = [make_answer(random, number) for number in range(ANSWERS)]
    if form == "grades":
        audit = audit_judge(make_grader(trait, seed, 0.0 if kind == "blind" else 1.0), answers, seed=seed)
    else:
        rivals = [make_answer(random, number) for number in range(ANSWERS)]
        pairs = [(one, other, instance) for (one, instance), (other, _) in zip(answers, rivals, strict=True)]
        first = {"first": 0.3, "second": -0.3}.get(kind, 0.0)
        audit = audit_pair_judge(make_comparer(trait, first, seed), pairs, seed=seed)
    return " ".join(
        [
            audit.verdict,
            *(f"{'+' if e.value > 0 else '-'}{e.name}" for e in audit.effects[:-2] if e.verdict == "found"),
        ]
    )


def measure_judges(seeds: int) -> None:
    """Print what audits say of each kind of judge."""
    print(f"\nAudits of {ANSWERS} answers, {seeds} seeds: verdict and what was found")
    kinds = {
        "grades": ("fair", "longer", "shorter", "named", "blind"),
        "pairs": ("fair", "longer", "named", "first", "second"),
    }
    for form, names in kinds.items():
        for kind in names:
            begin = time.perf_counter()
            verdicts = Counter(audit_seed(kind, form, seed) for seed in range(seeds))
            shown = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
            print(f"{form:8}{kind:10}{shown}   ({(time.perf_counter() - begin) / seeds:.2f} s each)")


def answer_questions(bias: float, noise: float, repeats: int, seed: int, *, both_ways: bool) -> list[Outcome]:
    """Return answers of a function that turns a share of one group's approvals into denials (or some either
    way), and of which noise turns some each time that it is asked.
    """
    random = Random(f"{bias} {noise} {repeats} {both_ways} {seed}")
    outcomes = []
    for number in range(QUESTIONS):
        right = random.random() < 0.5 if both_ways else True
        moved = random.random() < bias
        for group, repeat in product(("men", "women"), range(repeats)):
            says = right != (moved and group == "women")
            says = says != (random.random() < noise)
            instance = Instance(
                id=f"q/{number}/{group}", scenario="q", variant="swapped", input={}, of=f"q/{number}",
                edit="name", group=group,
            )  # fmt: skip
            span_id = f"{number}-{group}-{repeat}"
            outcomes.append(
                Outcome(
                    instance=instance, repeat=repeat, span_id=span_id, status="ok",
                    output="APPROVE" if says else "DENY", scores={"approved": float(says)},
                )
            )  # fmt: skip
    return outcomes


def measure_probes(seeds: int) -> None:
    """Print the verdicts of bias probes on functions that treat one group differently, or not."""
    margin, seeds = 0.05, 2 * seeds
    print(f"\nBias probes, {QUESTIONS} questions, margin {margin}, {seeds} seeds: found, absent, undecided")
    functions: dict[str, tuple[float, float, int, bool]] = {
        "fair": (0.0, 0.0, 1, False),
        "fair, asked twice, 10 % noise": (0.0, 0.1, 2, False),
        "20 % of one group denied": (0.2, 0.0, 1, False),
        "20 % denied, asked twice, 10 % noise": (0.2, 0.1, 2, False),
        "20 % turned either way, asked twice, 5 % noise": (0.2, 0.05, 2, True),
        "at the margin: 5 % denied": (margin, 0.0, 1, False),
        "at the margin: 5 % denied, asked twice, 5 % noise": (margin / 0.9, 0.05, 2, False),
        "at the margin: 5 % turned either way": (margin, 0.0, 1, True),
    }
    for name, (bias, noise, repeats, both_ways) in functions.items():
        verdicts: Counter[str] = Counter()
        for seed in range(seeds):
            outcomes = answer_questions(bias, noise, repeats, seed, both_ways=both_ways)
            probes = build_probes(outcomes, build_tables(outcomes), confidence=0.95, margin=margin)
            found = {probe.verdict for probe in probes}
            verdicts["found" if "found" in found else "absent" if "absent" in found else "undecided"] += 1
        print(f"{name:52}{verdicts['found']:5}{verdicts['absent']:5}{verdicts['undecided']:5}")


def measure_mutants(seeds: int) -> None:
    """Print what mutants kill, of so many messages of each kind."""
    from benchmarks.evaluation_mutants import measure_mutants

    measure_mutants(seeds)


def measure_memory(seeds: int) -> None:
    """Print the verdicts on models that learned a public set by heart, and on one that learned the rule."""
    from benchmarks.evaluation_memory import measure_memory

    measure_memory(seeds)


def measure_kappa(seeds: int) -> None:
    """Print how often 95 % bounds of kappa hold the truth, for judges that guess a share of the grades."""
    rounds = 5 * seeds
    print(f"\n95 % bounds of kappa, {rounds} samples each: share that holds the truth, and their mean width")
    for grades in (2, 5):
        for n in (30, 100):
            for guessed in (0.02, 0.1, 0.4, 1.0):
                rng = np.random.default_rng([grades, n, int(100 * guessed)])
                held, width = 0, 0.0
                for _ in range(rounds):
                    people = rng.integers(0, grades, n) / (grades - 1)
                    guess = rng.integers(0, grades, n) / (grades - 1)
                    judge = np.where(rng.random(n) < guessed, guess, people)
                    low, high = bound_kappa(judge, people, confidence=0.95, largest=1.0)
                    held += low <= 1 - guessed <= high
                    width += (high - low) / rounds
                print(
                    f"{grades} grades, {n:3} answers, {guessed:4.0%} guessed{held / rounds:8.3f}{width:8.2f}"
                )


async def answer_slowly(message: str) -> str:
    await asyncio.sleep(LATENCY_S)
    return "yes"


def measure_speed(seeds: int) -> None:
    """Print the wall time of an evaluation beside the ideal."""
    desk = Scenario(
        id="desk", input={"message": "Order {{ number }}: broken?"}, expected="'yes'",
        slots={"number": {"integer": [1, 10**6]}},
    )  # fmt: skip
    ideal = INSTANCES * LATENCY_S / AT_ONCE
    times = []
    for _ in range(min(seeds, 5)):
        with tempfile.TemporaryDirectory() as folder:
            llm_trace.configure(Path(folder) / "t.duckdb")
            begin = time.perf_counter()
            evaluate(answer_slowly, desk, exact, n=INSTANCES, concurrency=AT_ONCE)
            times.append(time.perf_counter() - begin)
            llm_trace.shutdown()
    print(
        f"\n{INSTANCES:,} instances, {LATENCY_S * 1e3:.0f} ms each, {AT_ONCE} at a time: median "
        f"{np.median(times):.2f} s, {np.median(times) / ideal:.2f} x the ideal of {ideal:.2f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["judges", "probes", "kappa", "speed", "mutants", "memory"])
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    parts = {
        "judges": measure_judges,
        "probes": measure_probes,
        "kappa": measure_kappa,
        "speed": measure_speed,
        "mutants": measure_mutants,
        "memory": measure_memory,
    }
    for name, measure in parts.items():
        if options.only == name or (options.only is None and name not in ("mutants", "memory")):  # minutes
            measure(options.seeds)


if __name__ == "__main__":
    main()
