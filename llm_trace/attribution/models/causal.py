"""Log-probabilities of one response after many prompts, by a causal model that is left as it was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from llm_trace.attribution.models import abilities
from llm_trace.attribution.models.causal_passes import (
    PassRequest,
    PassRow,
    answer_requests,
    compute_logprobs,
    limit_logits,
    plan_rows,
    select_logits,
)
from llm_trace.attribution.models.config import read_context_length
from llm_trace.attribution.models.evaluation import check_ids, get_device
from llm_trace.attribution.models.spines import Spine
from llm_trace.attribution.models.turns import answer_in_turn
from llm_trace.attribution.question.objective import Query, Tick
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from llm_trace.attribution.models.batching import BatchLimits


class Forward(Protocol):
    """What a kind of model must do for the value function and the gradient methods."""

    model: Any
    device: Any

    def __call__(self, prompts: Sequence[tuple[int, ...]], query: Query, tick: Tick) -> NDArray[np.float64]:
        """Return (prompts, tokens of the query): their log-probabilities."""

    def price(self, prompts: Sequence[tuple[int, ...]], query: Query) -> int:
        """Return how many tokens would go through the model."""

    def score_embedded(self, embeddings: torch.Tensor, query: Query) -> torch.Tensor:
        """Return log-probabilities (k, tokens), differentiable, from embedded prompts (k, length, width)."""

    def compute_attention(self, prompt: Sequence[int], query: Query) -> torch.Tensor:
        """Return the attention (tokens of the query, length) from where each is predicted, mean over
        layers and heads; the model is in eager mode.
        """


class CausalForward:
    """Teacher-forced passes of one question; where several take turns, theirs go through the model together.

    Args:
        model: decoder-only, of transformers.
        spine: the unperturbed prompt; beginnings shared with it are computed once. Empty: nothing is shared.
        limits: of a batch; by the memory that is free when absent.
    """

    def __init__(self, model: Any, spine: Spine | None = None, *, limits: BatchLimits | None = None) -> None:
        self.model = model
        self.device = get_device(model)
        self.spine = spine or Spine()
        self._limits = limits

    def __call__(self, prompts: Sequence[tuple[int, ...]], query: Query, tick: Tick) -> NDArray[np.float64]:
        """Return (prompts, tokens): log p of each token after the prompt and the tokens before it.

        Raises:
            AttributionError: a prompt without tokens, or longer than the model's context; a model that reads
                what comes later.
        """
        self._check(prompts, len(query.read))
        abilities.check_causal(self.model, (*prompts[0], *query.read))
        request = PassRequest(self.model, prompts, query, tick, self.spine, self._limits)
        return np.asarray(answer_in_turn(request, answer_requests))

    def price(self, prompts: Sequence[tuple[int, ...]], query: Query) -> int:
        """Return how many tokens would go through the model, the spine's only where it is a prompt."""
        self._check(prompts, len(query.read))
        rows = [PassRow(p, query, self.spine) for p in prompts if p != self.spine.ids]
        first = (len(prompts) - len(rows)) * (len(self.spine.ids) + len(query.read))
        shares = abilities.check_sharing(self.model, len(self.spine.ids)) is not False
        batches = plan_rows(self.model, rows, self._limits, cached=bool(self.spine.ids) and shares)
        return first + sum(rows[r].length - batch.prefix for batch in batches for r in batch.rows)

    def score_embedded(self, embeddings: torch.Tensor, query: Query) -> torch.Tensor:
        """Return log-probabilities (k, tokens), differentiable, from embedded prompts (k, length, width)."""
        import torch

        length = embeddings.shape[1]
        if query.read:
            tail = self.model.get_input_embeddings()(self._tensor([query.read])).detach()
            embeddings = torch.cat([embeddings, tail.expand(len(embeddings), -1, -1)], dim=1)
        where = [length - 1 + r for r in query.rows]
        got = self.model(inputs_embeds=embeddings, use_cache=False, **limit_logits(self.model, where))
        logits = select_logits(self.model, got.logits, where, embeddings.shape[1])
        return compute_logprobs(logits, self._tensor([query.ids] * len(logits)))

    def compute_attention(self, prompt: Sequence[int], query: Query) -> torch.Tensor:
        """Return the attention (tokens, length) where each token is predicted, mean over layers and heads."""
        ids = self._tensor([[*prompt, *query.read]])
        got = self.model(
            ids, use_cache=False, output_attentions=True, **limit_logits(self.model, [ids.shape[1] - 1])
        )
        where = [len(prompt) - 1 + r for r in query.rows]
        return compute_mean_attention(got.attentions, where, (ids.shape[1], ids.shape[1]))[:, : len(prompt)]

    def _check(self, prompts: Sequence[tuple[int, ...]], extra: int) -> None:
        longest = max(len(p) for p in prompts)
        if min(len(p) for p in prompts) == 0:
            raise AttributionError(
                "with every segment removed no token is left and the tokenizer has no BOS: use "
                "baseline='mask' or a text"
            )
        check_ids(self.model, prompts)
        context = read_context_length(self.model.config)
        if context is not None and longest + extra > context:
            raise AttributionError(
                f"prompt and response have {longest + extra} tokens, the model reads {context}: shorten the "
                "prompt"
            )

    def _tensor(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        import torch

        return torch.tensor(rows, dtype=torch.long, device=self.device)


def compute_mean_attention(layers: Any, where: Sequence[int], size: tuple[int, int]) -> torch.Tensor:
    """Return the attention (positions `where`, keys) of one sequence, mean over layers and heads; of `size`,
    how many positions and keys were read: a learned prompt, which the model puts before these, is left out.

    Raises:
        AttributionError: the model gives no attentions.
    """
    import torch

    attentions = [layer for layer in layers or () if layer is not None]
    if not attentions:
        raise AttributionError(
            "the model gives no attention weights: take another method, such as input_x_gradient"
        )
    rows = [layer[0].float().mean(0)[-size[0] :, -size[1] :][list(where)].cpu() for layer in attentions]
    return torch.stack(rows).mean(0)
