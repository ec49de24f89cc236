"""275 recorded exchanges of 13 providers, with streams, against the totals that providers gave."""

from __future__ import annotations

from typing import Any

import pytest

from llm_trace import semconv
from llm_trace.record import Message, Usage
from tests.rig.exchanges import Exchange, needs_recordings, read_exchanges
from tests.rig.oracle import is_conversation

EXCHANGES = read_exchanges()


def _join_answer(exchange: Exchange) -> Any:
    """Return the answer as llm_trace reads it: joined by its own code where it was streamed."""
    if exchange.content_type == "application/vnd.amazon.eventstream":
        frames = list(exchange.frames())
        chunks = [{"chunk": payload} if name == "chunk" else {name: payload} for name, payload in frames]
        return semconv.reduce_stream(chunks)
    events = exchange.events()
    return semconv.reduce_stream(events) if events else exchange.json()


@pytest.mark.parametrize("name", EXCHANGES)
def test_an_exchange_is_read_without_an_error_and_fits_the_vocabulary(name: str) -> None:
    exchange = EXCHANGES[name]
    answer = _join_answer(exchange)
    assert answer is not None
    for entry in [*semconv.messages_in(exchange.request), *semconv.messages_out(answer)]:
        Message(**entry)
    semconv.request_fields(exchange.request)
    Usage(**semconv.response_fields(answer).get("usage", {}))


def _has_messages(exchange: Exchange) -> bool:
    return exchange.status == 200 and (is_conversation(exchange) or "interactions" in exchange.endpoint)


@pytest.mark.parametrize("name", [name for name, exchange in EXCHANGES.items() if _has_messages(exchange)])
def test_what_was_asked_and_answered_is_found(name: str) -> None:
    exchange = EXCHANGES[name]
    asked, answered = semconv.messages_in(exchange.request), semconv.messages_out(_join_answer(exchange))
    assert asked
    unfinished = name == "google-0032"  # a research job that has only begun
    assert bool(answered) is not unfinished
    kinds = {part["type"] for entry in [*asked, *answered] for part in entry["parts"]}
    assert "unknown" not in kinds


_HIDDEN = {"google-0246", "google-0247"}
"""Gemini behind OpenAI's API leaves its thoughts out of every count but the total."""


@pytest.mark.parametrize("name", EXCHANGES)
def test_input_and_output_add_up_to_the_total_that_the_provider_gave(name: str) -> None:
    answer = _join_answer(EXCHANGES[name])
    usage = answer.get("usage") or answer.get("usageMetadata") or {}
    totals = ("total_tokens", "totalTokens", "totalTokenCount")
    total = next((usage[key] for key in totals if key in usage), None)
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


@needs_recordings
@pytest.mark.parametrize(("name", "expected"), BY_HAND.items())
def test_one_answer_of_each_provider_is_read_as_by_hand(name: str, expected: tuple[Any, ...]) -> None:
    fields = semconv.response_fields(_join_answer(EXCHANGES[name]))
    model, counts, reason = expected
    counted = Usage(**fields["usage"])
    assert counts == (
        counted.input_tokens, counted.output_tokens, counted.cache_read_tokens, counted.cache_write_tokens,
        counted.reasoning_tokens,
    )  # fmt: skip
    assert model is None or fields["model"] == model
    assert reason is None or fields["finish_reason"] == reason


@needs_recordings
def test_a_streamed_tool_call_is_whole_again() -> None:
    names = ("mistral-0053", "bedrock-0100")
    answers = {name: semconv.messages_out(_join_answer(EXCHANGES[name])) for name in names}
    calls = {
        name: [part for entry in messages for part in entry["parts"] if part["type"] == "tool_call"]
        for name, messages in answers.items()
    }
    assert calls["mistral-0053"][0]["arguments"] == {"city": "San Francisco"}
    assert all(isinstance(call["arguments"], dict) for call in calls["bedrock-0100"])


@needs_recordings
def test_what_openrouter_charged_is_kept() -> None:
    assert semconv.response_fields(_join_answer(EXCHANGES["openrouter-0248"]))["cost_usd"] == 0.025265
