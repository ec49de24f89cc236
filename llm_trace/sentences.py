"""An attribution in words: a sentence or two that a layman reads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from llm_trace.controls import clean

if TYPE_CHECKING:
    from llm_trace.record import Attribution


def write_summary(found: Attribution, most: int = 3) -> str:
    """Return what was found, at most 600 characters.

    Names at most `most` segments that matter and one that does not; where scores were tested only what the
    corrected test proves matters.
    """
    whole = found.target == "the whole response"
    answer = "this answer" if whole else f"{_cut_text(found.target, 40)} in this answer"
    order = sorted(range(len(found.values)), key=lambda i: -abs(found.values[i]))
    strong = [i for i in order if _is_worth_telling(found, i)]
    weak = [i for i in order if not _is_worth_telling(found, i)]
    said = [_write_effect(found, i, answer) for i in strong[:most]]
    if len(strong) > most:
        more = len(strong) - most
        said.append(f"{more} more {'has' if more == 1 else 'have'} a smaller effect")
    if weak:
        others = f" and {len(weak) - 1} others" if len(weak) > 2 else " and 1 other" if len(weak) == 2 else ""
        said.append(f"{_name_segment(found, weak[-1])}{others} made no measurable difference")
    for group in found.groups[:2]:
        names = " and ".join(_name_segment(found, i) for i in group)
        said.append(f"{names} stand in for each other: take all of them away and the answer changes")
    text = "; ".join(said)
    return _cut_text(clean(f"{text[:1].upper()}{text[1:]}.{_write_caution(found)}"), 600)


def _write_caution(found: Attribution) -> str:
    """Return why it is no evidence, in words, where it is none."""
    if found.verdict == "ok":
        return ""
    why = f": {_cut_text(found.warnings[0], 160)}" if found.warnings else ""
    return f" Not to be taken as evidence ({found.verdict.replace('_', ' ')}){why}."


def _is_worth_telling(found: Attribution, i: int) -> bool:
    """Whether a segment's effect stands out from none and is worth a word: it moves the odds by 5 %."""
    return found.stands_out(i) and abs(found.values[i]) >= (0.05 if found.unit in ("nats", "logit") else 0.01)


def _name_segment(found: Attribution, i: int) -> str:
    """Return a segment's text in quotes; of equal ones also which of them it is."""
    text = found.segments[i].text
    same = [j for j, segment in enumerate(found.segments) if segment.text == text]
    return (
        _quote_text(text)
        if len(same) < 2
        else f"{_quote_text(text)} (no. {same.index(i) + 1} of {len(same)})"
    )


def _write_effect(found: Attribution, i: int, answer: str) -> str:
    """Return what one segment does, as a factor with its bounds where the unit is logarithmic."""
    value, text = found.values[i], _name_segment(found, i)
    if found.unit != "nats":
        return f"{text} moves {answer} by {value:+.2g} ({found.unit})"
    low, high = (None if row is None else row[i] for row in (found.low, found.high))
    proven = low is not None and high is not None and (low > 0 or high < 0)
    ends = sorted(abs(x) for x in (low, high) if x is not None) if proven else []
    without = found.method == "occlusion"
    less = (value > 0) == without
    bounds = f" ({_write_range(_write_factor(ends[0], less), _write_factor(ends[1], less))})" if ends else ""
    verb = f"without {text} {answer} is" if without else f"{text} makes {answer}"
    return f"{verb} {_write_factor(abs(value), less)} {'less' if less else 'more'} likely{bounds}"


def _write_range(low: str, high: str) -> str:
    """Return "25 to 60" for "25 times" and "60 times", else both ends as they are."""
    both = low.endswith(" times") and high.endswith(" times")
    return f"{low.removesuffix(' times') if both else low} to {high.removesuffix(' times') if both else high}"


def _write_factor(nats: float, less: bool) -> str:
    """Return a factor in words: "40 times", "3.2 times", "12 %", never more than a million times."""
    factor = math.exp(min(nats, 20.0))
    if factor >= 1e6:
        return "over a million times"
    if factor >= 10:
        return f"{float(f'{factor:.2g}'):,.0f} times"
    if factor >= 2:
        return f"{factor:.1f} times"
    return f"{100 * (1 - 1 / factor if less else factor - 1):.0f} %"


def _quote_text(text: str) -> str:
    return f"'{_cut_text(' '.join(text.split()), 40)}'"


def _cut_text(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
