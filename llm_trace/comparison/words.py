"""A comparison in words: numbers, verdicts, the summary, why nothing paired."""

from __future__ import annotations

from math import floor, log10
from typing import TYPE_CHECKING

from llm_trace.comparison.records import DECIDED
from llm_trace.rendering.formatting import count_things

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


COSTS = ("input_tokens", "output_tokens", "cost_usd", "latency_ms", "first_token_ms")
"""What an answer takes, which says nothing of how good it is."""


def conclude(comparison: ComparisonRecord) -> str:
    """Return for a layman whether b is better than a and how sure that is."""
    quality = [m for m in comparison.metrics if m.better and m.name not in COSTS]
    decided = [m for m in quality if m.verdict in DECIDED]
    if not decided:
        return _describe_open(quality, comparison)
    if len({m.verdict for m in decided}) == 2:
        head = f"{comparison.b} is better in some ways and worse in others than {comparison.a}"
    else:
        head = f"{comparison.b} is {decided[0].verdict} than {comparison.a}"
    return f"{head}: {_list_differences(decided, comparison)}."


def describe_costs(comparison: ComparisonRecord) -> str:
    """Return for a layman what an answer of b takes more or less than one of a, if known."""
    costs = [m for m in comparison.metrics if m.name in COSTS and m.verdict in DECIDED]
    return f"An answer of B takes {_list_differences(costs, comparison)}." if costs else ""


def _list_differences(metrics: Sequence[Metric], comparison: ComparisonRecord) -> str:
    sure = f"{100 * comparison.confidence:g} % sure"
    return "; ".join(_describe_difference(metric, sure) for metric in metrics)


def _describe_open(quality: Sequence[Metric], comparison: ComparisonRecord) -> str:
    """Return what is to be done where nothing says which side is better."""
    if comparison.pairs == 1:
        changed = next((m.b for m in comparison.metrics if m.name == "output_changed"), None)
        head = (
            "The same answer" if changed == 0 else "Another answer" if changed == 1 else "One answer a side"
        )
        return f"{head}. One input says little about which side is better: compare more."
    scores = [m for m in quality if m.name not in ("errors", "refusals", "valid_json")]
    if not scores:
        return (
            f"Nothing says whether {comparison.b} answers better than {comparison.a}: no score was given to "
            "both. Log one (llm_trace.log_score), or score calls on the page Review."
        )
    first = max(scores, key=lambda m: abs(m.effect or 0.0))
    more = f" About {count_things(first.further, 'more pair')} would tell." if first.further else ""
    same = all(m.verdict == "same" for m in scores)
    head = "Both answer equally well" if same else "Not decided which is better"
    change = f"{first.name} {format_number(first.a)} → {format_number(first.b)}"
    return f"{head}: {change}, which may be chance.{more}" if not same else f"{head}: {change}."


def _describe_difference(metric: Metric, sure: str) -> str:
    rose = "more" if metric.difference > 0 else "less"
    ends = sorted(map(abs, (metric.low or 0.0, metric.high or 0.0)))
    bounds = f"{format_number(ends[0])} to {format_number(ends[1])} {rose}"
    return f"{metric.name} {format_number(metric.a)} → {format_number(metric.b)} ({sure}: {bounds})"


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
            "is asked, more inputs would tell. "
        )
    return (
        f"{labels[0]} and {labels[1]} have no input in common: {reasons}. {single}"
        "Name what identifies an input by by=/--by, such as metadata.example or input.question"
    )
