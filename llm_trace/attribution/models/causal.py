"""Log-probabilities of one response after many prompts, by a causal model that is left as it was found."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from llm_trace.attribution.models import abilities
from llm_trace.attribution.models.batching import Batch, BatchLimits, count_common, plan_batches
from llm_trace.attribution.models.config import read_context_length
from llm_trace.attribution.models.evaluation import (
    check_ids,
    get_device,
    make_precise,
    run_undisturbed,
)
from llm_trace.attribution.models.memory import compute_limits, halve_batch
from llm_trace.attribution.question.objective import Query, Tick
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


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
    """Teacher-forced passes: batches by length, padded on the right, the spine's cache shared.

    Args:
        model: decoder-only, of transformers.
        spine: ids of the unperturbed prompt; beginnings shared with it are computed once. Empty: nothing is
            shared.
        limits: of a batch; by the memory that is free when absent.
    """

    def __init__(self, model: Any, spine: Sequence[int] = (), *, limits: BatchLimits | None = None) -> None:
        self.model = model
        self.device = get_device(model)
        self.spine = tuple(spine)
        self._limits = limits
        self._cache: list[tuple[torch.Tensor, torch.Tensor]] | None = None
        self._shares = abilities.check_sharing(model, len(self.spine)) is not False
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters

    def __call__(self, prompts: Sequence[tuple[int, ...]], query: Query, tick: Tick) -> NDArray[np.float64]:
        """Return (prompts, tokens): log p of each token after the prompt and the tokens before it.

        Raises:
            AttributionError: a prompt without tokens, or longer than the model's context; a model that reads
                what comes later.
        """
        self._check(prompts, len(query.read))
        abilities.check_causal(self.model, (*prompts[0], *query.read))
        out = np.empty((len(prompts), len(query.ids)))
        with run_undisturbed(self.model):
            todo = set(range(len(prompts)))
            if self.spine in prompts and self._shares and self._cache is None:
                at = prompts.index(self.spine)
                out[at] = self._spine_pass(query, tick)
                todo.discard(at)
            queue = self._plan(prompts, sorted(todo), query, cached=self._cache is not None)
            while queue:
                batch = queue.pop()
                try:
                    got = self._run(batch, prompts, query)
                except RuntimeError as exc:
                    queue += halve_batch(self.model, batch, exc)
                    continue
                out[list(batch.rows)] = got
                tick(len(batch.rows), _count_tokens(batch, prompts, query))
        return out

    def price(self, prompts: Sequence[tuple[int, ...]], query: Query) -> int:
        """Return how many tokens would go through the model, the spine's only where it is a prompt."""
        self._check(prompts, len(query.read))
        todo = [i for i, p in enumerate(prompts) if p != self.spine]
        first = (len(prompts) - len(todo)) * (len(self.spine) + len(query.read))
        batches = self._plan(prompts, todo, query, cached=bool(self.spine) and self._shares)
        return first + sum(_count_tokens(b, prompts, query) for b in batches)

    def score_embedded(self, embeddings: torch.Tensor, query: Query) -> torch.Tensor:
        """Return log-probabilities (k, tokens), differentiable, from embedded prompts (k, length, width)."""
        import torch

        length = embeddings.shape[1]
        if query.read:
            tail = self.model.get_input_embeddings()(self._tensor([query.read])).detach()
            embeddings = torch.cat([embeddings, tail.expand(len(embeddings), -1, -1)], dim=1)
        where = [length - 1 + r for r in query.rows]
        got = self.model(inputs_embeds=embeddings, use_cache=False, **self._limit_logits(where))
        logits = self._select_logits(got.logits, where, embeddings.shape[1])
        return compute_logprobs(logits, self._tensor([query.ids] * len(logits)))

    def compute_attention(self, prompt: Sequence[int], query: Query) -> torch.Tensor:
        """Return the attention (tokens, length) where each token is predicted, mean over layers and heads."""
        ids = self._tensor([[*prompt, *query.read]])
        got = self.model(
            ids, use_cache=False, output_attentions=True, **self._limit_logits([ids.shape[1] - 1])
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

    def _plan(
        self, prompts: Sequence[tuple[int, ...]], todo: list[int], query: Query, *, cached: bool
    ) -> list[Batch]:
        """Return the batches that cover the prompts `todo`."""
        if not todo:
            return []
        chosen, read = [prompts[i] for i in todo], len(query.read)
        shared = [min(count_common(p, self.spine), len(p) - 1) if cached else 0 for p in chosen]
        longest = max(map(len, chosen)) + read
        limits = self._limits or compute_limits(self.model, self.device, len(set(query.rows)), longest)
        batches = plan_batches([len(p) + read for p in chosen], shared, limits)
        return [Batch(tuple(todo[i] for i in b.rows), b.prefix, b.cost) for b in batches]

    def _spine_pass(self, query: Query, tick: Tick) -> NDArray[np.float64]:
        """Evaluate the unperturbed prompt and keep its keys and values, where the model can use them."""
        ids = self._tensor([[*self.spine, *query.read]])
        where = [len(self.spine) - 1 + r for r in query.rows]
        got, cache = abilities.keep_cache(
            self.model, lambda keep: self.model(ids, use_cache=keep, **self._limit_logits(where))
        )
        logits = self._select_logits(got.logits, where, ids.shape[1])
        self._cache = _read_layers(cache, len(self.spine))
        self._shares = self._cache is not None and self._fits(ids, where, logits)
        if not self._shares:
            self._cache = None
            abilities.refuse_sharing(self.model)
        tick(1, ids.shape[1])
        return np.asarray(_list_numbers(compute_logprobs(logits, self._tensor([query.ids])))[0])

    def _fits(self, ids: torch.Tensor, where: list[int], plain: torch.Tensor) -> bool:
        """Whether the second half of the prompt reads the same behind the cache of the first."""
        length, half = len(self.spine), len(self.spine) // 2
        known = abilities.check_sharing(self.model, length)
        if known is not None or not half:
            return known is not False

        def run_cached() -> torch.Tensor:
            past, behind = _expand_cache(self._cache or [], half, 2), [at - half for at in where]
            tail = ids[:, half:].expand(2, -1)
            got = self.model(tail, past_key_values=past, use_cache=True, **self._limit_logits(behind))
            return self._select_logits(got.logits, behind, tail.shape[1])

        return abilities.compare_shared(self.model, length, run_cached, plain.expand(2, -1, -1))

    def _run(self, batch: Batch, prompts: Sequence[tuple[int, ...]], query: Query) -> NDArray[np.float64]:
        """Return (rows of the batch, tokens) log-probabilities."""
        import torch

        tails = [[*prompts[i][batch.prefix :], *query.read] for i in batch.rows]
        longest = max(map(len, tails))
        ids = self._tensor([t + [0] * (longest - len(t)) for t in tails])
        ends = [len(prompts[i]) - 1 - batch.prefix for i in batch.rows]
        where = sorted({end + r for end in set(ends) for r in query.rows})
        place = {at: i for i, at in enumerate(where)}
        known: dict[str, Any] = {"use_cache": False}
        if batch.prefix:
            past = _expand_cache(self._cache or [], batch.prefix, len(batch.rows))
            known = {"past_key_values": past, "use_cache": True}
        got = self.model(ids, **known, **self._limit_logits(where))
        logits = self._select_logits(got.logits, where, ids.shape[1])
        targets = self._tensor([query.ids] * len(batch.rows))
        if any([end + r for r in query.rows] != where for end in set(ends)):
            pick = torch.tensor([[place[end + r] for r in query.rows] for end in ends], device=logits.device)
            logits = logits[torch.arange(len(ends), device=logits.device)[:, None], pick]
        return _list_numbers(compute_logprobs(logits, targets))

    def _select_logits(self, logits: torch.Tensor, where: list[int], length: int) -> torch.Tensor:
        """Return the logits at some positions of `length`, counted from the end: more may stand before."""
        return logits if self._keeps else logits[:, [at - length for at in where]]

    def _limit_logits(self, where: list[int]) -> dict[str, Any]:
        import torch

        return {"logits_to_keep": torch.tensor(where, device=self.device)} if self._keeps else {}

    def _tensor(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        import torch

        return torch.tensor(rows, dtype=torch.long, device=self.device)


def _count_tokens(batch: Batch, prompts: Sequence[tuple[int, ...]], query: Query) -> int:
    return sum(len(prompts[i]) + len(query.read) - batch.prefix for i in batch.rows)


def _read_layers(cache: Any, length: int) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
    """Return every layer's keys and values, `None` where a cache does not plainly grow (sliding window)."""
    from transformers import DynamicCache

    layers = getattr(cache, "layers", None)
    if layers is None:  # before transformers 4.54
        growing = isinstance(cache, DynamicCache)
        return list(zip(cache.key_cache, cache.value_cache, strict=True)) or None if growing else None
    if any(type(layer).__name__ != "DynamicLayer" or layer.keys.shape[-2] < length for layer in layers):
        return None
    return [(layer.keys[..., :length, :], layer.values[..., :length, :]) for layer in layers]


def _expand_cache(layers: list[tuple[torch.Tensor, torch.Tensor]], length: int, rows: int) -> Any:
    """Return a fresh cache in which every row begins with the spine's first tokens."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for i, (keys, values) in enumerate(layers):
        cache.update(
            keys[..., :length, :].expand(rows, -1, -1, -1),
            values[..., :length, :].expand(rows, -1, -1, -1),
            i,
        )
    return cache


def compute_logprobs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return log p of the targets (batch, tokens), in float32 at least, from (batch, tokens, vocabulary)."""
    import torch

    logits = make_precise(logits)
    picked = logits.gather(-1, targets.to(logits.device)[..., None])[..., 0]
    each = [row.logsumexp(-1) for row in logits]  # one by one: it copies what it reads
    return picked - torch.stack(each)


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


def _list_numbers(values: torch.Tensor) -> NDArray[np.float64]:
    return np.asarray(values.double().cpu().numpy())
