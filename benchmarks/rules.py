"""How often the demo's flaw (an example line outweighs the days) is found by suggested rules, and whether
their precision on held-out calls is true.

    python benchmarks/rules.py                              600 calls are explained word by word: minutes
    python benchmarks/rules.py --calls 300 --sample 200 --store /tmp/desk.duckdb     kept for next time

The embedded model answers as the refund desk with prompt v2; a call is wrong where the answer is not the
handbook's. Each seed suggests rules from its own sample of the calls (samples overlap); the truth about a
rule is its precision on all the calls outside the sample. The flaw is found where a rule fires on calls with
the flaw nine times in ten, and on at least half of the wrong calls that have it, outside the sample.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import llm_trace
from llm_trace.operations import suggest_rules
from llm_trace.operations.labels import read_labels
from llm_trace.operations.rules_conditions import compile_condition
from llm_trace.operations.rules_facts import KnownCall, read_known_calls
from llm_trace.operations.rules_record import SuggestedRule, Suggestions
from llm_trace.stores.duckdb import Store

SEED, SEEDS = 4711, 20
FLAW = "share_of_line('Example') > share_matching('^[0-9]+$')"


def record_desk(path: Path, count: int, sample: int, segments: str) -> None:
    """Record and explain the desk's calls; each has a tag for each seed whose sample it is in."""
    from llm_trace.demo import desk
    from llm_trace.demo.world import make_customers
    from llm_trace.spool.paths import get_spool_dir

    customers = make_customers(count, SEED)
    samples = [set(random.Random(seed).sample(range(count), sample)) for seed in range(SEEDS)]
    llm_trace.configure(path)
    for number, customer in enumerate(customers):
        tags = [f"seed{seed}" for seed in range(SEEDS) if number in samples[seed]]
        with llm_trace.using_session(f"customer {number}", tags=tags):
            answer = desk.handle(customer.message, "v2")
        llm_trace.log_score("correct", answer == desk.compute_expected(customer), source="human")
    llm_trace.shutdown()
    with llm_trace.open_store(path) as store:
        calls = store.calls(kind="llm", limit=None, order="oldest")
    _explain(calls, get_spool_dir(path), segments)


def _explain(calls: Sequence[Any], folder: Path, segments: Any) -> None:
    import orjson

    from llm_trace.attribution.policy.policy import AttributionPolicy
    from llm_trace.attribution.policy.pool import iter_events
    from llm_trace.spool.writer import SpoolWriter

    writer = SpoolWriter(folder)
    policy = AttributionPolicy(method="occlusion", model="demo", segments=segments)
    for number, (_, event) in enumerate(iter_events(calls, policy, workers=1)):
        if event is not None:
            writer.write(orjson.dumps(event)[:-1])
        if number % 100 == 99:
            print(f"{number + 1} of {len(calls)} calls explained", file=sys.stderr, flush=True)
    writer.close()


class Truth(NamedTuple):
    """What a rule does on the calls outside its sample."""

    precision: float
    """Part of the calls on which it fires that is wrong."""
    flawed: float
    """Part of them in which the example outweighs the days."""
    recall: float
    """Part of the wrong calls in which it does on which the rule fires."""

    @property
    def is_flaw(self) -> bool:
        return self.flawed >= 0.9 and self.recall >= 0.5


class Desk:
    """All calls, and which of them are wrong and have the flaw."""

    def __init__(self, store: Store) -> None:
        self.known = read_known_calls(store, store.calls(kind="llm", limit=None, order="oldest"))
        labels = read_labels(self.known, "correct").right
        self.wrong = {span_id for span_id, right in labels.items() if not right}
        self.flawed = self.list_fired(FLAW, self.known)

    def list_fired(self, when: str, calls: Sequence[KnownCall]) -> set[str]:
        condition = compile_condition(when)
        return {k.call.span_id for k in calls if condition.evaluate(k).answer == "fires"}

    def measure_rule(self, rule: SuggestedRule, others: Sequence[KnownCall]) -> Truth:
        fired = self.list_fired(rule.when, others)
        hits = self.wrong & self.flawed & {k.call.span_id for k in others}
        return Truth(
            len(fired & self.wrong) / max(1, len(fired)),
            len(fired & self.flawed) / max(1, len(fired)),
            len(fired & hits) / max(1, len(hits)),
        )


def measure(path: Path) -> None:
    """Print for each seed its best rule beside the truth, and in how many the flaw is found."""
    with llm_trace.open_store(path) as store:
        desk = Desk(store)
        both = len(desk.wrong & desk.flawed)
        print(
            f"{len(desk.known):,} calls, {len(desk.wrong)} wrong, {both} of these with the flaw", flush=True
        )
        found, rules, covered = 0, 0, 0
        for seed in range(SEEDS):
            suggestions = suggest_rules(store=store, tag=f"seed{seed}", seed=seed)
            others = [k for k in desk.known if f"seed{seed}" not in k.call.tags]
            truths = [desk.measure_rule(rule, others) for rule in suggestions.rules]
            found += any(truth.is_flaw for truth in truths)
            rules += len(truths)
            for rule, truth in zip(suggestions.rules, truths, strict=True):
                covered += rule.precision.low <= truth.precision <= rule.precision.high
            print_seed(seed, suggestions, truths)
    print(f"the flaw is found in {found} of {SEEDS} seeds (reach: 19)")
    print(f"{rules} rules; the bounds of precision (95 %) hold the truth for {covered / max(1, rules):.0%}")


def print_seed(seed: int, suggestions: Suggestions, truths: Sequence[Truth]) -> None:
    """Print the best rule of a seed beside the truth."""
    line = f"seed {seed:2}: {len(truths)} rules of {suggestions.training} + {suggestions.held_out} calls"
    for rule, truth in zip(suggestions.rules[:1], truths, strict=False):
        p = rule.precision
        line += f"; best {rule.when}: {p.value:.2f} ({p.low:.2f} to {p.high:.2f}) wrong, truth "
        line += f"{truth.precision:.2f}; {truth.flawed:.2f} have the flaw, {truth.recall:.2f} of it caught"
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, default=600)
    parser.add_argument("--sample", type=int, default=250, help="calls that a seed suggests from")
    parser.add_argument("--segments", default="word")
    parser.add_argument("--store", type=Path, help="keep the calls here")
    chosen = parser.parse_args()
    begin = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = chosen.store or Path(folder) / "desk.duckdb"
        if not path.exists():
            record_desk(path, chosen.calls, chosen.sample, chosen.segments)
        measure(path)
    print(f"{time.process_time() - begin:.0f} s of CPU")


if __name__ == "__main__":
    main()
