"""What every pass through a model needs: where its ids go, and that the model is left as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.models.config import (
    count_embeddings,
    get_embedding_layer,
    read_embedding_weight,
    read_number,
)
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch


@contextmanager
def run_undisturbed(model: Any, *, gradients: bool = False) -> Iterator[None]:
    """Evaluate without dropout and, unless asked for, gradients; then give every module its mode back."""
    import torch

    trained = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode(not gradients), torch.set_grad_enabled(gradients):
            yield
    finally:
        for module in trained:
            module.training = True


def get_device(model: Any) -> torch.device:
    """Return where the model expects its ids, also when it is spread over devices."""
    import torch

    embedding = get_embedding_layer(model)
    weight = read_embedding_weight(embedding)
    if weight is None:
        return next((p.device for p in model.parameters()), torch.device("cpu"))
    if weight.device.type == "meta":  # offloaded: accelerate loads the weights when they are needed
        return torch.device(embedding._hf_hook.execution_device)  # noqa: SLF001  no public name
    return weight.device


def check_ids(model: Any, rows: Iterable[Sequence[int]], *, response: bool = False) -> None:
    """Check that the model has an embedding for every id; `response`: ids of a response.

    Raises:
        AttributionError: it has fewer, as where tokens were added to the tokenizer alone.
    """
    decoder = read_number(model.config, "decoder_vocab_size") if response else None
    size = decoder or count_embeddings(get_embedding_layer(model))
    highest = max((max(row, default=0) for row in rows), default=0)
    if size and highest >= size:
        raise AttributionError(
            f"token id {highest} is beyond the model's {size} embeddings: the tokenizer has tokens that the "
            "model does not know; give the model its own tokenizer, or call "
            "model.resize_token_embeddings(len(tokenizer)) and train them"
        )


def make_precise(values: torch.Tensor) -> torch.Tensor:
    """Return half precision as float32, and everything finer as it is."""
    import torch

    return values if values.dtype == torch.float64 else values.float()
