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
class ToolResult:
    """What a tool answered in a conversation."""

    text: str
    tool: str | None
    """Its name, where that is known."""
    in_own_message: bool
    """Whether it is a message of a role of tools; else it is a part of another one."""


@dataclass(frozen=True)
class OriginSources:
    """What is known of where the words of a prompt come from."""

    names: Mapping[str, TextOrigin] = field(default_factory=dict)
    """By name of a variable, a tool or a role of messages; goes before what is known otherwise."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """Values of the prompt's variables."""
    spans: Mapping[str, Span] = field(default_factory=dict)
    """Where variables stand, as far as it is known exactly; the others are looked for."""
    tool_answers: tuple[ToolResult, ...] = ()
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
    roles, tools and variables whose origin is named go before that.

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
    named = {name: value for name, value in sources.variables.items() if name in sources.names}
    others = {name: value for name, value in sources.variables.items() if name not in named and not chat}
    notes = _mark_variables(codes, text, whole, sources, others)  # documents and answers may stand in them
    notes += _mark_answers(codes, text, whole, sources)
    return OriginMap(codes), notes + _mark_variables(codes, text, whole, sources, named)


def _mark_answers(
    codes: NDArray[np.int8], text: str, areas: Sequence[Region], sources: OriginSources
) -> tuple[str, ...]:
    """Give tools' answers and retrieved documents their origins."""
    notes: list[str] = []
    own = [area for area in areas if ROLES.get(str(area.role)) == "tool"]
    groups: dict[tuple[TextOrigin, bool], list[Document]] = {}
    for answer in sources.tool_answers:
        origin = sources.names.get(answer.tool or "", None if answer.in_own_message else "tool")
        if origin is not None:
            groups.setdefault((origin, answer.in_own_message), []).append(_make_document(answer.text))
    if sources.documents:
        groups["retrieved", False] = [*groups.get(("retrieved", False), ()), *sources.documents]
    for (origin, in_own_message), documents in groups.items():
        places = [(area.start, area.end) for area in (own if in_own_message else areas)]
        try:
            chunks, more = find_chunks(text, Chunks(tuple(documents)), places)
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
    codes: NDArray[np.int8], text: str, areas: Sequence[Region], sources: OriginSources,
    wanted: Mapping[str, Any],
) -> tuple[str, ...]:  # fmt: skip
    """Give some variables the origins that were named for them, or else the user's."""
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
