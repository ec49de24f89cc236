"""Beginnings of prompts whose keys and values are computed once and used by every prompt that shares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LayerCaches = list[tuple["torch.Tensor", "torch.Tensor"]]
"""Keys and values (1, heads, length, width) of every layer."""


@dataclass
class Spine:
    """An unperturbed prompt, and what a model computed for it."""

    ids: tuple[int, ...] = ()
    layers: LayerCaches | None = None
    """`None` before its pass, and where the model's cache cannot be shared."""


def read_layers(cache: Any, lengths: Sequence[int]) -> list[LayerCaches] | None:
    """Return the keys and values of every row of a cache, cut to its length; `None` where a cache does not
    plainly grow (sliding window).
    """
    from transformers import DynamicCache

    layers = getattr(cache, "layers", None)
    if layers is None:  # before transformers 4.54
        pairs = (
            list(zip(cache.key_cache, cache.value_cache, strict=True))
            if isinstance(cache, DynamicCache)
            else []
        )
    elif any(
        type(layer).__name__ != "DynamicLayer" or layer.keys.shape[-2] < max(lengths) for layer in layers
    ):
        return None
    else:
        pairs = [(layer.keys, layer.values) for layer in layers]
    if not pairs:
        return None
    return [
        [(keys[row : row + 1, :, :length], values[row : row + 1, :, :length]) for keys, values in pairs]
        for row, length in enumerate(lengths)
    ]


def build_cache(spines: Sequence[Spine], length: int) -> Any:
    """Return a fresh cache in which each row begins with the first tokens of its spine."""
    from transformers import DynamicCache

    cache = DynamicCache()
    runs = [(next(rows), 1 + sum(1 for _ in rows)) for _, rows in groupby(spines, key=id)]
    for i in range(len(spines[0].layers or ())):
        keys, values = (_stack_rows(runs, i, side, length) for side in (0, 1))
        cache.update(keys, values, i)
    return cache


def _stack_rows(runs: Sequence[tuple[Spine, int]], layer: int, side: int, length: int) -> torch.Tensor:
    """Return the keys (side 0) or values (side 1) of a layer, (rows, heads, length, width)."""
    import torch

    parts = [
        (spine.layers or [])[layer][side][:, :, :length].expand(count, -1, -1, -1) for spine, count in runs
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
