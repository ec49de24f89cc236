"""Models that read the prompt as a whole: encoder-decoder models, and sequence classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from llm_trace.attribution.models import abilities
from llm_trace.attribution.models.batching import Batch, BatchLimits, plan_batches
from llm_trace.attribution.models.causal import compute_mean_attention
from llm_trace.attribution.models.causal_passes import compute_logprobs
from llm_trace.attribution.models.config import (
    is_encoder_decoder,
    read_decoder_start,
    read_forced_start,
    read_number,
)
from llm_trace.attribution.models.evaluation import check_ids, get_device, run_undisturbed
from llm_trace.attribution.models.memory import compute_limits, halve_batch
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from llm_trace.attribution.models.spines import Spine
    from llm_trace.attribution.question.objective import Query, Tick


class PaddedForward:
    """Batches by length, padded on the right behind an attention mask; without a free padding token, or where
    the model's answer changes with the padding, only equal lengths go together.

    Args:
        model: of transformers.
        spine: not used: what comes later changes how the beginning is read, so nothing is shared.
        limits: of a batch; by the memory that is free when absent.
    """

    def __init__(self, model: Any, spine: Spine | None = None, *, limits: BatchLimits | None = None) -> None:
        del spine
        self.model = model
        self.device = get_device(model)
        self._limits = limits
        self._pad: int | None = read_number(model.config, "pad_token_id")

    def __call__(self, prompts: Sequence[tuple[int, ...]], query: Query, tick: Tick) -> NDArray[np.float64]:
        """Return (prompts, tokens of the query): their log-probabilities.

        Raises:
            AttributionError: a prompt without tokens, or longer than the model reads.
        """
        out = np.empty((len(prompts), len(query.ids)))
        self._check(prompts)
        with run_undisturbed(self.model):
            queue = self._plan(prompts, query, self._choose_together(prompts, query))
            while queue:
                batch = queue.pop()
                try:
                    got = self._batch([prompts[i] for i in batch.rows], query)
                except RuntimeError as exc:
                    queue += halve_batch(self.model, batch, exc)
                    continue
                out[list(batch.rows)] = got.double().cpu().numpy()
                tick(len(batch.rows), sum(len(prompts[i]) + len(query.read) for i in batch.rows))
        return out

    def price(self, prompts: Sequence[tuple[int, ...]], query: Query) -> int:
        """Return how many tokens would go through the model."""
        return sum(len(p) + len(query.read) for p in prompts)

    def score_embedded(self, embeddings: torch.Tensor, query: Query) -> torch.Tensor:
        """Return log-probabilities (k, tokens), differentiable, from embedded prompts (k, length, width)."""
        import torch

        step = len(embeddings) if self._pad is not None else 1
        parts = torch.split(embeddings, step)
        seen = [torch.ones(part.shape[:2], dtype=torch.long, device=part.device) for part in parts]
        return torch.cat(
            [
                self._read(query, inputs_embeds=part, attention_mask=mask)
                for part, mask in zip(parts, seen, strict=True)
            ]
        )

    def _read(self, query: Query, **inputs: Any) -> torch.Tensor:
        """Return log-probabilities (k, tokens of the query) of encoded prompts."""
        raise NotImplementedError

    def _check(self, prompts: Sequence[tuple[int, ...]]) -> None:
        lengths = [len(p) for p in prompts]
        if min(lengths) == 0:
            raise AttributionError(
                "with every segment removed no token is left: use baseline='mask' or a text"
            )
        check_ids(self.model, prompts)
        most = _count_positions(self.model)
        if most is not None and max(lengths) > most:
            raise AttributionError(
                f"the prompt has {max(lengths)} tokens, the model reads {most}: shorten it"
            )

    def _choose_together(self, prompts: Sequence[tuple[int, ...]], query: Query) -> abilities.Together:
        """Return which rows may go together: seen once per model on prompts of unequal length."""
        if self._pad is None:
            return "alone"
        if any(self._pad in p for p in prompts):
            return "equal"
        by_length = sorted({len(p): p for p in prompts}.values(), key=len)
        if len(by_length) < 2:
            return "equal"
        some = [by_length[0], by_length[len(by_length) // 2], by_length[-1]]
        return abilities.find_rows_together(self.model, lambda: self._compare_together(some, query))

    def _compare_together(self, prompts: Sequence[tuple[int, ...]], query: Query) -> abilities.Together:
        import torch

        alone = torch.cat([self._batch([prompt], query) for prompt in prompts])
        if abilities.check_agreement_in_nats(self.model, self._batch(prompts, query), alone):
            return "padded"
        twice = self._batch([prompts[0]] * 2, query)
        return (
            "equal"
            if abilities.check_agreement_in_nats(self.model, twice, alone[:1].expand(2, -1))
            else "alone"
        )

    def _plan(
        self, prompts: Sequence[tuple[int, ...]], query: Query, together: abilities.Together
    ) -> list[Batch]:
        lengths = [len(p) for p in prompts]
        limits = self._limits or compute_limits(self.model, self.device, len(set(query.rows)), max(lengths))
        if together == "padded":
            return plan_batches(lengths, [0] * len(lengths), limits)
        if together == "alone":
            return [Batch((i,), 0, n) for i, n in enumerate(lengths)]
        batches = []
        for length in sorted(set(lengths)):
            rows = [i for i, n in enumerate(lengths) if n == length]
            cut = plan_batches([length] * len(rows), [0] * len(rows), limits)
            batches += [Batch(tuple(rows[i] for i in b.rows), 0, b.cost) for b in cut]
        return batches

    def _batch(self, prompts: Sequence[tuple[int, ...]], query: Query) -> torch.Tensor:
        """Return log-probabilities (prompts, tokens of the query) by one pass."""
        ids, mask = self._pad_prompts(prompts)
        return self._read(query, input_ids=ids, attention_mask=mask)

    def _pad_prompts(self, prompts: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        longest, pad = max(map(len, prompts)), self._pad or 0
        ids = torch.tensor([[*p, *[pad] * (longest - len(p))] for p in prompts], device=self.device)
        lengths = torch.tensor([len(p) for p in prompts], device=self.device)
        return ids, (torch.arange(longest, device=self.device) < lengths[:, None]).long()


class Seq2SeqForward(PaddedForward):
    """Encoder-decoder models: the prompt is encoded, the response teacher-forced in the decoder."""

    @property
    def begin(self) -> tuple[int, ...]:
        """What the decoder reads before the response."""
        start = read_decoder_start(self.model)
        if start is None:
            raise AttributionError("the model's config has no decoder_start_token_id: set it")
        forced = read_forced_start(self.model)
        return (start,) if forced is None else (start, forced)

    def _read(self, query: Query, **inputs: Any) -> torch.Tensor:
        rows = len(next(iter(inputs.values())))
        got = self.model(**inputs, decoder_input_ids=self._build_decoder_ids(query, rows), use_cache=False)
        logits = got.logits[:, [len(self.begin) - 1 + r for r in query.rows]]
        return compute_logprobs(logits, self._tensor([query.ids] * rows))

    def compute_attention(self, prompt: Sequence[int], query: Query) -> torch.Tensor:
        """Return the cross-attention (tokens, length) where tokens are predicted, mean over all heads."""
        ids = self._tensor([prompt])
        decoder = self._build_decoder_ids(query, 1)
        got = self.model(ids, decoder_input_ids=decoder, use_cache=False, output_attentions=True)
        where = [len(self.begin) - 1 + r for r in query.rows]
        return compute_mean_attention(got.cross_attentions, where, (decoder.shape[1], len(prompt)))

    def answer(
        self, prompt: Sequence[int], most: int, ends: frozenset[int], lead: Sequence[int] = ()
    ) -> list[int]:
        """Return the ids of the greedy answer behind a lead, without the end token."""
        begin = (*self.begin, *lead)
        ids = list(begin)
        with run_undisturbed(self.model):
            read = self._tensor([prompt])
            encoded = self.model.get_encoder()(read)
            while len(ids) < len(begin) + most:
                decoder = self._tensor([ids])
                # the prompt's ids too: without them FSMT lets its decoder read what comes later
                got = self.model(read, encoder_outputs=encoded, decoder_input_ids=decoder, use_cache=False)
                token = int(got.logits[0, -1].argmax())
                if token in ends:
                    break
                ids.append(token)
        return ids[len(begin) :]

    def _build_decoder_ids(self, query: Query, rows: int) -> torch.Tensor:
        return self._tensor([[*self.begin, *query.read]] * rows)

    def _tensor(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        import torch

        return torch.tensor(rows, dtype=torch.long, device=self.device)


class ClassifierForward(PaddedForward):
    """Sequence classifiers: the ids of a query are labels, of multi-label models one by one (sigmoid)."""

    def _read(self, query: Query, **inputs: Any) -> torch.Tensor:
        logits = self.model(**inputs).logits.float()
        several = self.model.config.problem_type == "multi_label_classification"
        values = logits.sigmoid().log() if several else logits.log_softmax(-1)
        return cast("torch.Tensor", values[:, list(query.ids)])

    def compute_attention(self, prompt: Sequence[int], query: Query) -> torch.Tensor:
        """Return the attention (labels, length) from the position that is classified, mean over layers and
        heads: the first one, or the last one where the model is causal; of encoder-decoder models the
        cross-attention from the last one.
        """
        import torch

        ids = torch.tensor([list(prompt)], device=self.device)
        got = self.model(ids, output_attentions=True)
        crossed = got.cross_attentions if is_encoder_decoder(self.model.config) else None
        layers = got.attentions if crossed is None else crossed
        last = crossed is not None or (bool(layers) and not bool(layers[0][0, :, 0, 1:].any()))
        read = layers[0].shape[-2] if layers else len(prompt)  # the first may be of a learned prompt
        return compute_mean_attention(layers, [-1 if last else 0] * len(query.ids), (read, len(prompt)))

    def answer(self, prompt: Sequence[int]) -> int:
        """Return the most likely label."""
        with run_undisturbed(self.model):
            ids, mask = self._pad_prompts([tuple(prompt)])
            return int(self.model(input_ids=ids, attention_mask=mask).logits[0].argmax())


def _count_positions(model: Any) -> int | None:
    """Return the longest prompt; relative positions have no limit, RoBERTa's begin behind the padding's."""
    most = read_number(model.config, "max_position_embeddings")
    if most is None or most < 1:
        return None
    tables = [m for name, m in model.named_modules() if name.endswith("embeddings.position_embeddings")]
    padding = read_number(tables[0], "padding_idx") if tables else None
    return most if padding is None else most - padding - 1
