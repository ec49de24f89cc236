"""What recorded exchanges cost, by genai-prices' own reading of the raw payload; no code of llm_trace's."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from genai_prices.data_snapshot import get_snapshot

from tests.rig.exchanges import Exchange
from tests.rig.payloads import anthropic, openai

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
_PROVIDERS = {"azure-openai": "azure", "bedrock": "aws", "google-vertex": "google"}
_FLAVORS = {"responses": "responses", "embeddings": "embeddings", "chat/completions": "chat"}


def read_body(exchange: Exchange) -> dict[str, Any]:
    """Return the answer, of a stream what its events say of model and counts."""
    events = exchange.events()
    if not events:
        body = exchange.json()
        return body if isinstance(body, dict) else {}
    if "/responses" in exchange.endpoint:
        ends = [event["response"] for event in events if "response" in event]
        return dict(ends[-1]) if ends else {}
    if exchange.provider == "anthropic":
        return anthropic.join_events(events)
    if "completions" in exchange.endpoint:
        return openai.join_chat(events)
    whole: dict[str, Any] = {}
    for event in events:
        whole |= {k: v for k, v in event.items() if k in ("usage", "usageMetadata", "modelVersion")}
    return whole


def read_model(exchange: Exchange, body: dict[str, Any]) -> str | None:
    """Return the model as the answer, the request or the address names it."""
    in_url = re.search(r"/models?/([^/:?]+)", exchange.url)
    names = (body.get("model"), body.get("modelVersion"), exchange.request.get("model"))
    return next((n for n in names if n), None) or (unquote(in_url[1]) if in_url else None)


def compute_list_cost(exchange: Exchange, body: dict[str, Any], model: str) -> float | None:
    """Return the cost in dollars; `None` where the list has no price or the payload no counts."""
    provider = _PROVIDERS.get(exchange.provider, exchange.provider)
    own = next((flavor for part, flavor in _FLAVORS.items() if part in exchange.endpoint), "default")
    for flavor in dict.fromkeys((own, "default", "chat", "anthropic")):
        try:
            priced = get_snapshot().find_provider_model(model, None, provider, None)
            _, usage = priced[0].extract_usage(body, api_flavor=flavor)
            if not any(value is not None for value in priced[1].get_prices(AT).__dict__.values()):
                return 0.0 if priced[1].id.endswith(":free") else None
            return float(priced[1].calc_price(usage, priced[0], genai_request_timestamp=AT).total_price)
        except (LookupError, ValueError):
            continue
    return None
