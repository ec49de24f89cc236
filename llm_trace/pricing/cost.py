"""What a call cost, of its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_trace.pricing.book import PriceBook

REPORTED = {"source": "reported"}
REPORTED_JSON = json.dumps(REPORTED, separators=(",", ":"))


def price_call(call: Mapping[str, Any], book: PriceBook) -> dict[str, Any]:
    """Return `cost_usd` and `cost_basis` of a call, as far as they are known.

    A cost that the call has is that of its sender or user, and stays.

    Args:
        call: fields by the names of `llm_trace.record.Call`.
    """
    if call.get("cost_usd") is not None:
        return {"cost_usd": call["cost_usd"], "cost_basis": call.get("cost_basis") or REPORTED}
    model, usage, start_ns = call.get("model"), call.get("usage"), call.get("start_ns")
    if not isinstance(model, str) or not isinstance(usage, Mapping) or not isinstance(start_ns, int):
        return {}
    params = call.get("params")
    tier = usage.get("tier") or (params.get("service_tier") if isinstance(params, Mapping) else None)
    provider = call.get("provider")
    for rates in book.find_rates(provider, model, tier if isinstance(tier, str) else None):
        if rates.holds(start_ns, usage.get("input_tokens")):
            cost = rates.compute_cost(usage)
            return {} if cost is None else {"cost_usd": cost, "cost_basis": json.loads(rates.basis)}
    return {}
