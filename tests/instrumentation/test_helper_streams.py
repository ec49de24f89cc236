"""OpenAI's stream helpers, left before their end: the call ends there, with what was read."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2 as httpx
import openai
import pytest

import llm_trace
from tests.conftest import Recorded

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
CHUNK: dict[str, Any] = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m-1"}
RESPONSE: dict[str, Any] = {
    "id": "r1", "object": "response", "created_at": 1, "model": "m-1", "status": "in_progress",
    "output": [], "tools": [], "tool_choice": "auto", "parallel_tool_calls": True,
}  # fmt: skip
PART = {"type": "output_text", "text": "", "annotations": []}
ITEM = {"id": "i1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
AT: dict[str, Any] = {"output_index": 0, "content_index": 0, "item_id": "i1"}
EVENTS = {
    "chat": [{**CHUNK, "choices": [{"index": 0, "delta": {"content": text}}]} for text in ("hel", "lo")],
    "responses": [
        {"type": "response.created", "sequence_number": 0, "response": RESPONSE},
        {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": ITEM},
        {"type": "response.content_part.added", "sequence_number": 2, **AT, "part": PART},
        {"type": "response.output_text.delta", "sequence_number": 3, **AT, "delta": "hel", "logprobs": []},
        {"type": "response.output_text.delta", "sequence_number": 4, **AT, "delta": "lo", "logprobs": []},
    ],
}


def respond(request: httpx.Request) -> httpx.Response:
    events = EVENTS["responses" if request.url.path.endswith("/responses") else "chat"]

    def send() -> Iterator[bytes]:
        for event in events:
            yield f"data: {json.dumps(event)}\n\n".encode()

    async def send_async() -> AsyncIterator[bytes]:
        for piece in send():
            yield piece

    content = send_async() if request.headers["x-stainless-async"] != "false" else send()
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=content)


def open_helper(client: Any, kind: str) -> Any:
    if kind == "responses":
        return client.responses.stream(model="m", input="hi")
    return (client.beta if kind == "beta chat" else client).chat.completions.stream(**CHAT)


def is_text(event: Any) -> bool:
    return event.type in ("content.delta", "response.output_text.delta")


def leave_by_break(helper: Any) -> None:
    with helper as events:
        next(filter(is_text, events))


def leave_by_error(helper: Any) -> None:
    with contextlib.suppress(KeyError), helper as events:
        next(filter(is_text, events))
        raise KeyError("in the program")


def leave_by_close(helper: Any) -> None:
    events = helper.__enter__()
    next(filter(is_text, events))
    events.close()


async def leave_by_break_async(helper: Any) -> None:
    async with helper as events:
        async for event in events:
            if is_text(event):
                break


async def leave_by_error_async(helper: Any) -> None:
    with contextlib.suppress(KeyError):
        async with helper as events:
            async for event in events:
                if is_text(event):
                    raise KeyError("in the program")


async def leave_by_close_async(helper: Any) -> None:
    events = await helper.__aenter__()
    async for event in events:
        if is_text(event):
            break
    await events.close()


KINDS = ["chat", "beta chat", "responses"]


def check_left(store: Recorded, kind: str) -> None:
    call = store.one()
    texts = [part.content for message in call.messages_out for part in message.parts]
    assert (call.status, texts) == ("cancelled", ["hel"])
    assert call.name == f"openai.{'responses' if kind == 'responses' else 'chat.completions'}.create"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leave", [leave_by_break, leave_by_error, leave_by_close])
def test_a_helper_that_is_left_early_ends_its_call_there(
    store: Recorded, leave: Callable[[Any], None], kind: str
) -> None:
    with (
        llm_trace.instrument("openai"),
        httpx.Client(transport=httpx.MockTransport(respond)) as http,
    ):
        helper = open_helper(openai.OpenAI(api_key="k", http_client=http), kind)
        leave(helper)
        check_left(store, kind)  # while the helper is still held


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leave", [leave_by_break_async, leave_by_error_async, leave_by_close_async])
def test_an_awaited_helper_that_is_left_early_ends_its_call_there(
    store: Recorded, leave: Callable[[Any], Any], kind: str
) -> None:
    async def work() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
            helper = open_helper(openai.AsyncOpenAI(api_key="k", http_client=http), kind)
            await leave(helper)
            check_left(store, kind)

    with llm_trace.instrument("openai"):
        asyncio.run(work())


def test_a_stream_that_another_thread_closes_raises_what_it_would(store: Recorded) -> None:
    def respond_and_close(request: httpx.Request) -> httpx.Response:
        def send() -> Iterator[bytes]:
            yield f"data: {json.dumps(EVENTS['chat'][0])}\n\n".encode()
            stream.close()  # as by another thread, while this one waits for what comes next
            yield f"data: {json.dumps(EVENTS['chat'][1])}\n\n".encode()

        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=send())

    with (
        llm_trace.instrument("openai"),
        httpx.Client(transport=httpx.MockTransport(respond_and_close)) as http,
    ):
        stream = openai.OpenAI(api_key="k", http_client=http).chat.completions.create(**CHAT, stream=True)
        assert [chunk.choices[0].delta.content for chunk in stream] == ["hel", "lo"]
    assert store.one().status == "ok"
