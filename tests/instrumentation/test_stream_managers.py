"""Anthropic's stream helper, which asks when it is entered: what happens then is its call's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest
from opentelemetry.sdk.trace import TracerProvider

import llm_trace
from llm_trace.record import Usage
from tests.conftest import Recorded
from tests.helpers.loopback import Loopback, Reply
from tests.helpers.model_server import open_server

ASK: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
BUSY = Reply(500, b'{"error": {"message": "busy"}}', {"connection": "close", "retry-after-ms": "1"})


def ask(url: str, model: str, **client: Any) -> str:
    with (
        anthropic.Anthropic(base_url=url, api_key="x", **client) as asked,
        asked.messages.stream(**{**ASK, "model": model}) as stream,
    ):
        return str(stream.get_final_text())


def ask_awaited(url: str, model: str, **client: Any) -> str:
    async def run() -> str:
        async with (
            anthropic.AsyncAnthropic(base_url=url, api_key="x", **client) as asked,
            asked.messages.stream(**{**ASK, "model": model}) as stream,
        ):
            return str(await stream.get_final_text())

    return asyncio.run(run())


pytestmark = pytest.mark.parametrize("ask", [ask, ask_awaited], ids=["sync", "awaited"])


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with open_server() as server:
        yield server


def test_a_helper_whose_request_is_refused_is_an_error_call(
    store: Recorded, server: Loopback, ask: Callable[..., str]
) -> None:
    with llm_trace.instrument("anthropic"), pytest.raises(anthropic.BadRequestError):
        ask(server.url, "broken")
    call = store.one()
    assert (call.name, call.status) == ("anthropic.messages.stream", "error")
    assert call.error is not None
    assert call.error.type == "anthropic.BadRequestError"


def test_a_helper_says_how_often_its_request_was_sent_again(
    store: Recorded, server: Loopback, ask: Callable[..., str]
) -> None:
    server.next.append(BUSY)
    with llm_trace.instrument("anthropic"):
        assert ask(server.url, "m") == "hello"
    assert store.one().metadata["retries"] == 1


def test_the_span_that_the_sdk_makes_of_a_helpers_request_is_counted_once(
    recorded: Recorded, server: Loopback, ask: Callable[..., str]
) -> None:
    provider = TracerProvider()
    llm_trace.configure(recorded.path, tracer_provider=provider)
    with llm_trace.instrument("anthropic"):
        ask(server.url, "m", open_telemetry={"tracer_provider": provider})
    call = recorded.one()
    assert (call.name, call.usage) == (
        "anthropic.messages.stream",
        Usage(input_tokens=13, output_tokens=2, cache_read_tokens=4),
    )
    assert [account["name"] for account in call.metadata["same"]] == ["anthropic.messages.create"]
