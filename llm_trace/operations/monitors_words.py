"""What a monitor noticed, in a sentence."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Literal, TypeVar

from llm_trace.rendering.formatting import format_cost, format_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_trace.operations.monitors_values import WatchedMetric

_WEEK_S = 6 * 86_400
LEAST_GROWTH = 0.5
"""By how much the share of a version must have grown to be named."""


LevelForm = Literal["percent", "mean", "median"]
"""How a metric's level is told."""
T = TypeVar("T")


def write_movement(
    metric: WatchedMetric,
    levels: tuple[float, float],
    form: LevelForm,
    change_ns: int,
    causes: Sequence[str],
    *,
    rises: bool,
    now_s: float,
) -> str:
    """Return a sentence such as "The share of the weight on 'policy' in 'refund' fell from 40 to 12 % on
    Tuesday at 09:30, with prompt refund v7."
    """
    verb = "rose" if rises else "fell"
    values = _write_values(metric, *levels, form)
    with_what = f", with {' and '.join(causes)}" if causes else ""
    return f"{_name_metric(metric, form)} {verb} {values} {_write_moment(change_ns, now_s)}{with_what}."


def _name_metric(metric: WatchedMetric, form: LevelForm) -> str:
    of, part = repr(metric.of), repr(metric.part)
    scores = {"percent": f"The rate of {of}", "mean": f"The mean of {of}", "median": f"The median of {of}"}
    names = {
        "errors": f"The rate of errors of {of}",
        "refusals": f"The rate of refusals of {of}",
        "latency": f"The {form} latency of {of}",
        "cost": f"The {form} cost of a call of {of}",
        "score": f"The rate of {part} among the scores {of}" if metric.part else scores[form],
        "weight": f"The share of the weight on {part} in {of}",
        "verdict": f"The rate of the verdict {part} among the attributions of {of}",
        "decision": f"The rate of {part} among the decisions of {of}",
    }
    return names[metric.kind]


def _write_values(metric: WatchedMetric, before: float, after: float, form: LevelForm) -> str:
    if form == "percent":
        digits = 0 if abs(before - after) >= 0.02 else 1
        return f"from {100 * before:.{digits}f} to {100 * after:.{digits}f} %"
    write: Callable[[float], str] = "{:.3g}".format
    if metric.kind == "latency":
        write = _write_ms
    elif metric.kind == "cost":
        write = format_cost
    texts = write(before), write(after)
    return f"around {texts[0]}" if texts[0] == texts[1] else f"from {texts[0]} to {texts[1]}"


def _write_ms(ms: float) -> str:
    return format_duration(ms * 1e6)


def _write_moment(ns: int, now_s: float) -> str:
    """Return a local time as people say it: today at 09:30, on Tuesday at 09:30, on 2026-11-21 at 09:30."""
    then, today = time.localtime(ns / 1e9), time.localtime(now_s)
    clock = time.strftime("%H:%M", then)
    if then[:3] == today[:3]:
        return f"today at {clock}"
    if 0 <= now_s - ns / 1e9 < _WEEK_S:
        return f"on {time.strftime('%A', then)} at {clock}"
    return f"on {time.strftime('%Y-%m-%d', then)} at {clock}"


def find_grown(before: Sequence[T], after: Sequence[T]) -> T | None:
    """Return what became much more common with a change, and is the most common since; `None` where nothing
    did.
    """
    if not before or not after:
        return None
    value, count = Counter(after).most_common(1)[0]
    grew = count / len(after) - Counter(before)[value] / len(before)
    return value if grew >= LEAST_GROWTH else None
