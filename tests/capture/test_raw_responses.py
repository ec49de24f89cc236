"""Functions that return an SDK's raw response: the answer is recorded, the response stays as it was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

import llm_trace
from llm_trace import trace
from llm_trace.errors import ReplayError
from llm_trace.record import Usage
from tests.conftest import Recorded

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
OPENAI = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "m-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip
ANTHROPIC = {
    "id": "m1", "type": "message", "role": "assistant", "model": "m-1", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "hello"}], "usage": {"input_tokens": 3, "output_tokens": 2},
}  # fmt: skip
CHUNKS = [
    {**OPENAI, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}
    for text in ("hel", "lo")
]
EVENTS = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS)


def answer(request: httpx.Request) -> httpx.Response:
    """Answer as the provider of the path does."""
    if json.loads(request.content).get("stream"):
        return httpx.Response(200, text=EVENTS, headers={"content-type": "text/event-stream"})
    body = OPENAI if "completions" in request.url.path else ANTHROPIC
    return httpx.Response(200, json=body, headers={"x-request-id": "r1"})


@pytest.fixture
def web() -> Iterator[httpx.Client]:
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        yield client


def check(store: Recorded, body: dict[str, Any]) -> None:
    """Check that one call says what the body does."""
    call = store.one()
    assert isinstance(call.output, dict)
    assert call.output.pop("__type__").endswith("APIResponse")
    assert call.output == body
    assert (call.status, call.model, call.usage) == (
        "ok",
        "m-1",
        Usage(input_tokens=3, output_tokens=2),
    )


def test_a_raw_response_of_openai_is_recorded_with_its_answer(store: Recorded, web: httpx.Client) -> None:
    client = openai.OpenAI(api_key="k", http_client=web)
    response = trace(kind="llm")(client.chat.completions.with_raw_response.create)(**CHAT)
    assert (response.headers["x-request-id"], response.parse().choices[0].message.content) == ("r1", "hello")
    check(store, OPENAI)


def test_a_raw_response_of_anthropic_is_recorded_with_its_answer(store: Recorded, web: httpx.Client) -> None:
    client = anthropic.Anthropic(api_key="k", http_client=web)
    response = trace(kind="llm")(client.messages.with_raw_response.create)(max_tokens=5, **CHAT)
    assert response.parse().content[0].text == "hello"
    check(store, ANTHROPIC)


def test_a_raw_response_of_an_async_client_is_recorded_with_its_answer(store: Recorded) -> None:
    @trace(kind="llm")
    async def ask() -> Any:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as web:
            client = openai.AsyncOpenAI(api_key="k", http_client=web)
            return await client.chat.completions.with_raw_response.create(**CHAT)

    assert asyncio.run(ask()).parse().choices[0].message.content == "hello"
    check(store, OPENAI)


def test_a_raw_response_is_not_read_for_the_record_but_recorded_as_it_is_read(
    store: Recorded, web: httpx.Client
) -> None:
    client = openai.OpenAI(api_key="k", http_client=web)
    ask = trace(client.chat.completions.with_raw_response.create)
    stream = ask(stream=True, **CHAT).parse()
    assert [chunk.choices[0].delta.content for chunk in stream] == ["hel", "lo"]
    with trace(client.chat.completions.with_streaming_response.create)(**CHAT) as response:
        assert response.parse().choices[0].message.content == "hello"
    first, second = sorted(store.calls(), key=lambda call: call.start_ns)
    assert [part.content for message in first.messages_out for part in message.parts] == ["hello"]
    assert second.output == {"__type__": "openai._response.ResponseContextManager"}


def test_a_replay_refuses_to_make_up_a_raw_response(store: Recorded, web: httpx.Client) -> None:
    client = openai.OpenAI(api_key="k", http_client=web)

    @trace(kind="llm")
    def ask() -> Any:
        return client.chat.completions.with_raw_response.create(**CHAT)

    @trace
    def run() -> str:
        return str(ask().parse().choices[0].message.content)

    with llm_trace.start_run("nightly"):
        run()
    with pytest.raises(ReplayError, match="ask .* cannot be replayed"):
        llm_trace.replay("nightly", functions=run)
