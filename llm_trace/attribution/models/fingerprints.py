"""What makes a model the same: its configuration, weights wherever they lie, active adapters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from llm_trace.attribution.core.naming import name_callable
from llm_trace.attribution.models.config import (
    read_attention_kind,
    read_generation_config,
    read_number,
    read_offloaded,
)
from llm_trace.errors import AttributionError

_WHOLE = 1 << 16
"""Numbers of a tensor that are part of the fingerprint; of larger ones as many, spread evenly."""
_PASSING = ("training", "gradient_checkpointing", "warnings_issued", "_output_capturing_hooks_installed")
"""Attributes of modules that do not change what they compute."""
_BEGIN = ("decoder_start_token_id", "forced_bos_token_id")
"""What of the generation settings an encoder-decoder reads before a response."""
_KNOWN = ("accelerate", "peft", "torch", "transformers")
"""Libraries whose hooks do not change what a model computes, or are seen in its attributes."""


def compute_fingerprint(model: Any) -> str:
    """Return a hash of a model: configuration, libraries, settings of modules, numbers of every parameter.

    Small tensors count wholly, large ones by 65,536 numbers spread evenly: small edits go unnoticed.

    Raises:
        AttributionError: weights that cannot be read, or hooks of the user's, whose effect cannot be told.
    """
    import torch
    import transformers

    digest = hashlib.sha256()
    config = model.config
    begin = [read_number(read_generation_config(model), field) for field in _BEGIN]
    attention = read_attention_kind(config)
    for part in (config.name_or_path, config.to_json_string(), attention, begin, torch.__version__):
        digest.update(repr(part).encode())
    digest.update(transformers.__version__.encode())
    for line in _iter_settings(model):
        digest.update(line.encode())
    with torch.inference_mode():
        for name, tensor in _iter_tensors(model):
            flat = tensor.detach().reshape(-1)
            some = flat[:: max(1, flat.numel() // _WHOLE)]
            some = some.dequantize() if some.is_quantized else some
            numbers = some.float().cpu().numpy() if some.is_floating_point() else some.cpu().numpy()
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(np.ascontiguousarray(numbers).tobytes())
    return digest.hexdigest()


def _iter_settings(model: Any) -> Iterator[str]:
    """Yield what modules have besides tensors: plain attributes, and a forward of their own."""
    for name, module in model.named_modules():
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]  # noqa: SLF001
        for hook in hooks:
            if str(hook.__module__).partition(".")[0] not in _KNOWN:
                raise AttributionError(
                    f"the model's module {name!r} has a hook ({name_callable(hook)!r}), whose effect cache= "
                    "cannot tell from another's: remove the hook, or leave cache away"
                )
        own = vars(module)
        plain = {
            k: v for k, v in own.items() if k not in _PASSING and not k.startswith("_is_hf") and _is_plain(v)
        }
        forward = name_callable(own.get("forward"))
        yield f"{name} {type(module).__qualname__} {forward} {sorted(plain.items())}"


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(v) for v in (*value, *value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _iter_tensors(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield all tensors of a model, also packed ones of quantized layers and offloaded ones."""
    import torch

    for name, entry in model.state_dict().items():
        pieces: Sequence[Any] = entry if isinstance(entry, (tuple, list)) else (entry,)
        for i, piece in enumerate(pieces):
            if isinstance(piece, torch.Tensor):
                yield f"{name}.{i}", _load_offloaded(model, name) if piece.device.type == "meta" else piece


def _load_offloaded(model: Any, name: str) -> Any:
    """Return a tensor that accelerate keeps elsewhere."""
    owner, _, last = name.rpartition(".")
    for weights in read_offloaded(model.get_submodule(owner)):
        if last in weights:
            return weights[last]
    raise AttributionError(
        f"the weights of {name!r} lie where they cannot be read, so cache= cannot tell this model from "
        "another: leave cache away, or load the model without offloading"
    )
