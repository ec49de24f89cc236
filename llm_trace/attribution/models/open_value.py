"""Values of keep-masks by an open model: the response's log-probabilities after perturbed prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import NoMasksError
from llm_trace.attribution.models.kinds import forward_of
from llm_trace.attribution.models.spines import Spine
from llm_trace.attribution.question.objective import Goal, Query, build_goal

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from llm_trace.attribution.core.value import Capability
    from llm_trace.attribution.models.batching import BatchLimits
    from llm_trace.attribution.models.cache import ValueCache
    from llm_trace.attribution.question.renders import Baseline, Owned, Render, Replaced


class OpenValue:
    """Maps keep-masks (k, n) to log-probabilities (k, m) by token, in other units than nats to values (k,).

    Masks that give the same ids go through the model once. Where the render has several baselines their
    values are averaged.

    Args:
        model: of transformers; it is left as it was found.
        render: masks to prompt ids.
        response: ids of the response, the same after every prompt.
        rows: which of them are explained.
        n: number of segments.
        limits: of a batch; found from free memory when absent.
        share: compute beginnings that prompts share with the unperturbed one once.
        aim: what is explained where it is more than `rows` in nats: a contrast, another unit.
        cache: values of earlier attributions.
        work: what gradient methods need: the tokens of the segments and the baseline that was asked for.
        spines: unperturbed prompts by their ids that value functions of one problem share.
    """

    def __init__(
        self,
        model: Any,
        render: Render,
        response: Sequence[int],
        rows: Sequence[int],
        n: int,
        *,
        limits: BatchLimits | None = None,
        share: bool = True,
        aim: Goal | None = None,
        cache: ValueCache | None = None,
        work: GradientProblem | None = None,
        spines: dict[tuple[int, ...], Spine] | None = None,
    ) -> None:
        self.model = model
        self.render = render
        self.response = tuple(response)
        self.rows = tuple(rows)
        self._n = n
        self.goal = aim or build_goal(Query.of(response, rows))
        self.work = work
        self.passes = 0
        self.tokens = 0
        self.unmasked = 0
        """Prompts that were asked for without a mask: as token ids, or embedded."""
        ids = render(np.ones((1, n), dtype=bool))[0] if share else ()
        spine = Spine(ids) if spines is None else spines.setdefault(ids, Spine(ids))
        self.forward = forward_of(model, spine, limits=limits)
        self._cache = cache

    @cached_property
    def capabilities(self) -> frozenset[Capability]:
        """What else it can do; baseline and tokenizer say whether an empty mask leaves a prompt."""
        try:
            prompts = self.render(np.zeros((1, self._n), dtype=bool))
        except NoMasksError:
            return frozenset(("inside",))
        return frozenset(("inside",) if all(prompts) else ("inside", "vanishes"))

    def resample(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the values of masks: a forward pass says the same each time."""
        return self(masks)

    def remaining(self) -> int | None:
        """Return `None`: there is no limit."""
        return None

    def expect(self, evaluations: int) -> None:
        """Take no notice."""

    @property
    def unit(self) -> str:
        """Unit of the values."""
        return self.goal.unit

    def __call__(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        prompts = self.render(masks)
        values = self._of(list(dict.fromkeys(prompts)), prompts)
        by_baseline = values.reshape(len(prompts) // len(masks), len(masks), *values.shape[1:])
        return np.asarray(by_baseline.mean(axis=0))

    def of(self, prompts: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
        """Return the values of prompts given as token ids."""
        distinct = list(dict.fromkeys(prompts))
        self.unmasked += len(distinct)
        return self._of(distinct, prompts)

    def _of(self, distinct: list[tuple[int, ...]], prompts: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
        values = self._value_columns(
            np.concatenate([self._columns(distinct, q) for q in self.goal.queries], axis=1)
        )
        at = {ids: i for i, ids in enumerate(distinct)}
        return values[[at[ids] for ids in prompts]]

    def spend(self, passes: int, tokens: int, *, unmasked: int = 0) -> None:
        """Count what went through the model, `unmasked` prompts without a mask among it."""
        self.passes += passes
        self.tokens += tokens
        self.unmasked += unmasked

    def price(self, prompts: Sequence[tuple[int, ...]]) -> int:
        """Return how many tokens would go through the model for these prompts."""
        distinct = list(dict.fromkeys(prompts))
        return sum(self.forward.price(distinct, query) for query in self.goal.queries)

    def score_embedded(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return values (k,), differentiable, of embedded prompts (k, length, width)."""
        import torch

        columns = [self.forward.score_embedded(embeddings, query) for query in self.goal.queries]
        read = sum(len(query.read) + embeddings.shape[1] for query in self.goal.queries)
        self.spend(len(embeddings) * len(columns), len(embeddings) * read, unmasked=len(embeddings))
        return self.goal.worth(torch.cat(columns, dim=1))

    def _columns(self, prompts: list[tuple[int, ...]], query: Query) -> NDArray[np.float64]:
        if self._cache is None:
            return self.forward(prompts, query, self.spend)
        return self._cache.through(self.forward, prompts, query, self.spend)

    def _value_columns(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (k, m) in nats, (k,) in other units, from log-probabilities (k, tokens)."""
        if self.goal.unit == "nats":
            return np.asarray(columns * np.array(self.goal.signs))
        import torch

        return np.asarray(self.goal.worth(torch.from_numpy(columns)))


@dataclass(frozen=True)
class GradientProblem:
    """What gradient methods ask of the problem."""

    owned: Callable[[], Owned]
    """Gives the prompt's tokens and their segments."""
    masked: Callable[[], Replaced]
    """Gives their neutral stand-ins too; raises where the tokenizer has none."""
    baseline: Baseline
    """As the user asked for it."""
