"""From messages to sentences to words: only what matters is taken apart, within one budget, and nothing gets
lost in the sum.

Every score has one meaning: what the response loses without this stretch. What the parts of a stretch do only
together is its `remainder`, so that at every node score = sum of the children's scores + remainder, and full
- empty = sum of the leaves + all remainders.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution import quality
from llm_trace.attribution.core.value import (
    Metered,
    ProgressCallback,
    Value,
    get_remaining,
    sum_targets,
)
from llm_trace.attribution.explain.dry_run import plan_attribution
from llm_trace.attribution.explain.open import describe_problem, pose_problem
from llm_trace.attribution.explain.record import Spent, build_record
from llm_trace.attribution.methods.registry import Scores
from llm_trace.attribution.models.loading import resolve_model
from llm_trace.attribution.models.problem import note_suspicions
from llm_trace.attribution.models.questions import parse_question
from llm_trace.attribution.models.turns import read_own_clock
from llm_trace.attribution.question import segmenters
from llm_trace.errors import AttributionError
from llm_trace.record import Segment, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from llm_trace.attribution.core.plan import Plan
    from llm_trace.attribution.core.value import Budget
    from llm_trace.attribution.explain.open import OpenedModel
    from llm_trace.attribution.models.problem import Problem
    from llm_trace.attribution.models.questions import ParsedQuestion
    from llm_trace.attribution.question.renders import Baseline
    from llm_trace.attribution.question.targets import Target
    from llm_trace.record import Attribution

SHARE = 0.2
"""Part of the largest loss of its level from which on a stretch is taken apart."""
_LEVELS = 3
_NOTE = (
    "each score is what the response loses without this stretch; stretches that matter little are not taken "
    "apart"
)
_GROUP = 1.0
"""Nats that stretches, each of which seems to do little, must be worth together to be taken apart too."""


@dataclass
class Node:
    """A stretch of the prompt."""

    segment: Segment
    words: tuple[int, ...]
    """The words in it, by number."""
    score: float = 0.0
    """What the response loses without it."""
    children: list[Node] = field(default_factory=list)
    """Its parts, where it was taken apart."""

    @property
    def remainder(self) -> float:
        """What its parts do only together; 0 where it was not taken apart."""
        return self.score - sum(c.score for c in self.children) if self.children else 0.0

    def leaves(self) -> Iterator[Node]:
        """Yield the smallest stretches that were scored, in order."""
        if not self.children:
            yield self
        for child in self.children:
            yield from child.leaves()


@dataclass(frozen=True)
class Hierarchy:
    """What `drill` found."""

    root: Node
    """The whole prompt; its score is full - empty."""
    attribution: Attribution
    """The leaves as one attribution; its completeness gap is the sum of all remainders."""


def drill(
    call_or_prompt: Any,
    response: str | None = None,
    *,
    model: Any,
    tokenizer: Any = None,
    target: Target = None,
    baseline: Baseline = "auto",
    budget: int | Budget | None = None,
    share: float = SHARE,
    confidence: float = 0.95,
    progress: ProgressCallback | None = None,
) -> Hierarchy:
    """Return which messages (or paragraphs) matter, which sentences of those, and which words of these.

    Args:
        call_or_prompt: as for `attribute`, and so are the others that are not named here.
        share: a stretch is taken apart when it is worth this part of the largest of its level.
        budget: of all levels together; the most important stretches come first.

    Raises:
        AttributionError: it cannot be computed, or the budget does not pay for the first level.
    """
    settings = Settings.of(
        method="occlusion",
        segments="hierarchy",
        target=target,
        baseline=baseline,
        budget=budget,
        confidence=confidence,
    )
    question = parse_question(call_or_prompt, response)
    work = pose_problem(question, resolve_model(model, tokenizer), settings, None)
    return drill_problem(question, work, settings, share=share, progress=progress)


def explain_hierarchy(
    question: ParsedQuestion,
    opened: OpenedModel,
    settings: Settings,
    *,
    progress: ProgressCallback | None = None,
    cache: str | Path | None = None,
    dry_run: bool = False,
) -> Attribution | Plan:
    """Return the leaves as one attribution, or with `dry_run` what it would cost at most.

    Raises:
        AttributionError: it cannot be computed, or another method than leaving out was asked for.
    """
    if settings.method not in ("auto", "occlusion"):
        raise AttributionError(
            f"segments='hierarchy' leaves stretches out (occlusion); method={settings.method!r} does not"
        )
    work = pose_problem(question, opened, settings, cache)
    if dry_run:
        return price_drill(work, settings.baseline, settings.budget)
    return drill_problem(question, work, settings, progress=progress).attribution


def drill_problem(
    question: ParsedQuestion,
    work: Problem,
    settings: Settings,
    *,
    share: float = SHARE,
    progress: ProgressCallback | None = None,
) -> Hierarchy:
    """Return what `drill` does, of a problem whose segments are words."""
    source = work.value(settings.baseline)
    value = Metered(source, budget=settings.budget, progress=progress, clock=read_own_clock)
    root = build_tree(work)
    full, empty, cut_short = build_scored_tree(root, value, work.n, share)
    leaves = list(root.leaves())
    losses = np.array([leaf.score for leaf in leaves])
    findings = quality.Findings(settings.confidence, empty, full - empty - float(losses.sum()))
    note_suspicions(question, work, findings)
    if work.goal.unit != "probability":
        quality.check_evidence(losses, findings)
    explained = replace(
        describe_problem(question, work, source.render.baseline),
        segments=tuple(leaf.segment for leaf in leaves),
    )
    scores = Scores(losses, full=full, stopped="budget" if cut_short else "exact")
    spent = Spent(value.passes, value.tokens, value.seconds)
    notes = (*work.notes, f"hierarchy: {_NOTE}")
    record = build_record(explained, scores, findings, spent, settings, method="occlusion", notes=notes)
    return Hierarchy(root, record)


def price_drill(work: Problem, baseline: Baseline, budget: Budget | None) -> Plan:
    """Return what `drilled` would cost at most: as if every stretch were taken apart."""

    def whole(value: Value, n: int) -> None:
        build_scored_tree(build_tree(work), value, n, share=0.0)
        value(np.tri(_LEVELS, n, dtype=bool))  # stands for the weak ones of each level together

    return plan_attribution(work.value(baseline), work.n, "occlusion", work.target, budget, by=whole)


def build_tree(work: Problem) -> Node:
    """Return all stretches of a prompt, none scored yet."""
    text, words = work.segmented.text, work.segmented.segments
    root = Node(Segment(start=0, end=len(text), text=text, kind="prompt"), tuple(range(len(words))))
    whole = [(0, len(text))]
    blocks = list(work.segmented.regions)
    kind = "message"
    if blocks == whole:
        blocks, kind = segmenters.split_paragraphs(text), "paragraph"
    for start, end in blocks:
        block = _build_node(text, start, end, kind, words)
        for a, b in segmenters.split_sentences(text[start:end]):
            sentence = _build_node(text, start + a, start + b, "sentence", words)
            sentence.children = [Node(words[i], (i,)) for i in sentence.words]
            block.children.append(sentence)
        root.children.append(block)
    return _prune(root)


def _build_node(text: str, start: int, end: int, kind: str, words: Sequence[Segment]) -> Node:
    inside = tuple(i for i, w in enumerate(words) if start <= w.start and w.end <= end)
    name = words[inside[0]].name if inside else None
    return Node(Segment(start=start, end=end, text=text[start:end], kind=kind, name=name), inside)


def _prune(node: Node) -> Node:
    """Leave out stretches without words, and levels that have one part only."""
    children = [_prune(c) for c in node.children if c.words]
    while len(children) == 1:
        children = children[0].children
    return replace(node, children=children)


def build_scored_tree(root: Node, value: Value, n: int, share: float = SHARE) -> tuple[float, float, bool]:
    """Score the tree from above and cut off what is not taken apart.

    Returns:
        The value of the whole prompt, that of none of it, and whether the budget ended it.
    """
    ends = sum_targets(value(np.array([[True] * n, [False] * n])))
    full, empty = float(ends[0]), float(ends[1])
    root.score = full - empty
    level, first, short = [root], True, False
    while level:
        parts: list[Node] = []
        for node in sorted(level, key=lambda x: -abs(x.score)):
            left = get_remaining(value)
            if left is not None and left < len(node.children) and not first:
                node.children, short = [], short or bool(node.children)
                continue
            _score(node.children, value, n, full)
            parts += node.children
        level, first = _choose_parts(parts, value, n, full, share), False
    return full, empty, short


def _score(nodes: Sequence[Node], value: Value, n: int, full: float) -> None:
    if not nodes:
        return
    values = sum_targets(value(np.array([_make_masks_without(n, node.words) for node in nodes])))
    for node, left in zip(nodes, values, strict=True):
        node.score = full - float(left)


def _choose_parts(parts: Sequence[Node], value: Value, n: int, full: float, share: float) -> list[Node]:
    """Return the stretches to take apart: those that matter, and all where the weak ones matter together."""
    if not parts:
        return []
    least = share * max(abs(p.score) for p in parts)
    strong = [p for p in parts if abs(p.score) >= least and p.score != 0]
    weak = [p for p in parts if p not in strong]
    left = get_remaining(value)
    if len(weak) > 1 and (left is None or left > 1):
        words = [i for p in weak for i in p.words]
        together = full - float(sum_targets(value(np.array([_make_masks_without(n, words)])))[0])
        if together - sum(max(p.score, 0.0) for p in weak) > max(_GROUP, least):
            return list(parts)
    for p in weak:
        p.children = []
    return strong


def _make_masks_without(n: int, words: Sequence[int]) -> NDArray[np.bool_]:
    mask = np.ones(n, dtype=bool)
    mask[list(words)] = False
    return mask
