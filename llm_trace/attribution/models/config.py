"""What is read of models that others built and of their configurations: any field may be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch


def read_number(owner: Any, field: str) -> int | None:
    """Return a whole number of a configuration, `None` where it is missing or something else."""
    value = getattr(owner, field, None)
    return value if isinstance(value, int) else None


def read_size(config: Any, field: str) -> int:
    """Return a size, the largest where layers differ, 0 where the configuration does not say."""
    value = getattr(config, field, None)
    return int((max(value, default=0) if isinstance(value, (list, tuple)) else value) or 0)


def read_context_length(config: Any) -> int | None:
    """Return the longest input the model was built for, in tokens."""
    fields = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len")
    return next((length for field in fields if (length := read_number(config, field) or 0) > 0), None)


def read_generation_config(model: Any) -> Any:
    """Return the settings of generation, `None` for models that do not generate."""
    return getattr(model, "generation_config", None)


def read_decoder_start(model: Any) -> int | None:
    """Return the id with which the decoder begins."""
    start = read_number(model.config, "decoder_start_token_id")
    return read_number(read_generation_config(model), "decoder_start_token_id") if start is None else start


def read_forced_start(model: Any) -> int | None:
    """Return the id that every answer begins with, such as that of a language."""
    return read_number(read_generation_config(model) or model.config, "forced_bos_token_id")


def read_attention_kind(config: Any) -> str | None:
    """Return which implementation of attention is set, such as `eager` or `sdpa`."""
    return getattr(config, "_attn_implementation", None)


def read_model_path(model: Any) -> str:
    """Return the path or the hub's name of a model, empty where it says none."""
    return str(getattr(model, "name_or_path", "") or "")


def read_model_name(model: Any) -> str:
    """Return the path or the hub's name of a model, else the name of its class."""
    return read_model_path(model) or type(model).__name__


def is_encoder_decoder(config: Any) -> bool:
    """Whether the prompt and the response go through stacks of their own."""
    return bool(getattr(config, "is_encoder_decoder", False))


def get_embedding_layer(model: Any) -> Any:
    """Return the module that embeds token ids, `None` where there is none (CANINE hashes characters)."""
    try:
        return model.get_input_embeddings()
    except NotImplementedError:
        return None


def read_embedding_weight(layer: Any) -> torch.Tensor | None:
    """Return the table (vocabulary, width) of an embedding layer, `None` where that is no tensor."""
    import torch

    weight = getattr(layer, "weight", None)
    return weight if isinstance(weight, torch.Tensor) else None


def count_embeddings(layer: Any) -> int:
    """Return how many ids an embedding layer knows, 0 where it does not say."""
    weight = read_embedding_weight(layer)
    return read_number(layer, "num_embeddings") or (0 if weight is None else int(weight.shape[0]))


def read_offloaded(module: Any) -> list[Mapping[str, torch.Tensor]]:
    """Return the maps from which accelerate brings the weights of a module when they are needed."""
    try:
        from accelerate.hooks import AlignDevicesHook, SequentialHook
    except ImportError:
        return []
    hook = getattr(module, "_hf_hook", None)
    hooks = hook.hooks if isinstance(hook, SequentialHook) else (hook,)
    maps = [each.weights_map for each in hooks if isinstance(each, AlignDevicesHook)]
    return [weights for weights in maps if weights is not None]
