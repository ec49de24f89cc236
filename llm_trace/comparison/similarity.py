"""How much two texts say the same: by their letters, or by their meaning where an embedding is given."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LONGEST = 5_000
"""Characters of a text that are compared."""


def measure_similarity(
    a: list[str], b: list[str], embed: Callable[[list[str]], Sequence[Sequence[float]]] | None = None
) -> list[float]:
    """Return for each pair of texts a similarity of at most 1.

    Args:
        embed: from texts to vectors: the cosine of these is taken; by default the share of common character
            trigrams (Dice).
    """
    if embed is None:
        return [_count_common_trigrams(x[:LONGEST], y[:LONGEST]) for x, y in zip(a, b, strict=True)]
    left, right = (np.asarray(embed(texts), dtype=float) for texts in (a, b))
    size = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return [float(x) for x in (left * right).sum(axis=1) / np.where(size > 0, size, 1)]


def _count_common_trigrams(a: str, b: str) -> float:
    if a == b:
        return 1.0
    left, right = _list_trigrams(a), _list_trigrams(b)
    return 2 * (left & right).total() / (left.total() + right.total())


def _list_trigrams(text: str) -> Counter[str]:
    padded = f"  {' '.join(text.lower().split())}  "
    return Counter(padded[i : i + 3] for i in range(len(padded) - 2))
