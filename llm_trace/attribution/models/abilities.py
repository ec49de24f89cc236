"""What a model allows, seen once by comparing with plain passes: its cache, batches, embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from llm_trace.attribution.models.config import read_number
from llm_trace.attribution.models.evaluation import get_device, run_undisturbed
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch

Together = Literal["padded", "equal", "alone"]
"""Which rows may go through a model together: of any length, of one length, none."""

_SAMPLE = 64
"""Tokens that are enough to see whether a model reads what comes later."""
_COARSE = 0.1
"""Relative noise of layers in quantized integers, whose scales may depend on the whole batch."""

_causal: WeakKeyDictionary[Any, tuple[bool, int]] = WeakKeyDictionary()
"""Whether a model reads nothing of what comes later, and up to which length that was seen."""
_shares: WeakKeyDictionary[Any, tuple[bool, int]] = WeakKeyDictionary()
"""Whether a cached beginning gives the plain pass's numbers, and up to which length that was seen."""
_steps: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
_together: WeakKeyDictionary[Any, Together] = WeakKeyDictionary()
_embeds: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def check_agreement(model: Any, ours: torch.Tensor, plain: torch.Tensor) -> bool:
    """Whether the same logits (rows, vocabulary), computed twice, differ by no more than rounding does."""
    if ours.shape != plain.shape:
        return False
    ours, plain = ours.detach().double().cpu(), plain.detach().double().cpu()
    if not bool(plain.isfinite().all()):
        return True  # said where the values are read
    return float((ours - plain).abs().max()) <= _get_tolerance(model) * float(plain.std(-1).max())


def check_agreement_in_nats(model: Any, ours: torch.Tensor, plain: torch.Tensor) -> bool:
    """Whether the same log-probabilities, computed twice, differ by no more than rounding does."""
    ours, plain = ours.detach().double().cpu(), plain.detach().double().cpu()
    if not bool(plain.isfinite().all()):
        return True
    return float((ours - plain).abs().max()) <= _get_tolerance(model) * max(1.0, float(plain.abs().max()))


def _get_tolerance(model: Any) -> float:
    """Return the relative difference that rounding may make: the root of epsilon, more where quantized."""
    import torch

    kinds = {p.dtype for p in model.parameters()}
    floats = [torch.finfo(kind).eps for kind in kinds if kind.is_floating_point]
    eps = max([torch.finfo(torch.float32).eps, *floats])
    if torch.cuda.is_available() and torch.get_float32_matmul_precision() != "highest":
        eps = max(eps, torch.finfo(torch.float16).eps)
    return max(math.sqrt(eps), _COARSE if _is_quantized(model) else 0.0)


def _is_quantized(model: Any) -> bool:
    integers = any(not p.dtype.is_floating_point for p in model.parameters())
    return integers or any("quantized" in type(m).__module__ for m in model.modules())


def check_causal(model: Any, ids: Sequence[int]) -> None:
    """Compare the predictions at the beginning of some ids with and without what comes later: in short
    passes, once per model and again for prompts of twice the length.

    Raises:
        AttributionError: they differ, so no pass over prompt and response gives its probability.
    """
    some = list(ids[:_SAMPLE]) if len(ids) > 1 else [*ids, *ids]
    causal, longest = _causal.get(model, (True, 0))
    if causal and not longest and _is_quantized(model):
        longest = _SAMPLE  # scales of the whole sequence: what comes later rounds what came before otherwise
    if causal and len(some) >= min(max(1, 2 * longest), _SAMPLE) > longest:
        causal, longest = _reads_no_later(model, some), len(some)
    _causal[model] = causal, longest
    if not causal:
        raise AttributionError(
            f"{type(model).__name__} is not causal: what it predicts at a place changes with what comes "
            "after it (or by chance), so it gives no probability of a response after a prompt; take a "
            "decoder-only or an encoder-decoder model (is_decoder=True in the config, where the architecture "
            "has it)"
        )


def _reads_no_later(model: Any, ids: list[int]) -> bool:
    """Whether beginnings are predicted as in the whole; sparse attention may differ at few places only."""
    import torch

    def read(row: list[int]) -> torch.Tensor:
        logits: torch.Tensor = model(torch.tensor([row], device=get_device(model)), use_cache=False).logits[0]
        return logits

    cuts = sorted({max(1, len(ids) * part // 4) for part in (1, 2, 3)})
    with run_undisturbed(model):
        whole = read(ids)
        return all(check_agreement(model, whole[: cut - len(ids)], read(ids[:cut])) for cut in cuts)


def check_sharing(model: Any, length: int) -> bool | None:
    """Whether beginnings of so many tokens may come from a cache; `None`: not known yet."""
    fits, longest = _shares.get(model, (True, 0))
    return fits if not fits or length <= 2 * longest else None


def compare_shared(model: Any, length: int, cached: Callable[[], torch.Tensor], plain: torch.Tensor) -> bool:
    """Whether a cached beginning gives the logits of the plain pass, not an error; this is remembered."""
    _shares[model] = (_is_same(model, cached, plain), length)
    return _shares[model][0]


def refuse_sharing(model: Any) -> None:
    """Remember that a model's cache is none that another sequence can begin with."""
    _shares[model] = (False, 0)


def keep_cache(model: Any, run: Callable[[bool], Any]) -> tuple[Any, Any]:
    """Return what `run(True)` gives, a pass that keeps its cache, and this cache; `run(False)` and `None`
    where the model cannot keep one, which is remembered.
    """
    try:
        out = run(True)
        return out, getattr(out, "past_key_values", None)
    except Exception as exc:  # noqa: BLE001  a model whose cache does not work may raise anything
        _reraise_memory(exc)
    plain = run(False)  # where the cache is not the cause, this raises it again
    refuse_sharing(model)
    _steps[model] = False
    return plain, None


def check_stepping(model: Any) -> bool | None:
    """Whether the model may go on from its own cache token by token; `None`: not known yet."""
    return _steps.get(model)


def compare_step(model: Any, cached: Callable[[], torch.Tensor], plain: torch.Tensor) -> bool:
    """Whether one step from the model's own cache gives the plain pass's logits, which is remembered."""
    _steps[model] = _is_same(model, cached, plain)
    return _steps[model]


def find_rows_together(model: Any, compare: Callable[[], Together]) -> Together:
    """Return which rows may go through the model together, by `compare` the first time."""
    if model not in _together:
        _together[model] = compare()
    return _together[model]


def check_embeddings(
    model: Any, embedded: Callable[[], torch.Tensor], plain: Callable[[], torch.Tensor]
) -> None:
    """Compare the embedded prompt's log-probabilities with those by its ids, once per model.

    Raises:
        AttributionError: the model takes no embeddings, or reads its tokens in another way too.
    """
    if read_number(model.config.get_text_config(decoder=True), "hidden_size_per_layer_input"):
        _embeds[model] = False  # Gemma 3n and 4, which would look the ids up again by their embeddings
    if model not in _embeds:
        expected = plain()
        try:
            _embeds[model] = check_agreement_in_nats(model, embedded(), expected)
        except Exception as exc:
            _reraise_memory(exc)
            raise AttributionError(
                f"{type(model).__name__} takes no embeddings in place of token ids ({_describe_error(exc)}): "
                "take sig or occlusion"
            ) from exc
    if not _embeds[model]:
        raise AttributionError(
            f"{type(model).__name__} reads more of a token than its embedding (embeddings per layer, for "
            "example), so gradients by the embeddings leave a part out: take sig or occlusion"
        )


def _is_same(model: Any, cached: Callable[[], torch.Tensor], plain: torch.Tensor) -> bool:
    try:
        return check_agreement(model, cached(), plain)
    except Exception:  # noqa: BLE001  a model that cannot go on from such a cache may raise anything
        return False


def _reraise_memory(exc: Exception) -> None:
    if isinstance(exc, RuntimeError) and "memory" in str(exc).lower():
        raise exc


def _describe_error(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {lines[0][:150]}" if lines else type(exc).__name__
