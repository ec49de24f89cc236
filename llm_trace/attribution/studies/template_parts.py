"""Which parts of a prompt's template ever matter in the calls that were explained."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llm_trace.attribution.question.segmenters import split_sentences
from llm_trace.rendering.sentences import is_worth_telling

if TYPE_CHECKING:
    from llm_trace.record import Attribution


@dataclass(frozen=True)
class TemplatePart:
    """A sentence of a template, or a variable."""

    name: str
    """The sentence, or the variable's name."""
    kind: Literal["text", "variable"]
    calls: int
    """Explained calls that have it."""
    telling: int
    """Those in which something of it was told from noise."""
    share: float
    """Mean part of the prompt's characters, 0 to 1."""

    @property
    def idle(self) -> bool:
        """Whether it never mattered."""
        return self.calls > 0 and not self.telling


@dataclass(frozen=True)
class TemplateStudy:
    """What was found of a template."""

    parts: tuple[TemplatePart, ...]
    """In the template's order."""
    calls: int
    """Explained calls that it rests on."""
    left_out: int
    """Explained calls without evidence, or whose prompt does not hold the template as it is."""
    confidence: float = 0.95

    @property
    def unseen(self) -> float:
        """In what share of such calls a part that never mattered may matter at most (Clopper and Pearson)."""
        return float(1 - (1 - self.confidence) ** (1 / self.calls)) if self.calls else 1.0


def study_template(
    template: str, explained: Iterable[tuple[Attribution, Mapping[str, Any]]]
) -> TemplateStudy:
    """Return of each part of a template in how many calls it was told from noise.

    Args:
        template: as in `str.format`.
        explained: an attribution of each call, and the prompt's variables in it.
    """
    pieces = _cut_template(template)
    counts = [[0, 0] for _ in pieces]
    shares = [0.0] * len(pieces)
    calls = left_out = 0
    for attribution, variables in explained:
        places = _find_places(pieces, attribution.prompt, variables) if attribution.verdict == "ok" else None
        if places is None:
            left_out += 1
            continue
        calls += 1
        telling = _list_telling(attribution)
        for i, (start, end) in enumerate(places):
            counts[i][0] += end > start
            counts[i][1] += any(a < end and start < b for a, b in telling)
            shares[i] += (end - start) / len(attribution.prompt)
    parts = (
        TemplatePart(name, kind, present, told, share / max(1, calls))
        for (name, kind), (present, told), share in zip(pieces, counts, shares, strict=True)
    )
    return TemplateStudy(tuple(parts), calls, left_out)


Piece = tuple[str, Literal["text", "variable"]]


def find_variables(
    template: str, prompt: str, variables: Mapping[str, Any]
) -> dict[str, list[tuple[int, int]]] | None:
    """Return where each variable of a template stands in a prompt, as (start, end).

    A variable has all the places of its fields, as of `{user.name}`. `None` where the prompt does not hold
    the template as it is.
    """
    try:
        pieces = _cut_template(template)
    except ValueError:  # another tool's template, with braces of another meaning
        return None
    places = _find_places(pieces, prompt, variables)
    if places is None:
        return None
    spans: dict[str, list[tuple[int, int]]] = {}
    for (name, kind), place in zip(pieces, places, strict=True):
        if kind == "variable":
            spans.setdefault(name.partition(".")[0].partition("[")[0], []).append(place)
    return spans


def _cut_template(template: str) -> list[Piece]:
    pieces: list[Piece] = []
    for text, field, _, _ in string.Formatter().parse(template):
        pieces += [(text[a:b], "text") for a, b in split_sentences(text)]
        if field is not None:
            pieces.append((field, "variable"))
    return pieces


def _find_places(
    pieces: list[Piece], prompt: str, variables: Mapping[str, Any]
) -> list[tuple[int, int]] | None:
    """Return where each piece stands; `None` where a sentence of the template is not there."""
    places: list[tuple[int, int]] = []
    at = 0
    for i, (name, kind) in enumerate(pieces):
        if kind == "text":
            start = prompt.find(name, at)
            if start < 0:
                return None
            at = start + len(name)
        else:
            start, at = _find_variable(pieces[i + 1 :], prompt, str(variables.get(name, "")), at)
        places.append((start, at))
    return places


def _find_variable(following: list[Piece], prompt: str, value: str, at: int) -> tuple[int, int]:
    """Return where a variable stands: its value, or what is left before the next sentence of the template."""
    begin = at + len(prompt[at:]) - len(prompt[at:].lstrip())
    if value and prompt.startswith(value, begin):
        return begin, begin + len(value)
    text = next((name for name, kind in following if kind == "text"), None)
    end = prompt.find(text, at) if text is not None else len(prompt)
    return (begin, max(begin, end)) if end >= 0 else (begin, begin)


def _list_telling(attribution: Attribution) -> list[tuple[int, int]]:
    return [
        span
        for i, segment in enumerate(attribution.segments)
        if is_worth_telling(attribution, i)
        for span in segment.stretches
    ]
