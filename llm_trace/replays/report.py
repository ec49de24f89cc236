"""What a replay found: calls answered from the record, calls that ran, and where the program diverged."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_trace.replays.tape import Taped

_MOST_LINES = 40


@dataclass
class Report:
    """Grows while a replay runs; its JSON is `config["replay"]` of the replay's run."""

    mode: str
    served: int = 0
    """Calls answered from the record."""
    live: int = 0
    """Model, tool and similar calls that ran for real."""
    roots: int = 0
    equal: int = 0
    """Roots that ended as they did when they were recorded."""
    divergence: str | None = None
    """The first question that is not in the record, with a diff."""
    differences: list[str] = field(default_factory=list)
    """Other functions that were called with another input, and roots that ended otherwise."""
    races: list[str] = field(default_factory=list)
    """Calls that nothing tells apart: which of them gets which answer follows the order of their starts."""
    not_replayable: list[str] = field(default_factory=list)
    """Recorded calls without a usable answer, or without an input that can be rebuilt, and why."""
    not_asked: list[str] = field(default_factory=list)
    """Recorded calls that the program did not make this time."""

    @property
    def differs(self) -> bool:
        """Whether the program went another way than when it was recorded, as far as a replay can see."""
        return bool(self.divergence or self.differences or self.not_replayable or self.not_asked)

    def as_json(self) -> dict[str, Any]:
        """Return what says something."""
        return {name: value for name, value in asdict(self).items() if value not in (None, [])}

    def __str__(self) -> str:
        lines = [f"{self.served} calls from the record, {self.live} live"]
        if self.roots:
            lines[0] += f"; {self.equal} of {self.roots} ended as they did then"
        for title, items in (
            ("differs", self.differences),
            ("true race", self.races),
            ("not replayable", self.not_replayable),
            ("not asked", self.not_asked),
        ):
            lines += [f"{title}: {item}" for item in items]
        return "\n".join([*lines, *([self.divergence] if self.divergence else [])])


def describe_race(group: list[Taped]) -> str:
    """Return a race in words."""
    first = group[0]
    return (
        f"{len(group)} calls of {first.name} with the same input ran at once and answered differently "
        f"({', '.join(call.span_id for call in group[:3])}{' …' if len(group) > 3 else ''}): answers are "
        f"given in the order of "
        "the starts; a further argument that differs would tell them apart"
    )


def sum_items(items: list[str]) -> list[str]:
    """Return each item once, with how often it occurred."""
    return [item if count == 1 else f"{item} ({count} times)" for item, count in Counter(items).items()]


def describe_difference(then: Any, now: Any, verb: str = "asked") -> str:
    """Return a unified diff of two values, at most 40 lines; empty where they are equal."""
    names = f"{verb} then", f"{verb} now"
    lines = list(difflib.unified_diff(_split_lines(then), _split_lines(now), *names, lineterm="", n=2))
    if len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], f"… {len(lines) - _MOST_LINES} more lines"]
    return "\n".join(lines)


def _split_lines(value: Any) -> list[str]:
    """Return JSON by lines; the lines of long texts by themselves."""
    text = json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True, default=str)
    return [part for line in text.splitlines() for part in line.replace("\\n", "\\n\n").splitlines()]
