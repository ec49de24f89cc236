"""Events for exporters' tests, and the shortest way to send them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from llm_trace.exporters.protocol import DeliveryVerdict, Event, Exporter, HttpAnswer, Request

START_NS = 1_750_000_000_000_000_000
TRACE, ROOT, TOOL, ASK = (
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "00f067aa0ba902b7",
    "00f067aa0ba902b8",
    "00f067aa0ba902b9",
)


def call(span_id: str = ROOT, parent_id: str | None = None, **fields: Any) -> Event:
    """Return a call that took a quarter of a second."""
    data = {
        "trace_id": TRACE, "span_id": span_id, "name": "ask", "kind": "llm", "status": "ok",
        "start_ns": START_NS, "end_ns": START_NS + 250_000_000,
    } | fields  # fmt: skip
    if parent_id is not None:
        data["parent_id"] = parent_id
    return Event("call", span_id, data)


def score(name: str = "helpful", value: float | str = 1.0, span_id: str = ROOT, **fields: Any) -> Event:
    data = {
        "id": "5" * 16,
        "span_id": span_id,
        "name": name,
        "value": value,
        "source": "human",
        "time_ns": START_NS,
    }
    return Event("score", data["id"], data | fields)  # type: ignore[arg-type]


def attribution(span_id: str = ROOT, **fields: Any) -> Event:
    """Return the attribution of two words of "Say <hi>"."""
    words = [(0, 3, "Say"), (4, 8, "<hi>")]
    data = {
        "id": "a" * 16, "span_id": span_id, "status": "ok", "config_hash": "c" * 16, "method": "occlusion",
        "segments": [{"start": a, "end": b, "text": t, "kind": "word"} for a, b, t in words],
        "values": [0.5, -2.0], "bounds": "exact", "unit": "nats", "prompt": "Say <hi>", "response": "Hi Ann!",
        "target": "the whole response", "baseline": "delete", "verdict": "ok", "completeness_gap": 0.25,
        "seconds": 0.5, "time_ns": START_NS + 10**9,
    }  # fmt: skip
    return Event("attribution", "a" * 16, data | fields)


def run(**fields: Any) -> Event:
    data = {
        "id": "b" * 16, "name": "first try", "config": {"temperature": 0.5, "model": {"name": "tiny"}},
        "tags": ["a"],
        "environment": {
            "python": "3.11.7", "platform": "Linux", "packages": {"x": "1"}, "git_dirty": False,
        },
        "start_ns": START_NS,
    }  # fmt: skip
    return Event("run", "b" * 16, data | fields)


def ask(exporter: Exporter, request: Request) -> DeliveryVerdict:
    """Send one request and return what its answer means."""
    url = f"{exporter.base.rstrip('/')}/{request.path}"
    headers = {**exporter.headers, **request.headers}
    reply = httpx.request(request.method, url, content=request.body, headers=headers)
    return exporter.judge(request, HttpAnswer(reply.status_code, dict(reply.headers), reply.content))


def send(exporter: Exporter, events: Sequence[Event]) -> list[Request]:
    """Send events, all of which must be taken, and return the requests."""
    requests = exporter.requests(events)
    assert [ask(exporter, request) for request in requests] == [DeliveryVerdict("delivered")] * len(requests)
    return requests
