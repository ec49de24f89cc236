"""The names of the GenAI convention v0.1.0 and those before: both are written, each is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace import semconv
from llm_trace.record import Call
from llm_trace.semconv.annotations import list_evaluations
from llm_trace.semconv.completed_span import EndedSpan


def read(attributes: dict[str, Any]) -> dict[str, Any]:
    return semconv.call_fields("span", attributes)


@pytest.mark.parametrize("name", ["cache_write", "cache_creation"])
def test_tokens_written_to_the_cache_are_read_by_either_name(name: str) -> None:
    fields = read({"gen_ai.usage.input_tokens": 9, f"gen_ai.usage.{name}.input_tokens": 4})
    assert fields["usage"] == {"input_tokens": 9, "cache_write_tokens": 4}


def test_tokens_written_to_the_cache_have_both_names() -> None:
    usage = {"input_tokens": 9, "cache_write_tokens": 4}
    attributes = semconv.span_attributes({"name": "ask", "kind": "llm", "usage": usage}, content=False)
    assert attributes["gen_ai.usage.cache_write.input_tokens"] == 4
    assert attributes["gen_ai.usage.cache_creation.input_tokens"] == 4
    assert read(attributes)["usage"] == usage


MESSAGES = [
    {"role": "assistant", "parts": [{"type": "text", "content": "let me look"}]},
    {"role": "tool", "parts": [{"type": "text", "content": "42"}]},
    {"role": "assistant", "parts": [{"type": "text", "content": "it is 42"}]},
]


def test_finish_reasons_apart_from_the_messages_go_to_the_answers_in_order() -> None:
    attributes = {
        "gen_ai.output.messages": json.dumps(MESSAGES),
        "gen_ai.response.finish_reasons": ("tool_call", "stop"),
    }
    reasons = [message.get("finish_reason") for message in read(attributes)["messages_out"]]
    assert reasons == ["tool_call", None, "stop"]


def test_an_answer_that_was_cut_off_has_a_place_among_the_finish_reasons() -> None:
    spoken = [MESSAGES[0], {**MESSAGES[2], "finish_reason": "stop"}]
    call = {"name": "ask", "kind": "llm", "messages_out": spoken}
    attributes = semconv.span_attributes(call, content=True)
    assert attributes["gen_ai.response.finish_reasons"] == ["error", "stop"]
    assert read(attributes)["messages_out"] == spoken


OPERATIONS = {
    "chat": "llm", "generate_content": "llm", "text_completion": "llm", "embeddings": "embedding",
    "execute_tool": "tool", "invoke_agent": "agent", "create_agent": "agent", "plan": "agent",
    "invoke_workflow": "chain", "retrieval": "retriever", "search_memory": "retriever",
    "create_memory": "tool", "update_memory": "tool", "upsert_memory": "tool", "delete_memory": "tool",
    "create_memory_store": "tool", "delete_memory_store": "tool", "fetch_response": "chain",
}  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_of_the_convention_has_a_kind(operation: str) -> None:
    fields = read({"gen_ai.operation.name": operation, "gen_ai.response.model": "m"})
    assert fields["kind"] == OPERATIONS[operation]


def test_what_a_memory_gave_is_the_output_of_its_call() -> None:
    attributes = {
        "gen_ai.operation.name": "search_memory",
        "gen_ai.memory.query.text": "diet",
        "gen_ai.memory.records": '[{"id":"m1","content":"vegan","score":0.9}]',
    }
    fields = read(attributes)
    assert (fields["input"], fields["output"]) == ("diet", [{"id": "m1", "content": "vegan", "score": 0.9}])


def test_a_tool_that_is_called_over_mcp_is_a_tool_call() -> None:
    attributes = {
        "mcp.method.name": "tools/call", "mcp.protocol.version": "2025-06-18", "gen_ai.tool.name": "search",
        "gen_ai.tool.call.arguments": '{"q":"x"}', "gen_ai.tool.call.result": '{"hits":1}',
    }  # fmt: skip
    assert semconv.is_genai_span({"mcp.method.name": "tools/call"})
    fields = read(attributes)
    assert (fields["kind"], fields["input"], fields["output"]) == ("tool", {"q": "x"}, {"hits": 1})


@pytest.mark.parametrize("method", ["initialize", "tools/list", "notifications/progress"])
def test_what_mcp_says_besides_is_no_tool_call(method: str) -> None:
    assert read({"mcp.method.name": method})["kind"] == "chain"


@pytest.mark.parametrize("name", ["gen_ai.agent.name", "gen_ai.workflow.name"])
def test_a_name_that_every_span_of_a_request_carries_makes_no_model_call_of_it(name: str) -> None:
    assert not semconv.is_genai_span({name: "desk", "http.request.method": "GET"})


def test_a_prompts_version_and_variables_are_read() -> None:
    attributes = {
        "gen_ai.prompt.name": "greet", "gen_ai.prompt.version": "7", "gen_ai.prompt.variable.who": "Ann",
    }  # fmt: skip
    assert read(attributes)["prompt"] == {"name": "greet", "version": "7", "variables": {"who": "Ann"}}


@pytest.mark.parametrize("name", ["gen_ai.retrieval.top_k", "gen_ai.request.top_k"])
def test_how_many_documents_were_asked_for_is_a_parameter(name: str) -> None:
    assert read({"gen_ai.operation.name": "retrieval", name: 3})["params"] == {"top_k": 3}


def test_a_retrieval_says_what_was_sought_and_found() -> None:
    documents = [{"content": "gold melts", "id": "d1", "score": 0.5, "metadata": {"page": 3}}]
    call = {
        "name": "search", "kind": "retriever", "input": {"query": "gold", "k": 1}, "output": documents,
        "params": {"top_k": 1},
    }  # fmt: skip
    attributes = semconv.span_attributes(call, content=True)
    assert attributes["gen_ai.retrieval.query.text"] == "gold"
    assert json.loads(attributes["gen_ai.retrieval.documents"]) == documents
    assert (attributes["gen_ai.retrieval.top_k"], attributes["gen_ai.request.top_k"]) == (1, 1)
    fields = read(attributes)
    assert (fields["input"], fields["output"]) == ({"query": "gold", "k": 1}, documents)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)
REASON = st.sampled_from([None, "stop", "length", "tool_call"])


@given(
    texts=st.lists(st.tuples(TEXT, REASON), min_size=1, max_size=3),
    usage=st.dictionaries(
        st.sampled_from(["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"]),
        st.integers(0, 2**40), min_size=1,
    ),
)  # fmt: skip
def test_answers_and_counts_come_back_as_they_were(
    texts: list[tuple[str, str | None]], usage: dict[str, int]
) -> None:
    spoken: list[dict[str, Any]] = [
        {"role": "assistant", "parts": [{"type": "text", "content": text}]}
        | ({} if reason is None else {"finish_reason": reason})
        for text, reason in texts
    ]
    call = Call(
        trace_id="ab" * 16, span_id="cd" * 8, name="ask", kind="llm", start_ns=1,
        messages_out=spoken, usage=usage,  # type: ignore[arg-type]  # pydantic reads them
    )  # fmt: skip
    attributes = semconv.span_attributes(call.model_dump(), content=True)
    fields = read(attributes)
    assert (fields["messages_out"], fields["usage"]) == (spoken, usage)


def evaluated(*events: dict[str, Any]) -> EndedSpan:
    named = [{"name": "gen_ai.evaluation.result", "time_ns": 7, "attributes": event} for event in events]
    return EndedSpan("ab" * 16, "cd" * 8, None, "chat m", 1, 9, {"gen_ai.operation.name": "chat"}, named)


EVENTS = (
    {
        "gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.9,
        "gen_ai.evaluation.score.label": "relevant", "gen_ai.evaluation.explanation": "on the point",
    },
    {"gen_ai.evaluation.name": "tone", "gen_ai.evaluation.score.label": "pass"},
)  # fmt: skip


def test_events_of_evaluations_are_scores() -> None:
    failed = {"gen_ai.evaluation.name": "broken", "error.type": "timeout"}
    scores = list_evaluations(evaluated(*EVENTS, failed))
    assert [{k: v for k, v in score.items() if k != "id"} for score in scores] == [
        {
            "event": "score", "span_id": "cd" * 8, "time_ns": 7, "name": "relevance", "value": 0.9,
            "comment": "relevant: on the point",
        },
        {"event": "score", "span_id": "cd" * 8, "time_ns": 7, "name": "tone", "value": "pass"},
    ]  # fmt: skip
    assert [s["id"] for s in scores] == [s["id"] for s in list_evaluations(evaluated(*EVENTS))]
