"""What an attribution would cost: the method is run on made-up values, and what it asks for is counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.plan import Plan
from llm_trace.attribution.core.value import Budget, BudgetError, Metered
from llm_trace.attribution.methods import registry
from llm_trace.attribution.methods.prices import PricedMethod
from llm_trace.attribution.models.kinds import forward_of
from llm_trace.attribution.models.spines import Spine
from llm_trace.attribution.remote.ledger import Cost, Ledger
from llm_trace.attribution.remote.values import list_remote_capabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from llm_trace.attribution.core.value import Capability
    from llm_trace.attribution.models.open_value import OpenValue
    from llm_trace.attribution.models.questions import ParsedQuestion
    from llm_trace.attribution.remote.model import Remote
    from llm_trace.attribution.remote.prompts import RemotePrompts
    from llm_trace.record import Segment, Settings, Verdict


def plan_attribution(
    source: OpenValue,
    n: int,
    method: str,
    target: str,
    budget: Budget | None,
    by: Callable[..., Any] | None = None,
    **settings: Any,
) -> Plan:
    """Return what a method would cost on an open model.

    Args:
        source: the value function.
        n: number of segments.
        method: its name.
        target: in words.
        budget: as for the attribution.
        by: what to run; else the method of that name.
        settings: confidence and seed.
    """
    runner = by or registry.find_method(method)
    priced: object = runner
    if isinstance(priced, PricedMethod):
        passes, tokens = priced.price(source)
    else:
        counted = _Counted(source)
        try:
            runner(Metered(counted, budget=budget), n, **settings)
        except _EnoughError:
            pass
        passes, tokens = counted.passes, counted.tokens
    seconds = tokens * _time_token(source, n)
    return Plan(method, source.render.baseline, n, target, passes, tokens, seconds)


def choose_remote_method(settings: Settings, remote: Remote) -> str:
    """Return the method; `auto` for a text-only model is SMILE."""
    return "smile" if settings.method == "auto" and remote.score is None else settings.method


def plan_remote(question: ParsedQuestion, remote: Remote, settings: Settings, asked: RemotePrompts) -> Plan:
    """Return what a method would cost at most on a remote model, of which nothing is asked."""
    method = choose_remote_method(settings, remote)
    ledger = Ledger(settings.budget or Budget(), remote.price, remote.max_output_tokens)
    extra = int(question.response is None) + (1 if remote.score else remote.samples * (remote.samples > 1))
    warnings = (
        () if remote.max_output_tokens else ("the answers' tokens are not counted: say max_output_tokens",)
    )
    verdict: Verdict = "ok"
    try:
        source = _Priced(remote, asked, ledger, extra, question.response)
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


class _EnoughError(Exception):
    """A made-up game went on for too long."""


class _Counted:
    """A value function of made-up values: it counts the prompts that would go through the model."""

    _MOST = 200_000
    capabilities: frozenset[Capability] = frozenset(("inside",))
    unmasked = 0

    def __init__(self, source: OpenValue) -> None:
        self._real = source
        self.work, self.goal, self.render = source.work, source.goal, source.render
        self.passes = self.tokens = 0
        self._seen: set[tuple[int, ...]] = set()
        self._rng = np.random.default_rng(0)

    def remaining(self) -> int | None:
        """Return `None`: there is no limit."""
        return None

    def expect(self, evaluations: int) -> None:
        """Take no notice."""

    def resample(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return made-up values."""
        return self(masks)

    def __call__(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        fresh = [ids for ids in dict.fromkeys(self.render(masks)) if ids not in self._seen]
        self._seen.update(fresh)
        self.passes += len(fresh)
        self.tokens += self._real.price(fresh) if fresh else 0
        if self.passes > self._MOST:
            raise _EnoughError
        return np.asarray(self._rng.standard_normal(len(masks)) * len(masks[0]) + masks.sum(axis=1))


def _time_token(source: OpenValue, n: int) -> float:
    """Time one pass over the whole prompt, after one to warm up; nothing is shared with the first, or the
    last token alone would be computed anew.
    """
    whole = np.ones((1, n), dtype=bool)
    forward = forward_of(source.model, Spine())
    prompts = [source.render(whole)[0]]
    took, spent = 0.0, 0
    for _ in range(2):
        counted = [0]

        def tick(_: int, tokens: int, counted: list[int] = counted) -> None:
            counted[0] += tokens

        begin = time.perf_counter()
        for query in source.goal.queries:
            forward(prompts, query, tick)
        took, spent = time.perf_counter() - begin, counted[0]
    return took / max(1, spent)


class _Priced:
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
