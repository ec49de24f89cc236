"""Prices of one's own: models that no list has, deployments by a name of one's own, discounts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Any

from llm_trace.errors import ConfigurationError

VARIABLE = "LLM_TRACE_PRICES"
"""Environment variable with the path of the file."""
RATE_KEYS = {
    "input_tokens": "input_mtok", "output_tokens": "output_mtok", "cache_read_tokens": "cache_read_mtok",
    "cache_write_tokens": "cache_write_mtok", "cache_write_1h_tokens": "cache_write_1h_mtok",
    "reasoning_tokens": "output_reasoning_mtok", "input_audio_tokens": "input_audio_mtok",
    "output_audio_tokens": "output_audio_mtok", "cache_audio_read_tokens": "cache_audio_read_mtok",
    "input_image_tokens": "input_image_mtok", "output_image_tokens": "output_image_mtok",
}  # fmt: skip
"""What a price may name -> the word of genai-prices for it."""
_OTHERS = ("same_as", "factor", "tiers")


@dataclass(frozen=True)
class OwnPrice:
    """What the file says of a model."""

    rates: Mapping[str, float] = field(default_factory=dict)
    """Dollars per million, by the names of `RATE_KEYS`."""
    same_as: str | None = None
    """`provider/model` of the list whose price this is."""
    factor: float = 1.0
    """What every price is multiplied by."""
    tiers: Mapping[str, float] = field(default_factory=dict)
    """By service tier (`batch`, `flex`, …): what the price is multiplied by besides."""


@dataclass(frozen=True)
class PriceFile:
    """The prices of a file, by `model` or `provider/model`, `*` for anything."""

    path: Path
    digest: str
    """Of what it says: 12 hex digits."""
    prices: Mapping[str, OwnPrice]

    def find(self, provider: str | None, model: str) -> OwnPrice | None:
        """Return the price of a model: that of its exact name, else of the first pattern that fits."""
        names = [f"{provider}/{model}".lower(), model.lower()] if provider else [model.lower()]
        for name in names:
            if name in self.prices:
                return self.prices[name]
        fitting = (p for pattern, p in self.prices.items() if any(fnmatchcase(n, pattern) for n in names))
        return next(fitting, None)


def read_price_file(path: str | os.PathLike[str]) -> PriceFile:
    """Return the prices of a TOML or JSON file.

    Raises:
        ConfigurationError: it cannot be read, or says something that is no price.
    """
    place = Path(os.path.abspath(os.path.expanduser(path)))
    try:
        raw = place.read_bytes()
        table = _parse_text(place, raw.decode())
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"prices={str(place)!r} cannot be read: {exc}") from exc
    if not isinstance(table, dict):
        raise ConfigurationError(f"prices={str(place)!r} holds no models: write ['gpt-4o'] and its prices")
    prices = {name.lower(): _parse_price(place, name, value) for name, value in table.items()}
    return PriceFile(place, sha256(raw).hexdigest()[:12], prices)


def _parse_text(place: Path, text: str) -> Any:
    if place.suffix.lower() == ".json":
        return json.loads(text)
    import tomllib

    return tomllib.loads(text)


def _parse_price(place: Path, name: str, value: Any) -> OwnPrice:
    where = f"prices={str(place)!r}: {name!r}"
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} is {value!r}: give input_tokens = 2.5 and so on below its name")
    if unknown := [key for key in value if key not in RATE_KEYS and key not in _OTHERS]:
        known = ", ".join((*RATE_KEYS, *_OTHERS))
        raise ConfigurationError(f"{where} has {unknown[0]!r}, which is none of {known}")
    same_as = value.get("same_as")
    rates = {key: _parse_number(where, key, value[key]) for key in RATE_KEYS if key in value}
    if (same_as is None) == (not rates.keys() & {"input_tokens", "output_tokens"}):
        raise ConfigurationError(f"{where} needs either input_tokens and output_tokens, or same_as")
    if same_as is not None and (not isinstance(same_as, str) or rates):
        raise ConfigurationError(f"{where} has same_as={same_as!r}: name a model, and no prices besides")
    tiers = value.get("tiers", {})
    if not isinstance(tiers, dict):
        raise ConfigurationError(f"{where} has tiers={tiers!r}: write tiers = {{ batch = 0.5 }}")
    factors = {str(tier).lower(): _parse_number(where, str(tier), one) for tier, one in tiers.items()}
    return OwnPrice(rates, same_as, _parse_number(where, "factor", value.get("factor", 1.0)), factors)


def _parse_number(where: str, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ConfigurationError(f"{where} has {key}={value!r}, which is no number of dollars per million")
    return float(value)
