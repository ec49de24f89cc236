"""Prices as numbers that counts are multiplied by: one formula, whatever the model's price list says.

A cost is linear in the counts once date, time of the day and tier of the input's length are fixed, so it is
the same sum in Python (`Rates.compute_cost`) and in SQL (`llm_trace.stores.costs`), to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

COUNTS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
}
"""Counts of `llm_trace.record.Usage` -> their names in genai-prices, in the order of the sum."""
DETAILS = (
    "cache_write_1h_tokens", "input_audio_tokens", "input_image_tokens", "input_video_tokens",
    "cache_audio_read_tokens", "cache_image_read_tokens", "output_audio_tokens", "output_image_tokens",
    "output_video_tokens", "web_searches",
)  # fmt: skip
"""Names in `Usage.details` that genai-prices knows by the same name."""
UNBILLED = {"unbilled_input_tokens": "input_tokens", "unbilled_output_tokens": "output_tokens"}
"""Details that are counted but not paid for -> what they are counted in."""
Describe = Callable[["ModelPrice", bool], dict[str, Any]]
ALWAYS_NS = 2**63 - 1
ANY_LENGTH = 2**62
_DAY_S = 86_400
_SCALE = 1e12
"""Rates are in dollars for 10^12 of a count: whole numbers for every price in use, so that sums are exact."""
_PROBE = {
    "input_tokens": 1000, "cache_read_tokens": 100, "cache_write_tokens": 100, "cache_write_1h_tokens": 10,
    "input_audio_tokens": 100, "input_image_tokens": 100, "input_video_tokens": 100,
    "cache_audio_read_tokens": 10, "cache_image_read_tokens": 10, "output_tokens": 1000,
    "output_reasoning_tokens": 100, "output_audio_tokens": 100, "output_image_tokens": 100,
    "output_video_tokens": 100, "web_searches": 1,
}  # fmt: skip
"""A usage in which no part is larger than its whole."""


@dataclass(frozen=True)
class Rates:
    """The price of a model while it holds: in a stretch of time, at some hours, for some lengths of input."""

    since_ns: int
    until_ns: int
    from_s: int
    """Second of the UTC day from which on it holds."""
    to_s: int
    over: int
    """It holds for inputs of more tokens than this …"""
    upto: int
    """… and at most this many."""
    fixed: float
    """For each call, in dollars x 10^12."""
    counts: tuple[float, ...]
    """What one more of each of `COUNTS` adds, in dollars x 10^12; part of another count: what it adds to
    that.
    """
    details: dict[str, float]
    """The same for `DETAILS` and `UNBILLED`; only those that change the cost."""
    basis: str
    """`llm_trace.record.CostBasis` as JSON."""

    def holds(self, start_ns: int, input_tokens: int | None) -> bool:
        """Say whether this is the price of a call that began then with such an input."""
        second = start_ns // 1_000_000_000 % _DAY_S
        return (
            self.since_ns <= start_ns < self.until_ns
            and self.from_s <= second < self.to_s
            and self.over < (input_tokens or 0) <= self.upto
        )

    def compute_cost(self, usage: Mapping[str, Any]) -> float | None:
        """Return what so many tokens cost in dollars; `None` where a count that is paid for is missing, or
        one is smaller than its parts.
        """
        numbers = [usage.get(name) for name in COUNTS]
        read, written, cached, stored, thought = (number or 0 for number in numbers)
        paid_unknown = any(n is None and rate for n, rate in zip(numbers[:2], self.counts[:2], strict=True))
        if numbers[:2] == [None, None] or paid_unknown or cached + stored > read or thought > written:
            return None
        total = self.fixed
        for number, rate in zip(numbers, self.counts, strict=True):
            total += (number or 0) * rate
        details = usage.get("details") or {}
        total += sum(details.get(name, 0) * rate for name, rate in self.details.items())
        return total / _SCALE if total >= 0 else None


def build_rates(model: ModelInfo, context: Mapping[str, str], describe: Describe) -> tuple[Rates, ...]:
    """Return the prices of a model at all times; empty where tokens do not say what it costs.

    Args:
        model: as genai-prices has it.
        context: the service tier, in the words of genai-prices.
        describe: gives the `CostBasis` of a price, and whether it is that of the tier.
    """
    return tuple(
        rates
        for since, until in _list_stretches(_list_dates(model))
        for begin, end in _list_hours(model)
        for rates in _build_tiers(
            *_get_prices(model, datetime.combine(since, begin, UTC), context),
            (_to_ns(since), _to_ns(until), _to_s(begin), _to_s(end) or _DAY_S),
            describe,
        )
    )


def _get_prices(model: ModelInfo, at: datetime, context: Mapping[str, str]) -> tuple[ModelPrice, bool]:
    """Return the price at a time, and whether it is another than that of the standard tier."""
    price = model.get_prices(at, context)
    return price, price.__dict__ != model.get_prices(at).__dict__


def _build_tiers(
    price: ModelPrice, special: bool, when: tuple[int, int, int, int], describe: Describe
) -> Iterator[Rates]:
    """Yield the rates of a price for each stretch of input lengths; none where it is not one of tokens."""
    from genai_prices.types import TieredPrices

    tiered = [value for value in price.__dict__.values() if isinstance(value, TieredPrices)]
    starts = sorted({tier.start for value in tiered for tier in value.tiers})
    for over, upto in zip([-1, *starts], [*starts, ANY_LENGTH], strict=True):
        flat = _flatten_price(price, over)
        if (terms := _measure_terms(flat)) is None:
            return
        fixed, by_name = terms
        details = {name: by_name[name] for name in DETAILS if by_name[name]}
        details |= {name: -by_name[whole] for name, whole in UNBILLED.items() if by_name[whole]}
        counts = tuple(by_name[name] for name in COUNTS.values())
        basis = json.dumps(describe(flat, special), sort_keys=True, separators=(",", ":"))
        yield Rates(*when, over, upto, fixed, counts, details, basis)


def _flatten_price(price: ModelPrice, over: int) -> ModelPrice:
    """Return the price of inputs of more than so many tokens, without tiers."""
    from genai_prices.types import ModelPrice, TieredPrices

    flat: dict[str, Any] = {}
    for key, value in price.__dict__.items():
        if isinstance(value, TieredPrices):
            reached = [tier.price for tier in value.tiers if tier.start <= over]
            flat[key] = reached[-1] if reached else value.base
        elif value is not None:
            flat[key] = value
    return ModelPrice(**flat)


def _measure_terms(price: ModelPrice) -> tuple[float, dict[str, float]] | None:
    """Return what a call costs in itself and what one more of each count adds, by asking genai-prices.

    `None` where the price is of other things than tokens.
    """
    from genai_prices import Usage

    if price.input_mtok is None and price.output_mtok is None:
        return None

    def compute_total(counts: Mapping[str, int]) -> Any:
        return price.calc_price(Usage(**counts))["total_price"]

    try:
        middle = compute_total(_PROBE)
        added = {name: compute_total({**_PROBE, name: n + 1}) - middle for name, n in _PROBE.items()}
        fixed = compute_total({})
    except ValueError:  # a price of something that is not counted here
        return None
    return float(fixed * 10**12), {name: float(one * 10**12) for name, one in added.items()}


def _list_dates(model: ModelInfo) -> list[date]:
    from genai_prices.types import StartDateConstraint

    return sorted({c.start_date for c in _iter_constraints(model) if isinstance(c, StartDateConstraint)})


def _list_hours(model: ModelInfo) -> list[tuple[time, time]]:
    """Return the parts of the UTC day in which one price holds."""
    from genai_prices.types import TimeOfDateConstraint

    limits = {time(0)}
    for constraint in _iter_constraints(model):
        if isinstance(constraint, TimeOfDateConstraint):
            for each in (constraint.start_time, constraint.end_time):
                aware = datetime.combine(date(2000, 1, 2), each, each.tzinfo or UTC)
                limits.add(aware.astimezone(UTC).time())
    ordered = sorted(limits)
    return list(zip(ordered, [*ordered[1:], time(0)], strict=True))


def _iter_constraints(model: ModelInfo) -> Iterator[object]:
    for conditional in model.prices if isinstance(model.prices, list) else ():
        yield conditional.constraint
    for variant in model.price_variants or ():
        yield variant.constraint


def _list_stretches(dates: list[date]) -> list[tuple[date, date]]:
    return list(zip([date(1970, 1, 1), *dates], [*dates, date.max], strict=True))


def _to_ns(day: date) -> int:
    since = datetime.combine(day, time(0), UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return min(since // timedelta(microseconds=1) * 1000, ALWAYS_NS)


def _to_s(moment: time) -> int:
    return moment.hour * 3600 + moment.minute * 60 + moment.second
