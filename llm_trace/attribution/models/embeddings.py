"""Gradients of the value by the prompt's embeddings; the model is left as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import BudgetError, get_remaining, unwrap_value
from llm_trace.attribution.models.abilities import check_embeddings
from llm_trace.attribution.models.config import count_embeddings, get_embedding_layer, read_embedding_weight
from llm_trace.attribution.models.evaluation import make_precise, run_undisturbed
from llm_trace.attribution.models.kinds import forward_of
from llm_trace.attribution.models.memory import limit_gradient_rows
from llm_trace.attribution.models.spines import Spine
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from llm_trace.attribution.models.open_value import OpenValue
    from llm_trace.attribution.question.renders import Owned

_CHUNK = 4096


@dataclass(frozen=True)
class Ground:
    """A prompt among embeddings."""

    source: OpenValue
    owned: Owned
    inputs: torch.Tensor
    """(length, width) in float32 at least: the prompt's embeddings."""

    @property
    def baseline(self) -> Any:
        """The baseline that was asked for."""
        return self.source.work.baseline if self.source.work is not None else "auto"

    def embed(self, ids: Any) -> torch.Tensor:
        """Return embeddings (…, width) in float32 at least, without gradients."""
        import torch

        with run_undisturbed(self.source.model, gradients=True), torch.no_grad():
            table = self.source.model.get_input_embeddings()
            rows = table(torch.as_tensor(ids, device=self.source.forward.device))
        # a model prepared for training lets its embeddings ask for gradients
        return make_precise(rows.detach())

    def mean(self) -> torch.Tensor:
        """Return the mean embedding of the vocabulary, (width,)."""
        import torch

        table = self.source.model.get_input_embeddings()
        size = count_embeddings(table) or int(self.source.model.config.vocab_size)
        total = torch.zeros(self.inputs.shape[-1], dtype=torch.float64, device=self.inputs.device)
        for at in range(0, size, _CHUNK):
            total += self.embed(np.arange(at, min(size, at + _CHUNK))).double().sum(0)
        return (total / size).to(self.inputs.dtype)

    def per_segment(self, by_token: Any) -> NDArray[np.float64]:
        """Return the sums (n,) over each segment's tokens of scores (length,)."""
        return self.owned.shares @ np.asarray(by_token, dtype=np.float64)


def get_source(value: Any, evaluations: int, what: str) -> OpenValue:
    """Return the local model's value function behind a value, when the budget pays for what is needed of it.

    Raises:
        AttributionError: there is none, as for a remote model.
    """
    from llm_trace.attribution.models.open_value import OpenValue

    source = unwrap_value(value)
    if not isinstance(source, OpenValue) or source.work is None:
        raise AttributionError(f"{what} needs a local model whose inside is open; take occlusion")
    left = get_remaining(value)
    if left is not None and left < evaluations:
        raise BudgetError(f"the budget pays for {left} more evaluations and {what} needs {evaluations}")
    return source


def build_ground(source: OpenValue) -> Ground:
    """Return the prompt's embeddings.

    Raises:
        AttributionError: the model is quantized in a way that has no gradients, or its embeddings are not all
            that it reads.
    """
    import torch

    if any("quantized" in type(module).__module__ for module in source.model.modules()):
        raise AttributionError(
            "the model's layers are quantized integers and give no gradients: take sig or occlusion, or "
            "load it in bfloat16"
        )
    if get_embedding_layer(source.model) is None:
        raise AttributionError(
            f"{type(source.model).__name__} has no embedding of tokens: take sig or occlusion"
        )
    assert source.work is not None
    tokens = source.work.owned()
    bare = Ground(source, tokens, torch.empty(0))
    at = Ground(source, tokens, bare.embed(tokens.ids))
    _check(at)
    return at


def _check(at: Ground) -> None:
    """Compare the embedded prompt with its ids; what that costs is not counted: it happens once per model."""
    import torch

    forward, query = at.source.forward, at.source.goal.queries[0]

    def score_embedded() -> torch.Tensor:
        with run_undisturbed(at.source.model, gradients=True), torch.no_grad():
            return forward.score_embedded(at.inputs[None].to(_get_dtype(at.source.model)), query)

    def score_plain() -> torch.Tensor:
        ids = tuple(at.owned.ids.tolist())
        # a forward of its own: the first attribution by a model computes what the later ones do
        plain = forward_of(at.source.model, Spine())
        return torch.from_numpy(plain([ids], query, lambda _rows, _tokens: None))

    check_embeddings(at.source.model, score_embedded, score_plain)


def compute_values(at: Ground, points: torch.Tensor) -> NDArray[np.float64]:
    """Return the values (k,) of embedded prompts (k, length, width)."""
    import torch

    model = at.source.model
    with run_undisturbed(model, gradients=True), torch.no_grad():
        values = [at.source.score_embedded(point[None].to(_get_dtype(model))) for point in points]
    return check_finite(torch.cat(values).double().cpu().numpy())


def compute_gradient(at: Ground, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return values (k,) of embedded prompts and gradients (k, length, width) by one backward pass."""
    import torch

    model = at.source.model
    with run_undisturbed(model, gradients=True):
        leaf = points.detach().to(_get_dtype(model)).requires_grad_()
        try:
            values = at.source.score_embedded(leaf)
            (gradient,) = torch.autograd.grad(values.sum(), leaf)
        except RuntimeError as exc:
            if "memory" in str(exc).lower():
                raise
            raise AttributionError(f"the model gives no gradients ({exc}): take sig or occlusion") from exc
    at.source.spend(0, points.shape[0] * points.shape[1])  # the way back
    gradient = make_precise(gradient)
    if not bool(torch.isfinite(gradient).all()):
        raise AttributionError("the model's gradients are NaN or infinite; load it in bfloat16 or float32")
    return values.detach(), gradient


def integrate_paths(
    at: Ground, baseline: torch.Tensor, moved: NDArray[np.bool_], steps: int
) -> NDArray[np.float64]:
    """Return what each token contributes along straight paths from baselines, by Gauss-Legendre quadrature.

    Args:
        at: the prompt.
        baseline: (length, width).
        moved: (paths, length): which tokens begin at their baseline; the others stand still.
        steps: points on each path; all paths and steps go through the model in common batches.

    Returns:
        (paths, length): integral of the gradient times (input - baseline), summed over the width.
    """
    import torch

    nodes, weights = np.polynomial.legendre.leggauss(steps)
    rows = [(p, s) for p in range(len(moved)) for s in range(steps)]
    change, out = at.inputs - baseline, np.zeros(moved.shape)
    which = torch.from_numpy(moved).to(change.device)[..., None]  # (paths, length, 1)
    left = torch.tensor((1 - nodes) / 2, dtype=change.dtype, device=change.device)  # the way that is left
    width = at.source.goal.width
    size = limit_gradient_rows(at.source.model, change.device, width, len(change))
    while rows:
        path, step = zip(*rows[:size], strict=True)
        points = at.inputs - which[list(path)] * left[list(step), None, None] * change
        try:
            products = (compute_gradient(at, points)[1] * change).sum(-1)
            by_token = products.double().cpu().numpy()  # (rows, length)
        except RuntimeError as exc:
            if "memory" not in str(exc).lower() or size == 1:
                raise
            size = max(1, min(size, len(rows)) // 2)
            continue
        np.add.at(out, list(path), by_token * weights[list(step), None] / 2)
        rows = rows[size:]
    return out * moved


def build_baseline(at: Ground, spec: str) -> tuple[torch.Tensor, str]:
    """Return the baseline (length, width) of the tokens that segments own, and its name.

    Raises:
        AttributionError: the baseline is none among embeddings.
    """
    import torch

    if spec in ("auto", "mean"):
        return at.mean().expand_as(at.inputs), "mean embedding"
    if spec == "zero":
        return torch.zeros_like(at.inputs), "zero embedding"
    if spec == "mask" and at.source.work is not None:
        masked = at.source.work.masked()
        return at.embed(masked.neutral), masked.baseline
    raise AttributionError(f"a path among embeddings has the baselines mean, mask and zero, not {spec!r}")


def split_baselines(spec: Any) -> Sequence[str]:
    """Return the baselines to average over."""
    return [spec] if isinstance(spec, str) else list(spec)


def _get_dtype(model: Any) -> Any:
    """Return the type of the embeddings that the model's layers expect."""
    import torch

    weight = read_embedding_weight(model.get_input_embeddings())
    return weight.dtype if weight is not None and weight.dtype.is_floating_point else torch.float32


def check_finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values; NaN or infinite ones are an error that names the remedy."""
    if not np.isfinite(values).all():
        raise AttributionError(
            "the model returned NaN or infinite log-probabilities; load it in bfloat16 or float32"
        )
    return values
