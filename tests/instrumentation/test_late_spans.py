"""Spans that say that they ended before they did, beside the calls of a client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2 as httpx
import openai
import pytest
from opentelemetry.trace import Tracer

import llm_trace
from llm_trace.capture import otel_providers
from tests.conftest import Recorded

ANSWER = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "m-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip
ATTRIBUTES: dict[str, Any] = {
    "openinference.span.kind": "LLM", "llm.model_name": "m-1", "llm.token_count.prompt": 3,
    "llm.token_count.completion": 2,
}  # fmt: skip


@contextmanager
def open_client() -> Iterator[tuple[Callable[[], Any], Tracer]]:
    """Yield what asks an instrumented client, and what makes LlamaIndex's spans."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=ANSWER))
    with llm_trace.instrument("openai"), httpx.Client(transport=transport) as web:
        client: Any = openai.OpenAI(api_key="k", http_client=web)
        yield (
            lambda: client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}]),
            otel_providers.get_own_provider().get_tracer("openinference.instrumentation.llama_index"),
        )


@pytest.mark.parametrize("late", [False, True], ids=["while-it-is-open", "after-its-end"])
def test_a_client_that_asks_after_a_span_says_it_ended_is_one_with_it_until_it_really_ends(
    store: Recorded, late: bool
) -> None:
    step = {"openinference.span.kind": "AGENT"}
    with open_client() as (ask, tracer), tracer.start_as_current_span("agent", attributes=step):
        span = tracer.start_span("OpenAI.astream_chat", attributes=ATTRIBUTES, start_time=1_000)
        if late:
            span.end(end_time=2_000)
        ask()
        if not late:
            span.end(end_time=2_000)
    calls = [call for call in store.calls() if call.kind == "llm"]
    assert [call.usage.input_tokens for call in calls if call.usage] == ([3, 3] if late else [3])


def test_a_client_beside_a_span_outside_any_step_is_one_with_it(store: Recorded) -> None:
    """LlamaIndex's streams are not current while their client asks: it is in a trace of its own."""
    with open_client() as (ask, tracer):
        for _ in range(2):
            span = tracer.start_span("OpenAI.stream_chat", attributes=ATTRIBUTES, start_time=1_000)
            ask()
            span.end(end_time=2_000)
        ask()
    calls = sorted(store.calls(), key=lambda call: call.start_ns)
    counted = [call for call in calls if call.usage]
    assert [(call.kind, call.name) for call in counted] == [("llm", "openai.chat.completions.create")] * 3
    steps = [call for call in calls if call.name == "OpenAI.stream_chat"]
    assert [call.kind for call in steps] == ["chain", "chain"]
    assert {call.metadata["repeats"] for call in steps} == {call.span_id for call in counted[:2]}


def test_a_client_in_another_thread_than_such_a_span_is_another_request(store: Recorded) -> None:
    with open_client() as (ask, tracer):
        span = tracer.start_span("OpenAI.stream_chat", attributes=ATTRIBUTES, start_time=1_000)
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        span.end(end_time=2_000)
    assert [call.usage.input_tokens for call in store.calls() if call.usage] == [3, 3]
