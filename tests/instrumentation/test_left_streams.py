"""A stream of an SDK inside an async generator: asyncio closes the inner one some time after the outer."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import openai
import pytest

import llm_trace
from tests.conftest import Recorded
from tests.helpers.model_server import open_server

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
                messages: Any = [{"role": "user", "content": "hi"}]
                stream = await client.chat.completions.create(model="m", messages=messages, stream=True)
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
