"""The cheap checks behind every verdict: completeness, segments that stand in for each other, dependence
on the baseline, chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import Value, as_value_function, get_remaining, sum_targets
from llm_trace.errors import AttributionError
from llm_trace.record import VERDICTS, Verdict
from llm_trace.statistics.multiple_tests import correct_benjamini_hochberg

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

NOISE = 0.05
"""Nats below which no segment counts as having made a difference."""
MATERIAL = 1.0
"""Nats that a redundant group must be worth."""
_SHARE = 0.25
"""Part of the largest effect that a difference must reach to count."""
_LARGEST_GROUP = 4
_MOST_GROUPS = 3
CHECKED = 5
"""Segments evaluated with a second baseline."""


_CHANCE = 0.85
"""Part of a blind draw's log-probability below which a model knows nothing of the response."""


@dataclass
class Findings:
    """What the checks say; filled in as they run."""

    confidence: float
    """At which a check tells an effect from noise."""
    empty: float | None = None
    gap: float | None = None
    groups: list[tuple[int, ...]] = field(default_factory=list)
    verdict: Verdict = "ok"
    warnings: list[str] = field(default_factory=list)
    faithfulness: dict[str, object] = field(default_factory=dict)

    def suspect(self, verdict: Verdict, warning: str) -> None:
        """Note a reason for mistrust; the first one becomes the verdict.

        Raises:
            AttributionError: no such verdict, as a method of another package may give.
        """
        if verdict not in VERDICTS:
            raise AttributionError(f"{verdict!r} is no verdict; take one of {', '.join(VERDICTS)}")
        self.warnings.append(warning)
        if self.verdict == "ok":
            self.verdict = verdict


def check_completeness(value: Value, scores: NDArray[np.float64], full: float, found: Findings) -> None:
    """Find what the scores leave unexplained: full - empty - sum. Costs one evaluation."""
    if not _can_pay(value, 1):
        return
    try:
        found.empty = float(sum_targets(value(np.zeros((1, len(scores)), dtype=bool)))[0])
    except AttributionError as exc:  # nothing is left of the prompt
        found.warnings.append(f"no completeness gap: {exc}")
        return
    found.gap = full - found.empty - float(scores.sum())


def check_evidence(
    scores: NDArray[np.float64],
    found: Findings,
    low: NDArray[np.float64] | None = None,
    high: NDArray[np.float64] | None = None,
    p_values: NDArray[np.float64] | None = None,
) -> None:
    """Say so when no segment made a difference, or when noise wins.

    Among many segments some bounds exclude zero by chance. So where a method tests, a segment must stand out
    after the correction for the number of tests; where it only has bounds, one of them must exclude zero.
    """
    if p_values is not None:
        if not has_significant_score(p_values, found):
            return
    elif low is not None and high is not None and not ((low > 0) | (high < 0)).any():
        found.suspect("insufficient_evidence", "the bounds of every score include zero: raise the budget")
        return
    strongest = float(np.abs(scores).max())
    if strongest < NOISE:
        found.suspect(
            "insufficient_evidence", f"no segment moves the response by more than {strongest:.2g} nats"
        )


def has_significant_score(p_values: NDArray[np.float64], found: Findings) -> bool:
    """Whether a score stands out from noise after correction for the number of tests; say so if none does."""
    if (correct_benjamini_hochberg(p_values) <= 1 - found.confidence).any():
        return True
    warning = (
        f"no score stands out from noise at a confidence of {found.confidence:g}, all tests together: "
        "raise the budget"
    )
    if found.verdict != "insufficient_evidence":  # the method may have said so itself
        found.suspect("insufficient_evidence", warning)
    return False


def check_unlikely(full: float, tokens: int, vocabulary: int, found: Findings) -> None:
    """Say so when the model finds the response no more likely than tokens drawn blindly: there is nothing
    that the prompt did.

    Args:
        full: log-probability of the target after the whole prompt.
        tokens: of the target.
        vocabulary: number of tokens that the model knows.
        found: where the finding goes.
    """
    blind = tokens * float(np.log(max(vocabulary, 2)))
    if -full > _CHANCE * blind:
        found.suspect(
            "insufficient_evidence",
            f"the model does not expect this response ({full:.1f} nats, {-blind:.1f} for tokens drawn "
            f"blindly)",
        )


def check_hidden(scores: NDArray[np.float64], second: Mapping[str, Any], found: Findings) -> None:
    """Say so when a second method proves effects that leave-one-out does not show and no group explains."""
    low, values = second.get("low"), second.get("values", [])
    if low is None or not values:
        return
    least = max(MATERIAL, _SHARE * max(map(abs, values)))
    known = {i for group in found.groups for i in group}
    missed = [
        i
        for i, x in enumerate(values)
        if x > least and low[i] > 0 and abs(scores[i]) < least / 2 and i not in known
    ]
    if missed:
        found.faithfulness["hidden"] = missed
        found.suspect(
            "redundant",
            f"{len(missed)} segments matter when others are gone ({second['method']}), though each alone "
            f"can be left out",
        )


def check_redundancy(value: Value, scores: NDArray[np.float64], full: float, found: Findings) -> None:
    """Find groups of segments that stand in for each other: each alone makes no difference, all together do.

    All weak segments are removed at once; only where that matters more than their scores say is a smallest
    group searched by halving, which costs about log2(n) evaluations for each of its members. For
    leave-one-out scores only.
    """
    if len(scores) < 2:
        return
    least = max(MATERIAL, _SHARE * float(np.abs(scores).max()))
    weak = [int(i) for i in np.argsort(-scores) if abs(scores[i]) < least / 2]
    if len(weak) == len(scores) and "vanishes" in as_value_function(value).capabilities:
        weak = weak[1:]  # no prompt would be left without all of them
    excess = _Excess(value, scores, full)
    while len(weak) > 1 and len(found.groups) < _MOST_GROUPS:
        group = _find_smallest_group(excess, weak, least)
        if group is None:
            break
        weak = [i for i in weak if i not in group]
        if 1 < len(group) <= _LARGEST_GROUP:
            found.groups.append(tuple(sorted(group)))
    if found.groups:
        found.suspect(
            "redundant",
            "segments stand in for each other: each alone seems unimportant, together they matter",
        )


class _Excess:
    """How much further the response falls when a group is removed than the scores of its members say."""

    def __init__(self, value: Value, scores: NDArray[np.float64], full: float) -> None:
        self._value, self._scores, self._full = value, scores, full

    def affordable(self) -> bool:
        return _can_pay(self._value, 1)

    def __call__(self, group: Sequence[int]) -> float:
        mask = np.ones((1, len(self._scores)), dtype=bool)
        mask[0, list(group)] = False
        drop = self._full - float(sum_targets(self._value(mask))[0])
        return drop - float(self._scores[list(group)].clip(0).sum())


def _find_smallest_group(excess: _Excess, order: list[int], least: float) -> list[int] | None:
    """Return segments whose removal lifts the response by `least` and of which none can stay, or `None`."""
    group: list[int] = []
    if not excess.affordable() or excess(order) < least:
        return None
    while len(group) <= _LARGEST_GROUP:
        low, high = 0, len(order)  # group + order[:low] is not enough, group + order[:high] is
        while high - low > 1:
            if not excess.affordable():
                return None
            middle = (low + high) // 2
            low, high = (low, middle) if excess([*group, *order[:middle]]) >= least else (middle, high)
        group.append(order[high - 1])
        order = order[: high - 1]
        if not excess.affordable():
            return None
        if excess(group) >= least:
            return group
    return group


def check_baseline_dependence(
    scores: NDArray[np.float64], other: Callable[[list[int]], NDArray[np.float64]], name: str, found: Findings
) -> None:
    """Compare the strongest segments with their scores under another baseline.

    Args:
        scores: (n,) under the chosen baseline.
        other: leave-one-out scores of some segments under the other baseline.
        name: of the other baseline.
        found: where the finding goes.
    """
    top = [int(i) for i in np.argsort(-np.abs(scores))[:CHECKED]]
    theirs = other(top)
    ours = scores[top]
    if np.abs(ours).max() < NOISE:
        return
    found.faithfulness["baseline_agreement"] = {
        "other": name,
        "segments": top,
        "values": [float(v) for v in theirs],
    }
    best = int(np.argmax(np.abs(theirs)))
    flipped = np.sign(theirs[0]) != np.sign(ours[0]) and abs(theirs[0]) > _SHARE * np.abs(theirs).max()
    displaced = abs(theirs[best]) - abs(theirs[0]) > _SHARE * abs(theirs[best]) and abs(ours[0]) - abs(
        ours[best]
    ) > _SHARE * abs(ours[0])
    if flipped or displaced:
        found.suspect(
            "baseline_dependent",
            f"with the baseline {name} other segments come first: the ranking is the baseline's as much as "
            f"the model's",
        )


def _can_pay(value: Value, evaluations: int) -> bool:
    left = get_remaining(value)
    return left is None or left >= evaluations
