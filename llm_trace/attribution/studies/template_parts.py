"""Which parts of a prompt's template ever matter in the calls that were explained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.studies.template_pieces import PieceKind, TemplatePiece, cut_template
from llm_trace.rendering.sentences import is_worth_telling

if TYPE_CHECKING:
    from llm_trace.record import Attribution


@dataclass(frozen=True)
class TemplatePart:
    """A sentence of a template, a worked example, or a variable."""

    name: str
    """The text, or the variable's name."""
    kind: PieceKind
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
    pieces = cut_template(template)
    counts = [[0, 0] for _ in pieces]
    shares = [0.0] * len(pieces)
    calls = left_out = 0
    for attribution, variables in explained:
        places = _find_places(pieces, attribution.prompt, variables) if attribution.verdict == "ok" else None
        if places is None:
            left_out += 1
            continue
        calls += 1
        telling = list_telling(attribution)
        for i, (start, end) in enumerate(places):
            counts[i][0] += end > start
            counts[i][1] += any(a < end and start < b for a, b in telling)
            shares[i] += (end - start) / len(attribution.prompt)
    parts = (
        TemplatePart(piece.name, piece.kind, present, telling, share / max(1, calls))
        for piece, (present, telling), share in zip(pieces, counts, shares, strict=True)
    )
    return TemplateStudy(tuple(parts), calls, left_out)


def find_variables(
    template: str, prompt: str, variables: Mapping[str, Any]
) -> dict[str, list[tuple[int, int]]] | None:
    """Return where each variable of a template stands in a prompt, as (start, end).

    A variable has all the places of its fields, as of `{user.name}`. `None` where the prompt does not hold
    the template as it is.
    """
    try:
        pieces = cut_template(template)
    except ValueError:  # another tool's template, with braces of another meaning
        return None
    places = _find_places(pieces, prompt, variables)
    if places is None:
        return None
    spans: dict[str, list[tuple[int, int]]] = {}
    for piece, place in zip(pieces, places, strict=True):
        if piece.kind == "variable":
            spans.setdefault(piece.name.partition(".")[0].partition("[")[0], []).append(place)
    return spans


def _find_places(
    pieces: Sequence[TemplatePiece], prompt: str, variables: Mapping[str, Any]
) -> list[tuple[int, int]] | None:
    """Return where each piece stands; `None` where a sentence of the template is not there."""
    places: list[tuple[int, int]] = []
    at = 0
    for i, piece in enumerate(pieces):
        if piece.kind == "variable":
            start, at = _find_variable(pieces[i + 1 :], prompt, str(variables.get(piece.name, "")), at)
        else:
            start = prompt.find(piece.name, at)
            if start < 0:
                return None
            at = start + len(piece.name)
        places.append((start, at))
    return places


def _find_variable(following: Sequence[TemplatePiece], prompt: str, value: str, at: int) -> tuple[int, int]:
    """Return where a variable stands: its value, or what is left before the next sentence of the template."""
    begin = at + len(prompt[at:]) - len(prompt[at:].lstrip())
    if value and prompt.startswith(value, begin):
        return begin, begin + len(value)
    text = next((piece.name for piece in following if piece.kind != "variable"), None)
    end = prompt.find(text, at) if text is not None else len(prompt)
    return (begin, max(begin, end)) if end >= 0 else (begin, begin)


def list_telling(attribution: Attribution) -> list[tuple[int, int]]:
    """Return the stretches of an attribution's prompt whose effect was told from noise."""
    return [
        span
        for i, segment in enumerate(attribution.segments)
        if is_worth_telling(attribution, i)
        for span in segment.stretches
    ]
