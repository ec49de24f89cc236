"""What a scenario makes: one question with its answer, and where it comes from."""

from __future__ import annotations

import datetime
import inspect
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import orjson
from pydantic import Field

from llm_trace.call_parts import Record

Variant = Literal["fresh", "public", "preserved", "changed", "swapped"]
"""`fresh`: drawn by the seed; `public`: of the fixed set that anybody may have seen; `preserved`: a fresh
one whose meaning an edit left; `changed`: one whose meaning an edit changed; `swapped`: one with a value of a
group that must not matter.
"""


class Instance(Record):
    """One question of a scenario, with the answer that is right."""

    id: str
    """Unique in an evaluation and equal for equal seeds, such as `refund/7.0` or `refund/7.0/polite`."""
    scenario: str
    variant: Variant = "fresh"
    input: dict[str, Any]
    """Arguments of the function by name, as JSON values."""
    expected: Any = None
    """What is right, as a JSON value; `None` where nothing is expected."""
    slots: dict[str, Any] = Field(default_factory=dict)
    """The values that were drawn or computed, as JSON values; empty for public ones."""
    of: str | None = None
    """Id of the fresh instance that this one is a variant of."""
    edit: str | None = None
    """The edit that made it; of a swapped one the slot that was swapped."""
    group: str | None = None
    """Of a swapped one the group that the slot's value is of."""
    decisive: tuple[str, ...] = ()
    """Words of the input that decide the answer."""
    slices: dict[str, Any] = Field(default_factory=dict)
    """Slots by whose values results are told apart, with this instance's values."""


class InstanceSource(Protocol):
    """What `evaluate` takes as a scenario: `Scenario`, `GeneratorScenario`, or your own."""

    @property
    def id(self) -> str:
        """Name of the scenario, unique in an evaluation."""

    @property
    def version(self) -> str:
        """Changes when the scenario would make other instances."""

    def make_instances(self, n: int, seed: int = 0) -> Sequence[Instance]:
        """Return n fresh instances with their variants, and at most n public ones; equal for equal seeds."""


def read_source(function: Callable[..., Any]) -> str:
    """Return a function's source, or its qualified name where there is none, as at a prompt."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        name = getattr(function, "__qualname__", type(function).__qualname__)
        return f"{getattr(function, '__module__', '')}:{name}"


def to_json_value(value: Any) -> Any:
    """Return a value as JSON has it: dates as ISO texts, tuples as lists, keys as texts.

    Raises:
        TypeError: JSON has no such value.
    """
    if isinstance(value, str):
        return _check_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise TypeError(f"{value!r} is no JSON value")
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [to_json_value(item) for item in value]
    raise TypeError(f"{value!r} is no JSON value")


def _check_text(text: str) -> str:
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError as exc:  # half of a pair of surrogates
        raise TypeError(f"{text!r} is no JSON value: {exc.reason}") from exc
    return text


def dump_sorted_json(value: Any) -> bytes:
    """Return a JSON value as bytes, equal for equal values; integers may be of any size."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
