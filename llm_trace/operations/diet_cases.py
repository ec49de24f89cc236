"""Calls of one prompt taken apart: what may go from each of them, and what would be asked without it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from llm_trace.attribution.models.questions import parse_question, read_answer
from llm_trace.attribution.question import chat
from llm_trace.attribution.question.chunks import Chunks, find_chunks
from llm_trace.attribution.remote.prompts import put_text
from llm_trace.attribution.studies.answering import ToolPrompt
from llm_trace.attribution.studies.template_edits import (
    Filling,
    fill_tokens,
    find_filling,
    remove_stretches,
    shorten_template,
)
from llm_trace.attribution.studies.template_pieces import TemplatePiece, cut_template, parse_template
from llm_trace.errors import AttributionError
from llm_trace.stores.dataset_tools import list_tools

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from llm_trace.attribution.question.segmenters import Span
    from llm_trace.attribution.studies.answering import PromptLike
    from llm_trace.attribution.studies.template_pieces import TemplateToken
    from llm_trace.record import Call

PartKind = Literal["text", "example", "variable", "document", "position", "tool"]
"""A sentence, a worked example or a variable of the template; a retrieved document, or whichever stands so
far down; the schema of a tool.
"""


class RemovablePart(NamedTuple):
    """Something that goes from every call of a prompt, or stays."""

    kind: PartKind
    name: str
    piece: int = -1
    """Of a part of the template: which of its pieces it is."""


Removal = frozenset[RemovablePart]
WHOLE: Removal = frozenset()


class TextPlace(NamedTuple):
    """A stretch of one of a prompt's texts."""

    text: int
    start: int
    end: int


@dataclass(frozen=True)
class Case:
    """A call taken apart."""

    call: Call
    prompt: PromptLike
    texts: tuple[str, ...]
    """Of the messages, or the one text."""
    host: int
    """Which of the texts holds the template."""
    filling: Filling
    chunks: Mapping[RemovablePart, tuple[TextPlace, ...]]
    tools: tuple[tuple[RemovablePart, Mapping[str, Any]], ...]
    answer: str | None
    """In words, where there was one."""

    @property
    def called(self) -> frozenset[str]:
        """The names of the tools that the model called, now or earlier in the conversation."""
        spoken = (*self.call.messages_in, *self.call.messages_out)
        extras = [part.model_extra or {} for message in spoken for part in message.parts]
        return frozenset(str(extra["name"]) for extra in extras if extra.get("name"))

    def count_characters(self, removal: Removal, template: str) -> int:
        """Return the length of all texts and tool schemas that are left."""
        rendered = render_texts(self, template, removal)
        return sum(map(len, rendered)) + sum(
            measure_tool(tool) for part, tool in self.tools if part not in removal
        )


def measure_tool(tool: Mapping[str, Any]) -> int:
    """Return the characters of a tool's schema as JSON."""
    return len(json.dumps(tool, ensure_ascii=False, default=str))


@lru_cache(32)
def list_pieces(template: str) -> tuple[TemplatePiece, ...]:
    """Return the pieces of a template."""
    return cut_template(template)


def list_template_parts(template: str) -> list[RemovablePart]:
    """Return what may go from a template: what has a letter or a digit in it."""
    return [
        RemovablePart(piece.kind, piece.name, i)
        for i, piece in enumerate(list_pieces(template))
        if any(map(str.isalnum, piece.name))
    ]


def build_case(call: Call, template: str) -> Case | None:
    """Return a call taken apart; `None` where its prompt does not hold the template as it is."""
    try:
        prompt = parse_question(call, "-").prompt
    except AttributionError:
        return None
    texts = (prompt,) if isinstance(prompt, str) else tuple(map(chat.get_content, prompt))
    variables = call.prompt.variables if call.prompt else {}
    tokens = parse_template(template)
    fillings = ((i, find_filling(tokens, text, variables)) for i, text in enumerate(texts))
    host, filling = next(((i, each) for i, each in fillings if each is not None), (0, None))
    if filling is None:
        return None
    chunks: dict[RemovablePart, tuple[TextPlace, ...]] = {}
    for part, place in iter_chunks(call, texts):
        chunks[part] = (*chunks.get(part, ()), place)
    return Case(call, prompt, texts, host, filling, chunks, tuple(_iter_tools(call)), read_answer(call))


def iter_chunks(call: Call, texts: Sequence[str]) -> Iterator[tuple[RemovablePart, TextPlace]]:
    """Yield where the retrieved documents stand, each by its id and by its position among them."""
    if not call.documents:
        return
    ids = {document.id for document in call.documents}
    position = 0
    for i, text in enumerate(texts):
        try:
            segments, _ = find_chunks(text, Chunks(call.documents), [(0, len(text))])
        except AttributionError:
            continue
        for segment in sorted(segments, key=lambda segment: segment.start):
            position += 1
            name = segment.name if segment.name in ids else " ".join(segment.text.split())[:80]
            for start, end in segment.stretches:
                yield RemovablePart("document", name or "", -1), TextPlace(i, start, end)
                yield (
                    RemovablePart("position", f"no. {position} of the retrieved chunks"),
                    TextPlace(i, start, end),
                )


def _iter_tools(call: Call) -> Iterator[tuple[RemovablePart, Mapping[str, Any]]]:
    for tool in list_tools(call.input, call.metadata):
        function = tool.get("function")
        name = (function if isinstance(function, Mapping) else tool).get("name")
        yield RemovablePart("tool", str(name)), tool


class Shorter(NamedTuple):
    """A template without some of its pieces."""

    template: str
    tokens: tuple[TemplateToken, ...]
    fields: tuple[int, ...]
    """Which of the variables are left, counted as they stand in the whole template."""


@lru_cache(1024)
def shorten_part(template: str, removal: Removal) -> Shorter:
    """Return what is left of a template."""
    gone = {part.piece for part in removal if part.piece >= 0}
    pieces = list_pieces(template)
    for i, piece in enumerate(pieces):  # a full stop goes with the variable before it
        if i - 1 in gone and piece.start == pieces[i - 1].end and not any(map(str.isalnum, piece.name)):
            gone.add(i)
    short = shorten_template(template, pieces, gone)
    fields = [i for i, piece in enumerate(pieces) if piece.kind == "variable"]
    return Shorter(short, parse_template(short), tuple(n for n, i in enumerate(fields) if i not in gone))


def render_case(case: Case, template: str, removal: Removal) -> PromptLike | ToolPrompt | None:
    """Return what would be asked without some parts; `None` where nothing is left to ask."""
    texts = render_texts(case, template, removal)
    if not any(text.strip() for text in texts):
        return None
    prompt: PromptLike = texts[0]
    if not isinstance(case.prompt, str):
        pairs = zip(case.prompt, case.texts, texts, strict=True)
        prompt = [
            dict(message) if new == old else put_text(message, new)
            for message, old, new in pairs
            if new.strip() or not old.strip()
        ]
    tools = tuple(tool for part, tool in case.tools if part not in removal)
    return ToolPrompt(prompt, tools) if case.tools else prompt


def render_texts(case: Case, template: str, removal: Removal) -> list[str]:
    """Return the texts of a call's prompt without some parts."""
    gone = [place for part in removal for place in case.chunks.get(part, ())]
    texts = [
        _cut(text, (0, len(text)), [place for place in gone if place.text == i])
        for i, text in enumerate(case.texts)
    ]
    text, filling = case.texts[case.host], case.filling
    here = [place for place in gone if place.text == case.host]
    if any(part.piece >= 0 for part in removal):
        shorter = shorten_part(template, removal)
        values = [_cut(text, filling.values[n], here) for n in shorter.fields]
        middle = fill_tokens(shorter.tokens, values)
        head, tail = ((0, filling.start), (filling.end, len(text)))
        middle = middle.strip() if filling.trimmed else middle
        texts[case.host] = _cut(text, head, here) + middle + _cut(text, tail, here)
    return texts


def _cut(text: str, span: Span, gone: Iterable[TextPlace]) -> str:
    """Return a stretch of a text without the places in it."""
    start, end = span
    inside = [(a - start, b - start) for _, a, b in gone if start <= a and b <= end]
    return remove_stretches(text[start:end], inside) if inside else text[start:end]
