"""Which perturbed prompts go through the model together, and what of their beginning is shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def plan_batches(lengths: Sequence[int], shared: Sequence[int], limits: BatchLimits) -> list[Batch]:
    """Return batches that cover all rows, in the cheaper order: by shared beginning, or by length.

    Args:
        lengths: tokens of each row.
        shared: tokens that each row shares with the spine; less than its length.
        limits: what one pass may take.
    """
    rows = range(len(lengths))
    plans = [
        _cut(sorted(rows, key=lambda i: (-shared[i], -lengths[i])), lengths, shared, limits),
        _cut(sorted(rows, key=lambda i: (-lengths[i], -shared[i])), lengths, shared, limits),
    ]
    return min(plans, key=lambda batches: sum(b.cost for b in batches))


def _cut(order: list[int], lengths: Sequence[int], shared: Sequence[int], limits: BatchLimits) -> list[Batch]:
    batches: list[Batch] = []
    for at in range(0, len(order), _WINDOW):
        batches += _find_best_batches(order[at : at + _WINDOW], lengths, shared, limits)
    return batches


def _find_best_batches(
    order: list[int], lengths: Sequence[int], shared: Sequence[int], limits: BatchLimits
) -> list[Batch]:
    """Cut an order of rows into consecutive batches of least total cost (dynamic programming)."""
    best = [0] + [-1] * len(order)
    last: list[Batch | None] = [None] * (len(order) + 1)
    for end in range(1, len(order) + 1):
        longest, shortest, prefix = 0, lengths[order[end - 1]], lengths[order[end - 1]]
        for start in range(end - 1, max(-1, end - 1 - limits.rows), -1):
            length = lengths[order[start]]
            longest, shortest = max(longest, length), min(shortest, length)
            prefix = min(prefix, shared[order[start]])
            tokens = (end - start) * (longest - prefix)
            if tokens > limits.tokens and end - start > 1:
                break
            cost = tokens + limits.overhead + int((end - start) * (longest - shortest) * limits.logits)
            if best[end] < 0 or best[start] + cost < best[end]:
                best[end] = best[start] + cost
                last[end] = Batch(tuple(order[start:end]), prefix, cost)
    batches: list[Batch] = []
    end = len(order)
    while end:
        batch = last[end]
        assert batch is not None
        batches.append(batch)
        end -= len(batch.rows)
    return batches[::-1]
