"""An evaluation as a plain table, with sentences that a layman reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_trace.evaluation.dimensions import Dimension
    from llm_trace.evaluation.evaluation_record import EvaluationRecord
    from llm_trace.evaluation.memorisation import MemorisationGap
    from llm_trace.evaluation.outcomes import Outcome

LONGEST = 100
"""Characters of an answer in a sentence."""


def write_evaluation(evaluation: EvaluationRecord) -> str:
    """Return the table, the sentences and the notes."""
    run = evaluation.run
    head = f"{run.name} (run {run.id}): {evaluation.answered:,} of {evaluation.planned:,} calls"
    lines = [head, "", *_write_table(evaluation.dimensions), ""]
    lines += [tell_dimension(each) for each in evaluation.dimensions if each.slice is None]
    lines += [tell_gap(gap) for gap in evaluation.memorisation_gaps]
    lines += [str(each) for each in (*evaluation.calibrations, *evaluation.bias_probes)]
    lines += _tell_failures(evaluation)
    return "\n".join([*lines, *evaluation.notes])


def _write_table(dimensions: Sequence[Dimension]) -> list[str]:
    head = ("dimension", "of", "value", "low", "high", "n", "instances")
    rows = [
        (each.name, each.slice or "", _round(each.value), _round(each.low), _round(each.high),
         f"{each.n:,}", f"{each.instances:,}")
        for each in dimensions
    ]  # fmt: skip
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]


def _round(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) >= 10 else f"{value:.3f}"


def tell_dimension(dimension: Dimension) -> str:
    """Return what a dimension says, in a sentence."""
    source = "public example" if dimension.kind == "public" else "fresh question"
    count = f"{dimension.instances:,} {source}{'s' * (dimension.instances != 1)}"
    within = _write_bounds(dimension.low, dimension.high)
    name = dimension.score
    match dimension.kind:
        case "score" | "public" if not 0 <= dimension.value <= 1:
            return (
                f"{name}: {_round(dimension.value)} on average over {count}{_write_plain_bounds(dimension)}."
            )
        case "score" | "public":
            return f"{name}: {dimension.value:.0%} on {count}{within}."
        case "consistency":
            return f"{name}: what was right is right again in {dimension.value:.0%}{within}, asked unchanged."
        case "robustness":
            return f"{name}: what was right stays so in {dimension.value:.0%}{within}, worded otherwise."
        case "agreement":
            return f"{name}: a word that decides outweighs another one in {dimension.value:.0%}{within}."
        case _:
            return f"{name}: the answer follows in {dimension.value:.0%}{within} when the meaning changes."


def _write_bounds(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({low:.0%} to {high:.0%})"


def _write_plain_bounds(dimension: Dimension) -> str:
    low, high = dimension.low, dimension.high
    return "" if low is None or high is None else f" ({_round(low)} to {_round(high)})"


def tell_gap(gap: MemorisationGap) -> str:
    """Return what a memorisation gap says, in a sentence."""
    points = f"{abs(gap.value) * 100:.1f} points"
    bounds = "" if gap.low is None or gap.high is None else f" ({gap.low * 100:.1f} to {gap.high * 100:.1f})"
    sides = f"{gap.public:.0%} on {gap.n_public:,} public examples, {gap.fresh:.0%} on fresh ones"
    match gap.verdict:
        case "memorised":
            verdict = f"{points} better where it may have seen the answers{bounds}: it remembers"
        case "equivalent":
            verdict = f"the difference is shown to be below {gap.margin * 100:g} points: it does not remember"
        case "worse":
            verdict = f"fresh questions are answered {points} better{bounds}: it does not remember"
        case _:
            verdict = f"a gap of {gap.value * 100:+.1f} points{bounds} may be chance: ask more questions"
    return f"{gap.score}: {sides}; {verdict}."


def _tell_failures(evaluation: EvaluationRecord) -> Iterator[str]:
    counts: Counter[str] = Counter(each.kind for each in evaluation.failures)
    names = {"error": "raised an error", "timeout": "took too long", "scorer": "scorers gave no score"}
    parts = [f"{counts[kind]:,} {text}" for kind, text in names.items() if counts[kind]]
    if parts:
        yield f"{'; '.join(parts)}. What raised or took too long counts as 0."
    if (lacking := evaluation.planned - evaluation.answered) > 0:
        yield f"{lacking:,} calls are lacking; resume={evaluation.run.id!r} asks them and nothing else."


def describe_wrong(outcome: Outcome) -> str:
    """Return what was answered and what was expected."""
    return f"answered {_show(outcome.output)}, expected {_show(outcome.instance.expected)}"


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
