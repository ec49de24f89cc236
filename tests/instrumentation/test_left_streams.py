"""A stream of an SDK inside an async generator: asyncio closes the inner one some time after the outer."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from types import AsyncGeneratorType, GeneratorType
from typing import Any

import openai
import pytest

import llm_trace
from tests.conftest import Recorded
from tests.helpers.model_server import open_server

HI: Any = [{"role": "user", "content": "hi"}]
Leave = Callable[[AsyncGenerator[str, None]], Awaitable[None]]


async def close(chunks: AsyncGenerator[str, None]) -> None:
    await anext(chunks)
    await chunks.aclose()


async def drop(chunks: AsyncGenerator[str, None]) -> None:
    await anext(chunks)
    del chunks
    gc.collect()


async def cancel(chunks: AsyncGenerator[str, None]) -> None:
    read = asyncio.Event()

    async def wait() -> None:
        async for _ in chunks:
            read.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(wait())
    await read.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await chunks.aclose()


@pytest.mark.parametrize("leave", [close, drop, cancel], ids=lambda leave: leave.__name__)
def test_a_traced_generator_around_a_stream_that_is_left_early_is_one_call(
    store: Recorded, leave: Leave
) -> None:
    async def run(url: str) -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as client:

            @llm_trace.trace(kind="llm", name="ask")
            async def ask() -> AsyncGenerator[str, None]:
                stream = await client.chat.completions.create(model="m", messages=HI, stream=True)
                async for chunk in stream:
                    yield chunk.choices[0].delta.content or ""

            await leave(ask())
            for _ in range(5):
                await asyncio.sleep(0)

    with open_server() as server, llm_trace.instrument("openai"):
        asyncio.run(run(server.url + "/v1"))
    call = store.one()
    assert (call.name, call.status, call.output) == ("ask", "cancelled", "hel")
    (inner,) = call.metadata["same"]
    assert inner["name"] == "openai.chat.completions.create"


def find_innermost(kind: type, name: str) -> list[Any]:
    """Return the SDK's own generators that still run, below all that stands around them."""
    gc.collect()  # the SDK's streams that were dropped are in circles
    generators: list[Any] = [each for each in gc.get_objects() if type(each) is kind]
    return [each for each in generators if each.__qualname__ == name]


def test_a_stream_that_ends_from_its_innermost_generator_is_left_early_and_raises_nothing(
    store: Recorded,
) -> None:
    """As the collector of garbage, and a loop at its end, close generators in any order."""

    async def run(url: str) -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key="x") as client:
            stream = await client.chat.completions.create(model="m", messages=HI, stream=True)
            await anext(stream)
            (innermost,) = find_innermost(AsyncGeneratorType, "AsyncStream.__stream__")
            await innermost.aclose()

    with open_server() as server, llm_trace.instrument("openai"):
        url = server.url + "/v1"
        with openai.OpenAI(base_url=url, api_key="x") as client:
            next(client.chat.completions.create(model="m", messages=HI, stream=True))
            stream = client.chat.completions.create(model="m", messages=HI, stream=True)
            next(stream)
            (innermost,) = find_innermost(GeneratorType, "Stream.__stream__")
            innermost.close()
        asyncio.run(run(url))
    calls = [(call.status, call.messages_out[0].parts[0].content) for call in store.calls()]
    assert calls == [("cancelled", "hel")] * 3
