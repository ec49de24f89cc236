"""Raw responses of instrumented SDKs: the program reads what it would read, and the call holds that."""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anthropic
import groq
import httpx as httpx_plain
import httpx2 as httpx
import openai
import pytest

import llm_trace
from llm_trace.capture import failures
from llm_trace.record import Call, Usage
from tests.conftest import Recorded
from tests.helpers.loopback import Loopback, Received, Reply
from tests.helpers.sdk_answers import CHUNKS, EVENTS, MESSAGE, OPENAI

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
SENT = {
    "openai": "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS) + "data: [DONE]\n\n",
    "anthropic": "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in EVENTS),
}
SENT["groq"] = SENT["openai"]
UNTIL_HEL = {"openai": 1, "anthropic": 3, "groq": 1}
"""Events until the first piece of text is out."""


def answer(request: Received) -> Reply:
    library = "anthropic" if request.path.endswith("/messages") else "openai"
    if request.json().get("stream"):
        return Reply(200, SENT[library].encode(), {"content-type": "text/event-stream"})
    return Reply(body=json.dumps(MESSAGE if library == "anthropic" else OPENAI).encode())


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with Loopback(answer) as server:
        yield server


CLIENTS: dict[str, tuple[Any, Any]] = {
    "openai": (openai.OpenAI, openai.AsyncOpenAI),
    "anthropic": (anthropic.Anthropic, anthropic.AsyncAnthropic),
    "groq": (groq.Groq, groq.AsyncGroq),
}


def get_resource(client: Any) -> Any:
    return client.messages if hasattr(client, "messages") else client.chat.completions


# Ways of reading; each returns what the program saw


def parse_all(resource: Any, first: int) -> Any:
    response = resource.with_raw_response.create(**ASK, stream=True)
    stream = response.parse()
    return type(response), type(stream), list(stream), response.parse() is stream, response.status_code


def parse_first(resource: Any, first: int) -> Any:
    stream = resource.with_raw_response.create(**ASK, stream=True).parse()
    events = [next(stream) for _ in range(first)]
    stream.close()
    return events


def read_text(resource: Any, first: int) -> Any:
    response = resource.with_raw_response.create(**ASK, stream=True)
    text = response.http_response.read().decode()
    return text, pickle.loads(pickle.dumps(response.http_response)).text


def read_lines(resource: Any, first: int) -> Any:
    with resource.with_streaming_response.create(**ASK, stream=True) as response:
        return type(response), list(response.iter_lines()), response.is_closed


def read_first_lines(resource: Any, first: int) -> Any:
    with resource.with_streaming_response.create(**ASK, stream=True) as response:
        lines = []
        for line in response.iter_lines():
            lines.append(line)
            if "hel" in line:
                break
        return lines


def read_bytes(resource: Any, first: int) -> Any:
    with resource.with_streaming_response.create(**ASK, stream=True) as response:
        return b"".join(response.iter_bytes(7))


def parse_unread(resource: Any, first: int) -> Any:
    with resource.with_streaming_response.create(**ASK) as response:
        return response.parse(), response.json()


def read_unread_text(resource: Any, first: int) -> Any:
    with resource.with_streaming_response.create(**ASK) as response:
        return response.text()


async def parse_all_async(resource: Any, first: int) -> Any:
    response = await resource.with_raw_response.create(**ASK, stream=True)
    stream = response.parse()
    stream = await stream if isinstance(stream, Awaitable) else stream
    return type(response), type(stream), [event async for event in stream]


async def parse_first_async(resource: Any, first: int) -> Any:
    async with resource.with_streaming_response.create(**ASK, stream=True) as response:
        stream = await response.parse()
        return [await anext(stream) for _ in range(first)]


async def read_lines_async(resource: Any, first: int) -> Any:
    async with resource.with_streaming_response.create(**ASK, stream=True) as response:
        return [line async for line in response.iter_lines()]


async def read_first_lines_async(resource: Any, first: int) -> Any:
    async with resource.with_streaming_response.create(**ASK, stream=True) as response:
        lines = []
        async for line in response.iter_lines():
            lines.append(line)
            if "hel" in line:
                break
        return lines


async def parse_unread_async(resource: Any, first: int) -> Any:
    async with resource.with_streaming_response.create(**ASK) as response:
        return await response.parse(), await response.text()


WAYS: tuple[Callable[[Any, int], Any], ...] = (
    parse_all, parse_first, read_text, read_lines, read_first_lines, read_bytes, parse_unread,
    read_unread_text, parse_all_async, parse_first_async, read_lines_async, read_first_lines_async,
    parse_unread_async,
)  # fmt: skip


def run(way: Callable[[Any, int], Any], library: str, url: str) -> Any:
    plain, awaited = CLIENTS[library]
    web: Any = httpx_plain if library == "groq" else httpx
    arguments = {"api_key": "k", "base_url": url, "max_retries": 0}
    if not way.__name__.endswith("_async"):
        with web.Client(verify=False) as http:  # without the certificates, which take long to load
            return way(get_resource(plain(http_client=http, **arguments)), UNTIL_HEL[library])

    async def work() -> Any:
        async with web.AsyncClient(verify=False) as http:
            return await way(get_resource(awaited(http_client=http, **arguments)), UNTIL_HEL[library])

    return asyncio.run(work())


def list_texts(call: Call) -> list[str]:
    return [str(part.content) for message in call.messages_out for part in message.parts]


@pytest.mark.parametrize("library", CLIENTS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_raw_response_is_recorded_as_far_as_it_was_read_and_reads_as_it_did(
    store: Recorded, server: Loopback, way: Callable[[Any, int], Any], library: str
) -> None:
    plain = run(way, library, server.url)
    with llm_trace.instrument(library):
        assert run(way, library, server.url) == plain
    call = store.one()
    left = "first" in way.__name__
    assert (call.status, list_texts(call)) == (("cancelled", ["hel"]) if left else ("ok", ["hello"]))
    assert (call.model, call.provider) == ("m-1", "anthropic" if library == "anthropic" else call.provider)
    if not left:
        assert call.usage == Usage(input_tokens=3, output_tokens=2)
    if "unread" not in way.__name__:
        assert call.first_token_ns is not None
    assert failures.counts == {}


def test_a_raw_response_that_nobody_reads_ends_its_call_when_it_is_dropped(
    store: Recorded, server: Loopback
) -> None:
    with llm_trace.instrument("openai"), httpx.Client(verify=False) as http:
        client = openai.OpenAI(api_key="k", base_url=server.url, http_client=http)
        response = client.chat.completions.with_raw_response.create(**ASK, stream=True)
        assert store.one().status == "open"
        response.http_response.close()
        del response
        gc.collect()
    assert (store.one().status, store.one().output) == ("cancelled", None)


def fail_in_the_middle(request: httpx.Request) -> httpx.Response:
    def send() -> Iterator[bytes]:
        yield SENT["openai"].encode()[: SENT["openai"].index("\n\n") + 30]
        raise httpx.ReadError("gone")

    async def send_async() -> AsyncIterator[bytes]:
        for piece in send():
            yield piece

    headers = {"content-type": "text/event-stream"}
    asynchronous = request.headers["x-stainless-async"] != "false"
    return httpx.Response(200, headers=headers, content=send_async() if asynchronous else send())


def read_to_the_error(way: str) -> BaseException:
    with httpx.Client(transport=httpx.MockTransport(fail_in_the_middle)) as web:
        completions = openai.OpenAI(api_key="k", http_client=web).chat.completions
        response = completions.with_raw_response.create(**ASK, stream=True)
        with pytest.raises((openai.APIConnectionError, httpx.ReadError)) as caught:
            list(response.parse() if way == "parse" else response.http_response.iter_lines())
        return caught.value


@pytest.mark.parametrize("way", ["parse", "lines"])
def test_an_error_in_the_middle_is_the_calls_with_what_was_read_before(store: Recorded, way: str) -> None:
    plain = read_to_the_error(way)
    with llm_trace.instrument("openai"):
        error = read_to_the_error(way)
    assert (type(error), str(error)) == (type(plain), str(plain))
    call = store.one()
    assert (call.status, list_texts(call)) == ("error", ["hel"])
    assert call.error is not None
    assert call.error.type.endswith(type(error).__name__)
