"""All prices: those of a file of one's own first, then those of genai-prices."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.pricing.names import list_candidates
from llm_trace.pricing.price_file import RATE_KEYS, VARIABLE, OwnPrice, PriceFile, read_price_file
from llm_trace.pricing.rates import Describe, Rates, build_rates

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

TIERS = ("batch", "flex", "priority", "fast")
"""Service tiers that may have a price of their own; every other word means the standard one."""
_MOST = 10_000


class PriceBook:
    """Finds what models cost; the answers are remembered.

    Args:
        own: prices that win over the list's.
    """

    def __init__(self, own: PriceFile | None = None) -> None:
        self._own = own
        self.version = f"genai-prices {_get_version()}" + ("" if own is None else f" + {own.digest}")
        """What the prices rest on; changes with them."""
        self.find_rates = lru_cache(_MOST)(self._find_rates)

    def _find_rates(self, provider: str | None, model: str, tier: str | None) -> tuple[Rates, ...]:
        """Return the prices of a model at all times; empty where they are not known."""
        tier = tier.lower() if tier is not None and tier.lower() in TIERS else None
        own = None if self._own is None else self._own.find(provider, model)
        if own is not None and self._own is not None:
            return self._build_own(own, self._own, tier)
        sold = _find_sold(provider, model)
        return () if sold is None else _build_listed(*sold, tier)

    def _build_own(self, own: OwnPrice, file: PriceFile, tier: str | None) -> tuple[Rates, ...]:
        from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice

        factor = own.factor * (own.tiers.get(tier, 1.0) if tier else 1.0)
        basis: dict[str, Any] = {"source": "own", "version": file.digest}
        if own.same_as is None:
            prices = {RATE_KEYS[name]: Decimal(str(usd)) for name, usd in own.rates.items()}
            model = ModelInfo(id="own", match=ClauseEquals("own"), prices=ModelPrice(**prices))
            context: Mapping[str, str] = {}
        else:
            sold = _find_sold(*_split_name(own.same_as))
            if sold is None:
                return ()
            listed, model = sold
            basis |= {"provider": listed.id, "model": model.id}
            context = {} if tier in own.tiers else build_context(tier)
        describe = _make_describer(basis, tier, tier in own.tiers)
        return build_rates(_multiply_prices(model, factor), context, describe)


def _build_listed(provider: Provider, model: ModelInfo, tier: str | None) -> tuple[Rates, ...]:
    from genai_prices.types import ModelPrice

    context = build_context(tier)
    basis: dict[str, Any] = {
        "source": "genai-prices", "version": _get_version(), "provider": provider.id, "model": model.id
    }  # fmt: skip
    if not any(each is model for each in provider.models):  # another provider's model, at its standard price
        context = {}
    if model.id.endswith(":free"):  # of OpenRouter; listed without a price
        model = replace(model, prices=ModelPrice(input_mtok=Decimal(0), output_mtok=Decimal(0)))
    return build_rates(model, context, _make_describer(basis, tier))


def build_context(tier: str | None) -> Mapping[str, str]:
    """Return a service tier in the words of genai-prices."""
    if tier is None:
        return {}
    return {"processing": "batch"} if tier == "batch" else {"service_tier": tier, "speed": tier}


def _find_sold(provider: str | None, model: str) -> tuple[Provider, ModelInfo] | None:
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    for name in list_candidates(provider, model, _list_sellers()):
        try:
            return snapshot.find_provider_model(name.model, None, name.provider, None)
        except LookupError:
            continue
    return None


def _split_name(name: str) -> tuple[str | None, str]:
    head, slash, rest = name.partition("/")
    return (head, rest) if slash else (None, name)


@cache
def _list_sellers() -> frozenset[str]:
    from genai_prices.data_snapshot import get_snapshot

    return frozenset(provider.id for provider in get_snapshot().providers)


@cache
def _get_version() -> str:
    return version("genai-prices")


def _make_describer(basis: Mapping[str, Any], tier: str | None, always: bool = False) -> Describe:
    """Return what says of a price what a cost rests on; the tier where the price is that of the tier."""
    from genai_prices.data_units import unit_data

    names = {unit["price_key"]: (name, unit["per"]) for name, unit in unit_data.items()}

    def describe(price: ModelPrice, special: bool) -> dict[str, Any]:
        usd = {}
        for key, value in price.__dict__.items():
            if value is not None and key in names:
                name, per = names[key]
                usd[name.removeprefix("output_") if "reasoning" in name else name] = float(value) * 1e6 / per
        paid_tier = {"tier": tier} if special or always else {}
        return {**basis, **paid_tier, "usd_per_million": usd}

    return describe


def _multiply_prices(model: ModelInfo, factor: float) -> ModelInfo:
    if factor == 1:
        return model
    by = Decimal(str(factor))
    prices: Any = model.prices
    if isinstance(prices, list):
        prices = [replace(each, prices=_multiply_price(each.prices, by)) for each in prices]
    else:
        prices = _multiply_price(prices, by)
    variants = [replace(each, prices=_multiply_price(each.prices, by)) for each in model.price_variants or ()]
    return replace(model, prices=prices, price_variants=variants)


def _multiply_price(price: ModelPrice, by: Decimal) -> ModelPrice:
    from genai_prices.types import ModelPrice, Tier, TieredPrices

    def multiply(value: Any) -> Any:
        if isinstance(value, TieredPrices):
            return TieredPrices(value.base * by, [Tier(t.start, t.price * by) for t in value.tiers])
        return value * by

    return ModelPrice(**{key: multiply(v) for key, v in price.__dict__.items() if v is not None})


def open_price_book() -> PriceBook:
    """Return the prices that `LLM_TRACE_PRICES` and genai-prices give; the same book until the file changes.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    path = os.environ.get(VARIABLE)
    if not path:
        return _make_book(None, 0)
    try:
        changed_ns = Path(path).stat().st_mtime_ns
    except OSError:
        changed_ns = 0
    return _make_book(path, changed_ns)


@lru_cache(4)
def _make_book(path: str | None, _changed_ns: int) -> PriceBook:
    return PriceBook(None if path is None else read_price_file(path))
