"""A comparison in words: numbers, verdicts, the summary, why nothing paired."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING

from llm_trace.comparison.records import DECIDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.comparison.records import ComparisonRecord, Loss, Metric, Unpaired


def format_number(value: float | None, *, signed: bool = False) -> str:
    """Return a number with three significant digits, never an exponent for what people count."""
    if value is None:
        return ""
    sign = "+" if signed else ""
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:{sign}.2e}"
    digits = max(0, 2 - floor(log10(abs(value)))) if value else 0
    text = f"{value:{sign},.{min(digits, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_bounds(metric: Metric) -> str:
    """Return the bounds of a difference, empty where one pair gives none."""
    if metric.low is None or metric.high is None:
        return ""
    return f"{format_number(metric.low, signed=True)} to {format_number(metric.high, signed=True)}"


def describe_verdict(metric: Metric) -> str:
    """Return the verdict, of an undecided metric with what would settle it."""
    if metric.verdict == "undecided" and metric.further:
        return f"undecided: {metric.further:,} more"
    if metric.verdict == "undecided" and any(metric.missing):
        return f"undecided: {sum(metric.missing):,} missing"
    return "" if metric.verdict == "described" else metric.verdict


def describe_loss(lost: Loss) -> str:
    """Return what a pair lost, and on what input."""
    return f"{lost.metric} {format_number(lost.before)} → {format_number(lost.after)}  {lost.input}"


def count_things(number: int, noun: str) -> str:
    """Return a number with its noun, such as `1 pair` and `1,200 pairs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def summarize(comparison: ComparisonRecord) -> str:
    """Return the finding in a few sentences."""
    sentences = [
        (
            f"{comparison.b} against {comparison.a}, {count_things(comparison.pairs, 'pair')} by "
            f"{comparison.paired_by}:"
        )
    ]
    decided = [m for m in comparison.metrics if m.verdict in DECIDED]
    sentences.append("; ".join(map(_describe_finding, decided)) + "." if decided else "no metric is decided.")
    parts = [(s.name, m) for s in comparison.slices for m in s.metrics if m.verdict in DECIDED]
    parts.sort(key=lambda part: part[1].verdict != "worse")
    sentences += [f"On {name}: {_describe_finding(metric)}." for name, metric in parts[:3]]
    return " ".join((*sentences, *comparison.warnings))


def _describe_finding(metric: Metric) -> str:
    return (
        f"{metric.name} is {metric.verdict} by {format_number(abs(metric.difference))} "
        f"({format_bounds(metric)})"
    )


def describe_nothing_paired(
    labels: tuple[str, str], unpaired: Sequence[Unpaired], ambiguous: Sequence[str]
) -> str:
    """Return why no call of a has a partner in b, and what to do.

    Args:
        labels: of a and b.
        unpaired: what did not pair.
        ambiguous: arguments that differ throughout, which may be what is compared.
    """
    reasons = "; ".join(
        f"{u.side}: {count_things(u.calls, 'call')}, {u.reason} (such as {u.examples[0]})" for u in unpaired
    )
    single = ""
    if ambiguous:
        names = ", ".join(ambiguous)
        single = (
            f"Each side has one input, and they differ in {names}: whether that is what is compared or what "
            f"is asked, "
            "more inputs would tell. "
        )
    return (
        f"{labels[0]} and {labels[1]} have no input in common: {reasons}. {single}"
        "Name what identifies an input by by=/--by, such as metadata.example or input.question"
    )
