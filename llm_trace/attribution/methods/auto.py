"""`auto`: the method by number of segments and budget, and a second where the first may hide something.

Scores of one result have one meaning: exact Shapley values up to 8 segments, leave-one-out beyond,
ContextCite's linear effects where the budget does not pay for leave-one-out. A second method never changes
them; what it finds is in `faithfulness["second"]`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import Capped, Value, as_value_function, get_remaining, sum_targets
from llm_trace.attribution.methods import registry
from llm_trace.attribution.methods.registry import Scores, describe_method
from llm_trace.errors import AttributionError
from llm_trace.statistics.correlation import rank_correlate

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW, MIDDLE = 8, 64
"""Segments up to which all subsets are evaluated, and the second method samples Shapley values."""
SPARSE = 64
"""Evaluations of the sparse regression that stands beside leave-one-out for many segments."""
_LEAST_SPARSE = 34
ADDITIVE = 0.25
"""Part of full - empty that the scores may leave unexplained before a second method is asked."""
MATERIAL = 1.0
"""Nats that they may leave unexplained in any case."""


@dataclass(frozen=True)
class AutoPlan:
    """What `auto` does."""

    method: str
    """Whose scores the result has."""
    second: str | None
    """Which method is asked too, where the first leaves much unexplained."""
    why: str


def plan_auto(n: int, left: int | None, access: str = "values") -> AutoPlan:
    """Return what to do for n segments and this many evaluations.

    Args:
        n: number of segments.
        left: evaluations that the budget pays for, `None` for as many as needed.
        access: what the model gives; all that `auto` takes needs only values.
    """
    situation = f"{n} segments, {'no limit' if left is None else f'a budget of {left}'}, access to {access}"
    if n <= FEW and (left is None or left >= 2**n):
        return AutoPlan("shapley", None, f"{situation}: every subset is evaluated")
    if left is not None and left < n + 1 and left >= _LEAST_SPARSE and n > _LEAST_SPARSE // 2:
        return AutoPlan(
            "context_cite", None, f"{situation}: leave-one-out needs {n + 1}, a sparse regression less"
        )
    second = "leverage_shap" if n <= MIDDLE else "context_cite"
    return AutoPlan("occlusion", second, f"{situation}: each segment is left out once")


@describe_method(
    "auto",
    access="values",
    cost="2^n to n = 8, beyond n + 1 and, where that leaves much unexplained, 4 n (64 for n > 64)",
    source=(
        "exact, leave-one-out beside leverage sampling, leave-one-out beside sparse regression; see "
        "occlusion, leverage_shap, context_cite"
    ),
)
def auto(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return the scores of the method that suits, with a second one's where much is unexplained."""
    chosen = plan_auto(n, get_remaining(value), _describe_access(value))
    scores = registry.find_method(chosen.method)(value, n, confidence=confidence, seed=seed)
    notes = (*scores.notes, f"auto: {chosen.method} ({chosen.why})")
    faithfulness = dict(scores.faithfulness or {})
    if chosen.second is not None and (unexplained := _find_unexplained(value, scores)) is not None:
        faithfulness |= _ask_second_method(
            value, n, chosen.second, scores.values, unexplained, confidence, seed
        )
    return replace(scores, method=chosen.method, notes=notes, faithfulness=faithfulness)


def _describe_access(value: Value) -> str:
    """Return what the model gives, in words."""
    capabilities = as_value_function(value).capabilities
    if "remote" in capabilities:
        return "log-probabilities of the response"
    return "values of the open model" if "inside" in capabilities else "values"


def _find_unexplained(value: Value, scores: Scores) -> float | None:
    """Return full - empty - sum where it is large; a small one is no proof that none hides another."""
    if scores.full is None or get_remaining(value) == 0:
        return None
    try:
        empty = float(sum_targets(value(np.zeros((1, len(scores.values)), dtype=bool)))[0])
    except AttributionError:  # nothing is left of the prompt: the checks say so
        return None
    gap = scores.full - empty - float(scores.values.sum())
    return gap if abs(gap) > max(MATERIAL, ADDITIVE * abs(scores.full - empty)) else None


def _ask_second_method(
    value: Value,
    n: int,
    method: str,
    scores: NDArray[np.float64],
    unexplained: float,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Return what the second method says, in JSON values; nothing where the budget does not pay for it."""
    most = 4 * n + 2 if method == "leverage_shap" else SPARSE
    try:
        other = registry.find_method(method)(Capped(value, most), n, confidence=confidence, seed=seed)
    except AttributionError:
        return {}
    second: dict[str, Any] = {
        "method": method,
        "because": f"leave-one-out leaves {unexplained:.3g} unexplained",
        "values": [float(x) for x in other.values],
        "bounds": other.bounds,
        "spearman": rank_correlate(np.abs(scores), np.abs(other.values)),
    }
    if other.low is not None and other.high is not None:
        second |= {"low": [float(x) for x in other.low], "high": [float(x) for x in other.high]}
    return {"second": second}
