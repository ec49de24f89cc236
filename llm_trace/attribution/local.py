"""The value of a keep-mask by a local model: log-probabilities of the response's tokens after the perturbed prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.forward import CausalForward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from llm_trace.attribution.batches import Limits
    from llm_trace.attribution.renders import Render


class LocalValue:
    """Maps keep-masks (k, n) to log-probabilities (k, m), one column per explained token of the response.

    Masks that give the same ids go through the model once.

    Args:
        model: a causal model of transformers; it is left as it was found.
        render: masks to prompt ids.
        response: ids of the response, the same after every prompt.
        rows: which of them are explained.
        n: number of segments.
        limits: of a batch; found from free memory when absent.
        share: compute beginnings that prompts share with the unperturbed one once.
    """

    def __init__(
        self,
        model: Any,
        render: Render,
        response: Sequence[int],
        rows: Sequence[int],
        n: int,
        *,
        limits: Limits | None = None,
        share: bool = True,
    ) -> None:
        self.model = model
        self.render = render
        self.response = tuple(response)
        self.rows = tuple(rows)
        self.passes = 0
        self.tokens = 0
        spine = render(np.ones((1, n), dtype=bool))[0] if share else ()
        self._forward = CausalForward(model, spine, limits=limits)

    def __call__(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        prompts = self.render(masks)
        distinct = list(dict.fromkeys(prompts))
        values = self._forward(distinct, self.response, self.rows, self._count)
        at = {ids: i for i, ids in enumerate(distinct)}
        return values[[at[ids] for ids in prompts]]

    def _count(self, passes: int, tokens: int) -> None:
        self.passes += passes
        self.tokens += tokens
