"""Conditions for CI, such as `accuracy.low < -0.02`, read without evaluating code."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any

from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_trace.comparison.records import ComparisonRecord

FIELDS = ("n", "a", "b", "difference", "low", "high", "p_value", "q_value", "effect", "verdict")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "==": operator.eq,
    "!=": operator.ne, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_CONDITION = re.compile(
    r"\s*(?P<metric>[^\[\]<>=!]+?)(\[(?P<slice>[^\]]+)\])?\.(?P<field>\w+)"
    r"\s*(?P<sign><=|>=|==|!=|<|>)\s*(?P<value>\S+)\s*"
)


def check_condition(condition: str, comparison: ComparisonRecord) -> bool:
    """Return whether `METRIC.FIELD SIGN VALUE` or `METRIC[SLICE].FIELD SIGN VALUE` holds.

    Raises:
        ConfigurationError: it cannot be read, or the field is not known for that metric.
        NotFoundError: the metric or slice was not compared.
    """
    match = _CONDITION.fullmatch(condition)
    if match is None or match["field"] not in FIELDS:
        raise ConfigurationError(
            f"{condition!r} is no condition: write METRIC.FIELD < NUMBER with one of {', '.join(FIELDS)}, "
            "such as 'accuracy.low < -0.02' or 'accuracy[tag late].verdict == worse'"
        )
    value = getattr(comparison.metric(match["metric"], match["slice"]), match["field"])
    if value is None:
        raise ConfigurationError(
            f"{condition!r} cannot be judged: {match['field']} is not known for this metric"
        )
    return _OPERATORS[match["sign"]](value, _get_value(match["value"], match["field"], condition))


def _get_value(text: str, field: str, condition: str) -> float | str:
    if field == "verdict":
        return text.strip("'\"")
    try:
        return float(text)
    except ValueError as exc:
        raise ConfigurationError(f"{condition!r} is no condition: {text!r} is no number") from exc
