"""Whether an attribution says the same of a prompt in other words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.api import attribute
from llm_trace.attribution.quality.reopen import parse_baseline, parse_target
from llm_trace.attribution.quality.sanity import compute_overlap
from llm_trace.errors import AttributionError
from llm_trace.statistics.correlation import rank_correlate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.record import Attribution, Segment


def measure_paraphrase_stability(
    attribution: Attribution, paraphrases: Sequence[str], *, model: Any, tokenizer: Any = None
) -> dict[str, Any]:
    """Return how alike the scores are when the same is asked in other words, for the segments that stand in
    both prompts.

    Segments are the same when their texts are, but for case and punctuation; a repeated one counts in order.

    Args:
        attribution: of the prompt itself; its method, baseline, target and response are taken again.
        paraphrases: prompts that mean the same.
        model: the model it was made with; `tokenizer` as for `attribute`.

    Returns:
        `paraphrases` (how many were compared), `shared` (mean number of segments in both), and the means of
        `spearman` (rank correlation), `overlap` (Jaccard's index of the three strongest) and `same_first`.

    Raises:
        AttributionError: no paraphrase shares three segments with the prompt.
    """
    figures = []
    for text in paraphrases:
        other = attribute(
            text,
            attribution.response,
            model=model,
            tokenizer=tokenizer,
            method=attribution.method,
            segments=attribution.segments[0].kind,
            target=parse_target(attribution.target),
            baseline=parse_baseline(attribution.baseline),
            unit=attribution.unit,
            seed=attribution.seed or 0,
        )
        pairs = _pair_shared(attribution.segments, other.segments)
        if len(pairs) > 2:
            ours = np.array([attribution.values[i] for i, _ in pairs])
            theirs = np.array([other.values[j] for _, j in pairs])
            first = bool(np.argmax(np.abs(ours)) == np.argmax(np.abs(theirs)))
            figures.append((len(pairs), rank_correlate(ours, theirs), compute_overlap(ours, theirs), first))
    if not figures:
        raise AttributionError(
            f"none of the {len(paraphrases)} paraphrases has three segments in common with the prompt: "
            "compare larger or more alike texts"
        )
    shared, ranks, tops, firsts = (float(np.mean(column)) for column in zip(*figures, strict=True))
    return {
        "paraphrases": len(figures),
        "shared": shared,
        "spearman": ranks,
        "overlap": tops,
        "same_first": firsts,
    }


def _pair_shared(ours: Sequence[Segment], theirs: Sequence[Segment]) -> list[tuple[int, int]]:
    """Return the pairs of numbers of segments with the same text."""
    places: dict[str, list[int]] = {}
    for j, segment in enumerate(theirs):
        places.setdefault(_strip_bare(segment.text), []).append(j)
    candidates = ((i, places.get(_strip_bare(segment.text), [])) for i, segment in enumerate(ours))
    return [(i, left.pop(0)) for i, left in candidates if left]


def _strip_bare(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().casefold()
