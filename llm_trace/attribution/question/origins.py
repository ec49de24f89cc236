"""Whose words a prompt consists of: the origin of each character, from roles, tools' answers, retrieved
documents and variables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.question.chunks import Chunks, find_chunks
from llm_trace.attribution.question.segments import Region, locate_variables
from llm_trace.call_parts import ORIGINS
from llm_trace.capture.prompts import get_variable
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.question.segmenters import Span
    from llm_trace.attribution.question.segments import Segmented
    from llm_trace.record import Document, Segment, TextOrigin

_BY_TRUST: tuple[TextOrigin | None, ...] = (None, *ORIGINS)
ROLES: Mapping[str, TextOrigin] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
    "observation": "tool",
}
"""The origin of what messages of a role say; the model's own words have none."""


@dataclass(frozen=True)
class OriginSources:
    """What is known of where the words of a prompt come from."""

    names: Mapping[str, TextOrigin] = field(default_factory=dict)
    """By name of a variable or role of messages; goes before what is known otherwise."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """Values of the prompt's variables."""
    spans: Mapping[str, Span] = field(default_factory=dict)
    """Where variables stand, as far as it is known exactly; the others are looked for."""
    tool_answers: tuple[str, ...] = ()
    """What tools answered, in messages of another role."""
    documents: tuple[Document, ...] = ()


@dataclass(frozen=True)
class OriginMap:
    """The origin of each character of a prompt."""

    codes: NDArray[np.int8]
    """(characters,): index in the order of trust, 0 for the model's own words."""

    def label_segments(self, segmented: Segmented) -> Segmented:
        """Return the segments with their origins."""
        labelled = tuple(
            segment.model_copy(update={"origin": self._find_origin(segment)})
            for segment in segmented.segments
        )
        return replace(segmented, segments=labelled)

    def _find_origin(self, segment: Segment) -> TextOrigin | None:
        return _BY_TRUST[max(int(self.codes[a:b].max()) for a, b in segment.stretches)]

    def split_regions(self, regions: Sequence[Region], text: str) -> tuple[Region, ...]:
        """Return the regions (or all of the text) cut where the origin changes: no segment has two."""
        pieces = []
        for region in regions or (Region(0, len(text), None),):
            inside = self.codes[region.start : region.end]
            cuts = [0, *(np.flatnonzero(np.diff(inside)) + 1).tolist(), len(inside)]
            pieces += [
                Region(region.start + a, region.start + b, region.role)
                for a, b in pairwise(cuts)
                if text[region.start + a : region.start + b].strip()
            ]
        return tuple(pieces)


def map_origins(
    text: str, regions: Sequence[Region], sources: OriginSources
) -> tuple[OriginMap, tuple[str, ...]]:
    """Return the origin of each character, and notes on what was looked for and does not stand in the prompt.

    In a chat it is that of the message's role; in a plain text the user's, or where the prompt has variables
    the author's around them and the user's inside. Retrieved documents, tools' answers in messages of other
    roles and variables whose origin is named go before that.

    Args:
        text: the whole prompt as the model reads it.
        regions: the contents of chat messages, none for a plain text.
        sources: what is known.
    """
    codes = np.zeros(len(text), dtype=np.int8)
    areas = [region for region in regions if region.role is not None]
    chat = bool(areas)
    for region in areas:
        origin = sources.names.get(str(region.role), ROLES.get(str(region.role)))
        codes[region.start : region.end] = _BY_TRUST.index(origin)
    if not chat:
        codes[:] = _BY_TRUST.index("system" if sources.variables else "user")
    whole = areas or [Region(0, len(text), None)]
    notes = _mark_answers(codes, text, whole, sources) + _mark_variables(codes, text, whole, sources, chat)
    return OriginMap(codes), notes


def _mark_answers(
    codes: NDArray[np.int8], text: str, areas: Sequence[Region], sources: OriginSources
) -> tuple[str, ...]:
    """Give tools' answers and retrieved documents their origins."""
    notes: list[str] = []
    for documents, origin in (
        (tuple(_make_document(answer) for answer in sources.tool_answers), "tool"),
        (sources.documents, "retrieved"),
    ):
        if not documents:
            continue
        try:
            chunks, more = find_chunks(text, Chunks(documents), [(a.start, a.end) for a in areas])
        except AttributionError as exc:
            notes.append(f"origin {origin!r}: {exc}")
            continue
        notes += [f"origin {origin!r}: {note}" for note in more if "everywhere" not in note]
        for start, end in (span for chunk in chunks for span in chunk.stretches):
            codes[start:end] = _BY_TRUST.index(origin)
    return tuple(notes)


def _make_document(text: str) -> Document:
    from llm_trace.record import Document

    return Document(content=text)


def _mark_variables(
    codes: NDArray[np.int8], text: str, areas: Sequence[Region], sources: OriginSources, chat: bool
) -> tuple[str, ...]:
    """Give variables the origins that were named for them; in a plain text the others are the user's."""
    wanted = {name: value for name, value in sources.variables.items() if name in sources.names or not chat}
    known = {name: span for name, span in sources.spans.items() if get_variable(name) in wanted}
    left = {name: value for name, value in wanted.items() if name not in {get_variable(n) for n in known}}
    segments, notes = locate_variables(text, left, areas)
    places = [*known.items(), *((s.name or "", (s.start, s.end)) for s in segments)]
    for name, (start, end) in places:
        codes[start:end] = _BY_TRUST.index(sources.names.get(get_variable(name), "user"))
    return notes


def check_origins(origins: Mapping[str, Any]) -> dict[str, TextOrigin]:
    """Return origins by name as they were given.

    Raises:
        AttributionError: one of them is none.
    """
    for name, origin in origins.items():
        if origin not in ORIGINS:
            raise AttributionError(f"origins: {name!r} has {origin!r}; choose one of {', '.join(ORIGINS)}")
    return dict(origins)
