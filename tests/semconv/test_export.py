"""Our own calls as attributes that OpenTelemetry takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from llm_trace import semconv
from llm_trace.record import Message

CALL: dict[str, Any] = {
    "name": "ask",
    "kind": "llm",
    "model": "gpt-5",
    "provider": "openai",
    "start_ns": 1_000_000_000,
    "first_token_ns": 1_250_000_000,
    "input": {"model": "gpt-5", "messages": [{"role": "user", "content": "a secret question"}]},
    "output": "a secret answer",
    "params": {"temperature": 0.5, "stop": "END", "tool_choice": {"type": "auto"}, "n": 2},
    "usage": {"input_tokens": 130, "output_tokens": 5, "cache_read_tokens": 100},
    "cost_usd": 0.25,
    "session": "s1",
    "user": "ann",
    "tags": ("a", "b"),
    "prompt": {"name": "greet", "version": "abc", "variables": {"who": "secret"}},
    "run": "r1",
    "error": {"type": "openai.RateLimitError", "message": "secret"},
    "metadata": {"note": "secret"},
}
PLAIN = {
    "llm_trace.kind": "llm",
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-5",
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.stop_sequences": ["END"],
    "gen_ai.request.choice.count": 2,
    "llm_trace.params": '{"tool_choice":{"type":"auto"}}',
    "gen_ai.usage.input_tokens": 130,
    "gen_ai.usage.output_tokens": 5,
    "gen_ai.usage.cache_read.input_tokens": 100,
    "gen_ai.conversation.id": "s1",
    "user.id": "ann",
    "llm_trace.tags": ["a", "b"],
    "llm_trace.run": "r1",
    "gen_ai.prompt.name": "greet",
    "gen_ai.prompt.version": "abc",
    "llm_trace.prompt.version": "abc",
    "gen_ai.response.time_to_first_chunk": 0.25,
    "llm_trace.cost_usd": 0.25,
    "error.type": "openai.RateLimitError",
}


def test_a_call_without_content_has_names_and_numbers_only() -> None:
    made = semconv.span_attributes(CALL, content=False)
    assert made == PLAIN
    assert "secret" not in json.dumps(semconv.span_attributes(CALL, content=False, openinference=True))


def test_a_call_with_content_has_its_messages() -> None:
    made = semconv.span_attributes(CALL, content=True)
    assert json.loads(made["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "a secret question"}]}
    ]
    assert json.loads(made["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "a secret answer"}]}
    ]


def test_recorded_messages_win_over_what_the_input_holds() -> None:
    recorded = Message(**semconv.message({"role": "user", "content": "recorded"}))
    made = semconv.span_attributes({**CALL, "messages_in": (recorded,)}, content=True)
    assert "recorded" in made["gen_ai.input.messages"]


def test_a_tool_has_arguments_and_a_result() -> None:
    call = {"name": "search", "kind": "tool", "input": {"q": "x"}, "output": [1]}
    assert semconv.span_attributes(call, content=True) == {
        "llm_trace.kind": "tool",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.call.arguments": '{"q":"x"}',
        "gen_ai.tool.call.result": "[1]",
    }


def test_a_chain_claims_no_operation() -> None:
    made = semconv.span_attributes({"name": "f", "kind": "chain", "input": {"x": 1}}, content=True)
    assert made == {"llm_trace.kind": "chain", "llm_trace.input": '{"x":1}'}


def test_openinference_names_come_on_top() -> None:
    made = semconv.span_attributes(CALL, content=True, openinference=True)
    expected = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "gpt-5",
        "llm.token_count.prompt": 130,
        "llm.token_count.completion": 5,
        "llm.token_count.total": 135,
        "llm.token_count.prompt_details.cache_read": 100,
        "llm.cost.total": 0.25,
        "session.id": "s1",
        "output.value": "a secret answer",
        "output.mime_type": "text/plain",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "a secret question",
    }
    assert {name: made[name] for name in expected} == expected


@pytest.mark.parametrize("content", [False, True])
def test_opentelemetry_takes_every_value(content: bool, caplog: pytest.LogCaptureFixture) -> None:
    call = {**CALL, "params": {**CALL["params"], "seed": 2**80, "top_k": [1, "a"], "top_p": float("nan")}}
    made = semconv.span_attributes(call, content=content, openinference=True)
    span = TracerProvider().get_tracer("test").start_span("x", attributes=made)
    span.end()
    assert set(getattr(span, "attributes", {})) == set(made)
    assert not caplog.records


def test_the_round_trip_keeps_what_a_call_is() -> None:
    made = semconv.call_fields("ask", semconv.span_attributes(CALL, content=True), start_ns=CALL["start_ns"])
    for name in (
        "kind",
        "model",
        "provider",
        "usage",
        "cost_usd",
        "session",
        "user",
        "run",
        "first_token_ns",
    ):
        assert made[name] == CALL[name], name
    assert made["messages_in"] == semconv.messages_in(CALL["input"])
    assert made["output"] == "a secret answer"
    assert made["tags"] == ["a", "b"]
    assert made["params"] == {
        "temperature": 0.5,
        "stop_sequences": ["END"],
        "n": 2,
        "tool_choice": {"type": "auto"},
    }


CHUNK = {"page_content": "Blue.", "metadata": {"source": "a"}}


@pytest.mark.parametrize(
    ("output", "documents"),
    [
        (["Blue.", "Red."], [{"content": "Blue."}, {"content": "Red."}]),
        ([CHUNK], [{"content": "Blue.", "metadata": '{"source":"a"}'}]),
        ([[CHUNK, 0.5]], [{"content": "Blue.", "metadata": '{"source":"a"}', "score": 0.5}]),
        (
            {"results": [{"id": 7, "score": 1, "text": "Blue."}]},
            [{"id": "7", "content": "Blue.", "score": 1.0}],
        ),
        (
            [{"node": {"id_": "n", "text": "Blue."}, "score": 0.5}],
            [{"id": "n", "content": "Blue.", "score": 0.5}],
        ),
        (
            {"matches": [{"id": "v", "score": 0.5, "metadata": {"text": "Blue."}}]},
            [{"id": "v", "content": "Blue.", "metadata": '{"text":"Blue."}', "score": 0.5}],
        ),
        ("no list", []),
        ([1, None, True], []),
    ],
    ids=["texts", "langchain", "pairs", "results", "llamaindex", "vector store", "text", "numbers"],
)
def test_what_a_retriever_returned_shows_as_documents(output: Any, documents: list[dict[str, Any]]) -> None:
    call = {"kind": "retriever", "name": "find", "output": output}
    made = semconv.span_attributes(call, content=True, openinference=True)
    shown = {name: value for name, value in made.items() if name.startswith("retrieval.documents.")}
    assert shown == {
        f"retrieval.documents.{index}.document.{name}": value
        for index, document in enumerate(documents)
        for name, value in document.items()
    }


NAMES = st.sampled_from(["documents", "node", "text", "score", "metadata", "id", "other"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
)


@given(VALUES)
def test_whatever_a_retriever_returned_makes_attributes(output: Any) -> None:
    call = {"kind": "retriever", "name": "find", "output": output}
    made = semconv.span_attributes(call, content=True, openinference=True)
    assert all(isinstance(value, (str, int, float, list)) for value in made.values())
