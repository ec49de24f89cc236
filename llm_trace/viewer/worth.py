"""What operating with explanations is worth, for who pays for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.errors import ConfigurationError
from llm_trace.operations.reviews import RATING

if TYPE_CHECKING:
    from starlette.requests import Request

    from llm_trace.stores.duckdb import Store


def read_worth(store: Store, request: Request) -> dict[str, Any]:
    """Return the figures by topic, those that are not known with the reason."""
    from llm_trace.operations.worth_figures import TOPICS
    from llm_trace.operations.worth_summary import worth

    query = request.query_params
    asked = {name: query.get(name, "").strip() for name in ("score", "prompt", "hourly")}
    result = worth(
        store,
        score=asked["score"] or RATING,
        prompt=asked["prompt"] or None,
        hourly_usd=_read_price(asked["hourly"]),
    )
    topics = [
        {
            "title": title,
            "figures": [{**f.model_dump(), "shown": f.shown} for f in result.choose(topic)],
        }
        for topic, title in TOPICS.items()
    ]
    return {"topics": topics, "asked": asked, "score": result.score, "confidence": result.confidence}


def _read_price(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise ConfigurationError(f"{text!r} is no price of an hour") from None
