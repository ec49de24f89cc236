"""What a question to a remote model would cost, before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.plan import Plan
from llm_trace.attribution.core.value import Budget, BudgetError, Capability, Metered
from llm_trace.attribution.methods import registry
from llm_trace.attribution.remote.ledger import Cost, Ledger
from llm_trace.attribution.remote.values import list_remote_capabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from llm_trace.attribution.models.problem import ParsedQuestion
    from llm_trace.attribution.remote.model import Remote
    from llm_trace.attribution.remote.prompts import RemotePrompts
    from llm_trace.record import Segment, Settings, Verdict


def choose_remote_method(settings: Settings, remote: Remote) -> str:
    """Return the method; `auto` for a text-only model is SMILE."""
    return "smile" if settings.method == "auto" and remote.score is None else settings.method


class Priced:
    """A value function of made-up values that books what each call would cost at most."""

    def __init__(
        self, remote: Remote, asked: RemotePrompts, ledger: Ledger, extra: int, response: str | None
    ) -> None:
        self.remote, self.prompts, self.ledger = remote, asked, ledger
        self.vanishes = asked.vanishes
        self._response, self._samples = response or "", 1 if remote.score else remote.samples
        self._rng, self.compare = np.random.default_rng(0), remote.compare
        for _ in range(extra):
            self._book(asked.whole)

    tokens = passes = unmasked = 0
    """What is spent is in the ledger."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the remote model's value function can do."""
        return list_remote_capabilities(vanishes=self.vanishes)

    def expect(self, evaluations: int) -> None:
        """Take no notice."""

    def remaining(self) -> int | None:
        """Return how many masks the budget pays for."""
        left = self.ledger.room(self._read(self.prompts.whole))
        return None if left is None else left // self._samples

    def resample(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return made-up values."""
        for mask in masks:
            for _ in range(self._samples):
                self._book(self.prompts(mask))
        return np.asarray(self._rng.standard_normal(len(masks)) + masks.sum(axis=1))

    __call__ = resample

    def texts(self, masks: NDArray[np.bool_]) -> list[str]:
        """Return made-up answers."""
        self._samples = 1
        self.resample(masks)
        return ["answer"] * len(masks)

    def tell(self, question: Callable[[Sequence[Segment], str], str], example: str) -> str:
        """Return the reply that is hoped for."""
        self._book(question(self.prompts.segmented.segments, self._response))
        return example

    def _read(self, payload: Any) -> int:
        return self.remote.read([payload, self._response] if self.remote.score else payload)

    def _book(self, payload: Any) -> None:
        read = self._read(payload)
        self.ledger.lose(self.ledger.reserve(read))


def plan_remote(question: ParsedQuestion, remote: Remote, settings: Settings, asked: RemotePrompts) -> Plan:
    """Return what it would cost at most: the method is run on made-up values, and nothing is asked."""
    method = choose_remote_method(settings, remote)
    ledger = Ledger(settings.budget or Budget(), remote.price, remote.max_output_tokens)
    extra = int(question.response is None) + (1 if remote.score else remote.samples * (remote.samples > 1))
    warnings = (
        () if remote.max_output_tokens else ("the answers' tokens are not counted: say max_output_tokens",)
    )
    verdict: Verdict = "ok"
    try:
        source = Priced(remote, asked, ledger, extra, question.response)
        scores = registry.find_method(method)(
            Metered(source), asked.n, confidence=settings.confidence, seed=settings.seed
        )
        for doubt, warning in scores.doubts:
            if doubt == "insufficient_evidence" and scores.faithfulness is None:
                verdict, warnings = doubt, (*warnings, warning)
        if verdict != "ok":
            ledger.spent = Cost()
    except BudgetError as exc:
        verdict, warnings = "insufficient_evidence", (*warnings, str(exc))
    spent = ledger.spent
    return Plan(
        method,
        asked.baseline,
        asked.n,
        "the whole response" if settings.target is None else repr(settings.target),
        spent.calls,
        spent.tokens,
        0.0,
        usd=None if remote.price is None else spent.usd,
        verdict=verdict,
        warnings=warnings,
    )
