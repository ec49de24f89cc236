"""The slots of a draft: one for each value that may vary, with a range to begin with."""

from __future__ import annotations

import keyword
import re
from typing import Any

from llm_trace.evaluation.expressions import get_environment
from llm_trace.evaluation.marks import MarkKind, is_date
from llm_trace.evaluation.names import MEN, WOMEN

TELLING = 10
"""From this on two equal numbers are taken to be one thing, also where they are called otherwise."""
MOST = 999_999
"""A larger number is an id of something: a choice rather than a range."""


class DraftSlots:
    """Slots by name, in the order in which their values were seen; equal values share one."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.lines: dict[str, str] = {}
        """By name what stands after it in YAML, with a comment for who completes it."""

    def add(self, name: str, value: Any, kind: MarkKind) -> str:
        """Return the name of the slot for a value, a new one where there is none."""
        number = _read_number(value)
        value = value if number is None else number
        slot = self._make_name(name)
        for known, other in self.values.items():
            alike = type(other) is type(value) and other == value
            if alike and (number is None or number >= TELLING or slot.startswith(known)):
                return known
        self.values[slot] = value
        self.lines[slot] = describe_slot(value, kind)
        return slot

    def _make_name(self, name: str) -> str:
        plain = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_") or "value"
        plain = f"value_{plain}" if plain[0].isdigit() else plain
        words = ("expected", "true", "false", "none")
        reserved = {*get_environment().globals, *words}
        if keyword.iskeyword(plain) or plain in reserved:
            plain = f"the_{plain}"
        number = 1
        while (slot := plain if number == 1 else f"{plain}_{number}") in self.values:
            number += 1
        return slot


def describe_slot(value: Any, kind: MarkKind) -> str:
    """Return a slot in YAML: a range around a number, dates of the same year, names, else the value alone."""
    if kind == "name" or value in (*WOMEN, *MEN):
        people = "women" if value in WOMEN else "men" if value in MEN else "people"
        return f"{{names: {people}}}  # was {quote(value)}; or a choice of your own"
    if isinstance(value, str) and is_date(value):
        return f"{{date: [{value[:4]}-01-01, {value[:4]}-12-31]}}  # was {value}"
    number = _read_number(value)
    if isinstance(number, int) and number <= MOST:
        most = max(2 * number, 10)
        return f"{{integer: [{min(number, 1)}, {most}]}}  # was {number}: which range is there?"
    if isinstance(number, float) and 0 < number <= MOST:
        digits = min(len(str(value).partition(".")[2]), 6)
        return f"{{number: [0, {2 * number:g}], digits: {digits}}}  # was {number}: which range is there?"
    return f"{{choice: [{quote(value)}]}}  # which others are there?"


def _read_number(value: Any) -> int | float | None:
    """Return the number that is drawn for a value so that it is written alike; `None`: it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if value >= 0 else None
    if not isinstance(value, str) or not re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII):
        return None
    number = float(value) if "." in value else int(value)
    return number if str(number) == value else None


def quote(value: Any) -> str:
    """Return a value as YAML on one line, texts in double quotes."""
    import yaml

    style = '"' if isinstance(value, str) else None
    text = yaml.safe_dump(
        value, default_flow_style=True, default_style=style, allow_unicode=True, width=1 << 20
    )
    return str(text).removesuffix("\n").removesuffix("\n...")
