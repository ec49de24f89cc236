"""Where a template stands in a prompt, and what is left of both when some of its pieces go."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llm_trace.attribution.question.segmenters import Span
from llm_trace.attribution.studies.template_pieces import TemplatePiece, TemplateToken

_PLACES = 20
"""Places of a prompt that may be the template's beginning."""


@dataclass(frozen=True)
class Filling:
    """Where a template stands in a text."""

    start: int
    end: int
    values: tuple[Span, ...]
    """Offsets of what stands for its variables, in order."""
    trimmed: bool
    """Whether the template stands there without the blanks around it."""


def find_filling(tokens: Sequence[TemplateToken], text: str, variables: Mapping[str, Any]) -> Filling | None:
    """Return where a template stands in a text; `None` where it does not stand there as it is.

    Args:
        tokens: of `parse_template`.
        variables: as they were recorded; one that stands there otherwise is what lies between fixed texts.
    """
    for trimmed in (False, True):
        forms = _trim_tokens(tokens) if trimmed else tokens
        known = [_read_value(token, variables) for token in forms]
        for start in _iter_starts(known, text):
            if (spans := _match_tokens(forms, known, text, start)) is not None:
                *values, end = spans
                fields = [span for token, span in zip(forms, values, strict=True) if token.is_field]
                return Filling(start, end[1], tuple(fields), trimmed)
    return None


def _trim_tokens(tokens: Sequence[TemplateToken]) -> list[TemplateToken]:
    forms = list(tokens)
    if forms and not forms[0].is_field:
        forms[0] = replace(forms[0], text=forms[0].text.lstrip())
    if forms and not forms[-1].is_field:
        forms[-1] = replace(forms[-1], text=forms[-1].text.rstrip())
    return forms


def _read_value(token: TemplateToken, variables: Mapping[str, Any]) -> str | None:
    """Return what stands in prompts, where that is known."""
    if not token.is_field:
        return token.text
    value = variables.get(token.text)
    plain = token.is_plain and token.text in variables and isinstance(value, str | int | float | None)
    return str(value) if plain else None


def _iter_starts(known: Sequence[str | None], text: str) -> Iterator[int]:
    unknown = known.index(None) if None in known else len(known)
    anchor = "".join(value or "" for value in known[:unknown])
    start = text.find(anchor)
    for _ in range(_PLACES if anchor else 1):
        if start < 0:
            return
        yield start
        start = text.find(anchor, start + 1)


def _match_tokens(
    tokens: Sequence[TemplateToken], known: Sequence[str | None], text: str, start: int
) -> list[Span] | None:
    """Return where each token stands from `start` on, then the end as an empty span."""
    spans: list[Span] = []
    at = start
    for i, token in enumerate(tokens):
        value = known[i]
        following = tokens[i + 1].text if i + 1 < len(tokens) and not tokens[i + 1].is_field else ""
        if value is not None and text.startswith(value + (following if token.is_field else ""), at):
            end = at + len(value)
        elif token.is_field and (following or i + 1 == len(tokens)):
            end = text.find(following, at) if following else len(text)
        else:
            return None
        if end < 0:
            return None
        spans.append((at, end))
        at = end
    return [*spans, (at, at)]


def fill_tokens(tokens: Sequence[TemplateToken], values: Sequence[str]) -> str:
    """Return the text of a template with these values for its variables, in order."""
    rest = iter(values)
    return "".join(next(rest) if token.is_field else token.text for token in tokens)


def shorten_template(template: str, pieces: Sequence[TemplatePiece], removed: Collection[int]) -> str:
    """Return the template without some of its pieces, by their indices."""
    return remove_stretches(template, [(pieces[i].start, pieces[i].end) for i in removed])


def remove_stretches(text: str, spans: Sequence[Span]) -> str:
    """Return a text without these stretches and the blanks that they leave: whole lines go with their line
    breaks, others with the blanks on one side.
    """
    parts, at = [], 0
    for start, end in _join_spans(text, spans):
        first, last = _widen_span(text, start, end)
        parts.append(text[at : max(at, first)])
        at = last
    return "".join(parts) + text[at:]


def _join_spans(text: str, spans: Sequence[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and not text[joined[-1][1] : start].strip():
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _widen_span(text: str, start: int, end: int) -> Span:
    before, after = text[:start].rstrip(" \t"), text[end:].lstrip(" \t")
    begins, ends = not before or before.endswith("\n"), not after or after.startswith("\n")
    if begins and not after.strip():
        return len(before.rstrip()), len(text)
    if begins and ends:
        blank_before = not before or before.endswith("\n\n")
        after = after.lstrip("\n") if blank_before else after.removeprefix("\n")
        return len(before), len(text) - len(after)
    if ends:
        return len(before), end
    return start, len(text) - len(after)
