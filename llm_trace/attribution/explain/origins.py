"""What the words of each origin do for a response, and each sentence, by a model that can be opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution import quality
from llm_trace.attribution.core.value import Metered, sum_targets
from llm_trace.attribution.explain.open import count_vocabulary, describe_problem, pose_problem
from llm_trace.attribution.explain.record import Spent, build_record
from llm_trace.attribution.methods.coalitions import weigh_groups, weigh_within_groups
from llm_trace.attribution.models.problem import note_suspicions
from llm_trace.attribution.question.renders import choose_baseline
from llm_trace.call_parts import OriginWeight
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from llm_trace.attribution.core.value import ProgressCallback
    from llm_trace.attribution.explain.open import OpenedModel
    from llm_trace.attribution.models.open_value import OpenValue
    from llm_trace.attribution.models.questions import ParsedQuestion
    from llm_trace.record import Attribution, Settings, TextOrigin


@dataclass(frozen=True)
class Absence:
    """What a response loses without some words."""

    value: float
    """Its log-probability with all words, less that without these, in nats."""
    low: float
    """Least value over the ways of taking words away that were tried."""
    high: float


class OriginStudy:
    """One response and the words before it: first what each origin does, then each sentence.

    Both share what the model was asked, so that looking at origins first costs nothing more.

    Args:
        question: prompt and response.
        opened: the model.
        settings: what is asked; the method is not.
        progress: called with (done, planned).
        cache: a file that keeps log-probabilities.

    Raises:
        AttributionError: the question cannot be put to the model.
    """

    def __init__(
        self,
        question: ParsedQuestion,
        opened: OpenedModel,
        settings: Settings,
        *,
        progress: ProgressCallback | None = None,
        cache: str | Path | None = None,
    ) -> None:
        self._question, self._settings = question, settings
        self._work = pose_problem(replace(question, apart=True), opened, settings, cache)
        self._source = self._work.value(settings.baseline)
        self._value = Metered(self._source, budget=settings.budget, progress=progress)
        groups: dict[TextOrigin | None, list[int]] = {}
        for i, segment in enumerate(self._work.segmented.segments):
            groups.setdefault(segment.origin, []).append(i)
        self._groups = groups

    @cached_property
    def weights(self) -> tuple[OriginWeight, ...]:
        """What the words of each origin do together, in the order in which they begin in the prompt.

        Exact for the baseline; where it is `auto` the bounds hold what the other one says, too.
        """
        members, n = list(self._groups.values()), self._work.n
        ways = [weigh_groups(self._value, members, n)]
        if self._other is not None:
            ways.append(weigh_groups(self._other, members, n))
        low, high = np.min(ways, axis=0), np.max(ways, axis=0)
        return tuple(
            OriginWeight(origin=origin, value=float(value), low=float(least), high=float(most))
            for origin, value, least, most in zip(self._groups, ways[0], low, high, strict=True)
        )

    def weigh_absence(self, origins: Collection[TextOrigin | None]) -> Absence:
        """Return what the response loses without all words of some origins, everything else being there.

        Unlike a weight it does not share out what words of several origins do together only: a decision that
        needs both an injection and the user's words is lost with either.
        """
        gone = {i for origin in origins for i in self._groups.get(origin, ())}
        masks = np.array([[True] * self._work.n, [i not in gone for i in range(self._work.n)]])
        losses = []
        for value in (self._value, self._other):
            if value is not None:
                full, rest = sum_targets(value(masks))
                losses.append(float(full - rest))
        return Absence(losses[0], min(losses), max(losses))

    @cached_property
    def _other(self) -> OpenValue | None:
        """The value function with the baseline that `auto` did not take."""
        if self._settings.baseline != "auto":
            return None
        taken = choose_baseline(self._work.segmented.segments)
        try:
            return self._work.value("mask" if taken == "delete" else "delete")
        except AttributionError:  # the tokenizer has nothing that could stand in for a token
            return None

    @cached_property
    def doubt(self) -> str | None:
        """Why what this model says is no evidence about the response; `None` where it may be."""
        findings = quality.Findings(self._settings.confidence)
        quality.check_unlikely(
            self._ends[0], len(self._work.rows), count_vocabulary(self._work.model), findings
        )
        return findings.warnings[0] if findings.warnings else None

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """The value with all words and with none."""
        n = self._work.n
        full, empty = sum_targets(self._value(np.array([[True] * n, [False] * n])))
        return float(full), float(empty)

    def explain(self) -> Attribution:
        """Return each segment's part of what its origin does (Owen values), with the weights of the origins.

        Raises:
            AttributionError: the budget does not pay for it.
        """
        work, settings = self._work, self._settings
        weights = self.weights
        members = list(self._groups.values())
        scores = weigh_within_groups(
            self._value, members, work.n, confidence=settings.confidence, seed=settings.seed
        )
        findings = self._examine(float(scores.values.sum()))
        other = self._other
        passes, tokens = (0, 0) if other is None else (other.passes, other.tokens)
        spent = Spent(self._value.passes + passes, self._value.tokens + tokens, self._value.seconds)
        explained = describe_problem(self._question, work, self._source.render.baseline)
        scores = replace(scores, full=self._ends[0])
        record = build_record(explained, scores, findings, spent, settings, method="owen", notes=work.notes)
        return record.model_copy(update={"origins": weights})

    def _examine(self, total: float) -> quality.Findings:
        full, empty = self._ends
        findings = quality.Findings(self._settings.confidence, empty, full - empty - total)
        note_suspicions(self._question, self._work, findings)
        if self.doubt is not None:
            findings.suspect("insufficient_evidence", self.doubt)
        if max(abs(weight.value) for weight in self.weights) < quality.NOISE:
            findings.suspect("insufficient_evidence", "the words of no origin move the response")
        return findings
