"""From two lists of calls to pairs with the same input, and what did not pair and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from llm_trace.comparison.records import Unpaired
from llm_trace.comparison.units import NOT_OVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from llm_trace.comparison.facts import Fact
    from llm_trace.comparison.keys import Keys, Pairing

SHOWN = 3
"""Calls named as examples of a reason."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """The calls of both sides with one input, several where it was repeated, in the order of their keys."""

    keys: Sequence[str]
    calls: Sequence[Fact]
    """Of the first pair those in a, then those in b, and so on."""
    group: NDArray[np.int64]
    """(calls,): twice the number of the pair, and one more in b."""
    first: NDArray[np.int64]
    """(pairs, 2): where the first call in a and in b stands."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def repeated(self) -> int:
        """How many inputs were asked several times on a side."""
        return len(np.unique(self.group[1:][np.diff(self.group) == 0] // 2))

    @cached_property
    def firsts(self) -> tuple[list[Fact], list[Fact]]:
        """Of each pair the first call in a, and the first in b."""
        a, b = ([self.calls[i] for i in side] for side in self.first.T.tolist())
        return a, b

    @cached_property
    def spans(self) -> list[tuple[str, str]]:
        """The ids of the first calls of each pair."""
        return [(a.span_id, b.span_id) for a, b in zip(*self.firsts, strict=True)]


@dataclass(frozen=True)
class Paired:
    """All pairs and the rest."""

    pairs: Pairs
    unpaired: tuple[Unpaired, ...]
    unfinished: tuple[int, int]
    """Inputs that only a finished although b began them, and the other way round."""
    blank: dict[str, int]
    """Calls that recorded no input and so count as the same, by name of function."""


def build_pairs(a: Sequence[Fact], b: Sequence[Fact], pairing: Pairing) -> Paired:
    """Return the pairs; calls that are not over, have no key or no partner are counted by reason."""
    keys = [*_list_over(a, pairing.a), *_list_over(b, pairing.b)]
    common = (set(keys[: len(a)]) & set(keys[len(a) :])) - {None}
    left = (
        *_list_left("a", a, pairing.a, common, b, pairing.by),
        *_list_left("b", b, pairing.b, common, a, pairing.by),
    )
    began, over = (set(pairing.a), set(pairing.b)), (set(keys[: len(a)]), set(keys[len(a) :]))
    unfinished = tuple(len((over[i] & began[1 - i]) - over[1 - i] - {None}) for i in (0, 1))
    blank = Counter(name for key in keys if key in common and (name := pairing.blank_name(str(key))))
    return Paired(
        _join_calls(sorted(map(str, common)), [*a, *b], keys, len(a)), left, (unfinished[0], unfinished[1]),
        {name: calls for name, calls in blank.items() if calls > 2},
    )  # fmt: skip


def _list_over(side: Sequence[Fact], keys: Keys) -> Keys:
    """Return the keys of calls that are over."""
    return [None if call.status in NOT_OVER else key for call, key in zip(side, keys, strict=True)]


def _join_calls(common: list[str], calls: Sequence[Fact], keys: Keys, in_a: int) -> Pairs:
    """Return the calls that have a common key; the first `in_a` of them are a's."""
    number: dict[str | None, int] = {key: 2 * i for i, key in enumerate(common)}
    group = np.array([number.get(key, -2) for key in keys], dtype=np.int64)
    group[in_a:] += 1
    order = np.argsort(group, kind="stable")
    order = order[group[order] >= 0]
    first = np.searchsorted(group[order], np.arange(2 * len(common)))
    return Pairs(common, [calls[i] for i in order.tolist()], group[order], first.reshape(-1, 2))


def _list_left(
    side: Literal["a", "b"],
    calls: Sequence[Fact],
    keys: Keys,
    common: set[str | None],
    others: Sequence[Fact],
    by: str,
) -> list[Unpaired]:
    names = {call.name for call in others}
    other = "b" if side == "a" else "a"
    reasons: dict[str, list[str]] = defaultdict(list)
    for call, key in zip(calls, keys, strict=True):
        if call.status in NOT_OVER:
            reason = f"the call is {call.status}"
        elif key is None:
            reason = f"the call has nothing to pair by ({by})"
        elif key in common:
            continue
        elif call.name not in names:
            reason = f"{other} has no call of {call.name}"
        else:
            reason = (
                f"{other} has no finished call of {call.name} with the same "
                f"{by.removeprefix('function and ')}"
            )
        reasons[reason].append(call.span_id)
    return [
        Unpaired(side=side, reason=reason, calls=len(ids), examples=tuple(ids[:SHOWN]))
        for reason, ids in reasons.items()
    ]
