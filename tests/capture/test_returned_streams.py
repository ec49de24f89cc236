"""Functions that return a stream, and generators that are consumed elsewhere than they were made."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import sqlite3
import types
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest

import llm_trace
from llm_trace import trace
from llm_trace.capture.callspan import current_call
from tests.conftest import Recorded

MESSAGES: Any = [{"role": "user", "content": "hi"}]


def chunk(text: str | None, **more: Any) -> dict[str, Any]:
    choices = [] if text is None else [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "toy",
        "choices": choices,
    } | more


USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
CHUNKS = [chunk("Hel"), chunk("lo"), chunk(None, usage=USAGE)]


def sse(events: list[Any], *, named: bool = False) -> bytes:
    heads = [f"event: {event['type']}\n" if named else "" for event in events]
    return "".join(f"{head}data: {json.dumps(e)}\n\n" for head, e in zip(heads, events, strict=True)).encode()


def answer_with(body: bytes) -> httpx.MockTransport:
    reply = {"content-type": "text/event-stream"}
    return httpx.MockTransport(lambda request: httpx.Response(200, headers=reply, content=body))


DONE = b"data: [DONE]\n\n"
BROKEN = sse(CHUNKS[:1]) + sse([{"error": {"message": "overloaded", "code": 529}}])


def client(body: bytes = sse(CHUNKS) + DONE) -> openai.OpenAI:
    return openai.OpenAI(api_key="x", http_client=httpx.Client(transport=answer_with(body)))


def async_client(body: bytes = sse(CHUNKS) + DONE) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="x", http_client=httpx.AsyncClient(transport=answer_with(body)))


def read_whole(stream: Any) -> None:
    assert [c.choices[0].delta.content for c in stream if c.choices] == ["Hel", "lo"]


def read_with(stream: Any) -> None:
    with stream as inside:
        assert inside is stream
        read_whole(inside)


def read_and_close(stream: Any) -> None:
    next(stream)
    stream.close()
    assert stream.response.is_closed


def leave_with(stream: Any) -> None:
    with stream:
        next(iter(stream))


def drop(stream: Any) -> None:
    next(stream)


def read_broken(stream: Any) -> None:
    with pytest.raises(openai.APIError, match="overloaded"):
        list(stream)


WAYS: dict[str, tuple[Callable[[Any], None], bytes, str, str, int | None]] = {
    "whole": (read_whole, sse(CHUNKS) + DONE, "ok", "Hello", 9),
    "with": (read_with, sse(CHUNKS) + DONE, "ok", "Hello", 9),
    "close": (read_and_close, sse(CHUNKS) + DONE, "cancelled", "Hel", None),
    "early end of with": (leave_with, sse(CHUNKS) + DONE, "cancelled", "Hel", None),
    "dropped": (drop, sse(CHUNKS) + DONE, "cancelled", "Hel", None),
    "error": (read_broken, BROKEN, "error", "Hel", None),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_returned_stream_of_a_client_is_recorded_to_its_end(store: Recorded, way: str) -> None:
    read, body, status, text, tokens = WAYS[way]

    @trace(kind="llm")
    def ask(messages: Any) -> Any:
        return client(body).chat.completions.create(model="toy", messages=messages, stream=True)

    stream = ask(MESSAGES)
    assert isinstance(stream, openai.Stream)
    assert current_call() is None
    read(stream)
    del stream
    gc.collect()
    call = store.one()
    assert (call.status, [m.text for m in call.messages_out]) == (status, [text])
    assert call.first_token_ns is not None
    assert (call.usage and call.usage.input_tokens) == tokens
    assert llm_trace.flush().ok


async def aread_whole(stream: Any) -> None:
    assert [c.choices[0].delta.content async for c in stream if c.choices] == ["Hel", "lo"]


async def aread_with(stream: Any) -> None:
    async with stream as inside:
        await aread_whole(inside)


async def aread_and_close(stream: Any) -> None:
    await anext(stream)
    await stream.close()


async def aread_broken(stream: Any) -> None:
    with pytest.raises(openai.APIError, match="overloaded"):
        [c async for c in stream]


ASYNC_WAYS: dict[str, tuple[Callable[[Any], Awaitable[None]], bytes, str, str]] = {
    "whole": (aread_whole, sse(CHUNKS) + DONE, "ok", "Hello"),
    "with": (aread_with, sse(CHUNKS) + DONE, "ok", "Hello"),
    "close": (aread_and_close, sse(CHUNKS) + DONE, "cancelled", "Hel"),
    "error": (aread_broken, BROKEN, "error", "Hel"),
}


@pytest.mark.parametrize("sync", [False, True], ids=["async function", "function"])
@pytest.mark.parametrize("way", ASYNC_WAYS)
def test_a_returned_async_stream_of_a_client_is_recorded_to_its_end(
    store: Recorded, way: str, sync: bool
) -> None:
    read, body, status, text = ASYNC_WAYS[way]

    @trace(kind="llm", name="ask")
    async def ask(messages: Any) -> Any:
        return await async_client(body).chat.completions.create(model="toy", messages=messages, stream=True)

    @trace(kind="llm", name="ask")
    def hand_on(messages: Any) -> Any:
        return async_client(body).chat.completions.create(model="toy", messages=messages, stream=True)

    async def main() -> None:
        stream = await (hand_on if sync else ask)(MESSAGES)
        assert isinstance(stream, openai.AsyncStream)
        await read(stream)

    asyncio.run(main())
    call = store.one()
    assert (call.status, [m.text for m in call.messages_out]) == (status, [text])


EVENTS = [
    {
        "type": "message_start",
        "message": {
            "id": "m", "type": "message", "role": "assistant", "model": "toy", "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
]  # fmt: skip


@pytest.mark.parametrize("way", ["create", "text_stream", "final message"])
def test_a_returned_stream_of_anthropic_is_recorded_however_it_is_read(store: Recorded, way: str) -> None:
    http = httpx.Client(transport=answer_with(sse(EVENTS, named=True)))
    messages = anthropic.Anthropic(api_key="x", http_client=http).messages
    request: Any = {"model": "toy", "max_tokens": 9, "messages": MESSAGES}

    @trace(kind="llm")
    def ask() -> Any:
        return messages.create(**request, stream=True) if way == "create" else messages.stream(**request)

    stream = ask()
    if way == "create":
        assert isinstance(stream, anthropic.Stream)
        assert [event.type for event in stream][-1] == "message_stop"
    else:
        with stream as inside:
            assert isinstance(inside, anthropic.MessageStream)
            if way == "text_stream":
                assert "".join(inside.text_stream) == "Hello"
            assert inside.get_final_message().usage.output_tokens == 2
    call = store.one()
    assert (call.status, [m.text for m in call.messages_out]) == ("ok", ["Hello"])
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens) == (9, 2)


class Pages:
    """An iterator of a user's, with attributes and special methods."""

    size = 3

    def __init__(self) -> None:
        self.left = ["a", "b"]
        self.closed = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self.left:
            raise StopIteration
        return self.left.pop(0)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, at: int) -> str:
        return self.left[at]

    def __eq__(self, other: object) -> bool:
        return other == "pages"

    def __hash__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "<pages>"

    def close(self) -> str:
        self.closed = True
        return "closed"


def test_the_proxy_of_a_stream_passes_for_the_object(store: Recorded) -> None:
    pages = Pages()
    function: Any = trace(lambda: pages)
    proxy = function()
    assert isinstance(proxy, Pages)
    assert isinstance(proxy, Iterator) is True
    assert (len(proxy), proxy[0], proxy == "pages", hash(proxy), repr(proxy)) == (3, "a", True, 7, "<pages>")
    proxy.size = 5
    assert (pages.size, len(proxy)) == (5, 5)
    assert not hasattr(proxy, "__enter__")
    assert next(proxy) == "a"
    assert proxy.close() == "closed"
    assert pages.closed
    assert list(proxy) == ["b"]  # the object itself goes on
    call = store.one()
    assert (call.output, call.status) == ("a", "cancelled")


def some() -> Generator[str, Any, str]:
    got = yield "a"
    yield f"b{got or ''}"
    return "end"


async def some_later() -> AsyncGenerator[str, None]:
    yield "a"
    yield "b"


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (some, types.GeneratorType),
        (lambda: map(str.lower, "AB"), map),
        (lambda: iter(["a", "b"]), type(iter([]))),
        (lambda: filter(None, ["a", "b"]), filter),
    ],
    ids=["generator", "map", "list iterator", "filter"],
)
def test_a_returned_iterator_is_recorded_to_its_end(store: Recorded, make: Any, kind: Any) -> None:
    stream: Any = trace(kind="llm", name="f")(lambda: make())()
    assert isinstance(stream, kind)
    assert store.one().status == "open"
    assert list(stream) == ["a", "b"]
    call = store.one()
    assert (call.output, call.status) == ("ab", "ok")


def test_a_returned_generator_keeps_its_protocol_and_one_that_is_never_begun_ends_its_call(
    store: Recorded,
) -> None:
    generator = trace(lambda: some())()
    assert next(generator) == "a"
    assert generator.send("x") == "bx"
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "end"
    unbegun = trace(lambda: some())()
    assert store.calls()[0].status == "open"
    del unbegun
    gc.collect()
    assert [c.status for c in store.calls()] == ["cancelled", "ok"]


def test_a_returned_coroutine_and_async_generator_are_recorded_to_their_end(store: Recorded) -> None:
    @trace
    async def inner() -> str:
        return "x"

    async def work() -> str:
        return await inner()

    @trace
    def later() -> Coroutine[Any, Any, str]:
        return work()

    @trace
    def stream() -> AsyncIterator[str]:
        return some_later()

    async def main() -> None:
        waiting = later()
        assert isinstance(waiting, types.CoroutineType)
        assert await asyncio.create_task(waiting) == "x"
        assert [c async for c in stream()] == ["a", "b"]
        later().close()

    asyncio.run(main())
    gc.collect()
    left, streamed, child, called = store.calls()
    assert (called.output, called.status, child.parent_id) == ("x", "ok", called.span_id)
    assert (streamed.output, streamed.status) == ("ab", "ok")
    assert (left.output, left.status) == (None, "cancelled")


def test_files_and_cursors_are_returned_as_they_are(store: Recorded) -> None:
    file, cursor = io.StringIO("x"), sqlite3.connect(":memory:").cursor()
    assert trace(lambda: file)() is file
    assert trace(lambda: cursor)() is cursor
    cursor.connection.close()
    assert [c.status for c in store.calls()] == ["ok", "ok"]


def test_results_of_a_database_are_returned_as_they_are(store: Recorded) -> None:
    sqlalchemy, orm = pytest.importorskip("sqlalchemy"), pytest.importorskip("sqlalchemy.orm")
    engine = sqlalchemy.create_engine("sqlite://")
    query = sqlalchemy.text("select 1 as n union select 2 order by 1")
    with orm.Session(engine) as session:
        for make in (
            lambda: session.execute(query),
            lambda: session.scalars(query),
            lambda: session.execute(query).mappings(),
            lambda: session.execute(query).freeze()(),
        ):
            made: list[Any] = []
            result = trace(lambda make=make, made=made: made.append(make()) or made[0])()
            assert result is made[0]
            assert len(result.all()) == 2
    assert [c.status for c in store.calls()] == ["ok"] * 4


def test_asynchronous_results_of_a_database_are_returned_as_they_are(store: Recorded) -> None:
    class AsyncScalarResult:
        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> int:
            return 1

        async def fetchmany(self) -> list[int]:
            return [1]

    result = AsyncScalarResult()

    async def ask() -> Any:
        return result

    assert asyncio.run(trace(ask)()) is result
    assert store.one().status == "ok"


@trace(kind="llm")
def told() -> Generator[str, None, None]:
    yield "a"
    yield "b"


@trace(kind="llm")
async def told_later() -> AsyncGenerator[str, None]:
    yield "a"
    yield "b"


async def drain(stream: Any) -> list[str]:
    return [c async for c in stream]


@pytest.mark.parametrize("later", [False, True], ids=["generator", "async generator"])
def test_a_generator_keeps_session_user_tags_run_and_parent_of_where_it_was_made(
    store: Recorded, later: bool
) -> None:
    @trace
    def handle() -> Any:
        with llm_trace.using_session("s", user="ann", tags=["t"]):
            return [told_later() if later else told()]

    with llm_trace.start_run("nightly") as run:
        (stream,) = handle()
    with llm_trace.using_session("other"), llm_trace.start_run("another"), llm_trace.span("consumer"):
        assert (asyncio.run(drain(stream)) if later else list(stream)) == ["a", "b"]
        consumer = current_call()
        assert consumer is not None
        assert consumer.spec.name == "consumer"
    calls = {call.name: call for call in store.calls()}
    call = calls["told_later" if later else "told"]
    assert (call.session, call.user, call.tags, call.run) == ("s", "ann", ("t",), run.id)
    assert (call.parent_id, call.trace_id) == (calls["handle"].span_id, calls["handle"].trace_id)


def test_a_coroutine_made_by_types_coroutine_can_be_awaited(store: Recorded) -> None:
    @trace
    @types.coroutine
    def wait() -> Generator[Any, Any, str]:
        yield from asyncio.sleep(0).__await__()
        return "x"

    async def main() -> str:
        return await wait()

    assert asyncio.run(main()) == "x"
    call = store.one()
    assert (call.output, call.status) == ("x", "ok")
