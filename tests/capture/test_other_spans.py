"""Spans of other instrumentations that end in the user's provider, as calls of the store."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

import llm_trace
from llm_trace.record import Call, Usage
from tests.conftest import Recorded


class Reason(enum.StrEnum):
    STOP = "STOP"


def stored(recorded: Recorded, attributes: Mapping[str, Any]) -> Call:
    """Return what a span with these attributes becomes."""
    provider = TracerProvider()
    llm_trace.configure(recorded.path, tracer_provider=provider)
    with provider.get_tracer("x").start_as_current_span("chat") as span:
        span.set_attributes(dict(attributes))
    return recorded.one()


LLM = {"openinference.span.kind": "LLM", "llm.model_name": "m"}
SAID = "llm.output_messages.0.message"
FIRST = f"{SAID}.contents.0.message_content"
SECOND = f"{SAID}.contents.1.message_content"


@pytest.mark.parametrize(
    ("attributes", "parts"),
    [
        ( {f"{FIRST}.type": "text", f"{FIRST}.text": "Hi", f"{SAID}.content": "Hi"}, [("text", "Hi")], ),
        (
            {
                f"{FIRST}.type": "text", f"{FIRST}.text": "Hi", f"{SECOND}.type": "text",
                f"{SECOND}.text": "you", f"{SAID}.content": "Hi\nyou",
            },
            [("text", "Hi"), ("text", "you")],
        ),
        (
            {
                f"{FIRST}.type": "reasoning", f"{FIRST}.text": "Hm", f"{SECOND}.type": "text",
                f"{SECOND}.text": "Hi", f"{SAID}.content": "Hi",
            },
            [("reasoning", "Hm"), ("text", "Hi")],
        ),
        (
            {f"{FIRST}.type": "text", f"{FIRST}.text": "Hi", f"{SAID}.content": "Lo"},
            [("text", "Lo"), ("text", "Hi")],
        ),
    ],
    ids=["once", "joined", "beside-reasoning", "two-texts"],
)  # fmt: skip
def test_text_that_a_span_has_as_content_and_as_contents_is_said_once(
    recorded: Recorded, attributes: dict[str, str], parts: list[tuple[str, str]]
) -> None:
    call = stored(recorded, {**LLM, f"{SAID}.role": "assistant", **attributes})
    assert [(part.type, part.content) for part in call.messages_out[0].parts] == parts


def test_an_enum_among_attributes_is_its_value(recorded: Recorded) -> None:
    attributes = {
        **LLM, f"{SAID}.role": "assistant", f"{SAID}.content": "Hi", "llm.finish_reason": Reason.STOP,
    }  # fmt: skip
    assert stored(recorded, attributes).messages_out[0].finish_reason == "STOP"


def test_the_model_is_found_where_only_the_invocation_parameters_name_it(recorded: Recorded) -> None:
    call = stored(
        recorded,
        {
            "openinference.span.kind": "LLM",
            "llm.invocation_parameters": '{"model": "gpt-4", "max_tokens": 1000}',
        },
    )
    assert (call.model, call.params) == ("gpt-4", {"max_tokens": 1000})


def test_what_litellm_says_a_call_cost_is_its_cost(recorded: Recorded) -> None:
    attributes = {
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.cost.total_cost": 3.6e-05,
    }
    assert stored(recorded, attributes).cost_usd == 3.6e-05


def test_tokens_that_only_the_whole_answer_tells_are_counted(recorded: Recorded) -> None:
    usage = {
        "prompt_tokens": 9, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 5},
        "prompt_tokens_details": {"cached_tokens": 3},
    }  # fmt: skip
    answer = {"message": {"role": "assistant", "content": "Hi"}, "usage": usage}
    call = stored(
        recorded,
        {
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "o3", "gen_ai.usage.input_tokens": 9,
            "gen_ai.usage.output_tokens": 7, "response_data": json.dumps(answer),
        },
    )  # fmt: skip
    assert call.usage == Usage(input_tokens=9, output_tokens=7, cache_read_tokens=3, reasoning_tokens=5)


def lc(kind: str, **kwargs: Any) -> dict[str, Any]:
    """Return a message as LangChain writes it."""
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", kind], "kwargs": kwargs}


def test_what_langsmith_exports_has_its_messages(recorded: Recorded) -> None:
    asked = [
        lc("SystemMessage", content="Be brief", type="system"),
        lc("HumanMessage", content="Hi", type="human"),
    ]
    told = lc("AIMessage", content="Ho", type="ai", response_metadata={"finish_reason": "stop"})
    call = stored(
        recorded,
        {
            "langsmith.span.kind": "llm",
            "gen_ai.operation.name": "chat",
            "gen_ai.prompt": json.dumps({"messages": [asked]}),
            "gen_ai.completion": json.dumps({"generations": [[{"text": "Ho", "message": told}]]}),
        },
    )
    said = [(message.role, message.text) for message in (*call.messages_in, *call.messages_out)]
    assert (call.kind, said) == ("llm", [("system", "Be brief"), ("user", "Hi"), ("assistant", "Ho")])


def test_reasoning_that_only_the_whole_answer_has_is_kept(recorded: Recorded) -> None:
    answer = {
        "model": "deepseek-reasoner",
        "choices": [
            {
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Hi", "reasoning_content": "Hm"},
            }
        ],
    }
    attributes = {
        **LLM,
        f"{SAID}.role": "assistant",
        f"{SAID}.content": "Hi",
        "output.value": json.dumps(answer),
    }
    (message,) = stored(recorded, attributes).messages_out
    assert [(part.type, part.content) for part in message.parts] == [("reasoning", "Hm"), ("text", "Hi")]
    assert message.finish_reason == "stop"


def test_the_arguments_of_a_tool_that_the_provider_ran_are_its_arguments(recorded: Recorded) -> None:
    call = {
        "type": "server_tool_call",
        "id": "s1",
        "name": "bash",
        "server_tool_call": {"type": "bash", "input": {"command": "ls"}},
    }
    told = {
        "type": "server_tool_call_response",
        "id": "s1",
        "server_tool_call_response": {"type": "bash", "content": "a.txt"},
    }
    messages = json.dumps([{"role": "assistant", "parts": [call, told]}])
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.output.messages": messages,
    }
    parts = [part.model_dump() for part in stored(recorded, attributes).messages_out[0].parts]
    assert (parts[0]["name"], parts[0]["arguments"], parts[1]["response"]) == (
        "bash",
        {"command": "ls"},
        "a.txt",
    )


def test_an_evaluation_in_a_span_is_a_score_of_its_call(recorded: Recorded) -> None:
    provider = TracerProvider()
    llm_trace.configure(recorded.path, tracer_provider=provider)
    with provider.get_tracer("x").start_as_current_span("chat") as span:
        span.set_attribute("gen_ai.operation.name", "chat")
        span.add_event(
            "gen_ai.evaluation.result",
            {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.5},
        )
    (score,) = recorded.scores(recorded.one().span_id)
    assert (score.name, score.value, score.comment) == ("relevance", 0.5, None)
