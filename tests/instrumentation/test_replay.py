"""Replays of code without decorators: the SDK's own code runs against the recorded answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

import llm_trace
from llm_trace.errors import DivergenceError, ReplayError
from tests.conftest import Recorded
from tests.helpers.sdk_answers import CHUNKS, EVENTS, MESSAGE, OPENAI

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class Server:
    """Answers as the provider of the path does, and counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.failures = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        body = json.loads(request.content)
        if self.failures:
            self.failures -= 1
            return httpx.Response(500, json={"error": {"message": "busy"}}, headers={"retry-after-ms": "1"})
        if body["model"] == "unknown":
            return httpx.Response(400, json={"error": {"message": "no such model", "type": "invalid"}})
        chat = "completions" in request.url.path
        if not body.get("stream"):
            return httpx.Response(200, json=OPENAI if chat else MESSAGE)
        lines = [("", chunk) for chunk in CHUNKS] if chat else [(event["type"], event) for event in EVENTS]
        text = "".join(
            f"event: {name}\ndata: {json.dumps(data)}\n\n" if name else f"data: {json.dumps(data)}\n\n"
            for name, data in lines
        )
        return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


class Clients:
    """A client of each kind at one server."""

    def __init__(self, server: Server) -> None:
        web = httpx.Client(transport=httpx.MockTransport(server))
        async_web = httpx.AsyncClient(transport=httpx.MockTransport(server))
        self.openai = openai.OpenAI(api_key="k", http_client=web)
        self.async_openai = openai.AsyncOpenAI(api_key="k", http_client=async_web)
        self.anthropic = anthropic.Anthropic(api_key="k", http_client=web)
        self.async_anthropic = anthropic.AsyncAnthropic(api_key="k", http_client=async_web)


def complete(clients: Clients) -> Any:
    return clients.openai.chat.completions.create(**CHAT)


def stream(clients: Clients) -> Any:
    answer = clients.openai.chat.completions.create(**CHAT, stream=True)
    return isinstance(answer, openai.Stream), [chunk.choices[0].delta.content for chunk in answer]


def stream_by_helper(clients: Clients) -> Any:
    with clients.openai.chat.completions.stream(**CHAT) as events:
        kinds = [event.type for event in events]
        return kinds, events.get_final_completion().choices[0].message.content


def leave_a_stream(clients: Clients) -> Any:
    with clients.openai.chat.completions.create(**CHAT, stream=True) as chunks:
        return next(chunks).choices[0].delta.content


def ask_raw(clients: Clients) -> Any:
    response = clients.openai.chat.completions.with_raw_response.create(**CHAT)
    return type(response), response.parse()


def stream_raw(clients: Clients) -> Any:
    response = clients.openai.chat.completions.with_raw_response.create(**CHAT, stream=True)
    return type(response), [chunk.choices[0].delta.content for chunk in response.parse()]


def read_lines(clients: Clients) -> Any:
    create = clients.anthropic.messages.with_streaming_response.create
    with create(max_tokens=5, stream=True, **CHAT) as response:
        return [json.loads(line[5:]) for line in response.iter_lines() if line.startswith("data: {")]


def read_json(clients: Clients) -> Any:
    with clients.openai.chat.completions.with_streaming_response.create(**CHAT) as response:
        return response.json()


def fail(clients: Clients) -> Any:
    with pytest.raises(openai.BadRequestError) as caught:
        clients.openai.chat.completions.create(model="unknown", messages=[])
    return str(caught.value), caught.value.status_code


def complete_async(clients: Clients) -> Any:
    return asyncio.run(clients.async_openai.chat.completions.create(**CHAT))


def stream_async(clients: Clients) -> Any:
    async def run() -> Any:
        answer = await clients.async_openai.chat.completions.create(**CHAT, stream=True)
        return isinstance(answer, openai.AsyncStream), [c.choices[0].delta.content async for c in answer]

    return asyncio.run(run())


def fail_async(clients: Clients) -> Any:
    async def run() -> Any:
        with pytest.raises(openai.BadRequestError) as caught:
            await clients.async_openai.chat.completions.create(model="unknown", messages=[])
        return str(caught.value)

    return asyncio.run(run())


def ask_anthropic(clients: Clients) -> Any:
    return clients.anthropic.messages.create(max_tokens=5, **CHAT)


def stream_anthropic(clients: Clients) -> Any:
    return list(clients.anthropic.messages.create(max_tokens=5, stream=True, **CHAT))


def stream_anthropic_by_helper(clients: Clients) -> Any:
    with clients.anthropic.messages.stream(max_tokens=5, **CHAT) as events:
        return list(events.text_stream), events.get_final_message()


def stream_anthropic_async(clients: Clients) -> Any:
    async def run() -> Any:
        async with clients.async_anthropic.messages.stream(max_tokens=5, **CHAT) as events:
            return [text async for text in events.text_stream], await events.get_final_message()

    return asyncio.run(run())


PROGRAMS: list[Callable[[Clients], Any]] = [
    complete, stream, stream_by_helper, leave_a_stream, ask_raw, stream_raw,
    read_lines, read_json, fail, complete_async, stream_async,
    fail_async, ask_anthropic, stream_anthropic, stream_anthropic_by_helper, stream_anthropic_async,
]  # fmt: skip


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clients(server: Server, store: Recorded) -> Iterator[Clients]:
    with llm_trace.instrument("openai", "anthropic"):
        yield Clients(server)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_an_sdk_is_answered_from_the_record(
    program: Callable[[Clients], Any], clients: Clients, server: Server, store: Recorded
) -> None:
    with llm_trace.start_run("nightly"):
        then = program(clients)
    assert server.asked == 1
    with llm_trace.replaying("nightly"):
        now = program(clients)
    assert (now, server.asked) == (then, 1)
    replayed, recorded = store.calls()
    assert replayed.replay_of == recorded.span_id
    assert (replayed.output, replayed.usage, replayed.status) == (
        recorded.output, recorded.usage, recorded.status,
    )  # fmt: skip


def test_another_question_is_a_divergence(clients: Clients, server: Server) -> None:
    with llm_trace.start_run("nightly"):
        complete(clients)
    other: Any = [{"role": "user", "content": "bye"}]
    match = "asks something that is not in the record"
    with pytest.raises(DivergenceError, match=match), llm_trace.replaying("nightly"):
        clients.openai.chat.completions.create(model="m", messages=other)
    assert server.asked == 1


def test_an_answer_that_was_masked_is_not_made_up(recorded: Recorded, server: Server) -> None:
    llm_trace.configure(recorded.path, redact=["hello"], instrument=["openai"])
    clients = Clients(server)
    with llm_trace.start_run("nightly"):
        complete(clients)
    match = "its answer was masked when it was recorded"
    with pytest.raises(ReplayError, match=match), llm_trace.replaying("nightly"):
        complete(clients)


def test_retries_of_the_sdk_are_one_call(clients: Clients, server: Server, store: Recorded) -> None:
    server.failures = 2
    complete(clients)
    call = store.one()
    assert (server.asked, call.status, call.metadata["retries"]) == (3, "ok", 2)
