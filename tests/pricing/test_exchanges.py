"""Costs of recorded exchanges, against genai-prices' own reading of their raw payloads."""

from __future__ import annotations

from typing import Any

import pytest

from llm_trace import semconv
from llm_trace.pricing.book import PriceBook
from llm_trace.pricing.cost import price_call
from tests.pricing.oracle import AT, compute_list_cost, read_body, read_model
from tests.rig.exchanges import needs_recordings, read_exchanges

PROVIDERS = {
    "azure-openai": "azure.ai.openai", "bedrock": "aws.bedrock", "google": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai", "mistral": "mistral_ai", "together": "together_ai",
}  # fmt: skip


def list_costs() -> dict[str, tuple[float | None, float | None]]:
    """Return what each exchange with a known model costs, by the list and by us."""
    book = PriceBook()
    costs: dict[str, tuple[float | None, float | None]] = {}
    for identity, exchange in read_exchanges().items():
        if exchange.failed or exchange.status >= 400:
            continue
        body = read_body(exchange)
        model = read_model(exchange, body)
        expected = None if model is None else compute_list_cost(exchange, body, model)
        fields: dict[str, Any] = semconv.response_fields(body)
        if expected is None or "input_tokens" not in fields.get("usage", {}):  # a stream that broke off
            continue
        provider = PROVIDERS.get(exchange.provider, exchange.provider)
        call = {"usage": fields.get("usage"), "model": model, "provider": provider}
        ours = price_call({**call, "start_ns": int(AT.timestamp()) * 10**9}, book)
        costs[identity] = (expected, ours.get("cost_usd"))
    return costs


@needs_recordings
def test_costs_of_recorded_exchanges_are_those_of_the_price_list() -> None:
    costs = list_costs()
    wrong = {name: pair for name, pair in costs.items() if pair[0] != pytest.approx(pair[1], rel=1e-12)}
    assert costs
    assert not wrong
