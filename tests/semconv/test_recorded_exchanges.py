"""275 recorded exchanges of 13 providers, with streams, against the totals that providers gave."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_trace import semconv
from llm_trace.record import Message, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILE = Path(__file__).parents[2].parent / "shared" / "data" / "traffic" / "exchanges.jsonl"

pytestmark = pytest.mark.skipif(not _FILE.exists(), reason=f"no recorded traffic at {_FILE}")


def _exchanges() -> dict[str, dict[str, Any]]:
    if not _FILE.exists():
        return {}
    with _FILE.open(encoding="utf-8") as lines:
        return {row["id"]: row for row in map(json.loads, lines)}


EXCHANGES = _exchanges()


def _event_stream(raw: bytes) -> Iterator[dict[str, Any]]:
    """Read Amazon's binary event stream: length, length of headers, checksum, headers, payload, checksum."""
    at = 0
    while at < len(raw):
        total, length = struct.unpack(">II", raw[at : at + 8])
        headers, payload = raw[at + 12 : at + 12 + length], json.loads(raw[at + 12 + length : at + total - 4])
        kind = _headers(headers)[":event-type"]
        yield {"chunk": {"bytes": payload["bytes"]}} if kind == "chunk" else {kind: payload}
        at += total


def _headers(raw: bytes) -> dict[str, str]:
    made, at = {}, 0
    while at < len(raw):
        end = at + 1 + raw[at]
        (size,) = struct.unpack(">H", raw[end + 1 : end + 3])
        made[raw[at + 1 : end].decode()] = raw[end + 3 : end + 3 + size].decode()
        at = end + 3 + size
    return made


def _chunks(row: dict[str, Any]) -> list[Any] | None:
    """Return the chunks of a streamed answer, or None for one that came whole."""
    if "body_b64" in row:
        return list(_event_stream(base64.b64decode(row["body_b64"])))
    lines = [line[5:].strip() for line in row["body"].splitlines() if line.startswith("data:")]
    if lines:
        return [json.loads(line) for line in lines if line != "[DONE]"]
    try:
        whole = json.loads(row["body"])
    except ValueError:
        return [json.loads(line) for line in row["body"].splitlines() if line.strip()]
    return whole if isinstance(whole, list) else None


def _answer(row: dict[str, Any]) -> Any:
    chunks = _chunks(row)
    return json.loads(row["body"]) if chunks is None else semconv.reduce_stream(chunks)


@pytest.mark.parametrize("name", EXCHANGES)
def test_an_exchange_is_read_without_an_error_and_fits_the_vocabulary(name: str) -> None:
    row = EXCHANGES[name]
    answer = _answer(row)
    assert answer is not None
    for entry in [*semconv.messages_in(row["request"]), *semconv.messages_out(answer)]:
        Message(**entry)
    semconv.request_fields(row["request"])
    told = semconv.response_fields(answer)
    Usage(**told.get("usage", {}))


_SILENT = ("embed", "Embed", "rerank", "tokenize", "ount", "achedContents", "guardrail", "moderations")


@pytest.mark.parametrize("name", [n for n, row in EXCHANGES.items() if row["status"] == 200])
def test_what_was_asked_and_answered_is_found(name: str) -> None:
    row = EXCHANGES[name]
    if any(word in row["endpoint"] for word in _SILENT):
        return
    asked, answered = semconv.messages_in(row["request"]), semconv.messages_out(_answer(row))
    assert asked
    unfinished = name == "google-0032"  # a research job that has only begun
    assert bool(answered) is not unfinished
    kinds = {part["type"] for entry in [*asked, *answered] for part in entry["parts"]}
    assert "unknown" not in kinds


_HIDDEN = {"google-0246", "google-0247"}
"""Gemini behind OpenAI's API leaves its thoughts out of every count but the total."""


@pytest.mark.parametrize("name", EXCHANGES)
def test_input_and_output_add_up_to_the_total_that_the_provider_gave(name: str) -> None:
    answer = _answer(EXCHANGES[name])
    given = answer.get("usage") or answer.get("usageMetadata") or {}
    total = next(
        (given[key] for key in ("total_tokens", "totalTokens", "totalTokenCount") if key in given), None
    )
    counted = semconv.response_fields(answer).get("usage")
    if total is None or counted is None or name in _HIDDEN:
        return
    assert counted.get("input_tokens", 0) + counted.get("output_tokens", 0) == total


# Read by hand from the recordings.
BY_HAND = {
    "openai-0043": ("gpt-4o-2024-05-13", (63, 15, None, None, None), "tool_calls"),
    "openai-0256": ("gpt-5-2025-08-07", (142, 355, 0, None, 128), "completed"),
    "openai-0048": ("gpt-4.1-2025-04-14", (19, 262, 0, None, 0), "completed"),
    "azure-openai-0372": (None, (16, 19, 0, None, 0), "stop"),
    "anthropic-0001": ("claude-sonnet-4-6", (14, 11, 0, 0, None), "end_turn"),
    "anthropic-0049": (None, (107, 21, 2, 5, None), "end_turn"),
    "anthropic-0149": ("claude-sonnet-5", (2390, 121, 0, 0, 28), "end_turn"),
    "bedrock-0009": (None, (443, 23, None, None, None), "end_turn"),
    "bedrock-0119": (None, (427, 156, 0, 0, None), "tool_use"),
    "bedrock-0118": (None, (5, 10, None, None, None), None),
    "google-0206": ("gemini-2.5-flash", (32 + 4610, 25 + 37, None, None, 37), "STOP"),
    "google-0272": ("gemini-2.5-flash", (3520, 2 + 51, 3512, None, 51), "STOP"),
    "google-0034": ("gemini-2.5-flash-lite", (266, 3 + 57, 0, None, 57), "incomplete"),
    "google-vertex-0092": (None, (5, 4, None, None, 4), None),
    "groq-0051": ("llama3-8b-8192", (12, 26, None, None, None), "stop"),
    "cohere-0310": (None, (69, 119, None, None, None), "COMPLETE"),
    "cohere-0317": (None, (968, 83, None, None, None), "TOOL_CALL"),
    "openrouter-0248": ("openai/gpt-5.6-sol", (4020, 5, 0, 4012, 0), "completed"),
    "deepseek-0174": ("deepseek-v4-flash", (563, 116, 512, None, 60), "tool_calls"),
    "ollama-0057": ("qwen3.6:latest", (292, 143, None, None, None), "stop"),
    "mistral-0354": (None, (20, 18, 10, None, None), "stop"),
    "together-0402": (None, (18, 35, None, None, None), None),
}


@pytest.mark.parametrize(("name", "expected"), BY_HAND.items())
def test_one_answer_of_each_provider_is_read_as_by_hand(name: str, expected: tuple[Any, ...]) -> None:
    told = semconv.response_fields(_answer(EXCHANGES[name]))
    model, counts, reason = expected
    counted = Usage(**told["usage"])
    assert counts == (
        counted.input_tokens, counted.output_tokens, counted.cache_read_tokens, counted.cache_write_tokens,
        counted.reasoning_tokens,
    )  # fmt: skip
    assert model is None or told["model"] == model
    assert reason is None or told["finish_reason"] == reason


def test_a_streamed_tool_call_is_whole_again() -> None:
    answers = {
        name: semconv.messages_out(_answer(EXCHANGES[name])) for name in ("mistral-0053", "bedrock-0100")
    }
    calls = {
        n: [p for m in said for p in m["parts"] if p["type"] == "tool_call"] for n, said in answers.items()
    }
    assert calls["mistral-0053"][0]["arguments"] == {"city": "San Francisco"}
    assert all(isinstance(call["arguments"], dict) for call in calls["bedrock-0100"])


def test_what_openrouter_charged_is_kept() -> None:
    assert semconv.response_fields(_answer(EXCHANGES["openrouter-0248"]))["cost_usd"] == 0.025265
