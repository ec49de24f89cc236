"""One call seen by both models: their answers, their explanations, and the oracle's answers to prompts
that no explanation was made from.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llm_trace.attribution.core.naming import shorten_text
from llm_trace.attribution.core.value import sum_targets
from llm_trace.attribution.explain.dispatch import explain_question
from llm_trace.attribution.explain.remote import get_score
from llm_trace.attribution.methods.smile import KEEP
from llm_trace.attribution.models.loading import resolve_model
from llm_trace.attribution.models.problem import build_problem
from llm_trace.attribution.models.questions import ParsedQuestion, parse_question
from llm_trace.attribution.proxies.asking import open_asker
from llm_trace.attribution.remote.model import make_remote
from llm_trace.attribution.remote.prompts import build_prompts
from llm_trace.attribution.remote.values import RemoteValue, ScoreValue, TextValue
from llm_trace.attribution_settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from llm_trace.attribution.core.value import Budget
    from llm_trace.attribution.proxies.model import Proxied
    from llm_trace.attribution.remote.model import Remote
    from llm_trace.record import Attribution

HELD_OUT = 32
"""Perturbed prompts on which both explanations of a call are tried; the oracle answers each."""


@dataclass(frozen=True)
class OracleCost:
    """What was asked of the oracle."""

    calls: int = 0
    tokens: int = 0
    usd: float | None = None

    def plus(self, other: OracleCost) -> OracleCost:
        """Return the sum; dollars stay unknown where both are."""
        known = [x for x in (self.usd, other.usd) if x is not None]
        return OracleCost(self.calls + other.calls, self.tokens + other.tokens, sum(known) if known else None)


def compute_cost(attribution: Attribution) -> OracleCost:
    """Return what an explanation cost."""
    usd = attribution.faithfulness.get("cost", {}).get("usd")
    return OracleCost(attribution.passes, attribution.tokens, usd)


@dataclass(frozen=True)
class TaskCall:
    """A call of a task."""

    proxied: Proxied
    call: Any
    """A logged call, messages or a prompt."""
    response: str | None = None
    """The oracle's answer where the call does not say it."""
    segments: Any = "word"
    seed: int = 0
    """Of explanations and held-out prompts."""
    cache: str | Path | None = None
    """For the oracle, see `attribute`."""
    confidence: float = 0.95
    """Of both explanations."""

    @cached_property
    def question(self) -> ParsedQuestion:
        """Prompt and answer."""
        return parse_question(self.call, self.response)

    @property
    def key(self) -> str:
        """What names the call: its span id, or a hash of prompt and response."""
        parts = repr((self.question.prompt, self.question.response))
        return self.question.span_id or hashlib.sha256(parts.encode()).hexdigest()[:16]

    @cached_property
    def answer(self) -> str:
        """The proxy's own greedy answer.

        Raises:
            AttributionError: it says nothing, or the prompt does not fit.
        """
        loaded = resolve_model(self.proxied.proxy, self.proxied.proxy_tokenizer)
        return build_problem(
            replace(self.question, response=None), *loaded, segments="line", target=None
        ).text

    def disagreement(self) -> str | None:
        """Return how the proxy's answer differs from the oracle's, `None` where they agree."""
        if self.question.response is None:
            return "there is no answer of the oracle to agree with: log the call, or pass its response"
        if self.proxied.agrees(self.answer, self.question.response):
            return None
        answers = shorten_text(self.answer), shorten_text(self.question.response)
        return f"the proxy answers {answers[0]!r} and the oracle {answers[1]!r}"

    def explain(
        self, by: Literal["oracle", "proxy"], *, budget: Budget | None = None, dry_run: bool = False
    ) -> Any:
        """Return the oracle's explanation of its own answer, or the proxy's of its own."""
        side = self.proxied.oracle_side if by == "oracle" else self.proxied.proxy_side
        settings = Settings.of(
            method=side.method,
            segments=self.segments,
            seed=self.seed,
            confidence=self.confidence,
            budget=budget,
        )
        if by == "oracle":
            question, cache = self.question, self.cache
        else:
            question, cache = parse_question(self.call, self.answer), None
        return explain_question(question, side.model, side.tokenizer, settings, cache=cache, dry_run=dry_run)

    @cached_property
    def own(self) -> Attribution:
        """The oracle's own explanation, paid for once."""
        explanation: Attribution = self.explain("oracle")
        return explanation

    @property
    def bought(self) -> Attribution | None:
        """The oracle's own explanation where it has been paid for."""
        return self.__dict__.get("own")

    def draw_held_out(self, n: int) -> NDArray[np.bool_]:
        """Return distinct masks (k, n) that keep segments as often as SMILE's do, drawn apart from these."""
        rng = np.random.default_rng([self.seed, int(self.key[:8], 16), n])
        drawn = rng.random((4 * HELD_OUT, n)) < KEEP
        drawn = drawn[drawn.any(axis=1) & ~drawn.all(axis=1)]
        first = np.unique(drawn, axis=0, return_index=True)[1]
        return drawn[np.sort(first)][:HELD_OUT]

    def values(self, masks: NDArray[np.bool_]) -> tuple[NDArray[np.float64], OracleCost, tuple[str, ...]]:
        """Return the oracle's values (k,) of keep-masks, their cost, and which models said they answered."""
        if (far := make_remote(self.proxied.oracle)) is not None:
            return self._remote_values(far, masks)
        loaded = resolve_model(self.proxied.oracle, self.proxied.oracle_tokenizer)
        value = build_problem(self.question, *loaded, segments=self.segments, target=None).value("auto")
        return sum_targets(value(masks)), OracleCost(value.passes, value.tokens), ()

    def _remote_values(
        self, far: Remote, masks: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], OracleCost, tuple[str, ...]]:
        response, about = self.question.response or "", build_prompts(self.question, self.segments, "auto")
        ask = far.ask if far.score is None else get_score(far.score)
        with open_asker(far, ask, cache=self.cache) as caller:
            value: RemoteValue = ScoreValue(caller, about, response)
            if far.score is None:
                value = TextValue(caller, about, lambda: response, known=True)
            values = sum_targets(value(masks))
        spent = caller.ledger.spent
        usd = None if far.price is None else spent.usd
        return values, OracleCost(spent.calls, spent.tokens, usd), tuple(sorted(caller.models))


def compute_quality(
    scores: NDArray[np.float64], masks: NDArray[np.bool_], values: NDArray[np.float64]
) -> float:
    """Return how well sums of scores over masks order the oracle's values: 1 rightly, 0 as by chance.

    Of pairs of masks with different values, the share that is ordered rightly less the share that is ordered
    wrongly (Somers' D, 1962).
    """
    predicted = masks @ scores
    apart = np.sign(values[:, None] - values[None, :])
    named = np.sign(predicted[:, None] - predicted[None, :])
    pairs = np.abs(apart).sum()
    return max(0.0, float((apart * named).sum() / pairs)) if pairs else 0.0
