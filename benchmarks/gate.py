"""How often a gate keeps its promise and how much it automates, how soon it closes when the world changes,
and what a decision costs, on the embedded model as the refund desk with prompt v2, whose example line
misleads it.

    python benchmarks/gate.py                            all; calls are attributed once, which takes minutes
    python benchmarks/gate.py --only drift --calls 2500 --cache /tmp/desk.pickle

A call is wrong where the answer is not the handbook's. Each split fits a gate on `--fit` calls and judges it
on all the others. After the change of the world calls are drawn with other shares of customers, from those
that the gate was not fitted on; a person answers each audit at once.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from llm_trace.demo.desk import compute_expected, find_part
from llm_trace.demo.world import TEMPLATE_V2, make_customers
from llm_trace.operations.gate import Gate
from llm_trace.operations.gate_evidence import CheckedCall
from llm_trace.operations.gate_fit import fit_state
from llm_trace.operations.gate_state import GateState
from llm_trace.operations.log import OperationLog
from llm_trace.operations.signals import GateEvidence, SignalMeasure, build_signal
from llm_trace.record import Attribution, Call, PromptUse

SEED, ERROR, CONFIDENCE = 4711, 0.05, 0.95
LATE = "late and broken"
BLOCK = 100
BASE = GateState(name="desk", label="correct", error=ERROR, confidence=CONFIDENCE)


@dataclass
class Desk:
    """Answered and explained calls."""

    calls: list[CheckedCall]
    parts: list[str]
    """Of which part each customer is."""

    def __post_init__(self) -> None:
        self._columns: dict[str, Any] = {}

    @cached_property
    def wrong(self) -> Any:
        return np.array([not call.right for call in self.calls])

    @cached_property
    def late(self) -> Any:
        return np.array([part == LATE for part in self.parts])

    @cached_property
    def signals(self) -> tuple[str, ...]:
        """The signals that a gate takes unasked."""
        return fit_state(self.calls[:1000], None, BASE).signals

    def read(self, name: str) -> Any:
        """Return a signal of all calls, `nan` where it is missing."""
        if name not in self._columns:
            signal = build_signal(name)
            values = [signal.read(call.evidence) for call in self.calls]
            self._columns[name] = np.array([np.nan if value is None else value for value in values])
        return self._columns[name]

    def automate(self, state: GateState) -> Any:
        """Return which calls a gate would let run alone."""
        if state.limit is None or state.model is None:
            return np.zeros(len(self.calls), dtype=bool)
        return self.estimate(state) <= state.limit

    def estimate(self, state: GateState) -> Any:
        """Return the chances of an error of all calls, `nan` where a signal is missing."""
        assert state.model is not None
        return state.model.estimate(np.stack([self.read(name) for name in state.signals], axis=1))


def build_desk(count: int, cache: Path) -> Desk:
    """Return the desk's calls, from the cache where it has as many."""
    rows = pickle.loads(cache.read_bytes()) if cache.exists() else []
    customers = make_customers(count, SEED)
    while len(rows) < count:
        rows += answer_customers(customers[len(rows) : len(rows) + BLOCK])
        cache.write_bytes(pickle.dumps(rows))
        print(f"{len(rows)} of {count} calls attributed", file=sys.stderr, flush=True)
    calls = [build_call(i, *row) for i, row in enumerate(rows[:count])]
    return Desk([call for call, _ in calls], [part for _, part in calls])


def answer_customers(customers: Sequence[Any]) -> list[tuple[Any, str, dict[str, Any]]]:
    """Return each customer with the model's answer and its attribution."""
    from llm_trace.attribution.api import attribute
    from llm_trace.demo.desk import complete, load_desk_model

    model, tokenizer = load_desk_model()
    rows = []
    for customer in customers:
        prompt = TEMPLATE_V2.format(message=customer.message)
        text, _ = complete(prompt)
        a = attribute(prompt, text, model=model, tokenizer=tokenizer, method="occlusion", segments="line")
        rows.append((customer, text, a.model_dump(mode="json")))
    return rows


def build_call(i: int, customer: Any, text: str, attribution: dict[str, Any]) -> tuple[CheckedCall, str]:
    """Return a call as a store would give it, and the customer's part."""
    use = PromptUse(name="refund", version="v2", variables={"message": customer.message})
    call = Call(
        trace_id=f"{i:032x}", span_id=f"{i:016x}", name="ask", kind="llm", start_ns=i, end_ns=i + 1,
        status="ok", output=text, model="demo", prompt=use,
    )  # fmt: skip
    evidence = GateEvidence(call, (Attribution.from_stored(attribution),), template=TEMPLATE_V2)
    return CheckedCall(call.span_id, "ask", evidence, text == compute_expected(customer)), find_part(customer)


def fit_gate(desk: Desk, indices: Any, signals: Sequence[str] | None, seed: int) -> GateState:
    """Return a gate fitted on some calls; their signals are read once for all gates."""
    columns = {name: desk.read(name) for name in signals or desk.signals}
    own: dict[str, SignalMeasure | None] = {
        name: lambda evidence, column=column: column[evidence.call.start_ns]
        for name, column in columns.items()
    }
    return fit_state([desk.calls[i] for i in indices], own, BASE.model_copy(update={"seed": seed}))


def measure_splits(desk: Desk, splits: int, fit: int) -> None:
    """Print how often the error is kept, and how much is automated."""
    n = len(desk.calls)
    kinds: dict[str, list[str] | None] = {"all signals": None, "log-probability alone": ["logprob"]}
    print(f"{splits} splits, fitted on {fit} of {n} calls, {desk.wrong.mean():.1%} of which are wrong")
    for name, signals in kinds.items():
        errors, coverages = [], []
        for seed in range(splits):
            order = np.random.default_rng([SEED, seed]).permutation(n)
            state = fit_gate(desk, order[:fit], signals, seed)
            alone = desk.automate(state)[order[fit:]]
            errors.append(float(desk.wrong[order[fit:]][alone].mean()) if alone.any() else 0.0)
            coverages.append(float(alone.mean()))
        kept = sum(error <= ERROR for error in errors)
        print(
            f"{name:24} error kept in {kept} of {splits}, mean {np.mean(errors):.2%}, worst "
            f"{max(errors):.2%}; automated {np.mean(coverages):.1%} ({np.quantile(coverages, 0.05):.1%} to "
            f"{np.quantile(coverages, 0.95):.1%}); nothing in {sum(c == 0 for c in coverages)}",
            flush=True,
        )
    oracle = min(1.0, (1 - desk.wrong.mean()) / (1 - ERROR))
    print(f"{'oracle':24} automated {oracle:.1%}: all that is right, and wrong ones up to the error")
    print("signals:", ", ".join(desk.signals))


def draw_stream(desk: Desk, pool: Any, shares: Sequence[tuple[int, float]], seed: int) -> Iterator[int]:
    """Yield calls with a share of late customers, stretch by stretch of (calls, share)."""
    rng = np.random.default_rng([SEED, 1, seed])
    late, others = pool[desk.late[pool]], pool[~desk.late[pool]]
    for count, share in shares:
        for is_late in rng.random(count) < share:
            yield int(rng.choice(late if is_late else others))


@dataclass
class Course:
    """What became of a gate over a stream of calls."""

    closed: int | None = None
    """Calls until then."""
    by_audits: bool = False
    automated: int = 0
    errors: int = 0
    worst: float = 0.0
    """Highest error rate of all automated until any call, from the 200th on."""


def follow(desk: Desk, state: GateState, stream: Iterator[int], seed: int) -> Course:
    """Return what becomes of a gate whose audits are answered at once, over a stream of calls."""
    course, gate, chances = Course(), Gate(state, Path("/nonexistent")), desk.estimate(state)
    assert state.limit is not None
    for at, i in enumerate(stream):
        span_id = f"{seed:08x}{at:08x}"
        gate.observe(span_id, float(chances[i]))
        if gate.closed is None and chances[i] <= state.limit:
            course.automated += 1
            course.errors += int(desk.wrong[i])
            if gate.is_drawn(span_id):
                gate.record_audit(span_id, right=not desk.wrong[i])
        if course.automated >= 200:
            course.worst = max(course.worst, course.errors / course.automated)
        if gate.closed is not None:
            course.closed, course.by_audits = at + 1, gate.audits.broken
            break
    return course


def measure_drift(desk: Desk, runs: int, fit: int, before: int, after: int) -> None:
    """Print how soon gates close after the share of late customers changed, and what went wrong by then."""
    n, usual = len(desk.calls), float(desk.late.mean())
    for share in (0.5, 0.8, 0.35, usual):
        courses, rates = [], []
        for seed in range(runs):
            order = np.random.default_rng([SEED, 2, seed]).permutation(n)
            state, pool = fit_gate(desk, order[:fit], None, seed), order[fit:]
            stream = draw_stream(desk, pool, [(before, usual), (after, share)], seed)
            courses.append(follow(desk, state, stream, seed))
            rates.append(compute_true_rate(desk, desk.automate(state), pool, share))
        print(
            f"late customers {usual:.0%} → {share:.0%}: true error among automated {np.mean(rates):.1%} "
            f"({min(rates):.1%} to {max(rates):.1%}); {describe_courses(courses, before)}",
            flush=True,
        )


def describe_courses(courses: Sequence[Course], before: int) -> str:
    """Return in words when gates closed and what they had let through."""
    kept = sum(course.worst <= ERROR + 0.01 for course in courses)
    early = sum(course.closed is not None and course.closed <= before for course in courses)
    delays = [c.closed - before for c in courses if c.closed is not None and c.closed > before]
    late = str(len(delays))
    if delays:
        late += f", {np.median(delays):.0f} calls later (95 % within {np.quantile(delays, 0.95):.0f})"
    return (
        f"never more than {ERROR + 0.01:.0%} wrong of all automated in {kept} of {len(courses)}; closed "
        f"before the change in {early}, after it in {late}, by audits in "
        f"{sum(course.by_audits for course in courses)}"
    )


def compute_true_rate(desk: Desk, alone: Any, pool: Any, share: float) -> float:
    """Return the error rate among automated calls at a share of late customers."""
    automated = wrong = 0.0
    for part, weight in ((pool[desk.late[pool]], share), (pool[~desk.late[pool]], 1 - share)):
        automated += weight * alone[part].mean()
        wrong += weight * (alone[part] & desk.wrong[part]).mean()
    return wrong / automated if automated else 0.0


def measure_decision(desk: Desk, fit: int, times: int) -> None:
    """Print what deciding costs with the signals at hand, and with the decision noted in a store."""
    import tempfile

    state = fit_gate(desk, np.arange(fit), None, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "desk.duckdb"
        with OperationLog(path) as log:  # a store is there before a gate is
            log.append("note", "desk", {})
        for name, gate in (("not saved", Gate(state, path)), ("saved", Gate(state, path).save())):
            known = [desk.calls[i % len(desk.calls)].evidence for i in range(times)]
            calls = [GateEvidence(e.call, e.attributions, template=e.template) for e in known]
            spent = np.array([time_decision(gate, evidence) for evidence in calls]) / 1e3
            for kind, column in zip(("on the clock", "of this thread's CPU"), spent.T, strict=True):
                print(
                    f"gate.decide, {name}: median {np.median(column):.0f} µs {kind}, 90 % below "
                    f"{np.quantile(column, 0.9):.0f} µs"
                )


def time_decision(gate: Gate, evidence: GateEvidence) -> tuple[int, int]:
    """Return nanoseconds on the clock and of the thread's CPU that a decision takes."""
    begin, worked = time.perf_counter_ns(), time.thread_time_ns()
    gate.decide(evidence)
    return time.perf_counter_ns() - begin, time.thread_time_ns() - worked


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=2500)
    parser.add_argument("--fit", type=int, default=1000, help="checked calls that a gate is fitted on")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--before", type=int, default=1000, help="calls before the world changes")
    parser.add_argument("--after", type=int, default=3000)
    parser.add_argument("--only", choices=["splits", "drift", "decide"])
    parser.add_argument("--cache", type=Path, default=Path("/tmp/llm-trace-gate-desk.pickle"))
    options = parser.parse_args()
    desk = build_desk(options.calls, options.cache)
    measures: dict[str, Callable[[], None]] = {
        "splits": lambda: measure_splits(desk, options.splits, options.fit),
        "drift": lambda: measure_drift(desk, options.runs, options.fit, options.before, options.after),
        "decide": lambda: measure_decision(desk, options.fit, 2000),
    }
    for name, measure in measures.items():
        if options.only in (None, name):
            measure()


if __name__ == "__main__":
    main()
