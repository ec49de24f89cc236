"""Shorter prompts: what no attribution found to matter is left out, and what that costs is measured.
Nothing is applied by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.models.questions import ParsedQuestion, parse_question
from llm_trace.attribution.question import chat
from llm_trace.attribution.question.segments import segment
from llm_trace.attribution.remote.model import encode_bytes, make_remote
from llm_trace.attribution.studies.aggregate import NEGLIGIBLE, Aggregate, PromptPart, aggregate
from llm_trace.attribution.studies.answering import PromptLike, open_answerer
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from llm_trace.attribution.core.value import Budget
    from llm_trace.attribution.question.segments import SegmentSpec
    from llm_trace.record import Attribution, Call

Same = Callable[[str, str], bool]
"""Whether two answers count as the same."""
_SMALL = 0.01
"""As `NEGLIGIBLE`, in units that are not logarithmic."""


@dataclass(frozen=True)
class RemovableSegments:
    """Segments that can go."""

    segments: SegmentSpec
    """How a prompt is cut into them; spans, of the one prompt that they belong to."""
    texts: frozenset[str]
    """Those that go, their spaces made single."""

    def __call__(self, prompt: PromptLike) -> Any:
        """Return the prompt without them: a text, or messages with the same roles."""
        if not self.texts:
            return prompt
        if isinstance(prompt, str):
            segmented = segment(prompt, self.segments)
            keep = [_get_text(s.text) not in self.texts for s in segmented.segments]
            return segmented.render(np.array(keep, dtype=bool), None) if keep else prompt
        return [{**message, "content": self(chat.get_content(message))} for message in prompt]


@dataclass(frozen=True)
class Check:
    """What a cut costs, on calls that it was not made from."""

    calls: int
    shortened: int
    """In how many of them something went; the others are not asked for."""
    unchanged: int
    """Of these, in how many the answer stayed the logged one."""
    low: float
    """Bounds of that share over calls such as these (Clopper & Pearson)."""
    high: float
    control: int
    """In how many it stayed when the whole prompt was asked again; what is lost there no cut cost."""
    tokens: int
    """Of the prompts as they were."""
    saved: int
    confidence: float
    counted: str
    """What is counted as a token."""

    def summary(self) -> str:
        """Return what was found in a sentence."""
        if not self.shortened:
            return f"Nothing was cut in {self.calls} calls."
        return (
            f"{self.saved / self.tokens:.0%} of the prompts' tokens can go: the answer stayed in "
            f"{self.unchanged} of {self.shortened} calls ({self.low:.0%} to {self.high:.0%}), and in "
            f"{self.control} when the whole prompt was asked again."
        )


@dataclass(frozen=True)
class Compression:
    """A cut, what it was made from, and what it costs."""

    cut: RemovableSegments
    evidence: Aggregate
    check: Check


def find_removable(
    evidence: Attribution | Aggregate, segments: SegmentSpec = "sentence", *, limit: float | None = None
) -> RemovableSegments:
    """Return what can go: fixed parts that never mattered in many calls, or segments without an effect.

    Args:
        evidence: one attribution, whose cut holds for its own prompt, or what `aggregate` found.
        segments: of the aggregated attributions; one attribution brings its own.
        limit: effect, with its bounds, below which a part goes, in the attributions' unit; absent: 0.05 nats
            or logits, else 0.01.

    Raises:
        AttributionError: the attribution is no evidence.
    """
    if limit is None:
        limit = NEGLIGIBLE if evidence.unit in ("nats", "logit") else _SMALL
    if isinstance(evidence, Aggregate):
        idle = [p.name for p in evidence.parts if p.kind != "variable" and _compute_largest_effect(p) < limit]
        return RemovableSegments(segments, frozenset(map(_get_text, idle)))
    if evidence.verdict != "ok":
        raise AttributionError(
            f"the attribution is no evidence ({evidence.verdict}): nothing can be cut by it"
        )
    ends = [evidence.values, evidence.low or evidence.values, evidence.high or evidence.values]
    sizes = np.abs(ends).max(axis=0)
    spans = [(s.start, s.end) for s, size in zip(evidence.segments, sizes, strict=True) if size < limit]
    return RemovableSegments(spans, frozenset(_get_text(evidence.prompt[a:b]) for a, b in spans))


def _compute_largest_effect(part: PromptPart) -> float:
    """Return the largest effect that a part may have on average; infinite where it stood in too few calls."""
    if part.low is None or part.high is None:
        return float("inf")
    return max(part.size, abs(part.low), abs(part.high))


def check_prompt(
    cut: RemovableSegments,
    calls: Sequence[Call | tuple[PromptLike, str]],
    *,
    model: Any,
    tokenizer: Any = None,
    same: Same | None = None,
    budget: Budget | None = None,
    confidence: float = 0.95,
) -> Check:
    """Return what a cut costs on these calls: each shortened prompt is asked once, and once whole.

    Args:
        cut: what goes.
        calls: logged calls or (prompt, answer) pairs, others than the cut was made from.
        model: that answers, as for `attribute`; and `tokenizer`.
        same: whether two answers are the same; absent: equal but for space around them.
        budget: of a remote model.
        confidence: of the bounds.

    Raises:
        AttributionError: a prompt is left empty, or the budget does not pay for all of them.
    """
    from scipy import stats

    questions = [_get_prompt(call) for call in calls]
    pairs = [(q, cut(q.prompt)) for q in questions]
    shorter = [(q, short) for q, short in pairs if _split_words(short) != _split_words(q.prompt)]
    empty = [q for q, short in shorter if not _split_words(short).strip()]
    if empty:
        raise AttributionError(f"nothing is left of {len(empty)} prompts: cut less")
    with open_answerer(model, tokenizer, budget=budget) as ask:
        answers = list(map(str, ask([p for q, short in shorter for p in (short, q.prompt)])))
    unchanged, control = _count_unchanged(answers, [q for q, _ in shorter], same)
    low, high = stats.binomtest(unchanged, len(shorter)).proportion_ci(confidence) if shorter else (0.0, 1.0)
    count, counted = _make_counter(model, tokenizer)
    before, after = (
        sum(count(_split_words(p)) for p in ps)
        for ps in ([q.prompt for q in questions], [s for _, s in pairs])
    )
    return Check(
        len(calls), len(shorter), unchanged, float(low), float(high), control, before, before - after,
        confidence, counted,
    )  # fmt: skip


def _count_unchanged(answers: Sequence[str], questions: Sequence[Any], same: Same | None) -> tuple[int, int]:
    """Return how many answers stay the same: to shortened prompts, and to whole ones asked again.

    Args:
        answers: by question, the one to the shortened prompt first.
        questions: with their recorded responses.
        same: as for `check_prompt`.
    """
    alike = same or (lambda a, b: a.strip() == b.strip())
    stays = [alike(answer, questions[i // 2].response or "") for i, answer in enumerate(answers)]
    return sum(stays[::2]), sum(stays[1::2])


def compress(
    calls: Sequence[Call | tuple[PromptLike, str]],
    *,
    model: Any,
    tokenizer: Any = None,
    segments: SegmentSpec = "sentence",
    by: Any = None,
    method: str = "occlusion",
    limit: float | None = None,
    seed: int = 0,
    **settings: Any,
) -> Compression:
    """Return what can go from a task's prompts: found on a random half of the calls, checked on the other.

    Args:
        calls: of one prompt, logged or as (prompt, answer) pairs.
        model: that answers, as for `attribute`; and `tokenizer`.
        segments: what goes or stays as a whole.
        by: the model that explains, by name, path or callable, where it is another: a proxy.
        method: one for all calls; leave-one-out asks just what a cut does.
        limit: see `find_removable`.
        seed: of the halves.
        settings: of `check_prompt`.

    Raises:
        AttributionError: fewer than two calls, or none whose attribution is evidence.
    """
    from llm_trace.attribution.api import attribute

    if len(calls) < 2:
        raise AttributionError(
            f"{len(calls)} calls cannot be halved: a cut is found on some and checked on others"
        )
    order = np.random.default_rng(seed).permutation(len(calls))
    found_on, checked_on = ([calls[i] for i in half] for half in np.array_split(order, 2))
    explainer = {"model": model, "tokenizer": tokenizer} if by is None else {"model": by}
    attributions = [
        attribute(
            *(call if isinstance(call, tuple) else (call, None)),
            **explainer,
            method=method,
            segments=segments,
            seed=seed,
        )
        for call in found_on
    ]
    evidence = aggregate(attributions)
    cut = find_removable(evidence, segments, limit=limit)
    return Compression(
        cut, evidence, check_prompt(cut, checked_on, model=model, tokenizer=tokenizer, **settings)
    )


def _get_prompt(call: Any) -> ParsedQuestion:
    return parse_question(*call) if isinstance(call, tuple) else parse_question(call, None)


def _get_text(text: str) -> str:
    return " ".join(text.split())


def _split_words(prompt: PromptLike) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(map(chat.get_content, prompt))


def _make_counter(model: Any, tokenizer: Any) -> tuple[Callable[[str], int], str]:
    if (far := make_remote(model)) is not None:
        return far.count_tokens, "bytes" if far.count_tokens is encode_bytes else "tokens"
    from llm_trace.attribution.models.loading import resolve_model

    tokens = resolve_model(model, tokenizer)[1]
    return (lambda text: len(tokens(text, add_special_tokens=False)["input_ids"])), "tokens"
