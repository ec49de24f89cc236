"""Whether an attribution says the same of a prompt in other words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.api import attribute
from llm_trace.attribution.quality.reopen import find_settings
from llm_trace.attribution.quality.sanity import compute_overlap
from llm_trace.errors import AttributionError
from llm_trace.statistics.correlation import rank_correlate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.record import Attribution, Segment, Settings


def measure_paraphrase_stability(
    attribution: Attribution,
    paraphrases: Sequence[str],
    *,
    model: Any,
    tokenizer: Any = None,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """Return how alike the scores of common segments are when the same is asked in other words.

    Segments are the same when their texts are, but for case and punctuation; a repeated one counts in order.

    Args:
        attribution: of the prompt itself; its settings and its response are taken again.
        paraphrases: prompts that mean the same.
        model: the model it was made with; `tokenizer` as for `attribute`.
        settings: as `attribute` was asked, for records of versions that did not write them.

    Returns:
        `paraphrases` (how many were compared), `shared` (mean number of segments in both), and the means of
        `spearman` (rank correlation), `overlap` (Jaccard's index of the three strongest) and `same_first`.

    Raises:
        AttributionError: no paraphrase shares three segments with the prompt, or the settings are not known
            or hold for that prompt alone.
    """
    asked = _get_portable_settings(attribution, settings)
    figures = []
    for text in paraphrases:
        other = attribute(
            text,
            attribution.response,
            model=model,
            tokenizer=tokenizer,
            method=attribution.method,
            segments=asked.segments,
            target=asked.target,
            baseline=asked.baseline,
            unit=asked.unit,
            budget=asked.budget,
            confidence=asked.confidence,
            seed=asked.seed,
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


def _get_portable_settings(attribution: Attribution, settings: Settings | None) -> Settings:
    """Return the settings that can be asked of another prompt."""
    asked = find_settings(attribution, settings)
    if asked.unrecorded:
        raise AttributionError(
            f"{', '.join(asked.unrecorded)} is a function, which no record keeps: pass settings= with it"
        )
    if isinstance(asked.segments, tuple) or asked.segments == "variable":
        raise AttributionError(
            f"segments={asked.segments!r} hold for this prompt alone: attribute it by word or sentence, or "
            "pass settings= with other segments"
        )
    return asked


def _pair_shared(ours: Sequence[Segment], theirs: Sequence[Segment]) -> list[tuple[int, int]]:
    """Return the pairs of numbers of segments with the same text."""
    places: dict[str, list[int]] = {}
    for j, segment in enumerate(theirs):
        places.setdefault(_strip_bare(segment.text), []).append(j)
    candidates = ((i, places.get(_strip_bare(segment.text), [])) for i, segment in enumerate(ours))
    return [(i, left.pop(0)) for i, left in candidates if left]


def _strip_bare(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().casefold()
