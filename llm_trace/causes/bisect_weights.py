"""How much each hunk is suspected before anything is asked: by the weight of its words in explained calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution.studies.template_pieces import parse_template
from llm_trace.capture.prompts import Prompt
from llm_trace.stores.lookup import read_newest_attributions

if TYPE_CHECKING:
    from llm_trace.causes.bisect_hunks import Mixture
    from llm_trace.record import Attribution
    from llm_trace.statistics.floats import Floats
    from llm_trace.stores.duckdb import Store

_MOST_READ = 50
"""Attributions of a version that are looked at."""
_EQUAL_SHARE = 0.5
"""Of the suspicion that is spread evenly: attributions are clues, not proof."""


def weigh_hunks(store: Store, mixture: Mixture, failing: Iterable[str]) -> tuple[Floats, int]:
    """Return how much each hunk is suspected, (hunks,) in sum 1, and how many attributions say so.

    Text of b is looked for in explained calls of b, text that b lacks in explained calls of a.

    Args:
        failing: ids of calls that show the loss: if some of them are explained, only they count.
    """
    count, ids = len(mixture.hunks), set(failing)
    every = frozenset(range(count))
    shares, used = np.zeros(count), 0
    for name in mixture.templates:
        for applied, is_after in ((every, True), (frozenset[int](), False)):
            version = Prompt(name, mixture.render_template(name, applied)).version
            pairs = read_newest_attributions(store, name, version, _MOST_READ)
            attributions = [attribution for attribution, _ in pairs if attribution.verdict == "ok"]
            if is_after:
                attributions = [each for each in attributions if each.span_id in ids] or attributions
            used += len(attributions)
            for number, hunk in enumerate(mixture.hunks):
                text = hunk.after if is_after else ("" if hunk.after.strip() else hunk.before)
                if attributions and hunk.name == name and text.strip():
                    shares[number] += np.mean([_weigh_text(each, text) for each in attributions])
    even = np.full(count, 1 / count)
    if not shares.sum():
        return even, used
    return _EQUAL_SHARE * even + (1 - _EQUAL_SHARE) * shares / shares.sum(), used


def _weigh_text(attribution: Attribution, template: str) -> float:
    """Return the share of an attribution's weight that lies on the fixed text of a hunk."""
    total = sum(map(abs, attribution.values))
    spans = list(_find_spans(attribution.prompt, template))
    weight = sum(
        abs(value)
        for segment, value in zip(attribution.segments, attribution.values, strict=True)
        if any(a < end and start < b for a, b in segment.stretches for start, end in spans)
    )
    return weight / total if total else 0.0


def _find_spans(prompt: str, template: str) -> Iterator[tuple[int, int]]:
    for token in parse_template(template):
        text = token.text.strip()
        if not token.is_field and text and (start := prompt.find(text)) >= 0:
            yield start, start + len(text)
