"""How much goes through a model at once, by the memory that is free; halved when it runs out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from llm_trace.attribution.models.batching import Batch, BatchLimits
from llm_trace.attribution.models.config import read_size
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch

_remembered: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""Tokens a batch that once ran out of memory may have, per model."""
_CPU_TOKENS = 2048
"""On a CPU larger batches are no faster."""
_CPU_LOGITS = 64 << 20
"""Bytes of logits in one batch on a CPU: more would take more memory than one long prompt does."""
_MAX_TOKENS = 65536


def compute_limits(model: Any, device: torch.device, rows: int, length: int) -> BatchLimits:
    """Return how large a batch may be, for so many explained tokens and so long prompts, by free memory."""
    config = model.config.get_text_config(decoder=True)
    width, inner, layers, vocabulary = _read_sizes(config)
    size = next((p.element_size() for p in model.parameters()), 4)
    per_token = size * (12 * width + 3 * inner + 2 * width * layers)
    # logits, and a copy of the cache
    per_row = 3 * 4 * rows * vocabulary + 2 * size * 2 * width * layers * length
    # a position's logits beside a token's layers, in multiplications
    logits = vocabulary / (layers * (4 * width + 3 * inner))
    cuda = device.type == "cuda"
    free = measure_free_memory(device) // 4
    tokens = min(max(1, free // per_token), _MAX_TOKENS if cuda else _CPU_TOKENS)
    tokens = min(tokens, _remembered.get(model, tokens))
    most = max(
        1,
        min(256, free // per_row)
        if cuda
        else min(64, free // per_row, _CPU_LOGITS // (4 * rows * vocabulary)),
    )
    return BatchLimits(tokens, rows=most, overhead=2048 if cuda else 96, logits=logits)


def _read_sizes(config: Any) -> tuple[int, int, int, int]:
    """Return width, inner width, number of layers and vocabulary; the largest where layers differ."""
    width = max(8, read_size(config, "hidden_size") or 1024)
    return (
        width,
        read_size(config, "intermediate_size") or 4 * width,
        read_size(config, "num_hidden_layers") or 12,
        read_size(config, "vocab_size") or 32000,
    )


def limit_gradient_rows(model: Any, device: torch.device, columns: int, length: int) -> int:
    """Return how many embedded prompts go forward and back at once, with all layers' activations."""
    config = model.config.get_text_config(decoder=True)
    width, inner, layers, vocabulary = _read_sizes(config)
    per_row = 4 * (length * layers * (16 * width + 5 * inner) + 4 * columns * vocabulary)
    cuda = device.type == "cuda"
    most = (_MAX_TOKENS if cuda else _CPU_TOKENS) // length
    return max(1, min(most, measure_free_memory(device) // 4 // per_row))


def halve_batch(model: Any, batch: Batch, exc: RuntimeError) -> list[Batch]:
    """Return the batch in two halves after the memory ran out, and remember it; raise any other error again.

    Raises:
        AttributionError: one prompt alone is too much.
    """
    if "memory" not in str(exc).lower():
        raise exc
    if len(batch.rows) == 1:
        raise AttributionError(
            "one prompt alone does not fit into the memory: shorten it or load the model smaller"
        ) from exc
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    _remembered[model] = max(1, batch.cost // 2)
    middle = len(batch.rows) // 2
    return [Batch(rows, batch.prefix, batch.cost // 2) for rows in (batch.rows[:middle], batch.rows[middle:])]


def measure_free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a device, of the machine's memory for a CPU."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as info:
            fields = dict(line.split(":", 1) for line in info)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 2 << 30
