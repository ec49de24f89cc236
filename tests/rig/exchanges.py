"""The recorded exchanges, and a few written by hand in the same form for where the recordings are absent."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "traffic" / "exchanges.jsonl"
SAMPLE = Path(__file__).with_name("sample.jsonl")
PROVIDERS = (
    "anthropic", "azure-openai", "bedrock", "cohere", "deepseek", "google", "google-vertex", "groq",
    "mistral", "ollama", "openai", "openrouter", "together",
)  # fmt: skip

needs_recordings = pytest.mark.skipif(not FILE.exists(), reason=f"no recorded traffic at {FILE}")
"""Marks a test that cannot run without the recordings."""

_ENUMS = {
    "finishReason": {1: "STOP", 2: "MAX_TOKENS"}, "modality": {1: "TEXT"}, "trafficType": {1: "ON_DEMAND"},
}  # fmt: skip
"""Vertex's numbers (`enum-encoding=int`), which today's client no longer asks for and does not read."""


@dataclass(frozen=True)
class Exchange:
    """A request to a provider, and what came back."""

    id: str
    provider: str
    endpoint: str
    url: str
    request: dict[str, Any]
    status: int
    body: bytes
    content_type: str

    @property
    def failed(self) -> bool:
        """Whether the provider refused, at once or in the middle of a stream."""
        if self.status >= 400:
            return True
        return self.content_type.startswith("text/event-stream") and any(
            "error" in event and not event.get("choices")
            for event in self.events()
            if isinstance(event, dict)
        )

    @property
    def streams(self) -> bool:
        """Whether the answer came in pieces."""
        return self.content_type.startswith(
            ("text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream")
        )

    @property
    def url_model(self) -> str | None:
        """The model that the address names, where one stands in it."""
        match = re.search(r"/models?/([^/]+?)(?::[a-zA-Z-]+)?(?:[/?]|$)", self.url)
        return match[1].replace("%3A", ":") if match else None

    def json(self) -> Any:
        """Return the body as one JSON value."""
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """Return the JSON values of a streamed body, none where it came whole."""
        if self.content_type.startswith("text/event-stream"):
            lines = [line[5:].strip() for line in self.body.splitlines() if line.startswith(b"data:")]
            return [json.loads(line) for line in lines if line != b"[DONE]"]
        if self.content_type == "application/x-ndjson":
            return [json.loads(line) for line in self.body.splitlines() if line.strip()]
        return [payload for _, payload in self.frames()]

    def frames(self) -> Iterator[tuple[str, Any]]:
        """Yield name and payload of the messages in Amazon's event stream."""
        at = 0
        while self.content_type == "application/vnd.amazon.eventstream" and at < len(self.body):
            size, head = struct.unpack(">II", self.body[at : at + 8])
            name = _read_header(self.body[at + 12 : at + 12 + head], b":event-type")
            yield name, json.loads(self.body[at + 12 + head : at + size - 4] or b"{}")
            at += size


def _read_header(raw: bytes, name: bytes) -> str:
    at = 0
    while at < len(raw):
        value = at + 4 + raw[at]
        end = value + struct.unpack(">H", raw[value - 2 : value])[0]
        if raw[at + 1 : at + 1 + raw[at]] == name:
            return raw[value:end].decode()
        at = end
    return ""


@cache
def read_exchanges() -> dict[str, Exchange]:
    """Return the recordings where they are present, and the sample always, by their id."""
    exchanges: dict[str, Exchange] = {}
    for path in (FILE, SAMPLE):
        if path.exists():
            with path.open(encoding="utf-8") as lines:
                exchanges |= {row["id"]: _build_exchange(row) for row in map(json.loads, lines)}
    return exchanges


def list_exchanges(provider: str) -> list[Exchange]:
    """Return a provider's exchanges; skips the test where there is none."""
    exchanges = [exchange for exchange in read_exchanges().values() if exchange.provider == provider]
    if not exchanges:
        pytest.skip(f"no recorded traffic of {provider} at {FILE}")
    return exchanges


def pick_each_kind(exchanges: list[Exchange], most: int = 2) -> list[Exchange]:
    """Return the first exchanges of each kind: by endpoint, whether it streams, failed, has tools.

    Every test that picks says so; `python -m benchmarks.fields` asks for all of them.
    """
    kinds: dict[tuple[Any, ...], list[Exchange]] = {}
    for exchange in exchanges:
        tools = bool(exchange.request.get("tools"))
        kind = (
            exchange.provider,
            exchange.endpoint.rpartition("/")[2],
            exchange.streams,
            exchange.failed,
            tools,
        )
        kinds.setdefault(kind, []).append(exchange)
    return [exchange for group in kinds.values() for exchange in group[:most]]


def _build_exchange(row: dict[str, Any]) -> Exchange:
    request = json.loads(row["request"]) if isinstance(row["request"], str) else row["request"]
    body = base64.b64decode(row["body_b64"]) if "body_b64" in row else row["body"].encode()
    if "enum-encoding" in row["url"] and row["status"] < 400:
        body = _name_enums_of_body(json.loads(body))
    return Exchange(
        id=row["id"],
        provider=row["provider"],
        endpoint=row["endpoint"],
        url=row["url"],
        request=request if isinstance(request, dict) else {},
        status=row["status"],
        body=body,
        content_type=_guess_content_type(row, body),
    )


def _name_enums_of_body(body: Any) -> bytes:
    if isinstance(body, list):  # a stream as a list, which today's client asks for as events
        return b"".join(b"data: %b\n\n" % json.dumps(_name_enums(chunk)).encode() for chunk in body)
    return json.dumps(_name_enums(body)).encode()


def _name_enums(value: Any) -> Any:
    if isinstance(value, list):
        return [_name_enums(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    fields = {key: inner for key, inner in value.items() if key != "safetyRatings"}
    return {
        key: _ENUMS[key].get(inner, inner) if key in _ENUMS and isinstance(inner, int) else _name_enums(inner)
        for key, inner in fields.items()
    }


def _guess_content_type(row: dict[str, Any], body: bytes) -> str:
    if body.startswith((b"data:", b"event:", b":")):
        return "text/event-stream"
    if "body_b64" in row:
        return "application/vnd.amazon.eventstream"
    if row["endpoint"].startswith("/api/") and body.strip().count(b"\n{"):
        return "application/x-ndjson"
    return str(row["content_type"] or "application/json")
