"""Conditions for CI, such as `accuracy.low < -0.02`, read without evaluating code."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

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


class Condition(NamedTuple):
    """A condition that was read."""

    text: str
    metric: str
    slice: str | None
    field: str
    sign: str
    value: float | str

    def holds(self, value: Any) -> bool:
        """Return whether a field's value meets it.

        Raises:
            ConfigurationError: the value is not known.
        """
        if value is None:
            raise ConfigurationError(
                f"{self.text!r} cannot be judged: {self.field} is not known for this metric"
            )
        return _OPERATORS[self.sign](value, self.value)


def parse_condition(condition: str, fields: Collection[str], example: str) -> Condition:
    """Return what `METRIC.FIELD SIGN VALUE` or `METRIC[SLICE].FIELD SIGN VALUE` says.

    Raises:
        ConfigurationError: it cannot be read, or the field is none of these.
    """
    match = _CONDITION.fullmatch(condition)
    if match is None or match["field"] not in fields:
        raise ConfigurationError(
            f"{condition!r} is no condition: write METRIC.FIELD < NUMBER with one of {', '.join(fields)}, "
            f"such as {example}"
        )
    value = _get_value(match["value"], match["field"], condition)
    return Condition(condition, match["metric"], match["slice"], match["field"], match["sign"], value)


def check_condition(condition: str, comparison: ComparisonRecord) -> bool:
    """Return whether `METRIC.FIELD SIGN VALUE` or `METRIC[SLICE].FIELD SIGN VALUE` holds.

    Raises:
        ConfigurationError: it cannot be read, or the field is not known for that metric.
        NotFoundError: the metric or slice was not compared.
    """
    example = "'accuracy.low < -0.02' or 'accuracy[tag late].verdict == worse'"
    parsed = parse_condition(condition, FIELDS, example)
    return parsed.holds(getattr(comparison.metric(parsed.metric, parsed.slice), parsed.field))


def _get_value(text: str, field: str, condition: str) -> float | str:
    if field == "verdict":
        return text.strip("'\"")
    try:
        return float(text)
    except ValueError as exc:
        raise ConfigurationError(f"{condition!r} is no condition: {text!r} is no number") from exc
