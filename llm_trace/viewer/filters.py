"""Which calls a page is about: the filters of an address, for the store and for further addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlencode

from llm_trace.errors import ConfigurationError
from llm_trace.record import Kind, Status
from llm_trace.stores.filters import Order
from llm_trace.times import parse_moment

if TYPE_CHECKING:
    from collections.abc import Mapping

EQUAL = ("run", "name", "kind", "model", "tag", "session", "user", "status", "text")
"""Filters that the store takes as they are."""
_VERDICTS = {
    "ok": "span_id IN (SELECT span_id FROM attributions WHERE attribution ->> '$.verdict' = 'ok')",
    "unsure": "span_id IN (SELECT span_id FROM attributions WHERE attribution ->> '$.verdict' <> 'ok')",
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "verdict": tuple(_VERDICTS),
    "kind": get_args(Kind),
    "status": get_args(Status),
    "order": get_args(Order),
}
_LEAST = {"min_ms": "(end_ns - start_ns) >= {} * 1e6", "min_cost": "cost_usd >= {}"}
NAMES = (
    *EQUAL,
    "since",
    "until",
    "prompt",
    "version",
    "min_ms",
    "min_cost",
    "score",
    "score_below",
    "verdict",
    "order",
)
"""All that an address may say."""


@dataclass(frozen=True)
class CallFilters:
    """The filters of an address, as they were typed; what is empty is left out."""

    asked: Mapping[str, str]

    @classmethod
    def read(cls, query: Mapping[str, str]) -> CallFilters:
        """Return the filters of an address.

        Raises:
            ConfigurationError: a kind, status, verdict or order that is none.
        """
        filters = cls({name: query[name].strip() for name in NAMES if query.get(name, "").strip()})
        for name, choices in _CHOICES.items():
            if (value := filters.asked.get(name)) is not None and value not in choices:
                raise ConfigurationError(f"{name} {value!r} is none of {', '.join(choices)}")
        return filters

    @property
    def fields(self) -> dict[str, str]:
        """What each field of the form holds."""
        return {name: self.asked.get(name, "") for name in NAMES}

    @property
    def more(self) -> bool:
        """Whether a field is in use that is folded away."""
        return not self.asked.keys() <= {"text", "status", "kind", "since", "order"}

    @property
    def order(self) -> Order:
        """In which order the calls come."""
        return self.asked.get("order", "newest")  # type: ignore[return-value]

    def build(self) -> dict[str, Any]:
        """Return them as arguments of `Store.calls`.

        Raises:
            ConfigurationError: a time or number that is none.
        """
        arguments: dict[str, Any] = {name: self.asked[name] for name in EQUAL if name in self.asked}
        for name in ("since", "until"):
            if name in self.asked:
                arguments[name] = _read_moment(self.asked[name])
        conditions = [
            form.format(_read_number(name, self.asked[name]))
            for name, form in _LEAST.items()
            if name in self.asked
        ]
        for name, column in (("prompt", "prompt_name"), ("version", "prompt_version")):
            if name in self.asked:
                conditions.append(f"{column} = {_quote(self.asked[name])}")
        if "verdict" in self.asked:
            conditions.append(_VERDICTS[self.asked["verdict"]])
        if "score" in self.asked or "score_below" in self.asked:
            conditions.append(self._build_score_condition())
        if conditions:
            arguments["where"] = " AND ".join(conditions)
        return arguments

    def _build_score_condition(self) -> str:
        parts = [f"name = {_quote(self.asked['score'])}"] if "score" in self.asked else []
        if "score_below" in self.asked:
            least = _read_number("score_below", self.asked["score_below"])
            parts.append(f"number < {least}")
        return f"span_id IN (SELECT span_id FROM scores WHERE {' AND '.join(parts)})"

    def link(self, path: str = "/calls", **changes: str | None) -> str:
        """Return an address with these filters, some of them changed or, by `None`, taken away."""
        query = {name: value for name, value in {**self.asked, **changes}.items() if value}
        return f"{path}?{urlencode(query)}" if query else path


def _read_moment(text: str) -> int:
    return int(text) if text.isdigit() and len(text) > 12 else parse_moment(text)


def _read_number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not abs(number) < 1e300:
        raise ConfigurationError(f"{name} {text!r} is no number")
    return number


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
