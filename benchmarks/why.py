"""How well the cause of an agent's decision is named, where it is planted: `llm_trace.demo.agent`.

    python -m benchmarks.why --runs 100

First, whether the trained agent has the causes that were planted: each step of each ticket is taken away, and
cases in which it does not decide as the rule are dropped and counted. Then how many steps must be tried until
the planted ones, in the order of attribution, of leave-one-out, by chance, and last first. At last, what
`why` says of as many recorded runs, whose reruns vary (temperature 1), and how many calls it took.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from llm_trace import attribute, configure, flush, open_store, shutdown, start_run
from llm_trace.causes import why
from llm_trace.causes.why_order import EVALUATIONS
from llm_trace.causes.why_values import NEUTRAL
from llm_trace.demo.agent import handle_ticket
from llm_trace.demo.agent_cases import AGENT_CASE_KINDS, AgentCase, AgentCaseKind, make_agent_cases
from llm_trace.demo.agent_model import MODEL
from llm_trace.demo.agent_truth import compute_call_share, compute_shares, take_steps, verify_cases
from llm_trace.stores.duckdb import Store

SEED = 2026


def draw_cases(kind: AgentCaseKind, count: int) -> list[AgentCase]:
    """Return cases that the model obeys, and print the rates at which it does."""
    cases = make_agent_cases(kind, count + count // 4 + 2, SEED)
    checked = verify_cases(cases)
    obeyed = list(checked.obeyed[:count])
    whole = _measure(obeyed, [()] * len(obeyed))
    one = _measure(obeyed, [[step] for case in obeyed for step in list(case.plants)[:1]])
    none = _measure(obeyed, [list(case.plants) for case in obeyed])
    print(
        f"{kind:12} {len(checked.obeyed):3} of {len(cases):3} cases, {checked.agreed} of "
        f"{checked.interventions} interventions; p(decision) {whole:.3f}, without one plant {one:.3f}, "
        f"without all {none:.3f}",
        flush=True,
    )
    return obeyed


def _measure(cases: Sequence[AgentCase], steps: Iterable[Sequence[str]]) -> float:
    """Return the mean probability of the decision without some steps."""
    conversations = [take_steps(case.ticket, gone) for case, gone in zip(cases, steps, strict=True)]
    shares = compute_shares(conversations)
    return float(np.mean([share[case.decision] for case, share in zip(cases, shares, strict=True)]))


def order_steps(case: AgentCase, method: str = "leverage_shap", evaluations: int = EVALUATIONS) -> list[str]:
    """Return the steps by their attribution, strongest first; by default as `why` orders them.

    Args:
        evaluations: for each step, at most.
    """
    ticket = case.ticket
    texts = {"system": ticket.system, "user": ticket.message}
    texts |= {tool: ticket.results[tool] for tool in ticket.tools}
    explained = attribute(
        ticket.write_messages(),
        write_decision(case),
        model=MODEL,
        method=method,
        segments=texts,
        baseline=NEUTRAL,
        budget=evaluations * len(texts),
    )
    values = {s.name: value for s, value in zip(explained.segments, explained.values, strict=True)}
    return sorted(texts, key=lambda step: -values.get(step, 0.0))


def count_tries(case: AgentCase, order: Sequence[str]) -> int:
    """Return how many steps are tried until all causes that work alone were, or of redundant ones both."""
    return max(order.index(step) + 1 for step in case.plants)


def list_orders(case: AgentCase, rng: random.Random) -> dict[str, list[str]]:
    """Return the steps in each order that is compared."""
    steps = ["system", "user", *case.ticket.tools]
    return {
        "attribution": order_steps(case),
        "leave-one-out": order_steps(case, "occlusion", 2),
        "chance": rng.sample(steps, len(steps)),
        "last first": steps[::-1],
    }


def compare_orders(kind: AgentCaseKind, cases: Sequence[AgentCase]) -> None:
    """Print how many steps must be tried in each order, and what attribution saves."""
    rng = random.Random(SEED)
    orders = [list_orders(case, rng) for case in cases]
    tries = {
        name: [count_tries(case, order[name]) for case, order in zip(cases, orders, strict=True)]
        for name in orders[0]
    }
    print_saved(kind, tries)


def print_saved(kind: AgentCaseKind, counts: Mapping[str, Sequence[int]]) -> None:
    """Print the mean of each count, and by how much it is above that of attribution, with 95 % bounds."""
    means = "  ".join(f"{name} {np.mean(values):.2f}" for name, values in counts.items())
    saved = []
    for name in [name for name in counts if name != "attribution"]:
        difference = np.subtract(counts[name], counts["attribution"])
        error = stats.sem(difference)
        margin = stats.t.ppf(0.975, len(difference) - 1) * error if error else 0.0
        mean = difference.mean()
        saved.append(f"against {name} {mean:.2f} ({mean - margin:.2f} to {mean + margin:.2f})")
    print(f"{kind:12} n {len(counts['attribution'])}  {means}; saved {'; '.join(saved)}", flush=True)


@dataclass(frozen=True)
class Outcome:
    """What `why` said of one run."""

    first: bool
    """Whether the planted step is first; of joint causes both, of redundant ones with the other beside it."""
    accused: bool
    """Whether anything but the planted steps is told from chance."""
    covered: int
    """Steps whose bounds hold the true effect, computed from the model's probabilities."""
    bounded: int
    calls: int
    reruns: Mapping[str, int]
    """How many were made without each step, and under "control" with everything as it was."""


def record_run(case: AgentCase) -> str:
    """Record a run that decides as planted; return its id."""
    while True:  # at temperature 1 some runs decide otherwise
        with start_run(case.name) as run:
            answer = handle_ticket(case.name, case.ticket.message, temperature=1.0)
        if answer == write_decision(case):
            return run.id


def record_runs(cases: Sequence[AgentCase], path: Path) -> dict[str, str]:
    """Record a run of each case, and return its id by the case's name.

    Runs in which the agent asked other tools than those of its list, as at temperature 1 some do, are
    recorded again: the true effects are known of the planted conversation alone.
    """
    runs: dict[str, str] = {}
    while missing := [case for case in cases if case.name not in runs]:
        tries = {case.name: record_run(case) for case in missing}
        flush()
        with open_store(path) as store:
            store.ingest()
            for case in missing:
                calls = store.calls(run=tries[case.name], kind="tool", limit=None)
                asked = [call.name for call in sorted(calls, key=lambda call: call.start_ns)]
                if asked == [*case.ticket.tools, case.decision]:
                    runs[case.name] = tries[case.name]
    return runs


def write_decision(case: AgentCase) -> str:
    """Return what the model writes where it decides as planted."""
    return f"{case.decision}(order={case.ticket.order})"


def explain_run(case: AgentCase, run: str, store: Store, repeats: int, model: str | None) -> Outcome:
    """Ask `why` about the decision of one run."""
    (decided,) = store.calls(run=run, name=case.decision)
    tools = {call.span_id: call.name for call in store.calls(run=run, kind="tool", limit=None)}
    causes = why(decided, store=store, functions=handle_ticket, model=model, repeats=repeats)
    names = [tools[cause.span_id] if cause.span_id else cause.kind for cause in causes.steps]
    shown = {name for name, cause in zip(names, causes.steps, strict=True) if cause in causes.significant}
    alone = [(n, c) for n, c in zip(names, causes.steps, strict=True) if c.without.n and not c.together]
    needed = 2 if case.kind in ("redundant", "joint") else 1
    first = set(names[:needed]) == set(case.plants)
    if case.kind == "redundant":
        first = first and bool(causes.steps[0].together)
    with_all, *rest = (
        compute_call_share(take_steps(case.ticket, gone, NEUTRAL), write_decision(case))
        for gone in ([], *([name] for name, _ in alone))
    )
    covered = sum(c.low <= with_all - share <= c.high for (_, c), share in zip(alone, rest, strict=True))
    reruns = {name: cause.without.n for name, cause in zip(names, causes.steps, strict=True)}
    reruns["control"] = causes.control.n
    if case.kind != "redundant" and any(cause.together for cause in causes.steps):
        print(f"named together, planted alone: {case.name}, {causes.summary()}")
    return Outcome(first, bool(shown - set(case.plants)), covered, len(alone), causes.calls, reruns)


def judge_why(kind: AgentCaseKind, cases: Sequence[AgentCase], repeats: int) -> None:
    """Print how often `why` is right, and how many calls it takes by the order of steps."""
    random.seed(SEED)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "why.duckdb"
        configure(path)
        runs = record_runs(cases, path)
        shutdown()
        configure(Path(folder) / "reruns.duckdb")  # nobody reads them, so they need not be ingested
        with open_store(path) as store:
            recorded = [(case, runs[case.name]) for case in cases]
            outcomes = [explain_run(case, run, store, repeats, MODEL) for case, run in recorded]
            calls = {"attribution": [outcome.calls for outcome in outcomes]}
            if kind == "redundant":
                nearest = [explain_run(case, run, store, repeats, None) for case, run in recorded]
                calls["last first"] = [outcome.calls for outcome in nearest]
        shutdown()
    first, accused = sum(o.first for o in outcomes), sum(o.accused for o in outcomes)
    covered, bounded = sum(o.covered for o in outcomes), sum(o.bounded for o in outcomes)
    print(
        f"{kind:12} n {len(cases)}  first {_share(first, len(cases))}  accused wrongly "
        f"{_share(accused, len(cases))}  bounds hold {_share(covered, bounded)}  calls "
        f"{np.mean(calls['attribution']):.0f}",
        flush=True,
    )
    if kind != "redundant":
        calls = count_calls_to_proof(cases, outcomes)
    print_saved(kind, calls)


def count_calls_to_proof(cases: Sequence[AgentCase], outcomes: Sequence[Outcome]) -> dict[str, list[int]]:
    """Return by order the calls until each planted step was tried: the same reruns, in another order."""
    rng = random.Random(SEED)
    calls: dict[str, list[int]] = {}
    for case, outcome in zip(cases, outcomes, strict=True):
        for name, order in list_orders(case, rng).items():
            steps = order[: count_tries(case, order)]
            total = outcome.reruns["control"] + sum(outcome.reruns[step] for step in steps)
            calls.setdefault(name, []).append(total)
    return calls


def _share(count: int, n: int) -> str:
    low, high = stats.binomtest(count, n).proportion_ci(0.95, method="exact")
    return f"{count} of {n} ({low:.3f} to {high:.3f})"


def main() -> None:
    """Print the rates of the plants, then the orders, then what `why` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=100, help="of each kind")
    parser.add_argument("--repeats", type=int, default=20, help="reruns of each step")
    parser.add_argument("--kind", choices=AGENT_CASE_KINDS, action="append", help="of cause; absent: all")
    arguments = parser.parse_args()
    print("The trained agent and the planted causes:")
    kinds = arguments.kind or AGENT_CASE_KINDS
    cases = {kind: draw_cases(kind, arguments.runs) for kind in kinds}
    print("Steps that are tried until the planted ones were:")
    for kind, drawn in cases.items():
        compare_orders(kind, drawn)
    print("What `why` says, and its calls until the planted ones are proved (of redundant ones: all calls):")
    for kind, drawn in cases.items():
        judge_why(kind, drawn, arguments.repeats)


if __name__ == "__main__":
    main()
