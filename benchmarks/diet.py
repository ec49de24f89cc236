"""How much planted dead weight `diet` finds in prompts, whether it takes what matters, and how often the
margin that it confirms holds.

    python benchmarks/diet.py               100 seeds of each world, minutes
    python benchmarks/diet.py --seeds 10

The desk is scripted: it answers by the rules that stand in its prompt, so the loss of every removal is known
exactly. Each seed has a prompt of its own; about 60 % of its characters are without effect: sentences, worked
examples, a variable, and one rule said twice in other words. A world with rare rules also has three that
matter in 2 to 6 of 1,000 calls each: none alone is worth a point, all together are.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import llm_trace
from llm_trace.capture.prompts import Prompt
from llm_trace.operations import Diet, diet
from llm_trace.stores.duckdb import Store

CALLS, MARGIN = 1000, 0.01
COMMON, RARE = (0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3), (0.002, 0.004, 0.006)
"""Shares of the calls that rules are for."""
WORDS = (
    "paper", "lamp", "river", "stone", "garden", "coffee", "winter", "cloud", "letter", "window", "market",
    "harbour", "violet", "copper",
)  # fmt: skip
TWICE = 2
"""The rule that is said twice."""


@dataclass(frozen=True)
class Rule:
    """A cue in the message decides; the first rule that fits answers."""

    number: int
    share: float

    @property
    def cue(self) -> str:
        return f"cue{self.number:02}"

    @property
    def answer(self) -> str:
        return f"VERDICT {self.number}"

    @property
    def texts(self) -> tuple[str, ...]:
        """The sentences, each of which is enough."""
        first = f"Where the message says {self.cue}, answer {self.answer} and nothing more."
        return (first, f"In case of {self.cue} it is {self.answer}.") if self.number == TWICE else (first,)


@dataclass(frozen=True)
class World:
    """A prompt whose dead weight is known."""

    seed: int
    shares: Sequence[float]

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(Rule(number, share) for number, share in enumerate(self.shares))

    @cached_property
    def idle(self) -> tuple[str, ...]:
        """Sentences and examples without effect."""
        rng, sentences = random.Random(self.seed), []
        for number in range(9):
            words = " ".join(rng.choice(WORDS) for _ in range(rng.randint(6, 12)))
            sentences.append(f"Fact {number} is that {words}.")
        examples = [f"Example: {' '.join(rng.sample(WORDS, 5))} -> VERDICT {n}" for n in range(3)]
        return (*sentences, *examples)

    @cached_property
    def prompt(self) -> Prompt:
        rng = random.Random(self.seed)
        sentences = [*self.idle[:9], *(text for rule in self.rules for text in rule.texts)]
        rng.shuffle(sentences)
        body = "\n".join(" ".join(sentences[i : i + 4]) for i in range(0, len(sentences), 4))
        text = f"{body}\n\nToday is {{date}}.\n\n" + "\n\n".join(self.idle[9:]) + "\n\nMessage: {message}"
        return Prompt(f"desk{self.seed}", text)

    def ask(self, prompt: str) -> str:
        """Answer by the rules that are left."""
        message = prompt.rpartition("\n")[2]
        fitting = (rule for rule in self.rules if rule.cue in message)
        return next((rule.answer for rule in fitting if any(t in prompt for t in rule.texts)), "NONE")

    def make_messages(self) -> Iterator[str]:
        """Yield messages that have each cue with the share of its rule, independently."""
        rng = random.Random(self.seed + 10_000)
        for number in count():
            cues = [rule.cue for rule in self.rules if rng.random() < rule.share]
            yield f"letter {number} " + " ".join(cues)

    def compute_loss(self, template: str) -> float:
        """Return the share of all possible messages that get another answer with a template: those that have
        the cue of a rule that is gone and of none before it. (A rule after it has another answer.)
        """
        loss, reached = 0.0, 1.0
        for rule in self.rules:
            if not any(text in template for text in rule.texts):
                loss += reached * rule.share
            reached *= 1 - rule.share
        return loss


@dataclass
class Tally:
    """What came of a world."""

    dead: float
    proposed: float
    confirmed: bool
    harmful: int
    loss: float


def record_world(world: World) -> None:
    """Record its calls."""

    @llm_trace.trace(kind="llm", name="ask", model="desk", prompt=world.prompt)
    def ask(prompt: str, date: str, message: str) -> str:
        return world.ask(prompt)

    for _, message in zip(range(CALLS), world.make_messages(), strict=False):
        ask(world.prompt.format(date="Monday", message=message), "Monday", message)


def tally(world: World, result: Diet) -> Tally:
    """Hold a diet against what is known."""
    gone = {part.name for part in result.parts if part.verdict != "kept"}
    twice = world.rules[TWICE].texts
    idle = [*world.idle, "Today is", min(twice, key=len)]
    proposed = sum(len(text) for text in idle[:-1] if text in gone)
    proposed += len(idle[-1]) if gone & set(twice) else 0
    matters = [rule for rule in world.rules if rule.share > MARGIN]
    harmful = sum(all(text in gone for text in rule.texts) for rule in matters)
    dead = sum(map(len, idle))
    share = dead / len(world.prompt.template)
    loss = world.compute_loss(result.shorter) if result.status == "confirmed" else 0.0
    return Tally(share, proposed / dead, result.status == "confirmed", harmful, loss)


def measure_world(store: Store, world: World) -> Tally:
    """Return what a diet finds."""
    result = diet(world.prompt, store=store, model=world.ask, margin=MARGIN, seed=world.seed, record=False)
    return tally(world, result)


def measure(name: str, worlds: Sequence[World]) -> None:
    """Print what came of all."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traces.duckdb"
        llm_trace.configure(path)
        for world in worlds:
            record_world(world)
        llm_trace.shutdown()
        begin = time.perf_counter()
        with llm_trace.open_store(path) as store:
            tallies = [measure_world(store, world) for world in worlds]
    n = len(tallies)

    def average(values: Any) -> float:
        return sum(values) / n

    proposed = sorted(each.proposed for each in tallies)
    print(f"\n{name}: {n} prompts, {CALLS:,} calls each, half of them held out; margin {MARGIN:.0%}")
    print(f"  dead weight, of the template's characters    {average(t.dead for t in tallies):.0%}")
    print(f"  of it proposed: mean, 5th of 100             {average(proposed):.1%}, {proposed[n // 20]:.1%}")
    print(f"  at least 90 % of it proposed                 {sum(p >= 0.9 for p in proposed)} of {n}")
    print(f"  rules worth more than the margin proposed    {sum(t.harmful for t in tallies)}")
    print(f"  confirmed                                    {sum(t.confirmed for t in tallies)} of {n}")
    held = sum(t.loss < MARGIN for t in tallies)
    print(f"  true loss below the margin, if confirmed     {held} of {n}")
    print(f"  largest true loss of what is confirmed       {max(t.loss for t in tallies):.2%}")
    print(f"  seconds for each diet                        {(time.perf_counter() - begin) / n:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=100)
    seeds = range(parser.parse_args().seeds)
    measure("Rules that matter in 2 to 30 % of the calls", [World(seed, COMMON) for seed in seeds])
    measure("Rare rules beside them", [World(seed, COMMON + RARE) for seed in seeds])


if __name__ == "__main__":
    main()
