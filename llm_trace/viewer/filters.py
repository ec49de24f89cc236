"""Which calls a page is about: the filters of an address, for the store and for further addresses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlencode

from llm_trace.errors import ConfigurationError
from llm_trace.record import Kind, Status
from llm_trace.stores.filters import Filter, Order
from llm_trace.times import parse_moment
from llm_trace.viewer.columns import BY_NAME, DEFAULT, TableColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import QueryParams

FAILED = "failed"
"""Status of calls that did not end well, in whatever way."""
EQUAL = ("run", "name", "kind", "model", "tag", "session", "user", "status", "text")
"""Filters that the store takes as they are."""
_VERDICTS = {
    "ok": "span_id IN (SELECT span_id FROM attributions WHERE attribution ->> '$.verdict' = 'ok')",
    "unsure": "span_id IN (SELECT span_id FROM attributions WHERE attribution ->> '$.verdict' <> 'ok')",
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "verdict": tuple(_VERDICTS),
    "kind": get_args(Kind),
    "status": (*get_args(Status), FAILED),
    "order": get_args(Order),
}
_BOUNDS = {
    "min_ms": "(end_ns - start_ns) >= ? * 1e6",
    "max_ms": "(end_ns - start_ns) <= ? * 1e6",
    "min_cost": "cost_usd >= ?",
    "max_cost": "cost_usd <= ?",
}
_PROMPTS = {"prompt": "prompt_name = ?", "version": "prompt_version = ?"}
_SCORE_BOUNDS = {"min_score": "number >= ?", "score_below": "number < ?"}
_TIMES = ("since", "until")
NAMES = (
    *EQUAL, *_TIMES, "prompt", "version", *_BOUNDS, "score", *_SCORE_BOUNDS, "verdict", "order",
)  # fmt: skip
"""All that an address may say, besides `column`."""
LABELS = {
    "min_ms": "at least ms", "max_ms": "at most ms", "min_cost": "at least $", "max_cost": "at most $",
    "score": "has score", "min_score": "score from", "score_below": "score below", "name": "function",
    "version": "prompt version", "verdict": "what mattered",
}  # fmt: skip
"""What filters are called on the page, where that is not their name."""


@dataclass(frozen=True)
class CallFilters:
    """The filters of an address, as they were typed, and the columns asked for; what is empty is left out."""

    asked: Mapping[str, str]
    shown: tuple[str, ...] = DEFAULT

    @classmethod
    def read(cls, query: QueryParams) -> CallFilters:
        """Return the filters of an address.

        Raises:
            ConfigurationError: a kind, status, verdict, order or column that is none.
        """
        wanted = set(query.getlist("column"))
        if unknown := wanted - BY_NAME.keys():
            raise ConfigurationError(f"column {min(unknown)!r} is none of {', '.join(BY_NAME)}")
        shown = tuple(name for name in BY_NAME if name in wanted) or DEFAULT
        filters = cls({name: query[name].strip() for name in NAMES if query.get(name, "").strip()}, shown)
        for name, choices in _CHOICES.items():
            if (value := filters.asked.get(name)) is not None and value not in choices:
                raise ConfigurationError(f"{name} {value!r} is none of {', '.join(choices)}")
        return filters

    @property
    def fields(self) -> dict[str, str]:
        """What each field of the form holds; times that the chart chose as people write them."""
        return {name: _format_field(name, self.asked.get(name, "")) for name in NAMES}

    @property
    def chips(self) -> list[tuple[str, str, str]]:
        """Each filter in use: the name in addresses, what it is called, and its value."""
        return [(name, LABELS.get(name, name), self.fields[name]) for name in NAMES if name in self.asked]

    @property
    def columns(self) -> list[TableColumn]:
        """The columns of the table; those that were asked for stay on a narrow screen too."""
        columns = [BY_NAME[name] for name in self.shown]
        return columns if self.shown == DEFAULT else [column._replace(narrow="") for column in columns]

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
        for name in _TIMES:
            if name in self.asked:
                arguments[name] = _read_moment(self.asked[name])
        conditions = [
            *self._list_bounds(_BOUNDS),
            *self._list_texts(_PROMPTS),
            *self._list_score_conditions(),
        ]
        if arguments.get("status") == FAILED:
            del arguments["status"]
            conditions.append(Filter("status NOT IN ('ok', 'open')", ()))
        if "verdict" in self.asked:
            conditions.append(Filter(_VERDICTS[self.asked["verdict"]], ()))
        if conditions:
            arguments["where"] = Filter.join(conditions)
        return arguments

    def _list_bounds(self, forms: Mapping[str, str]) -> list[Filter]:
        return [
            Filter(form, (_read_number(name, self.asked[name]),))
            for name, form in forms.items()
            if name in self.asked
        ]

    def _list_texts(self, forms: Mapping[str, str]) -> list[Filter]:
        return [Filter(form, (self.asked[name],)) for name, form in forms.items() if name in self.asked]

    def _list_score_conditions(self) -> list[Filter]:
        parts = [*self._list_texts({"score": "name = ?"}), *self._list_bounds(_SCORE_BOUNDS)]
        if not parts:
            return []
        scored = Filter.join(parts)
        return [Filter(f"span_id IN (SELECT span_id FROM scores WHERE {scored.sql})", scored.values)]

    def link(self, path: str = "/calls", **changes: str | None) -> str:
        """Return an address with these filters, some of them changed or, by `None`, taken away."""
        query = [(name, value) for name, value in {**self.asked, **changes}.items() if value]
        query += [("column", name) for name in self.shown if self.shown != DEFAULT]
        return f"{path}?{urlencode(query)}" if query else path


def _read_moment(text: str) -> int:
    return int(text) if text.isdigit() and len(text) > 12 else parse_moment(text)


def _format_field(name: str, text: str) -> str:
    """Return what a field shows: nanoseconds as a local time, up to the next microsecond."""
    if name not in _TIMES or not (text.isdigit() and len(text) > 12):
        return text
    micros = -(-int(text) // 1000)
    try:
        moment = datetime.fromtimestamp(micros // 10**6, UTC).astimezone().replace(microsecond=micros % 10**6)
    except (ValueError, OverflowError, OSError):
        return text
    return moment.replace(tzinfo=None).isoformat()


def _read_number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not abs(number) < 1e300:
        raise ConfigurationError(f"{name} {text!r} is no number")
    return number
