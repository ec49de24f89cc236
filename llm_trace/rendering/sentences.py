"""An attribution in words: a sentence or two that a layman reads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from llm_trace.controls import clean

if TYPE_CHECKING:
    from llm_trace.rendering.scores import ScoredPrompt, ScoredSegment, WeighedOrigin


def write_summary(scored: ScoredPrompt, most: int = 3) -> str:
    """Return what was found, at most 600 characters.

    Names at most `most` segments that matter and one that does not; where scores were tested only what the
    corrected test proves matters.
    """
    whole = scored.target == "the whole response"
    answer = "this answer" if whole else f"{_cut_text(scored.target, 40)} in this answer"
    order = sorted(range(len(scored.values)), key=lambda i: -abs(scored.values[i]))
    strong = [i for i in order if is_worth_telling(scored, i)]
    weak = [i for i in order if not is_worth_telling(scored, i)]
    clauses = [_write_origins(scored, answer)] if scored.origins else []
    clauses += [_write_effect(scored, i, answer) for i in strong[:most]]
    if len(strong) > most:
        more = len(strong) - most
        clauses.append(f"{more} more {'has' if more == 1 else 'have'} a smaller effect")
    if weak:
        clauses.append(f"{_name_idle(scored, weak)} made no measurable difference")
    for group in scored.groups[:2]:
        names = " and ".join(quote_segment(scored, i) for i in group)
        clauses.append(f"{names} stand in for each other: take all of them away and the answer changes")
    text = "; ".join(clauses)
    return _cut_text(clean(f"{text[:1].upper()}{text[1:]}.{_write_caution(scored)}"), 600)


_ORIGINS: dict[str | None, str] = {
    "system": "the system prompt",
    "user": "the user's words",
    "tool": "what tools answered",
    "retrieved": "what was retrieved",
    "outside": "outside text",
    None: "the rest",
}


def _write_origins(scored: ScoredPrompt, answer: str) -> str:
    """Return what all words of each origin do together, the strongest first."""
    order = sorted(scored.origins, key=lambda weight: -abs(weight.value))
    if scored.unit != "nats":
        shares = [f"{_ORIGINS[weight.origin]} by {weight.value:+.2g}" for weight in order]
        return f"{answer} is moved ({scored.unit}) by whose words: {', '.join(shares)}"
    return f"{answer} is made {', '.join(map(_write_origin, order))}"


def _write_origin(weight: WeighedOrigin) -> str:
    less, ends = weight.value < 0, sorted({abs(weight.low), abs(weight.high)})
    proven = len(ends) > 1 and (weight.low > 0 or weight.high < 0)
    bounds = f" ({_write_range(*(_write_factor(end, less) for end in ends))})" if proven else ""
    size = f"{_write_factor(abs(weight.value), less)} {'less' if less else 'more'} likely"
    return f"{size} by {_ORIGINS[weight.origin]}{bounds}"


_REASONS = {
    "insufficient_evidence": "noise explains the scores as well, or the model knows nothing of this response",
    "redundant": "segments that each suffice stand in for each other: leaving one of them out shows nothing",
    "baseline_dependent": "another sensible text in place of the words ranks them differently",
    "redacted_input": "parts of the prompt were masked before it was logged",
    "proxy_unverified": "the model that was asked does not give this answer itself",
    "model_changed": "the answers drifted while the model was asked, or another model answered",
    "noise_untested": "the method does not test against the noise of the model's own answers",
    "length_dependent": "the answers follow the prompt's length, not its words",
    "self_report_unverified": "the model says so itself, and nothing has checked it",
    "malformed_report": "the model's report about itself is not in the form that was asked for",
    "unknown": "it was recorded by another version of llm_trace, with a verdict that this one does not know",
}


def explain_verdict(scored: ScoredPrompt) -> str:
    """Return in words why the scores are not evidence; nothing where they are."""
    return "" if scored.verdict == "ok" else _REASONS.get(scored.verdict, scored.verdict.replace("_", " "))


def _write_caution(scored: ScoredPrompt) -> str:
    """Return why it is no evidence, in words, where it is none."""
    if scored.verdict == "ok":
        return ""
    why = f": {_cut_text(scored.warnings[0], 160)}" if scored.warnings else ""
    return f" Not to be taken as evidence ({scored.verdict.replace('_', ' ')}){why}."


def is_worth_telling(scored: ScoredPrompt, i: int) -> bool:
    """Whether a segment's effect stands out from none and is worth a word: it moves the odds by 5 %."""
    return scored.stands_out(i) and abs(scored.values[i]) >= (
        0.05 if scored.unit in ("nats", "logit") else 0.01
    )


def name_segment(segment: ScoredSegment) -> str:
    """Return what a segment is called in a list: its text; of a chunk its document and its own score."""
    if segment.kind != "chunk" or not segment.name:
        return segment.text
    score = "" if segment.score is None else f" (retriever: {segment.score:.3g})"
    return f"{segment.name}{score}"


def _name_idle(scored: ScoredPrompt, weak: list[int]) -> str:
    """Return one of the segments that do nothing and how many others do; of chunks up to three."""
    chunks = scored.segments[weak[0]].kind == "chunk"
    names = [quote_segment(scored, i) for i in weak[::-1][: 3 if chunks else 1]]
    more = len(weak) - len(names)
    others = [f"{more} others" if more > 1 else "1 other"] if more else []
    *head, last = [*names, *others]
    return f"{', '.join(head)} and {last}" if head else last


def quote_segment(scored: ScoredPrompt, i: int) -> str:
    """Return a segment's text in quotes, of equal ones also which of them it is; a chunk's document."""
    if scored.segments[i].kind == "chunk":
        return f"chunk {_cut_text(name_segment(scored.segments[i]), 60)}"
    text = scored.segments[i].text
    same = [j for j, segment in enumerate(scored.segments) if segment.text == text]
    return (
        _quote_text(text)
        if len(same) < 2
        else f"{_quote_text(text)} (no. {same.index(i) + 1} of {len(same)})"
    )


def _write_effect(scored: ScoredPrompt, i: int, answer: str) -> str:
    """Return what one segment does, as a factor with its bounds where the unit is logarithmic."""
    value, text = scored.values[i], quote_segment(scored, i)
    if scored.unit != "nats":
        return f"{text} moves {answer} by {value:+.2g} ({scored.unit})"
    low, high = (None if row is None else row[i] for row in (scored.low, scored.high))
    proven = low is not None and high is not None and (low > 0 or high < 0)
    ends = sorted(abs(x) for x in (low, high) if x is not None) if proven else []
    without = scored.method == "occlusion"
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
