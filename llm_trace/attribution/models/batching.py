"""Which perturbed prompts go through the model together, and what of their beginning is shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TokenIds = Sequence[int]
_WINDOW = 512
"""Rows planned together; the plan costs rows x batch size steps."""


@dataclass(frozen=True)
class BatchLimits:
    """What one forward pass may take."""

    tokens: int
    """Rows times longest row, shared beginnings not counted."""
    rows: int = 64
    overhead: int = 96
    """What starting a pass costs, in tokens; large on a GPU."""
    logits: float = 0.0
    """What the logits at one position cost, in tokens: rows of unequal length need them at more positions."""


@dataclass(frozen=True)
class Batch:
    """Rows that go through the model together."""

    rows: tuple[int, ...]
    """Indices into the sequences, longest first."""
    prefix: int
    """Tokens at the beginning that all rows share with the spine and that come from its cache."""
    cost: int
    """Tokens computed, padding included, plus what starting and unequal lengths cost."""


def count_common(a: TokenIds, b: TokenIds) -> int:
    """Return how many ids two sequences share at the beginning."""
    limit = min(len(a), len(b))
    if a[:limit] == b[:limit]:
        return limit
    low, high = 0, limit  # a[:low] equal, a[:high] not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle)
    return low


def plan_batches(
    lengths: Sequence[int],
    shared: Sequence[int],
    limits: BatchLimits,
    places: Sequence[tuple[int, int]] | None = None,
) -> list[Batch]:
    """Return batches that cover all rows, in the cheaper order: by shared beginning, or by length.

    Args:
        lengths: tokens of each row.
        shared: tokens that each row shares with its spine; less than its length.
        limits: what one pass may take.
        places: first and last position of each row at which logits are read; at the end when absent.
    """
    rows = range(len(lengths))
    places = places or [(length, length) for length in lengths]
    plans = [
        _cut(sorted(rows, key=lambda i: (-shared[i], -lengths[i])), lengths, shared, limits, places),
        _cut(sorted(rows, key=lambda i: (-lengths[i], -shared[i])), lengths, shared, limits, places),
    ]
    return min(plans, key=lambda batches: sum(b.cost for b in batches))


def _cut(
    order: list[int],
    lengths: Sequence[int],
    shared: Sequence[int],
    limits: BatchLimits,
    places: Sequence[tuple[int, int]],
) -> list[Batch]:
    batches: list[Batch] = []
    for at in range(0, len(order), _WINDOW):
        part = order[at : at + _WINDOW]
        table = np.array([(lengths[i], shared[i], *places[i]) for i in part], dtype=np.int64)
        batches += [
            Batch(tuple(part[begin:end]), prefix, cost)
            for begin, end, prefix, cost in _find_best_cuts(table, limits)
        ]
    return batches


def _find_best_cuts(table: NDArray[np.int64], limits: BatchLimits) -> list[tuple[int, int, int, int]]:
    """Cut rows in their order into batches of least total cost (dynamic programming).

    Args:
        table: (rows, 4): length, shared beginning, first and last position whose logits are read.
        limits: what one pass may take.

    Returns:
        Begin, end, prefix and cost of each batch.
    """
    count, spans = len(table), np.concatenate([[0], np.cumsum(table[:, 3] - table[:, 2])])
    longest, prefix = np.zeros(count, dtype=np.int64), table[:, 1].copy()
    first, last = table[:, 2].copy(), table[:, 3].copy()
    best, cuts = np.zeros(count + 1), [(0, 0, 0, 0)] * (count + 1)
    for end in range(1, count + 1):
        low = max(0, end - limits.rows)
        window, (length, shared, begins, ends) = slice(low, end), table[end - 1]
        np.maximum(longest[window], length, out=longest[window])
        np.minimum(prefix[window], shared, out=prefix[window])
        np.minimum(first[window], begins, out=first[window])
        np.maximum(last[window], ends, out=last[window])
        rows = np.arange(end - low, 0, -1)
        tokens = rows * (longest[window] - prefix[window])
        unread = rows * (last[window] - first[window]) - (spans[end] - spans[low:end])
        costs = tokens + limits.overhead + (unread * limits.logits).astype(np.int64)
        totals = np.where((tokens > limits.tokens) & (rows > 1), np.inf, best[low:end] + costs)
        at = len(totals) - 1 - int(np.argmin(totals[::-1]))  # of equal ones the smaller batch
        best[end], cuts[end] = totals[at], (low + at, end, int(prefix[low + at]), int(costs[at]))
    batches, end = [], count
    while end:
        batches.append(cuts[end])
        end = cuts[end][0]
    return batches[::-1]
