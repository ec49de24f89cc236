"""What may vary in a text of production: values of prompt variables, dates, numbers and names."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from llm_trace.evaluation.names import NAMES

MarkKind = Literal["variable", "date", "number", "name"]
LONGEST, WORDS = 40, 4
"""Characters and words of a value; what is longer is a text, within which parts are marked."""
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = re.compile(
    rf"\b(?P<iso>\d{{4}}-\d{{2}}-\d{{2}})\b|\b\d{{1,2}}\.? (?:{_MONTHS})(?: \d{{4}})?\b"
    rf"|\b(?:{_MONTHS}) \d{{1,2}}(?:st|nd|rd|th)?(?:, \d{{4}})?\b"
)
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?![\w])")
_UNIT = re.compile(
    r"\s+(?!(?:and|are|but|each|for|from|more|of|or|per|than|that|the|then|was|with)\b)([a-z]{3,})\b"
)
_NAME = re.compile(r"\b(?:" + "|".join(sorted(NAMES["people"])) + r")\b")
_SAID = re.compile(r"\b(?:[Mm]y name is|Dear|Mr\.?|Mrs\.?|Ms\.?|[Rr]egards,|Hi|Hello)\s+([A-Z][a-z]+)\b")


class Mark(NamedTuple):
    """A stretch of a text that may vary."""

    start: int
    end: int
    kind: MarkKind
    name: str
    """What a slot for it may be called."""


def find_marks(text: str, variables: Mapping[str, str]) -> list[Mark]:
    """Return what may vary in a text, in its order; none overlaps another, variables come before dates,
    dates before numbers, numbers before names.
    """
    marks: list[Mark] = []
    for mark in _list_candidates(text, variables):
        if mark.end > mark.start and all(mark.end <= m.start or m.end <= mark.start for m in marks):
            marks.append(mark)
    return sorted(marks)


def _list_candidates(text: str, variables: Mapping[str, str]) -> Iterator[Mark]:
    for name, value in sorted(variables.items(), key=lambda item: -len(item[1])):
        if is_short(value):
            pattern = rf"(?<!\w){re.escape(value)}(?!\w)"
            yield from (Mark(*match.span(), "variable", name) for match in re.finditer(pattern, text))
    for match in _DATE.finditer(text):
        if match["iso"] is None or is_date(match["iso"]):
            yield Mark(*match.span(), "date", "day")
    for match in _NUMBER.finditer(text):
        unit = _UNIT.match(text, match.end())
        yield Mark(*match.span(), "number", unit[1] if unit else "number")
    for match in _SAID.finditer(text):
        yield Mark(*match.span(1), "name", "name")
    for match in _NAME.finditer(text):
        yield Mark(*match.span(), "name", "name")


def is_date(text: str) -> bool:
    """Return whether a text is a date as ISO 8601 writes it, such as `2025-03-01`."""
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def is_short(text: str) -> bool:
    """Return whether a text is a value of its own rather than a sentence."""
    words = text.split()
    plain = text == " ".join(words) and len(text) <= LONGEST and text[-1:] not in (*".?!:{",)
    return plain and 0 < len(words) <= WORDS
