"""From two lists of calls to pairs with the same input, and what did not pair and why."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from llm_trace.comparison.result import Unpaired
from llm_trace.comparison.units import NOT_OVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.comparison.keys import Keys, Pairing
    from llm_trace.comparison.units import Unit

SHOWN = 3
"""Calls named as examples of a reason."""


@dataclass(frozen=True)
class Pair:
    """The calls of both sides with one input; several where it was asked repeatedly."""

    key: str
    a: tuple[Unit, ...]
    b: tuple[Unit, ...]


@dataclass(frozen=True)
class Paired:
    """All pairs, in the order of their keys, and the rest."""

    pairs: tuple[Pair, ...]
    unpaired: tuple[Unpaired, ...]


def paired(a: Sequence[Unit], b: Sequence[Unit], pairing: Pairing) -> Paired:
    """Return the pairs; calls that are not over, have no key or no partner are counted by reason."""
    groups = [_by_key(side, keys) for side, keys in ((a, pairing.a), (b, pairing.b))]
    common = sorted(groups[0].keys() & groups[1].keys())
    made = tuple(Pair(key, tuple(groups[0][key]), tuple(groups[1][key])) for key in common)
    left = (
        *_left("a", a, pairing.a, set(common), b, pairing.by),
        *_left("b", b, pairing.b, set(common), a, pairing.by),
    )
    return Paired(made, left)


def _by_key(side: Sequence[Unit], keys: Keys) -> dict[str, list[Unit]]:
    groups: dict[str, list[Unit]] = defaultdict(list)
    for unit in side:
        key = keys[unit.top.span_id]
        if key is not None and unit.top.status not in NOT_OVER:
            groups[key].append(unit)
    return groups


def _left(
    side: Literal["a", "b"],
    calls: Sequence[Unit],
    keys: Keys,
    common: set[str],
    others: Sequence[Unit],
    by: str,
) -> list[Unpaired]:
    names = {unit.top.name for unit in others}
    other = "b" if side == "a" else "a"
    reasons: dict[str, list[str]] = defaultdict(list)
    for unit in calls:
        key = keys[unit.top.span_id]
        if unit.top.status in NOT_OVER:
            reason = f"the call is {unit.top.status}"
        elif key is None:
            reason = f"the call has nothing to pair by ({by})"
        elif key in common:
            continue
        elif unit.top.name not in names:
            reason = f"{other} has no call of {unit.top.name}"
        else:
            reason = f"{other} has no finished call of {unit.top.name} with the same {by.removeprefix('function and ')}"
        reasons[reason].append(unit.top.span_id)
    return [
        Unpaired(side=side, reason=reason, calls=len(ids), examples=tuple(ids[:SHOWN]))
        for reason, ids in reasons.items()
    ]
