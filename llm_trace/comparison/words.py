"""What a comparison says in sentences: notes, warnings, the summary, why nothing paired."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm_trace.comparison.result import DECIDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.comparison.judge import Table
    from llm_trace.comparison.pairs import Pairs
    from llm_trace.comparison.result import Comparison, Metric, Unpaired

FEW_PAIRS = 30
"""Below this, bounds cover less often than they say."""
FEW_CLUSTERS = 10


def number(value: float | None, *, signed: bool = False) -> str:
    """Return a number with three significant digits, never an exponent for what people count."""
    if value is None:
        return ""
    sign = "+" if signed else ""
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:{sign}.2e}"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
    text = f"{value:{sign},.{min(digits, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def bounds(metric: Metric) -> str:
    """Return the bounds of a difference, empty where one pair gives none."""
    if metric.low is None or metric.high is None:
        return ""
    return f"{number(metric.low, signed=True)} to {number(metric.high, signed=True)}"


def verdict(metric: Metric) -> str:
    """Return the verdict, of an undecided metric with what would settle it."""
    if metric.verdict == "undecided" and metric.further:
        return f"undecided: {metric.further:,} more"
    return "" if metric.verdict == "described" else metric.verdict


def summary(comparison: Comparison) -> str:
    """Return the finding in a few sentences."""
    said = [f"{comparison.b} against {comparison.a}, {comparison.pairs:,} pairs by {comparison.paired_by}:"]
    decided = [m for m in comparison.metrics if m.verdict in DECIDED]
    said.append("; ".join(map(_finding, decided)) + "." if decided else "no metric is decided.")
    parts = [(s.name, m) for s in comparison.slices for m in s.metrics if m.verdict in DECIDED]
    parts.sort(key=lambda part: part[1].verdict != "worse")
    said += [f"On {name}: {_finding(metric)}." for name, metric in parts[:3]]
    return " ".join((*said, *comparison.warnings))


def _finding(metric: Metric) -> str:
    return f"{metric.name} is {metric.verdict} by {number(abs(metric.difference))} ({bounds(metric)})"


def notes(pairs: Pairs, table: Table) -> tuple[str, ...]:
    """Return how the pairs were made and counted."""
    said = []
    if pairs.repeated:
        said.append(
            f"{pairs.repeated:,} inputs were asked several times: each counts once, with the mean of its calls"
        )
    if table.clusters is not None:
        said.append(
            f"pairs of one session count as dependent: {len(set(table.clusters.tolist())):,} sessions"
        )
    return tuple(said)


def warnings(table: Table, tried: int) -> tuple[str, ...]:
    """Return what weakens the findings."""
    return tuple(_warnings(table, tried))


def _warnings(table: Table, tried: int) -> Iterator[str]:
    n = len(table.spans)
    if n < FEW_PAIRS:
        yield f"Only {n} pairs: below {FEW_PAIRS} the bounds cover the truth less often than they say."
    if table.clusters is not None and (sessions := len(set(table.clusters.tolist()))) < FEW_CLUSTERS:
        yield f"Only {sessions} sessions: from fewer than {FEW_CLUSTERS} the bounds are not to be relied on."
    for name, values in table.tested.items():
        in_a, in_b = (not np.isnan(side).all() for side in values)
        if in_a != in_b:
            have, lack = ("a", "b") if in_a else ("b", "a")
            yield f"{name} is known in {have} and not in {lack}: score {lack} as well (log_score, or llm-trace annotate --csv)."
    if tried > 1:
        yield (
            f"{tried} different comparisons were made on these inputs: the best of several looks better than it is. "
            "Confirm it on inputs that were not used yet."
        )


def nothing_paired(labels: tuple[str, str], unpaired: Sequence[Unpaired]) -> str:
    """Return why no call of a has a partner in b, and what to do."""
    reasons = "; ".join(
        f"{u.side}: {u.calls:,} calls, {u.reason} (such as {u.examples[0]})" for u in unpaired
    )
    return (
        f"{labels[0]} and {labels[1]} have no input in common: {reasons}. "
        "Name what identifies an input by by=/--by, such as metadata.example"
    )
