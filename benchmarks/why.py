"""How well the cause of an agent's decision is named, where it is planted: `llm_trace.demo.agent`.

    python -m benchmarks.why --runs 100

First, whether the trained agent has the causes that were planted: each step of each ticket is taken away, and
cases in which it does not decide as the rule are dropped and counted. Then how many steps must be tried until
the planted one, in the order of attribution, by chance, and last first. At
last, what `why` says of as many recorded runs, whose reruns vary (temperature 1).
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from llm_trace import attribute, configure, flush, open_store, shutdown
from llm_trace.causes import why
from llm_trace.demo.agent import handle_ticket
from llm_trace.demo.agent_cases import AGENT_CASE_KINDS, AgentCase, AgentCaseKind, make_agent_cases
from llm_trace.demo.agent_model import MODEL
from llm_trace.demo.agent_truth import compute_shares, take_steps, verify_cases
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


def order_steps(case: AgentCase) -> list[str]:
    """Return the steps by their attribution, strongest first: one evaluation for each message."""
    explained = attribute(
        case.ticket.write_messages(),
        f"{case.decision}(order={case.ticket.order})",
        model=MODEL,
        method="occlusion",
        segments="message",
    )
    texts = {"system": case.ticket.system, "user": case.ticket.message}
    texts |= {tool: case.ticket.results[tool] for tool in case.ticket.tools}
    values = {
        segment.text: value for segment, value in zip(explained.segments, explained.values, strict=True)
    }
    return sorted(texts, key=lambda step: -values.get(texts[step], 0.0))


def count_tries(case: AgentCase, order: Sequence[str]) -> int:
    """Return how many steps are tried until all causes that work alone were, or of redundant ones both."""
    return max(order.index(step) + 1 for step in case.plants)


def compare_orders(kind: AgentCaseKind, cases: Sequence[AgentCase]) -> None:
    """Print the steps that must be tried in three orders, and what attribution saves, with 95 % bounds."""
    rng = random.Random(SEED)
    tries: dict[str, list[int]] = {"attribution": [], "chance": [], "last first": []}
    for case in cases:
        steps = ["system", "user", *case.ticket.tools]
        tries["attribution"].append(count_tries(case, order_steps(case)))
        tries["chance"].append(count_tries(case, rng.sample(steps, len(steps))))
        tries["last first"].append(count_tries(case, steps[::-1]))
    means = "  ".join(f"{name} {np.mean(values):.2f}" for name, values in tries.items())
    saved = []
    for name in ("chance", "last first"):
        difference = np.subtract(tries[name], tries["attribution"])
        low, high = stats.t.interval(0.95, len(difference) - 1, difference.mean(), stats.sem(difference))
        saved.append(f"against {name} {difference.mean():.2f} saved ({low:.2f} to {high:.2f})")
    print(f"{kind:12} n {len(cases)}  {means}; {'; '.join(saved)}", flush=True)


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


def run_agent(case: AgentCase, store: Store) -> tuple[str, dict[str, str]]:
    """Record a run that decides as planted; return the deciding call and the step of each tool's call."""
    right = f"{case.decision}(order={case.ticket.order})"
    while handle_ticket(case.name, case.ticket.message, temperature=1.0) != right:
        pass  # at temperature 1 some runs decide otherwise
    flush()
    store.ingest()
    (root,) = store.calls(kind="agent", limit=1)
    inside = sorted(store.trace(root.trace_id), key=lambda call: call.start_ns)
    deciding = [call.span_id for call in inside if call.kind == "llm"][-1]
    return deciding, {call.span_id: call.name for call in inside if call.kind == "tool"}


def explain_run(case: AgentCase, store: Store, repeats: int, model: str | None) -> Outcome:
    """Ask `why` about one run."""
    deciding, tools = run_agent(case, store)
    causes = why(deciding, store=store, functions=handle_ticket, model=model, repeats=repeats)
    names = [tools[cause.span_id] if cause.span_id else cause.kind for cause in causes.steps]
    shown = {name for name, cause in zip(names, causes.steps, strict=True) if cause in causes.significant}
    alone = [(n, c) for n, c in zip(names, causes.steps, strict=True) if c.without.n and not c.together]
    needed = 2 if case.kind in ("redundant", "joint") else 1
    first = set(names[:needed]) == set(case.plants)
    if case.kind == "redundant":
        first = first and bool(causes.steps[0].together)
    with_all, *rest = compute_shares(
        [take_steps(case.ticket, gone, "[removed]") for gone in ([], *([name] for name, _ in alone))]
    )
    effects = [with_all[case.decision] - share[case.decision] for share in rest]
    covered = sum(c.low <= effect <= c.high for (_, c), effect in zip(alone, effects, strict=True))
    return Outcome(first, bool(shown - set(case.plants)), covered, len(alone), causes.calls)


def judge_why(kind: AgentCaseKind, cases: Sequence[AgentCase], repeats: int) -> None:
    """Print how often `why` is right, and what it costs by attribution and by nearness."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "why.duckdb"
        configure(path)
        with open_store(path) as store:
            outcomes = [explain_run(case, store, repeats, MODEL) for case in cases]
            nearest = [explain_run(case, store, repeats, None) for case in cases]
        shutdown()
    first, accused = sum(o.first for o in outcomes), sum(o.accused for o in outcomes)
    covered, bounded = sum(o.covered for o in outcomes), sum(o.bounded for o in outcomes)
    saved = np.subtract([o.calls for o in nearest], [o.calls for o in outcomes])
    low, high = stats.t.interval(0.95, len(saved) - 1, saved.mean(), stats.sem(saved))
    print(
        f"{kind:12} n {len(cases)}  first {_share(first, len(cases))}  accused wrongly "
        f"{_share(accused, len(cases))}  bounds hold {_share(covered, bounded)}  calls by attribution "
        f"{np.mean([o.calls for o in outcomes]):.0f}, {saved.mean():.1f} fewer than nearest first "
        f"({low:.1f} to {high:.1f})",
        flush=True,
    )


def _share(count: int, n: int) -> str:
    return f"{count} of {n}"


def main() -> None:
    """Print the rates of the plants, then the orders, then what `why` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=100, help="of each kind")
    parser.add_argument("--repeats", type=int, default=20, help="reruns of each step")
    arguments = parser.parse_args()
    print("The trained agent and the planted causes:")
    cases = {kind: draw_cases(kind, arguments.runs) for kind in AGENT_CASE_KINDS}
    print("Steps that are tried until the planted ones were:")
    for kind, drawn in cases.items():
        compare_orders(kind, drawn)
    print("What `why` says:")
    random.seed(SEED)
    for kind, drawn in cases.items():
        judge_why(kind, drawn, arguments.repeats)


if __name__ == "__main__":
    main()
