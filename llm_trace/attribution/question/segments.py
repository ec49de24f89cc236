"""From a prompt to segments by character offsets, and from a keep-mask over them back to text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from llm_trace.attribution.core import plugins
from llm_trace.attribution.question.chunks import Chunks, find_chunks
from llm_trace.attribution.question.segmenters import SEGMENTERS, Span
from llm_trace.errors import AttributionError
from llm_trace.record import Segment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Segmenter = Callable[[str], Iterable[Any]]
"""A plug-in: text to (start, end) or (start, end, name) or `Segment`, in any order, without overlaps."""
SegmentSpec = str | re.Pattern[str] | Segmenter | Mapping[str, Any] | Sequence[Any] | Chunks
"""A name of `SEGMENTERS`, `variable`, `message`, `token`; a pattern; variables; spans; documents; or a
segmenter.
"""
CutRule = Literal["exact", "space", "block"]
_CUTS: dict[str, CutRule] = {
    "word": "space",
    "phrase": "space",
    "sentence": "space",
    "line": "block",
    "paragraph": "block",
}


@dataclass(frozen=True)
class Region:
    """A stretch of the prompt that may be changed: the content of one chat message, or everything."""

    start: int
    end: int
    role: str | None


def cut_out_regions(regions: Sequence[Region], text: str, fixed: Sequence[Span]) -> tuple[Region, ...]:
    """Return the regions (or all of the text) without the stretches that are never changed, if any."""
    if not fixed:
        return tuple(regions)
    pieces = []
    for region in regions or (Region(0, len(text), None),):
        inside = [(a, b) for a, b in fixed if region.start < b and a < region.end]
        starts, ends = [region.start, *(b for _, b in inside)], [*(a for a, _ in inside), region.end]
        pieces += [Region(a, b, region.role) for a, b in zip(starts, ends, strict=True) if text[a:b].strip()]
    if not pieces:
        raise AttributionError(f"the prompt holds special tokens only: {text[:60]!r}")
    return tuple(pieces)


@dataclass(frozen=True)
class Segmented:
    """A prompt with its segments, in order of their offsets."""

    text: str
    segments: tuple[Segment, ...]
    cut: CutRule
    """What a deletion takes along: nothing, one adjoining space, or the white space up to the next block."""
    regions: tuple[Span, ...]
    """Where text may be changed: the contents of chat messages, or everything."""
    notes: tuple[str, ...] = ()

    def render(self, keep: NDArray[np.bool_], filler: str | Sequence[str] | None = None) -> str:
        """Return the text without the segments that are not kept, or with `filler` (one, or one for each)."""
        out, done = [], 0
        for (start, end), region in zip(self.regions, self.contents(keep, filler), strict=True):
            out += [self.text[done:start], region]
            done = end
        return "".join(out) + self.text[done:]

    def contents(self, keep: NDArray[np.bool_], filler: str | Sequence[str] | None = None) -> list[str]:
        """Return the regions alone, changed as `render` changes them."""
        stretches = sorted((*span, i) for i, s in enumerate(self.segments) for span in s.stretches)
        owners = [[piece for piece in stretches if a <= piece[0] and piece[1] <= b] for a, b in self.regions]
        return [
            self._region(start, end, inside, keep, filler)
            for (start, end), inside in zip(self.regions, owners, strict=True)
        ]

    def _region(
        self,
        start: int,
        end: int,
        inside: list[tuple[int, int, int]],
        keep: NDArray[np.bool_],
        filler: str | Sequence[str] | None,
    ) -> str:
        """Return one region, built from its end so that a deletion sees what really follows it.

        Args:
            inside: the stretches in it as (start, end, segment), in order.
        """
        tail = self.text[inside[-1][1] : end] if inside else self.text[start:end]
        for at, (first, last, i) in reversed(list(enumerate(inside))):
            before = inside[at - 1][1] if at else start
            gap = self.text[before:first]
            if keep[i]:
                tail = self.text[first:last] + tail
            elif filler is not None:
                tail = (filler if isinstance(filler, str) else filler[i]) + tail
            elif self.cut == "space":
                gap, tail = _close_gap(gap, tail)
            elif self.cut == "block":
                gap, tail = (gap, tail.lstrip()) if tail.strip() else (gap.rstrip(), tail)
            tail = gap + tail
        return tail


def _close_gap(gap: str, tail: str) -> tuple[str, str]:
    """Take one space from what follows, or else from what precedes."""
    if tail.startswith(" "):
        return gap, tail[1:]
    return gap.removesuffix(" "), tail


def segment(text: str, spec: SegmentSpec, *, regions: Sequence[Region] = ()) -> Segmented:
    """Return the text with its segments.

    Args:
        text: the whole prompt as the model reads it.
        spec: see `SegmentSpec`; `token` is made by `renders`, which knows the tokenizer.
        regions: the contents of chat messages; nothing outside them becomes a segment or is changed.

    Raises:
        AttributionError: nothing to segment, segments that overlap or leave the text, an unknown name.
    """
    if not text.strip():
        raise AttributionError("the prompt is empty: there is nothing to attribute to")
    areas = tuple(regions) or (Region(0, len(text), None),)
    notes: tuple[str, ...] = ()
    if isinstance(spec, Chunks):
        segments, notes = find_chunks(text, spec, [(area.start, area.end) for area in areas])
    elif isinstance(spec, Mapping):
        segments, notes = locate_variables(text, spec, areas)
    elif isinstance(spec, Sequence) and not isinstance(spec, str):
        segments = [_segment(text, piece, "span", None) for piece in spec]
    else:
        segments = [s for area in areas for s in _split_region(text, spec, area)]
    spans = tuple((area.start, area.end) for area in areas)
    return Segmented(text, _check_segments(text, segments, spans), _cut(spec), spans, notes)


def _cut(spec: SegmentSpec) -> CutRule:
    return get_cut_rule(spec) if isinstance(spec, str) else "exact"


def get_cut_rule(kind: str) -> CutRule:
    """Return what a deletion of a segment of this kind takes along."""
    return _CUTS.get(kind, "exact")


def _split_region(text: str, spec: SegmentSpec, area: Region) -> list[Segment]:
    """Return the segments of one region."""
    inside = text[area.start : area.end]
    if spec == "message":
        if area.role is None:
            raise AttributionError("segments='message' needs a list of chat messages as the prompt")
        return [_segment(text, (area.start, area.end), "message", area.role)] if inside.strip() else []
    if isinstance(spec, str):
        pieces: Iterable[Any] = get_segmenter(spec)(inside)
        kind = spec
    elif isinstance(spec, re.Pattern):
        pieces, kind = (m.span() for m in spec.finditer(inside) if m.end() > m.start()), "regex"
    elif callable(spec):
        pieces, kind = spec(inside), "span"
    else:
        raise AttributionError(f"segments={spec!r} is not a name, a pattern, a function, variables or spans")
    return [_segment(text, piece, kind, area.role, area.start) for piece in pieces]


def get_segmenter(name: str) -> Segmenter:
    """Return a segmenter by name, ours or of another package (entry point group `llm_trace.segmenters`).

    Raises:
        AttributionError: unknown, or of a package that cannot be imported.
    """
    known = plugins.list_names(plugins.SEGMENTERS, SEGMENTERS)
    if name not in known:
        raise AttributionError(
            f"segments={name!r} is unknown; choose one of "
            f"{', '.join([*known, 'token', 'message', 'variable', 'chunk'])}, or give spans, a pattern or a "
            "function"
        )
    segmenter: Segmenter = plugins.find_plugin(plugins.SEGMENTERS, name, SEGMENTERS, "segmenter")
    return segmenter


def _segment(text: str, piece: Any, kind: str, name: str | None, offset: int = 0) -> Segment:
    """Return a segment from whatever a segmenter gave."""
    more: dict[str, Any] = {}
    if isinstance(piece, Segment):
        start, end, kind, name = piece.start, piece.end, piece.kind, piece.name or name
        more = {"score": piece.score, "also": tuple((a + offset, b + offset) for a, b in piece.also)}
    else:
        try:
            start, end, *rest = piece
        except (TypeError, ValueError) as exc:
            raise AttributionError(f"a segment is (start, end) or (start, end, name), not {piece!r}") from exc
        name = rest[0] if rest else name
    start, end = start + offset, end + offset
    if not 0 <= start < end <= len(text):
        raise AttributionError(
            f"segment {(start, end)!r} is empty or leaves the prompt of {len(text)} characters"
        )
    return Segment(start=start, end=end, text=text[start:end], kind=kind, name=name, **more)


def _check_segments(text: str, segments: list[Segment], regions: Sequence[Span]) -> tuple[Segment, ...]:
    """Return the segments in order, or say which two overlap."""
    ordered = sorted(segments, key=lambda s: s.start)
    if not ordered:
        raise AttributionError(f"no segment was found in the prompt {text[:60]!r}")
    stretches = sorted((span, s.text[:40]) for s in ordered for span in s.stretches)
    for ((_, a_end), a), ((b_start, _), b) in pairwise(stretches):
        if b_start < a_end:
            raise AttributionError(f"segments {a!r} and {b!r} overlap at character {b_start}")
    for span, words in stretches:
        if not any(start <= span[0] and span[1] <= end for start, end in regions):
            raise AttributionError(
                f"segment {words!r} is not inside one chat message or holds a special token; these and the "
                "template are never changed: end the segment there"
            )
    return tuple(ordered)


def locate_variables(
    text: str, variables: Mapping[str, Any], areas: Sequence[Region]
) -> tuple[list[Segment], tuple[str, ...]]:
    """Find the values of variables in the text, longest first, each where it stands first and free."""
    taken: list[Span] = []
    segments, notes = [], []
    for name, value in sorted(variables.items(), key=lambda item: -len(str(item[1]))):
        sought = str(value)
        spots = [
            (at, at + len(sought))
            for area in areas
            for at in _find_occurrences(text, sought, area.start, area.end)
            if not any(start < at + len(sought) and at < end for start, end in taken)
        ]
        if not spots:
            notes.append(f"the variable {name!r} is empty or does not stand in the prompt as it is: left out")
            continue
        if len(spots) > 1:
            notes.append(f"the value of {name!r} stands {len(spots)} times in the prompt: the first is taken")
        taken.append(spots[0])
        segments.append(_segment(text, spots[0], "variable", name))
    return segments, tuple(notes)


def _find_occurrences(text: str, sought: str, start: int, end: int) -> list[int]:
    return [m.start() for m in re.compile(re.escape(sought)).finditer(text, start, end)] if sought else []
