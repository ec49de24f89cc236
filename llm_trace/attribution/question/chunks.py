"""Retrieved documents in a prompt: where each of them stands, as the segments of `segments="chunk"`."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from llm_trace.capture.redaction import MASK
from llm_trace.errors import AttributionError
from llm_trace.record import Document, Segment
from llm_trace.semconv.documents import list_documents

if TYPE_CHECKING:
    from llm_trace.attribution.question.segmenters import Span

_SHORT = 40
"""Characters below which a document is looked for between other words only, and never by its beginning."""
_LEAST = 8
"""Letters and digits that a masked document must have left to be told from other masked ones."""
_MOST_NAMED = 5


@dataclass(frozen=True)
class Chunks:
    """The documents whose stretches of the prompt are its segments."""

    documents: tuple[Document, ...]


@dataclass(frozen=True)
class Area:
    """A stretch of the prompt in which documents are looked for."""

    start: int
    text: str


def read_documents(spec: Any) -> tuple[Document, ...] | None:
    """Return the documents in what a user gave as segments; `None` where it is something else.

    Documents are texts, dicts, `Document`s, objects as LangChain's and LlamaIndex's, or pairs of one with its
    score.
    """
    if isinstance(spec, str | Mapping) or not isinstance(spec, Sequence) or not spec:
        return None
    if any(_is_span(piece) for piece in spec):
        return None
    if all(isinstance(piece, Document) for piece in spec):
        return tuple(spec)
    documents = [document for piece in spec for document in list_documents([piece])]
    return build_documents(documents) if len(documents) == len(spec) else None


def build_documents(fields: Sequence[Mapping[str, Any]], span_id: str | None = None) -> tuple[Document, ...]:
    """Return documents of their fields, as `semconv.documents` gives them."""
    return tuple(Document(**entry, span_id=span_id) for entry in fields)


def _is_span(piece: Any) -> bool:
    """Say whether a piece is a segment or offsets; a text, a document or a pair of one is none."""
    return isinstance(piece, Segment) or (
        isinstance(piece, tuple | list) and bool(piece) and hasattr(piece[0], "__index__")
    )


def find_chunks(text: str, chunks: Chunks, regions: Sequence[Span]) -> tuple[list[Segment], tuple[str, ...]]:
    """Return a segment for each document that stands in the prompt, and notes on those that do not.

    A document is taken as it is, with other white space, escaped as JSON, HTML or Python write it, or by its
    beginning where the rest was cut off. All stretches of a document are one segment. What several documents
    cover (equal, overlapping or contained ones) is a segment of its own that has all their names.

    Raises:
        AttributionError: none of the documents stands in the prompt.
    """
    documents = _drop_repeats(chunks.documents)
    names = _name_documents(documents)
    areas = [Area(start, text[start:end]) for start, end in regions]
    spans, notes, lost = [], [], []
    for i, document in enumerate(documents):
        if reason := _describe_unusable(document):
            notes.append(f"the document {names[i]!r} {reason}: left out")
            continue
        places = _find_whole(document, areas)
        if not places and (cut := _find_beginning(document, documents, areas)):
            places = [cut.span]
            notes.append(
                f"of the document {names[i]!r} only the first {cut.length:,} of {cut.whole:,} characters "
                "stand in the prompt"
            )
        if len(places) > 1:
            notes.append(f"the document {names[i]!r} stands {len(places)} times: it goes everywhere at once")
        if not places:
            lost.append(repr(names[i]))
        spans += [(start, end, i) for start, end in places]
    notes += [f"documents that do not stand in the prompt as they are: {_join(lost)}"] if lost else []
    if not spans:
        raise AttributionError(
            f"none of the {len(documents)} documents stands in the prompt: {'; '.join(notes)}"
        )
    segments = [_build_segment(text, key, places, documents, names) for key, places in _cut_up(text, spans)]
    shared = [segment.name for segment in segments if segment.name and segment.name not in names]
    notes += [f"documents share text, which is a segment of its own: {_join(shared)}"] if shared else []
    return segments, tuple(notes)


def _join(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _drop_repeats(documents: Sequence[Document]) -> list[Document]:
    """Return the documents, of one that was found again (by a reranker) with its latest score."""
    latest: dict[tuple[str | None, str | None], Document] = {}
    for document in documents:
        latest[document.id, document.content] = document
    return list(latest.values())


def _name_documents(documents: Sequence[Document]) -> list[str]:
    """Return a name for each: its id, or its number; of several parts of one id also which of them it is."""
    names: list[str] = []
    for i, document in enumerate(documents):
        name = document.id or f"document {i + 1}"
        names.append(name if name not in names else f"{name} #{i + 1}")
    return names


def _describe_unusable(document: Document) -> str | None:
    """Return why a document cannot be looked for, `None` where it can."""
    if document.content is None:
        return "has no text in its record"
    if not document.content.strip():
        return "is empty"
    rest = document.content.replace(MASK, "")
    masked = rest != document.content and sum(map(str.isalnum, rest)) < _LEAST
    return "was masked before it was logged" if masked else None


def _iter_forms(content: str) -> Iterator[str]:
    """Yield the text as templates and tools write it into prompts."""
    yield from dict.fromkeys(
        (
            content,
            json.dumps(content, ensure_ascii=False)[1:-1],
            json.dumps(content)[1:-1],
            html.escape(content),
            html.escape(content, quote=False),
            repr(content)[1:-1],
        )
    )


def _find_whole(document: Document, areas: Sequence[Area]) -> list[Span]:
    """Return where a document stands whole, in any form, without overlaps."""
    places: list[Span] = []
    for form in _iter_forms((document.content or "").strip()):
        pattern = re.compile(r"\s+".join(map(re.escape, form.split())))
        for area in areas:
            for match in pattern.finditer(area.text):
                start, end = match.start() + area.start, match.end() + area.start
                alone = len(form) >= _SHORT or _stands_alone(area.text, *match.span())
                if alone and not any(a < end and start < b for a, b in places):
                    places.append((start, end))
    return sorted(places)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Say whether a stretch begins and ends with whole words."""
    cuts = ((start - 1, start), (end - 1, end))
    return not any(
        left >= 0 and right < len(text) and _is_word(text[left]) and _is_word(text[right])
        for left, right in cuts
    )


def _is_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


@dataclass(frozen=True)
class _Beginning:
    """Where the beginning of a document stands."""

    span: Span
    length: int
    """Characters of it that stand there."""
    whole: int
    """Characters of the document."""


def _find_beginning(
    document: Document, documents: Sequence[Document], areas: Sequence[Area]
) -> _Beginning | None:
    """Return the one place where most of a document's beginning stands; `None` where several are as good, or
    where another document begins alike.
    """
    bodies = [" ".join((other.content or "").split()) for other in documents if other is not document]
    best: list[_Beginning] = []
    for form in _iter_forms(" ".join((document.content or "").split())):
        alike = max((_count_common(form, 0, body) for body in bodies), default=0)
        least = max(_SHORT, alike + 1)
        for area in areas:
            flat, offsets = _collapse(area.text)
            at = flat.find(form[:least]) if len(form) >= least else -1
            while at >= 0:
                length = _count_common(flat, at, form)
                end = offsets[at + length - 1] + 1
                best.append(_Beginning((area.start + offsets[at], area.start + end), length, len(form)))
                at = flat.find(form[:least], at + 1)
    longest = max((place.length for place in best), default=0)
    first = [place for place in best if place.length == longest]
    return first[0] if len({place.span for place in first}) == 1 else None


def _count_common(text: str, start: int, body: str) -> int:
    """Return how many characters from `start` on are those of the body."""
    count = 0
    for ours, theirs in zip(text[start : start + len(body)], body, strict=False):
        if ours != theirs:
            break
        count += 1
    return count


def _collapse(text: str) -> tuple[str, list[int]]:
    """Return the text with each run of white space as one space, and where each character stood."""
    offsets = [
        i for i, character in enumerate(text) if not character.isspace() or not text[i - 1 : i].isspace()
    ]
    return "".join(" " if text[i].isspace() else text[i] for i in offsets), offsets


def _cut_up(text: str, spans: Sequence[tuple[int, int, int]]) -> Iterator[tuple[tuple[int, ...], list[Span]]]:
    """Yield each set of documents that covers text alone, with the stretches that it covers."""
    ends = sorted({end for start, stop, _ in spans for end in (start, stop)})
    covered: dict[tuple[int, ...], list[Span]] = {}
    for start, end in pairwise(ends):
        piece = text[start:end]
        key = tuple(dict.fromkeys(i for a, b, i in spans if a <= start and end <= b))
        if key and piece.strip():
            left, right = len(piece) - len(piece.lstrip()), len(piece.rstrip())
            covered.setdefault(tuple(sorted(key)), []).append((start + left, start + right))
    yield from covered.items()


def _build_segment(
    text: str, key: tuple[int, ...], places: list[Span], documents: Sequence[Document], names: Sequence[str]
) -> Segment:
    (start, end), *others = places
    scores = [score for i in key if (score := documents[i].score) is not None]
    return Segment(
        start=start,
        end=end,
        text=text[start:end],
        kind="chunk",
        name=", ".join(names[i] for i in key),
        score=max(scores, default=None),
        also=tuple(others),
    )
