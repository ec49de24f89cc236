"""Spans that say that they ended before they did, beside the calls of a client."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx
import openai
import pytest

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


@pytest.mark.parametrize("late", [False, True], ids=["while-it-is-open", "after-its-end"])
def test_a_client_that_asks_after_a_span_says_it_ended_is_one_with_it_until_it_really_ends(
    store: Recorded, late: bool
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=ANSWER))
    with llm_trace.instrument("openai"), httpx.Client(transport=transport) as web:
        client: Any = openai.OpenAI(api_key="k", http_client=web)
        tracer = otel_providers.get_own_provider().get_tracer("openinference.instrumentation.llama_index")
        with tracer.start_as_current_span("agent", attributes={"openinference.span.kind": "AGENT"}):
            span = tracer.start_span("OpenAI.astream_chat", attributes=ATTRIBUTES, start_time=1_000)
            if late:
                span.end(end_time=2_000)
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
            if not late:
                span.end(end_time=2_000)
    calls = [call for call in store.calls() if call.kind == "llm"]
    assert [call.usage.input_tokens for call in calls if call.usage] == ([3, 3] if late else [3])
