"""A template in pieces: its sentences, worked examples and variables."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from llm_trace.attribution.question.segmenters import Span, split_sentences

PieceKind = Literal["text", "example", "variable"]
_LABEL = r"(?im)^[ \t]*(?:[-*•#]+[ \t]*|\d+[.)][ \t]*)?(?:{})\b[^:\n]{{0,20}}:"
_ASKED = re.compile(_LABEL.format("examples?|input|question|q|user|customer|human|query|text"))
_ANSWERED = re.compile(_LABEL.format("output|answer|a|assistant|label|response|result"))
_HEADING = re.compile(r"(?i)\W*example\b[^:\n]*:")
_TITLE = re.compile(r"(?i)[\s\-*•#\d.)]*examples?\b")
_MARKER = re.compile(r"[\W\d_]+|\(?\w{1,2}[.)]")
"""What begins an item of a list and says nothing alone."""


@dataclass(frozen=True)
class TemplatePiece:
    """A stretch of a template that goes or stays as a whole."""

    name: str
    """As it stands in prompts; of a variable its name."""
    kind: PieceKind
    start: int
    """Offsets in the template, where braces are doubled."""
    end: int


@dataclass(frozen=True)
class TemplateToken:
    """Fixed text of a template, or a variable."""

    text: str
    """As it stands in prompts; of a variable its name."""
    is_field: bool
    start: int
    end: int
    is_plain: bool = True
    """Of a variable: whether its value stands in prompts as it is, without a format of its own."""


def parse_template(template: str) -> tuple[TemplateToken, ...]:
    """Return fixed texts and variables of a template as in `str.format`, in order."""
    tokens: list[TemplateToken] = []
    at = 0
    for literal, field, spec, conversion in string.Formatter().parse(template):
        end = at + len(literal) + sum(map(literal.count, "{}"))
        if literal and tokens and not tokens[-1].is_field:
            tokens[-1] = replace(tokens[-1], text=tokens[-1].text + literal, end=end)
        elif literal:
            tokens.append(TemplateToken(literal, False, at, end))
        at = end
        if field is not None:
            words = field + (f"!{conversion}" if conversion else "")
            forms = (f"{{{words}:{spec}}}", f"{{{words}}}")
            end = at + next(len(form) for form in forms if template.startswith(form, at))
            tokens.append(TemplateToken(field, True, at, end, not (spec or conversion)))
            at = end
    return tuple(tokens)


def cut_template(template: str) -> tuple[TemplatePiece, ...]:
    """Return sentences, worked examples and variables of a template, in order."""
    pieces: list[TemplatePiece] = []
    for token in parse_template(template):
        if token.is_field:
            pieces.append(TemplatePiece(token.text, "variable", token.start, token.end))
            continue
        for start, end, kind in _cut_text(token.text):
            before, inside = token.text[:start], token.text[start:end]
            at = token.start + start + sum(map(before.count, "{}"))
            size = end - start + sum(map(inside.count, "{}"))
            pieces.append(TemplatePiece(inside, kind, at, at + size))
    return tuple(pieces)


def _cut_text(text: str) -> Iterator[tuple[int, int, PieceKind]]:
    at = 0
    for start, end in [*_find_examples(text), (len(text), len(text))]:
        for a, b in _join_markers(text[at:start], split_sentences(text[at:start])):
            yield at + a, at + b, "text"
        if end > start:
            yield start, end, "example"
        at = end


def _find_examples(text: str) -> Iterator[Span]:
    """Yield the worked examples: from what is asked, or the word example, to the next one or a blank line."""
    starts = [match.start() for match in _ASKED.finditer(text)]
    heading: int | None = None
    for start, following in pairwise([*starts, len(text)]):
        block = re.split(r"\n[ \t]*\n", text[start:following])[0].rstrip()
        if _HEADING.fullmatch(block) and following < len(text):
            heading = start
            continue
        titled = heading is not None or _TITLE.match(block) is not None
        if (titled and not block.endswith(":")) or _ANSWERED.search(block):
            yield start if heading is None else heading, start + len(block)
        heading = None


def _join_markers(text: str, spans: Sequence[Span]) -> list[Span]:
    """Return the spans, an item's number or dash as one with the sentence after it."""
    joined: list[Span] = []
    for start, end in spans:
        if joined:
            first, last = joined[-1]
            if _MARKER.fullmatch(text[first:last]) and "\n" not in text[last:start]:
                joined[-1] = (first, end)
                continue
        joined.append((start, end))
    return joined
