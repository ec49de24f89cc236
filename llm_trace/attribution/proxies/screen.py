"""`screen`: prove on some calls of a task that the proxy explains them about as well as the oracle itself
would.
"""

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
    from llm_trace.attribution.proxies.screen_state import Instance

Told = Callable[["Instance", int], object]
"""Called with each instance and how many were looked at; returning False ends the screen, which goes on
where it stood when called again.
"""


def build_terms(case: TaskCall, **settings: Any) -> Terms:
    """Return what a screen of these models asks; `settings` are fields of `Terms`."""
    p = case.proxied
    (oracle, oracle_id), (proxy, proxy_id) = p.oracle_id, p.proxy_id
    segments = case.segments if isinstance(case.segments, str) else repr(case.segments)
    how = f"{segments}s; oracle by {p.oracle_method}, proxy by {p.proxy_method}; agreement {p.agreement:g}"
    return Terms(p.task_of(case.given), oracle, proxy, oracle_id, proxy_id, how, **settings)


def screen(
    calls: Iterable[Any],
    proxied: Proxied,
    *,
    segments: Any = "word",
    budget: int | Budget | None = None,
    again: bool = False,
    seed: int = 0,
    cache: str | Path | None = None,
    told: Told | None = None,
    **settings: Any,
) -> Screen:
    """Return the proxy's standing after as many calls as it takes; each is kept as it is done, and none is
    examined twice.

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
        told: see `Told`.
        settings: `tau`, `confidence`, `test`, `most`, `floor`, see `Terms`.

    Raises:
        AttributionError: no call, or a budget or a term that cannot work.
    """
    pairs: list[tuple[Any, str | None]] = [c if isinstance(c, tuple) else (c, None) for c in calls]
    order = np.random.default_rng(seed).permutation(len(pairs))
    mixed = (pairs[i] for i in order)
    cases = [TaskCall(proxied, given, response, segments, seed, cache) for given, response in mixed]
    if not cases:
        raise AttributionError("there is no call to screen on")
    limits, far = as_budget(budget) or Budget(), make_remote(proxied.oracle)
    if far is not None:
        Ledger(limits, far.price, far.max_output_tokens)  # refuses a budget that cannot be held
    asks = build_terms(cases[0], **settings)
    file = File(proxied.place, asks)
    found = file.read()
    over = again or found.outcome in ("expired", "revoked")
    if over or found.terms != asks or not file.path.exists():
        found = Screen(asks, () if over else found.instances)
        file.begin(found.instances)
    return _Screening(file, limits, told).run(cases, found)


class _Screening:
    def __init__(self, file: File, budget: Budget, told: Told | None) -> None:
        self.file, self.budget, self.told = file, budget, told
        self.spent = OracleCost()

    def run(self, cases: Sequence[TaskCall], found: Screen) -> Screen:
        """Examine calls until the proxy's standing is decided, or why not is known."""
        known = {instance.key for instance in found.instances}
        for case in cases:
            if found.outcome != "undecided" or len(found.measured) >= (found.terms.most or 0):
                break
            if case.key in known:
                continue
            if (why := self._short(case, found)) is not None:
                return replace(found, stopped=why)
            made = examine_call(case, found.terms.floor)
            self.file.append(made)
            self.spent = self.spent.plus(OracleCost(made.calls, made.tokens, made.usd))
            found = replace(found, instances=(*found.instances, made))
            if self.told is not None and self.told(made, len(found.instances)) is False:
                return replace(found, stopped=f"stopped after {len(found.instances)} calls")
        return found

    def _short(self, case: TaskCall, found: Screen) -> str | None:
        """Return why the budget does not pay for this call, or at the outset for as many as it takes, in
        words.
        """
        if self.budget == Budget():
            return None
        count = 1 if self.spent.calls else self._needed(found)
        return describe_overrun(self.budget, self.spent, price_screen(case), count)

    def _needed(self, found: Screen) -> int:
        """Return how many instances it takes at least."""
        t = found.terms
        least = (
            count_fewest_instances(1 - t.tau * t.floor, t.tau, t.confidence)
            if t.test == "betting"
            else LEAST_T
        )
        return max(1, least - len(found.measured))


def describe_overrun(budget: Budget, spent: OracleCost, each: OracleCost, count: int = 1) -> str | None:
    """Return in words which limit (calls, tokens, dollars) so many more calls would pass, `None` where
    none.
    """
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
    plan, far = case.explained("oracle", dry_run=True), make_remote(case.proxied.oracle)
    calls = plan.evaluations + HELD_OUT * (far.samples if far is not None else 1)
    grown = calls / max(1, plan.evaluations)
    return OracleCost(calls, int(plan.tokens * grown) + 1, None if plan.usd is None else plan.usd * grown)
