"""`screen`: prove on some calls of a task that the proxy explains them about as well as the oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import Budget, as_budget
from llm_trace.attribution.proxies.case import HELD_OUT, OracleCost, TaskCall
from llm_trace.attribution.proxies.examine import examine_call
from llm_trace.attribution.proxies.screen_file import File
from llm_trace.attribution.proxies.screen_state import Screen, Terms
from llm_trace.attribution.proxies.sequential_tests import LEAST_T, count_fewest_instances
from llm_trace.attribution.remote.ledger import Ledger
from llm_trace.attribution.remote.model import make_remote
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from pathlib import Path

    from llm_trace.attribution.proxies.model import Proxied
    from llm_trace.attribution.proxies.screen_state import ScreenedCall

ScreenProgress = Callable[["ScreenedCall", int], object]
"""Called with each instance and how many were looked at; returning False ends the screen, which goes on
where it stood when called again.
"""


def build_terms(case: TaskCall, **settings: Any) -> Terms:
    """Return what a screen of these models asks; `settings` are fields of `Terms`."""
    p = case.proxied
    (oracle, oracle_id), (proxy, proxy_id) = p.oracle_id, p.proxy_id
    segments = case.segments if isinstance(case.segments, str) else repr(case.segments)
    how = f"{segments}s; oracle by {p.oracle_method}, proxy by {p.proxy_method}; agreement {p.agreement:g}"
    return Terms(p.task_of(case.call), oracle, proxy, oracle_id, proxy_id, how, **settings)


def screen(
    calls: Iterable[Any],
    proxied: Proxied,
    *,
    segments: Any = "word",
    budget: int | Budget | None = None,
    again: bool = False,
    seed: int = 0,
    cache: str | Path | None = None,
    progress: ScreenProgress | None = None,
    **settings: Any,
) -> Screen:
    """Return the proxy's standing after as many calls as it takes; none is examined twice.

    Both models explain a call, and both explanations have to predict what the oracle answers to held-out
    prompts. Calls that they answer differently cost nothing and count for the agreement alone; where the
    oracle's own explanation is poor nothing is decided.

    Args:
        calls: calls of one task, or (prompt, response) pairs; they are examined in random order.
        proxied: both models.
        segments: as for `attribute`; the screen holds for these.
        budget: of the whole screen, an int in calls of the oracle; what cannot decide anything is not begun.
        again: forget what was kept.
        seed: of the order, explanations and held-out prompts.
        cache: file or name for the answers of a remote oracle, see `attribute`.
        progress: see `ScreenProgress`.
        settings: `tau`, `confidence`, `test`, `most`, `floor`, see `Terms`.

    Raises:
        AttributionError: no call, or a budget or a term that cannot work.
    """
    pairs: list[tuple[Any, str | None]] = [c if isinstance(c, tuple) else (c, None) for c in calls]
    order = np.random.default_rng(seed).permutation(len(pairs))
    mixed = (pairs[i] for i in order)
    cases = [TaskCall(proxied, call, response, segments, seed, cache) for call, response in mixed]
    if not cases:
        raise AttributionError("there is no call to screen on")
    limits, far = as_budget(budget) or Budget(), make_remote(proxied.oracle)
    if far is not None:
        Ledger(limits, far.price, far.max_output_tokens)  # refuses a budget that cannot be held
    asks = build_terms(cases[0], **settings)
    file = File(proxied.place, asks)
    standing = file.read()
    over = again or standing.outcome in ("expired", "revoked")
    if over or standing.terms != asks or not file.path.exists():
        standing = Screen(asks, () if over else standing.instances)
        file.begin(standing.instances)
    return _Screening(file, limits, progress).run(cases, standing)


class _Screening:
    def __init__(self, file: File, budget: Budget, progress: ScreenProgress | None) -> None:
        self.file, self.budget, self.progress = file, budget, progress
        self.spent = OracleCost()

    def run(self, cases: Sequence[TaskCall], standing: Screen) -> Screen:
        """Examine calls until the proxy's standing is decided, or why not is known."""
        known = {instance.key for instance in standing.instances}
        for case in cases:
            if standing.outcome != "undecided" or len(standing.measured) >= (standing.terms.most or 0):
                break
            if case.key in known:
                continue
            if (why := self._describe_shortfall(case, standing)) is not None:
                return replace(standing, stopped=why)
            instance = examine_call(case, standing.terms.floor)
            self.file.append(instance)
            self.spent = self.spent.plus(OracleCost(instance.calls, instance.tokens, instance.usd))
            standing = replace(standing, instances=(*standing.instances, instance))
            if self.progress is not None and self.progress(instance, len(standing.instances)) is False:
                return replace(standing, stopped=f"stopped after {len(standing.instances)} calls")
        return standing

    def _describe_shortfall(self, case: TaskCall, standing: Screen) -> str | None:
        """Return in words why the budget does not pay for this call, at first for all that it takes."""
        if self.budget == Budget():
            return None
        count = 1 if self.spent.calls else self._count_needed(standing)
        return describe_overrun(self.budget, self.spent, price_screen(case), count)

    def _count_needed(self, standing: Screen) -> int:
        """Return how many instances it takes at least."""
        t = standing.terms
        least = (
            count_fewest_instances(1 - t.tau * t.floor, t.tau, t.confidence)
            if t.test == "betting"
            else LEAST_T
        )
        return max(1, least - len(standing.measured))


def describe_overrun(budget: Budget, spent: OracleCost, each: OracleCost, count: int = 1) -> str | None:
    """Return in words which limit (calls, tokens, dollars) so many more calls would pass, if any."""
    amounts: list[tuple[str, float | None, float | None, float | None]] = [
        ("calls", budget.evaluations, each.calls, spent.calls),
        ("tokens", budget.tokens, each.tokens, spent.tokens),
        ("usd", budget.usd, each.usd, spent.usd),
    ]
    for unit, limit, price, paid in amounts:
        if limit is None:
            continue
        if price is None:
            return f"what a call costs in {unit} is not known, so that the budget of {limit:g} cannot be held"
        more, used = count * price, paid or 0
        if used + more > limit:
            return (
                f"the budget of {limit:g} {unit} does not pay for {count} more, which take up to "
                f"{more:.4g}; {used:.4g} are spent"
            )
    return None


def price_screen(case: TaskCall) -> OracleCost:
    """Return what examining a call costs at most; the oracle is not asked for it."""
    plan, far = case.explain("oracle", dry_run=True), make_remote(case.proxied.oracle)
    calls = plan.evaluations + HELD_OUT * (far.samples if far is not None else 1)
    grown = calls / max(1, plan.evaluations)
    return OracleCost(calls, int(plan.tokens * grown) + 1, None if plan.usd is None else plan.usd * grown)
