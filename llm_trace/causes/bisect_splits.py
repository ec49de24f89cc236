"""A text's change in hunks: lines with worked examples whole, or words, each of which can be made alone."""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Literal, NamedTuple

from llm_trace.attribution.studies.template_pieces import cut_template
from llm_trace.record import Record

HunkKind = Literal["line", "example", "words", "message", "parameter", "model"]
Applied = frozenset[int]
"""The hunks that are put into a."""
MOST_HUNKS = 48
"""Beyond which neighbours go together: every two hunks are a suspect."""


class Hunk(Record):
    """A part of a change that can be made without the others."""

    kind: HunkKind
    name: str
    """Of the prompt or parameter; of messages that of the function that is asked them."""
    before: str
    """As it stands in a, a value as JSON; empty where a has none."""
    after: str
    """As it stands in b."""

    def describe(self, most: int = 80) -> str:
        """Return the hunk in a line."""
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        if self.kind in ("parameter", "model"):
            return f"{self.name}: {before or 'absent'} -> {after}"
        shown = f"+ {after}" if not before else f"- {before}" if not after else f"{before} -> {after}"
        return shown if len(shown) <= most else shown[: most - 1] + "…"


class MixedPart(NamedTuple):
    """A stretch of a template that both versions have (`hunk` is `None`), or one of its hunks."""

    before: str
    after: str
    hunk: int | None


def mix_parts(parts: Iterable[MixedPart], applied: Applied) -> str:
    """Return a text with some hunks put in."""
    return "".join(part.after if part.hunk in applied else part.before for part in parts)


def split_change(
    name: str, before: str, after: str, *, by: Literal["lines", "words"], first: int
) -> tuple[list[MixedPart], list[Hunk]]:
    """Return a text in parts, and its hunks, of which the first has the number `first`.

    A worked example is one hunk, however many lines it has.
    """
    cut = _cut_lines if by == "lines" else _cut_words
    old, new = cut(before), cut(after)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    pairs: list[tuple[str, str, bool]] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        texts = list(zip_longest(old[a:b], new[c:d], fillvalue=""))
        pairs += [(*pair, tag != "equal") for pair in (texts if tag == "equal" else _join_blank(texts))]
    count = sum(changed for *_, changed in pairs)
    hunks: list[Hunk] = []
    parts: list[MixedPart] = []
    seen = 0
    for text, other, changed in pairs:
        if not changed:
            parts.append(MixedPart(text, other, None))
            continue
        number = seen * min(count, MOST_HUNKS) // count
        seen += 1
        if number == len(hunks):
            kind: HunkKind = "words" if by == "words" else _find_kind(other or text)
            hunks.append(Hunk(kind=kind, name=name, before=text, after=other))
        else:
            last = hunks[number]
            hunks[number] = last.model_copy(
                update={"before": last.before + text, "after": last.after + other}
            )
        parts.append(MixedPart(text, other, first + number))
    return parts, hunks


def split_literal(
    name: str, before: str, after: str, *, by: Literal["lines", "words"], first: int
) -> tuple[list[MixedPart], list[Hunk]]:
    """Return what `split_change` does of texts in which braces are no more than braces."""
    old, new = (text.replace("{", "{{").replace("}", "}}") for text in (before, after))
    parts, hunks = split_change(name, old, new, by=by, first=first)
    texts = [MixedPart(_unescape(part.before), _unescape(part.after), part.hunk) for part in parts]
    return texts, [
        hunk.model_copy(update={"before": _unescape(hunk.before), "after": _unescape(hunk.after)})
        for hunk in hunks
    ]


def _unescape(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")


def _find_kind(text: str) -> HunkKind:
    pieces = cut_template(text)
    return "example" if pieces and all(piece.kind == "example" for piece in pieces) else "line"


def _cut_words(text: str) -> list[str]:
    return _join_fields(re.findall(r"\s*\S+\s*$|\s*\S+|\s+", text))


def _join_blank(texts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return pairs of texts, those that are blank with the one beside them."""
    joined: list[tuple[str, str]] = []
    for before, after in texts:
        last = "".join(joined[-1]) if joined else ""
        if joined and (not last.strip() or not (before + after).strip()):
            joined[-1] = joined[-1][0] + before, joined[-1][1] + after
        else:
            joined.append((before, after))
    return joined


def _cut_lines(text: str) -> list[str]:
    """Return the lines; an example's lines together."""
    lines: list[str] = []
    inside = [(piece.start, piece.end) for piece in cut_template(text) if piece.kind == "example"]
    at = 0
    for line in text.splitlines(keepends=True):
        continues = any(start < at < end for start, end in inside)
        if lines and continues:
            lines[-1] += line
        else:
            lines.append(line)
        at += len(line)
    return _join_fields(lines)


def _join_fields(units: Sequence[str]) -> list[str]:
    """Return the units, those together that a variable or a doubled brace runs through."""
    joined: list[str] = []
    text = ""
    for unit in units:
        text += unit
        try:
            list(string.Formatter().parse(text))
        except ValueError:
            continue
        joined.append(text)
        text = ""
    return [*joined, text] if text else joined
