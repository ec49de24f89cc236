"""How often `bisect` names the hunks that broke a prompt, and for how many calls, beside plain bisection.

    python -m benchmarks.bisection                  100 planted regressions, minutes
    python -m benchmarks.bisection --regressions 20

The embedded model answers for the refund desk, with noise: its answer is drawn from its own probabilities
at a temperature of each regression's own, so that broken and sound prompts alike fail sometimes. A change
is twelve lines put into the desk's rules. In four of five regressions one of them is a worked example that
turns answers about some defect round; in the fifth, two lines make every customer's goods "unopened" with a
"receipt", which the model takes for a reason to approve, and only together. All other lines are without
effect.

Plain bisection knows the same: the inputs that got worse. It halves the lines that are left, asks a fixed
number of inputs each time, and takes a prompt for broken where more than a share of the answers are; where
the line that it finds breaks nothing alone, it goes on for a second one with the first put in. Number and
share are the best for it: the fewest calls with which it is right at least as often as `bisect`.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import llm_trace
from llm_trace.attribution.policy.policy import AttributionPolicy
from llm_trace.attribution.policy.pool import iter_events
from llm_trace.capture.prompts import Prompt
from llm_trace.causes.bisect_record import Bisection
from llm_trace.demo import desk
from llm_trace.demo.sentences import DEFECTS
from llm_trace.demo.world import ANSWERS, RULES, TEMPLATE_V1, make_customers, rule
from llm_trace.event_writer import EventWriter
from llm_trace.stores.duckdb import open_store

LINES, CUSTOMERS, PAIRS_EVERY = 12, 50, 5
TEMPERATURES = 0.5, 2.0
LEAST = 2
"""Customers whose answer a planted line changes: one that changes none is no regression."""
IDLE = (
    "The customer reads your answer.", "Be polite and short.", "Write in plain English.",
    "Items are shipped within two working days.", "The office is closed on Sundays.",
    "Refer to the order by its number.", "Never promise a date.", "The desk answers in one word.",
    "Prices include tax.", "Gift cards are never paid out in cash.", "Staff sign each answer.",
    "Orders come from the web shop.", "Letters are kept for a year.", "Managers read some answers.",
)  # fmt: skip
PAIRS = (
    ("Our boxes are sent unopened.", "Every order has a receipt."),
    ("All goods come back unopened.", "Each box holds a receipt."),
)
NUMBERS, SHARES = (5, 9, 15, 21, 31), (0.3, 0.4, 0.5)
TRIALS = 2
"""Runs of plain bisection on each regression: its calls cost nothing here."""


@dataclass(frozen=True)
class Regression:
    """Lines that are put into the rules, and which of them break the answers."""

    seed: int
    lines: tuple[str, ...]
    planted: frozenset[int]
    temperature: float

    def render(self, lines: Sequence[str]) -> str:
        """Return the template with some of the lines."""
        return TEMPLATE_V1.replace(RULES, "\n\n".join((RULES, *lines)))

    def ask(self, prompt: str, rng: random.Random) -> str:
        """Return an answer drawn at the temperature."""
        weights = np.exp(np.array(read_log_probabilities(prompt)) / self.temperature)
        return rng.choices(ANSWERS, weights.tolist())[0]


@cache
def read_log_probabilities(prompt: str) -> tuple[float, ...]:
    """Return the model's log-probabilities of the three answers."""
    import torch

    model, tokenizer = desk.load_desk_model()
    ids = [tokenizer(text, add_special_tokens=False).input_ids[0] for text in ANSWERS]
    with torch.inference_mode():
        logits = model(torch.tensor([tokenizer(prompt)["input_ids"]])).logits[0, -1]
    return tuple(logits.log_softmax(-1)[ids].tolist())


def plant(seed: int) -> Regression:
    """Return a regression: of two lines in every fifth."""
    rng = random.Random(seed)
    if seed % PAIRS_EVERY == 0:
        planted = list(rng.choice(PAIRS))
    else:
        examples = [
            f"Example: arrived {word} -> {verdict}" for word in DEFECTS for verdict in ("APPROVE", "DENY")
        ]
        planted = [rng.choice([line for line in examples if count_changed(line, seed) >= LEAST])]
    lines = planted + rng.sample(IDLE, LINES - len(planted))
    rng.shuffle(lines)
    where = frozenset(lines.index(line) for line in planted)
    return Regression(seed, tuple(lines), where, rng.uniform(*TEMPERATURES))


def count_changed(line: str, seed: int) -> int:
    """Return for how many of a regression's customers a line changes what is right by the prompt."""
    template = TEMPLATE_V1.replace(RULES, f"{RULES}\n\n{line}")
    people = make_customers(CUSTOMERS, seed)
    return sum(rule(template.format(message=each.message)) != each.policy for each in people)


def record_runs(regression: Regression, path: Path, explained: int) -> tuple[Bisection, list[str]]:
    """Record both versions, explain some failures, bisect; return that and who got worse."""
    rng = random.Random(regression.seed + 1_000)
    prompts = {
        "v1": Prompt("refund", TEMPLATE_V1),
        "v2": Prompt("refund", regression.render(regression.lines)),
    }

    @llm_trace.trace(kind="llm", model="demo")
    def ask(prompt: str) -> str:
        return regression.ask(prompt, rng)

    @llm_trace.trace
    def handle(message: str, version: str) -> str:
        return ask(prompts[version].format(message=message))

    customers = [customer.message for customer in make_customers(CUSTOMERS, regression.seed)]
    answers: dict[tuple[str, str], str] = {}
    llm_trace.configure(path)
    for version in prompts:
        with llm_trace.start_run(version):
            for message in customers:
                answers[version, message] = handle(message, version)
    llm_trace.shutdown()
    right = {message: rule(TEMPLATE_V1.format(message=message)) for message in customers}
    worse = [m for m in customers if answers["v1", m] == right[m] != answers["v2", m]]
    if explained:
        explain_failures(path, prompts["v2"], set(worse[:explained]))
    result = llm_trace.bisect(
        "v1", "v2", store=path, functions=handle, seed=regression.seed,
        metric=lambda answer, call: answer == right[call.input["message"]],
    )  # fmt: skip
    return result, worse


def explain_failures(path: Path, prompt: Prompt, messages: set[str]) -> None:
    """Keep the attributions of wrong answers of a version, as the command `attribute` does."""
    policy = AttributionPolicy(method="occlusion", model="demo")
    with open_store(path) as store, EventWriter(path) as writer:
        for call in store.calls(name="ask", limit=None):
            use = call.prompt
            if use is not None and use.version == prompt.version and use.variables.get("message") in messages:
                for _, event in iter_events([call], policy):
                    if event is not None:
                        writer.write(event, "an attribution")


def bisect_plainly(
    regression: Regression, worse: Sequence[str], number: int, share: float, rng: random.Random
) -> tuple[frozenset[int], int]:
    """Return the lines that plain bisection names, and its calls."""
    calls = 0

    def is_broken(lines: Sequence[int]) -> bool:
        nonlocal calls
        calls += number
        template = regression.render([regression.lines[i] for i in sorted(lines)])
        wrong = 0
        for message in rng.choices(worse, k=number):
            right = rule(TEMPLATE_V1.format(message=message))
            wrong += regression.ask(template.format(message=message), rng) != right
        return wrong > share * number

    named: list[int] = []
    left = list(range(len(regression.lines)))
    while len(named) < 2 and left and not (named and is_broken(named)):
        low, high = 0, len(left)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if is_broken([*named, *left[:middle]]) else (middle, high)
        named.append(left[high - 1])
        left = left[: high - 1]
    return frozenset(named), calls


def compare_plainly(
    cases: Sequence[tuple[Regression, list[str]]], right: float
) -> tuple[int, float, float, float]:
    """Return number, share, rate of right answers and mean calls of the cheapest plain bisection that is
    right at least as often; the most often right where none is.
    """
    results = []
    for number in NUMBERS:
        for share in SHARES:
            rng = random.Random(number)
            runs = [
                (bisect_plainly(case, worse, number, share, rng), case.planted)
                for case, worse in cases
                for _ in range(TRIALS)
            ]
            rate = sum(lines == planted for (lines, _), planted in runs) / len(runs)
            results.append((number, share, rate, float(np.mean([calls for (_, calls), _ in runs]))))
    enough = [each for each in results if each[2] >= right]
    return min(enough, key=lambda each: each[3]) if enough else max(results, key=lambda each: each[2])


def main() -> None:
    """Print what both come to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regressions", type=int, default=100)
    parser.add_argument("--explained", type=int, default=1, help="failures that are attributed beforehand")
    options = parser.parse_args()
    begin = time.perf_counter()
    cases: list[tuple[Regression, list[str]]] = []
    results: list[tuple[Regression, Bisection]] = []
    for seed in range(options.regressions):
        regression = plant(seed)
        with tempfile.TemporaryDirectory() as folder:
            result, worse = record_runs(regression, Path(folder) / "t.duckdb", options.explained)
        cases.append((regression, worse))
        results.append((regression, result))
    print_results(results)
    print(f"{time.perf_counter() - begin:.0f} s", flush=True)
    rate = sum(is_right(*each) for each in results) / len(results)
    number, share, plain_rate, plain_calls = compare_plainly([c for c in cases if c[1]], rate)
    ours = float(np.mean([result.asked for _, result in results]))
    print(f"plain bisection with {number} answers a step, broken from more than {share:.0%}: "
          f"right {plain_rate:.1%}, {plain_calls:.1f} calls")  # fmt: skip
    print(f"calls of bisect, proofs included, over those of plain bisection: {ours / plain_calls:.2f}")
    print(f"{time.perf_counter() - begin:.0f} s")


def is_right(regression: Regression, result: Bisection) -> bool:
    """Whether the planted lines are named, and how they act."""
    named = frozenset(regression.lines.index(blamed.hunk.after.strip()) for blamed in result.hunks)
    return named == regression.planted and result.relation == ("alone" if len(named) == 1 else "together")


def print_results(results: Sequence[tuple[Regression, Bisection]]) -> None:
    """Print how often bisect is right, wrong and undecided."""
    kinds = {"one line": [r for r in results if len(r[0].planted) == 1],
             "two lines": [r for r in results if len(r[0].planted) == 2]}  # fmt: skip
    for name, some in (*kinds.items(), ("all", list(results))):
        right = sum(is_right(*each) for each in some)
        wrong = sum(bool(result.hunks) and not is_right(case, result) for case, result in some)
        calls = [result.asked for _, result in some]
        print(
            f"{name}: {right} of {len(some)} right, {wrong} wrong, {len(some) - right - wrong} open; "
            f"calls mean {np.mean(calls):.1f}, median {np.median(calls):.0f}, most {max(calls)}"
        )
    broken = [np.mean([b.loss_with for b in result.hunks]) for _, result in results if result.hunks]
    sound = [np.mean([b.loss_without for b in result.hunks]) for _, result in results if result.hunks]
    print(f"answers with the lines fail in {np.min(broken):.0%} to {np.max(broken):.0%}, without them in "
          f"{np.min(sound):.0%} to {np.max(sound):.0%}")  # fmt: skip


if __name__ == "__main__":
    main()
