"""Scores of small parts of a prompt as sums for larger ones, of those methods whose scores add up."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

from llm_trace.attribution.question.chunks import Chunks
from llm_trace.attribution.question.segments import get_segmenter, segment
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution, Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.attribution.question.segmenters import Span
    from llm_trace.attribution.question.segments import SegmentSpec
    from llm_trace.record import Call

ADDITIVE = frozenset(
    (
        "shapley",
        "permutation",
        "kernel_shap",
        "leverage_shap",
        "owen",
        "integrated_gradients",
        "input_x_gradient",
        "lime",
        "context_cite",
        "attention",
    )
)
"""Methods whose scores share out one sum or are the coefficients of a linear model. What happens when a part
is left out (occlusion), a gradient's length (saliency) and what a model says of itself are none of these.
"""
UNITS = ("word", "phrase", "sentence", "line", "paragraph", "message", "variable", "chunk")
"""Parts of a prompt, small to large."""
_FIRST = ("word", "sentence", "message", "variable", "chunk", "paragraph", "line", "phrase")
"""Which name is offered where two cut alike."""
_SUMS = (
    "each score is the sum of the scores of the parts inside; a sum was not tested and has no bounds: it has "
    "a colour where one of its parts is told from noise"
)


class SummedAttribution(Attribution):
    """Sums of the scores of another attribution."""

    telling: tuple[bool, ...] = ()
    """Whether one of the parts of each segment is told from noise."""

    def stands_out(self, i: int) -> bool:
        """Whether one of the parts of segment i is told from noise."""
        return self.telling[i]


def list_units(attribution: Attribution, call: Call | None = None) -> list[str]:
    """Return the larger parts for which the scores can be summed; none where the method's do not add up."""
    if not can_sum(attribution):
        return []
    cuts: dict[tuple[int, ...], str] = {}
    for unit in _FIRST:
        owners = _assign(attribution.segments, _find_stretches(attribution, unit, call))
        if 1 < len(set(owners)) < len(owners):
            cuts.setdefault(tuple(owners), unit)
    return sorted(cuts.values(), key=UNITS.index)


def can_sum(attribution: Attribution) -> bool:
    """Whether sums of the scores mean something, and each segment is one stretch."""
    return attribution.method in ADDITIVE and not any(s.also for s in attribution.segments)


def sum_scores(attribution: Attribution, unit: str, call: Call | None = None) -> SummedAttribution:
    """Return the sums for larger parts of the prompt.

    Args:
        attribution: by smaller parts.
        unit: one of `UNITS`.
        call: for `variable` and `chunk`: the one that is explained.

    Raises:
        AttributionError: they do not add up, or the prompt has no larger parts of that kind.
    """
    stretches = _find_stretches(attribution, unit, call) if can_sum(attribution) else []
    owners = _assign(attribution.segments, stretches)
    places = sorted(set(owners))
    if not places or len(places) == len(owners):
        raise AttributionError(f"scores of {attribution.method} cannot be summed by {unit!r}")
    number = {place: i for i, place in enumerate(places)}
    columns = [number[owner] for owner in owners]
    apart = [False] * len(places)
    for i, column in enumerate(columns):
        apart[column] = apart[column] or attribution.stands_out(i)
    fields = dict(attribution) | {
        "segments": tuple(stretches[place] for place in places),
        "values": _add(attribution.values, columns, len(places)),
        "matrix": attribution.matrix and tuple(_add(row, columns, len(places)) for row in attribution.matrix),
        "telling": tuple(apart),
        "notes": (*attribution.notes, _SUMS),
        "bounds": "none, these are sums",
        "faithfulness": {},
        "groups": (),
        **dict.fromkeys(("low", "high", "p_values", "q_values")),
    }
    return SummedAttribution.model_construct(**fields)


def _add(row: Sequence[float], columns: Sequence[int], width: int) -> tuple[float, ...]:
    sums = [0.0] * width
    for value, column in zip(row, columns, strict=True):
        sums[column] += value
    return tuple(sums)


def _find_stretches(attribution: Attribution, unit: str, call: Call | None) -> list[Segment]:
    """Return the larger parts in order; empty where the prompt has none of that kind."""
    text, runs = attribution.prompt, _find_runs(attribution)
    if unit == "message":
        named = any(name for *_, name in runs)
        return [_cut(text, (a, b), unit, name) for a, b, name in runs] if named else []
    if unit in ("variable", "chunk"):
        return _find_named(text, unit, call)
    split = get_segmenter(unit)
    return [
        _cut(text, (start + a, start + b), unit, name)
        for start, end, name in runs
        for a, b in split(text[start:end])
    ]


def _find_runs(attribution: Attribution) -> list[tuple[int, int, str | None]]:
    """Return the stretches in which only white space stands between segments: messages, or everything."""
    segments, text = attribution.segments, attribution.prompt
    if not segments:
        return []
    begins = [0] + [
        i + 1
        for i, (a, b) in enumerate(pairwise(segments))
        if a.name != b.name or text[a.end : b.start].strip()
    ]
    ends = [*(i - 1 for i in begins[1:]), len(segments) - 1]
    return [(segments[i].start, segments[j].end, segments[i].name) for i, j in zip(begins, ends, strict=True)]


def _find_named(text: str, unit: str, call: Call | None) -> list[Segment]:
    """Return the variables or documents of a call, and the text between them."""
    spec: SegmentSpec | None = None
    if call is not None and unit == "variable" and call.prompt is not None:
        spec = {name: str(value) for name, value in call.prompt.variables.items()}
    elif call is not None and unit == "chunk" and call.documents:
        spec = Chunks(call.documents)
    if not spec:
        return []
    try:
        named = segment(text, spec).segments
    except AttributionError:  # none of them stands in the prompt
        return []
    if any(piece.also for piece in named):
        return []
    edges = [0, *(edge for piece in named for edge in (piece.start, piece.end)), len(text)]
    between = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if text[a:b].strip()]
    return sorted([*named, *(_cut(text, span, "text", None) for span in between)], key=lambda s: s.start)


def _cut(text: str, span: Span, kind: str, name: str | None) -> Segment:
    start, end = span
    return Segment(start=start, end=end, text=text[start:end], kind=kind, name=name)


def _assign(segments: Sequence[Segment], stretches: Sequence[Segment]) -> list[int]:
    """Return for each segment the stretch that has most of it; empty where one has none."""
    starts = [stretch.start for stretch in stretches]
    owners = []
    for part in segments:
        best, size = -1, 0
        for i in range(max(0, bisect_right(starts, part.start) - 1), len(stretches)):
            if starts[i] >= part.end:
                break
            shared = min(part.end, stretches[i].end) - max(part.start, starts[i])
            if shared > size:
                best, size = i, shared
        if best < 0:
            return []
        owners.append(best)
    return owners
