"""The contract that every integration of an SDK fulfils, for the newest version and the oldest supported one.

`make test-old-sdks` runs this module with the oldest.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anthropic
import anthropic._base_client
import openai
import openai._base_client
import pytest

import llm_trace
from llm_trace.capture import failures
from llm_trace.record import Call, Usage
from tests.conftest import Recorded
from tests.helpers.sdk_answers import EVENTS, MESSAGE

LIBRARIES: dict[str, Any] = {"openai": openai, "anthropic": anthropic}
ASK: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: dict[str, list[dict[str, Any]]] = {
    "openai": [{"type": "function", "function": {"name": "look_up", "parameters": SCHEMA}}],
    "anthropic": [{"name": "look_up", "input_schema": SCHEMA}],
}
CHAT = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m-1"}
COUNTS = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def build_body(library: str, *, tools: bool) -> dict[str, Any]:
    if library == "anthropic":
        used = {"type": "tool_use", "id": "t1", "name": "look_up", "input": {"city": "Rome"}}
        return {**MESSAGE, "content": [used if tools else {"type": "text", "text": "hello"}]}
    function = {"name": "look_up", "arguments": '{"city": "Rome"}'}
    message: dict[str, Any] = {"role": "assistant", "content": None if tools else "hello"}
    if tools:
        message["tool_calls"] = [{"id": "t1", "type": "function", "function": function}]
    choices = [{"index": 0, "finish_reason": "tool_calls" if tools else "stop", "message": message}]
    return {**CHAT, "choices": choices, "usage": COUNTS}


def list_events(library: str) -> list[dict[str, Any]]:
    if library == "openai":
        return [
            {**CHAT, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}
            for text in ("hel", "lo")
        ] + [{**CHAT, "object": "chat.completion.chunk", "choices": [], "usage": COUNTS}]
    return EVENTS


class Server:
    """Answers in this process; a model named `broken` fails, one named `torn` in the middle of a stream."""

    def __init__(self, library: str) -> None:
        self.library = library
        base = LIBRARIES[library]._base_client
        self.web: Any = (
            getattr(base, "httpx2", None) or base.httpx
        )  # the client that this version is built on
        self.waiting = asyncio.Event()

    def respond(self, request: Any) -> Any:
        body = json.loads(request.content)
        if body["model"] == "broken":
            error = {"type": "invalid_request_error", "message": "no such model"}
            return self.web.Response(400, json={"type": "error", "error": error})
        if not body.get("stream"):
            return self.web.Response(200, json=build_body(self.library, tools="tools" in body))
        headers = {"content-type": "text/event-stream"}
        asynchronous = request.headers["x-stainless-async"] != "false"
        send = self.send_async if asynchronous else self.send
        return self.web.Response(200, headers=headers, content=send(body["model"]))

    def send(self, model: str) -> Iterator[bytes]:
        for event in list_events(self.library):
            name = f"event: {event['type']}\n" if "type" in event else ""
            yield f"{name}data: {json.dumps(event)}\n\n".encode()
            if model == "torn" and "hel" in json.dumps(event):
                raise self.web.ReadError("gone")

    async def send_async(self, model: str) -> AsyncIterator[bytes]:
        for piece in self.send(model):
            yield piece
            if model == "endless" and b"hel" in piece:
                self.waiting.set()
                await asyncio.Event().wait()

    def run(self, program: Callable[[Any], Any]) -> Any:
        """Return what a program makes of a client, or what it raises, with its class and last frame."""
        transport = self.web.MockTransport(self.respond)
        try:
            if program.__name__.endswith("_async"):
                return asyncio.run(self._run_async(program, transport))
            with self.web.Client(transport=transport) as http:
                return program(self._make("", http))
        except Exception as exc:
            frame = exc.__traceback__
            while frame is not None and frame.tb_next is not None:
                frame = frame.tb_next
            return type(exc), str(exc), frame and frame.tb_frame.f_code.co_qualname

    async def _run_async(self, program: Callable[..., Any], transport: Any) -> Any:
        async with self.web.AsyncClient(transport=transport) as http:
            return await program(self._make("Async", http))

    def _make(self, prefix: str, http: Any) -> Any:
        cls = getattr(
            LIBRARIES[self.library], f"{prefix}{'OpenAI' if self.library == 'openai' else 'Anthropic'}"
        )
        client = cls(api_key="k", http_client=http, max_retries=0)
        resource = client.chat.completions if self.library == "openai" else client.messages
        resource.server = self
        return resource


def ask(resource: Any) -> Any:
    return resource.create(**ASK)


async def ask_async(resource: Any) -> Any:
    return await resource.create(**ASK)


def stream(resource: Any) -> Any:
    answer = resource.create(**ASK, stream=True)
    return answer.__class__, list(answer)


async def stream_async(resource: Any) -> Any:
    answer = await resource.create(**ASK, stream=True)
    return answer.__class__, [event async for event in answer]


def leave(resource: Any) -> Any:
    with resource.create(**ASK, stream=True) as events:
        return next(event for event in events if "hel" in event.to_json())


async def leave_async(resource: Any) -> Any:
    async with await resource.create(**ASK, stream=True) as events:
        return await anext(event async for event in events if "hel" in event.to_json())


def fail(resource: Any) -> Any:
    return resource.create(**{**ASK, "model": "broken"})


async def fail_async(resource: Any) -> Any:
    return await resource.create(**{**ASK, "model": "broken"})


def fail_in_the_middle(resource: Any) -> Any:
    return list(resource.create(**{**ASK, "model": "torn"}, stream=True))


async def fail_in_the_middle_async(resource: Any) -> Any:
    return [event async for event in await resource.create(**{**ASK, "model": "torn"}, stream=True)]


async def cancel_async(resource: Any) -> Any:
    async def read() -> None:
        async for _ in await resource.create(**{**ASK, "model": "endless"}, stream=True):
            pass

    task = asyncio.create_task(read())
    await resource.server.waiting.wait()
    task.cancel()
    return await asyncio.wait([task]) and task.cancelled()


def use_tools(resource: Any) -> Any:
    return resource.create(**ASK, tools=TOOLS[resource.server.library])


async def use_tools_async(resource: Any) -> Any:
    return await resource.create(**ASK, tools=TOOLS[resource.server.library])


PROGRAMS: dict[Callable[[Any], Any], tuple[str, list[Any]]] = {
    ask: ("ok", ["hello"]),
    ask_async: ("ok", ["hello"]),
    stream: ("ok", ["hello"]),
    stream_async: ("ok", ["hello"]),
    leave: ("cancelled", ["hel"]),
    leave_async: ("cancelled", ["hel"]),
    fail: ("error", []),
    fail_async: ("error", []),
    fail_in_the_middle: ("error", ["hel"]),
    fail_in_the_middle_async: ("error", ["hel"]),
    cancel_async: ("cancelled", ["hel"]),
    use_tools: ("ok", [{"city": "Rome"}]),
    use_tools_async: ("ok", [{"city": "Rome"}]),
}
"""What a program's call is to say: how it ended, and what was answered."""


def list_parts(call: Call) -> list[Any]:
    parts = [part for message in call.messages_out for part in message.parts]
    return [part.model_dump().get("arguments") or part.content for part in parts]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program_gets_what_it_got_and_its_call_says_so(
    store: Recorded, program: Callable[[Any], Any], library: str
) -> None:
    plain = Server(library).run(program)
    with llm_trace.instrument(library), llm_trace.instrument(library):  # twice
        assert Server(library).run(program) == plain
    assert Server(library).run(program) == plain  # undone
    call = store.one()
    status, parts = PROGRAMS[program]
    assert (call.status, call.provider, list_parts(call)) == (status, library, parts)
    if status == "ok":
        assert (call.model, call.usage) == ("m-1", Usage(input_tokens=3, output_tokens=2))
    elif status == "error":
        assert call.error is not None
        assert call.error.type.endswith(plain[0].__name__)
    assert failures.counts == {}


def parse(resource: Any) -> Any:
    holder = resource if hasattr(resource, "parse") else resource._client.beta.chat.completions
    return holder.parse(**ASK)


def test_structured_output_is_recorded_wherever_a_version_has_it(store: Recorded) -> None:
    plain = Server("openai").run(parse)
    with llm_trace.instrument("openai"):
        assert Server("openai").run(parse) == plain
    call = store.one()
    assert (call.name, call.status, list_parts(call)) == ("openai.chat.completions.parse", "ok", ["hello"])
