"""What every pass through a model needs: where its ids go, what it can read, and that it is left as it was
found.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch


@contextmanager
def run_undisturbed(model: Any, *, gradients: bool = False) -> Iterator[None]:
    """Evaluate without dropout, and without gradients unless asked for, then give every module its mode
    back.
    """
    import torch

    trained = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode(not gradients), torch.set_grad_enabled(gradients):
            yield
    finally:
        for module in trained:
            module.training = True


def get_embedding_layer(model: Any) -> Any:
    """Return the module that embeds token ids, `None` where there is none (CANINE hashes characters)."""
    try:
        return model.get_input_embeddings()
    except NotImplementedError:
        return None


def get_device(model: Any) -> torch.device:
    """Return where the model expects its ids, also when it is spread over devices."""
    import torch

    embedding = get_embedding_layer(model)
    device = getattr(getattr(embedding, "weight", None), "device", None)
    if (
        device is not None and device.type == "meta"
    ):  # offloaded: accelerate loads the weights when they are needed
        device = torch.device(embedding._hf_hook.execution_device)  # noqa: SLF001  no public name
    return device or next((p.device for p in model.parameters()), torch.device("cpu"))


def get_context(model: Any) -> int | None:
    """Return the longest input the model was built for, in tokens."""
    config = model.config
    for name in ("max_position_embeddings", "n_positions", "max_sequence_length"):
        found = getattr(config, name, None)
        if isinstance(found, int) and found > 0:
            return found
    return None


def check_ids(model: Any, rows: Iterable[Sequence[int]], *, response: bool = False) -> None:
    """Check that the model has an embedding for every id; `response`: ids of a response.

    Raises:
        AttributionError: it has fewer, as where tokens were added to the tokenizer alone.
    """
    table = get_embedding_layer(model)
    size = getattr(table, "num_embeddings", None) or getattr(getattr(table, "weight", None), "shape", (0,))[0]
    size = (getattr(model.config, "decoder_vocab_size", None) if response else None) or size
    highest = max((max(row, default=0) for row in rows), default=0)
    if size and highest >= size:
        raise AttributionError(
            f"token id {highest} is beyond the model's {size} embeddings: the tokenizer has tokens that the "
            f"model does not know; "
            "give the model its own tokenizer, or call model.resize_token_embeddings(len(tokenizer)) and "
            "train them"
        )


def compute_last_logits(model: Any, ids: Sequence[int], count: int) -> torch.Tensor:
    """Return the logits (count, vocabulary) at the last positions of one sequence."""
    import torch

    keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
    kept = {"logits_to_keep": count} if keeps else {}
    with run_undisturbed(model):
        row = torch.tensor([list(ids)], device=get_device(model))
        return model(row, use_cache=False, **kept).logits[0, -count:]  # type: ignore[no-any-return]


def make_precise(values: torch.Tensor) -> torch.Tensor:
    """Return half precision as float32, and everything finer as it is."""
    import torch

    return values if values.dtype == torch.float64 else values.float()
