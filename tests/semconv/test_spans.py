"""Spans that other instrumentations really wrote, as calls.

The attributes were recorded with the instrumentations named below against answers of the recorded traffic.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_trace import semconv
from llm_trace.record import Call
from tests.helpers.span_attributes import ANTHROPIC_SDK, OPENINFERENCE_ANTHROPIC


def _text(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": content}], **more}


def _tool_call(ident: str, name: str, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_call", "id": ident, "name": name, "arguments": arguments}


OPENLLMETRY_0_40: dict[str, Any] = {
    "llm.request.type": "chat",
    "gen_ai.system": "OpenAI",
    "gen_ai.request.model": "gpt-4o",
    "llm.headers": "None",
    "llm.is_streaming": False,
    "gen_ai.openai.api_base": "https://api.openai.com/v1/",
    "gen_ai.prompt.0.role": "user",
    "gen_ai.prompt.0.content": "What is the weather in Berlin",
    "llm.request.functions.0.name": "get_current_weather",
    "llm.request.functions.0.description": "Get the current weather",
    "llm.request.functions.0.parameters": (
        '{"type": "object", "properties": {"location": {"type": "string", "description": "The city and '
        'state, e.g. San Francisco, CA"}}, "required": ["location"]}'
    ),
    "gen_ai.response.model": "gpt-4o-2024-05-13",
    "gen_ai.response.id": "chatcmpl-9vs6CCN08nbDKpovcEGBQkpJOtjzQ",
    "gen_ai.openai.system_fingerprint": "fp_c9aa9c0491",
    "llm.usage.total_tokens": 78,
    "gen_ai.usage.completion_tokens": 15,
    "gen_ai.usage.prompt_tokens": 63,
    "gen_ai.completion.0.finish_reason": "tool_calls",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.tool_calls.0.id": "call_bEtwR8qUAagwWFQr5OcKmmLE",
    "gen_ai.completion.0.tool_calls.0.name": "get_current_weather",
    "gen_ai.completion.0.tool_calls.0.arguments": '{"location":"Berlin"}',
}

OPENLLMETRY_0_40_TALK: dict[str, Any] = {
    "llm.request.type": "chat",
    "gen_ai.system": "OpenAI",
    "gen_ai.request.model": "gpt-4.1-nano",
    "gen_ai.request.temperature": 0,
    "llm.headers": "None",
    "llm.is_streaming": False,
    "gen_ai.openai.api_base": "https://api.openai.com/v1/",
    "gen_ai.prompt.0.role": "system",
    "gen_ai.prompt.0.content": (
        "You are Website Scraper. You extract text from websites\nYour personal goal is: Scrape content "
        "from URL"
    ),
    "gen_ai.prompt.1.role": "user",
    "gen_ai.prompt.1.content": (
        "\nCurrent Task: Call the scrape_website tool to fetch text from http://quotes.toscrape.com/ and "
        "return the result.\n\nThis is the expected criteria for your final answer: Text content from the "
        "website.\nyou MUST return the actual complete content as the final answer, not a summary."
    ),
    "gen_ai.prompt.2.role": "assistant",
    "gen_ai.prompt.2.tool_calls.0.id": "call_WBMAOfxZbyxRXsmpErkEMfVc",
    "gen_ai.prompt.2.tool_calls.0.name": "scrape_website",
    "gen_ai.prompt.2.tool_calls.0.arguments": '{"url":"http://quotes.toscrape.com/"}',
    "gen_ai.prompt.3.role": "tool",
    "gen_ai.prompt.3.content": (
        '"The world as we have created it is a process of our thinking. It cannot be changed without '
        'changing our thinking." by Albert Einstein'
    ),
    "gen_ai.prompt.3.tool_call_id": "call_WBMAOfxZbyxRXsmpErkEMfVc",
    "gen_ai.prompt.4.role": "user",
    "gen_ai.prompt.4.content": (
        "Analyze the tool result. If requirements are met, provide the Final Answer. Otherwise, call the "
        "next tool. Deliver only the answer without meta-commentary."
    ),
    "llm.request.functions.0.name": "scrape_website",
    "llm.request.functions.0.description": "Scrape text content from a website URL",
    "llm.request.functions.0.parameters": (
        '{"properties": {"url": {"description": "The website URL to scrape", "title": "Url", "type": '
        '"string"}}, "required": ["url"], "type": "object", "additionalProperties": false}'
    ),
    "gen_ai.response.model": "gpt-4.1-nano-2025-04-14",
    "gen_ai.response.id": "chatcmpl-DFqna7nyWdizEkmveHDP0TWfHAoab",
    "gen_ai.openai.system_fingerprint": "fp_ef1a0bfaa0",
    "llm.usage.total_tokens": 270,
    "gen_ai.usage.completion_tokens": 35,
    "gen_ai.usage.prompt_tokens": 235,
    "gen_ai.usage.cache_read_input_tokens": 0,
    "gen_ai.completion.0.finish_reason": "stop",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": (
        'The content from the website is: "The world as we have created it is a process of our thinking. '
        'It cannot be changed without changing our thinking." by Albert Einstein'
    ),
}

OPENLLMETRY_0_40_COMPLETION: dict[str, Any] = {
    "llm.request.type": "completion",
    "gen_ai.system": "OpenAI",
    "gen_ai.request.model": "davinci-002",
    "llm.headers": "None",
    "llm.is_streaming": True,
    "gen_ai.prompt.0.user": "Tell me a joke about opentelemetry",
    "gen_ai.openai.api_base": "https://api.openai.com/v1/",
    "gen_ai.response.model": "davinci:2023-07-21-v2",
    "gen_ai.response.id": "cmpl-DPTDgfEvW1IvcCNFjY6iN8Q1qHdTq",
    "gen_ai.completion.0.finish_reason": "length",
    "gen_ai.completion.0.content": " if you got one.\n\nWanna hear a joke about opentelemetry? When",
}

OPENLLMETRY_0_62: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.is_streaming": False,
    "gen_ai.openai.api_base": "https://api.openai.com/v1/",
    "gen_ai.input.messages": (
        '[{"role": "user", "parts": [{"content": "What is the weather in Berlin", "type": "text"}]}]'
    ),
    "gen_ai.tool.definitions": (
        '[{"type": "function", "name": "get_current_weather", "description": "Get the current weather", '
        '"parameters": {"type": "object", "properties": {"location": {"type": "string", "description": '
        '"The city and state, e.g. San Francisco, CA"}}, "required": ["location"]}}]'
    ),
    "gen_ai.response.model": "gpt-4o-2024-05-13",
    "gen_ai.response.id": "chatcmpl-9vs6CCN08nbDKpovcEGBQkpJOtjzQ",
    "gen_ai.response.finish_reasons": ("tool_call",),
    "gen_ai.openai.response.system_fingerprint": "fp_c9aa9c0491",
    "gen_ai.usage.total_tokens": 78,
    "gen_ai.usage.output_tokens": 15,
    "gen_ai.usage.input_tokens": 63,
    "gen_ai.output.messages": (
        '[{"role": "assistant", "parts": [{"type": "tool_call", "name": "get_current_weather", "id": '
        '"call_bEtwR8qUAagwWFQr5OcKmmLE", "arguments": {"location": "Berlin"}}], "finish_reason": '
        '"tool_call"}]'
    ),
}

OPENTELEMETRY_V2: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-05-13",
    "gen_ai.response.finish_reasons": ("tool_calls",),
    "gen_ai.response.id": "chatcmpl-9vs6CCN08nbDKpovcEGBQkpJOtjzQ",
    "gen_ai.usage.input_tokens": 63,
    "gen_ai.usage.output_tokens": 15,
}

OPENTELEMETRY_V2_EMBEDDINGS: dict[str, Any] = {
    "gen_ai.operation.name": "embeddings",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "text-embedding-ada-002",
    "gen_ai.request.encoding_formats": ("base64",),
    "gen_ai.response.model": "text-embedding-ada-002",
    "gen_ai.embeddings.dimension.count": 8192,
    "gen_ai.usage.input_tokens": 8,
}

OPENINFERENCE_OPENAI: dict[str, Any] = {
    "llm.provider": "openai",
    "llm.system": "openai",
    "input.value": (
        '{"model": "gpt-4o", "stream": false, "messages": [{"role": "user", "content": "What is the '
        'weather in Berlin"}], "tools": [{"type": "function", "function": {"name": "get_current_weather", '
        '"description": "Get the current weather", "parameters": {"type": "object", "properties": '
        '{"location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"}}, '
        '"required": ["location"]}}}]}'
    ),
    "input.mime_type": "application/json",
    "output.value": (
        '{"id":"chatcmpl-9vs6CCN08nbDKpovcEGBQkpJOtjzQ","choices":[{"finish_reason":"tool_calls","index":0,'
        '"logprobs":null,"message":{"content":null,"refusal":null,"role":"assistant",'
        '"tool_calls":[{"id":"call_bEtwR8qUAagwWFQr5OcKmmLE",'
        '"function":{"arguments":"{\\"location\\":\\"Berlin\\"}","name":"get_current_weather"},'
        '"type":"function"}]}}],"created":1723579680,"model":"gpt-4o-2024-05-13",'
        '"object":"chat.completion","system_fingerprint":"fp_c9aa9c0491","usage":{"completion_tokens":15,'
        '"prompt_tokens":63,"total_tokens":78}}'
    ),
    "output.mime_type": "application/json",
    "llm.tools.0.tool.json_schema": (
        '{"type": "function", "function": {"name": "get_current_weather", "description": "Get the current '
        'weather", "parameters": {"type": "object", "properties": {"location": {"type": "string", '
        '"description": "The city and state, e.g. San Francisco, CA"}}, "required": ["location"]}}}'
    ),
    "llm.invocation_parameters": '{"model": "gpt-4o", "stream": false}',
    "llm.input_messages.0.message.role": "user",
    "llm.input_messages.0.message.content": "What is the weather in Berlin",
    "llm.model_name": "gpt-4o-2024-05-13",
    "llm.token_count.total": 78,
    "llm.token_count.prompt": 63,
    "llm.token_count.completion": 15,
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.tool_calls.0.tool_call.id": "call_bEtwR8qUAagwWFQr5OcKmmLE",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "get_current_weather",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"location":"Berlin"}',
    "llm.finish_reason": "tool_calls",
    "openinference.span.kind": "LLM",
}

OPENINFERENCE_COMPLETION: dict[str, Any] = {
    "llm.provider": "openai",
    "llm.system": "openai",
    "input.value": '{"model": "davinci-002", "stream": true, "prompt": "Tell me a joke about opentelemetry"}',
    "input.mime_type": "application/json",
    "output.value": (
        '{"choices": [{"text": " if you got one.\\n\\nWanna hear a joke about opentelemetry? When", '
        '"index": 0, "finish_reason": "length"}], "id": "cmpl-DPTDgfEvW1IvcCNFjY6iN8Q1qHdTq", "created": '
        '1774962892, "model": "davinci:2023-07-21-v2", "object": "text_completion"}'
    ),
    "output.mime_type": "application/json",
    "llm.invocation_parameters": '{"model": "davinci-002", "stream": true}',
    "llm.prompts.0.prompt.text": "Tell me a joke about opentelemetry",
    "llm.model_name": "davinci:2023-07-21-v2",
    "llm.choices.0.completion.text": " if you got one.\n\nWanna hear a joke about opentelemetry? When",
    "llm.finish_reason": "length",
    "openinference.span.kind": "LLM",
}


BERLIN_ASKED = [_text("user", "What is the weather in Berlin")]
BERLIN_CALL = _tool_call("call_bEtwR8qUAagwWFQr5OcKmmLE", "get_current_weather", {"location": "Berlin"})
BERLIN_USAGE = {"input_tokens": 63, "output_tokens": 15}


def _berlin(reason: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "parts": [BERLIN_CALL], "finish_reason": reason}]


def _read(attributes: dict[str, Any], events: Any = (), **more: Any) -> dict[str, Any]:
    made = semconv.call_fields("span", attributes, events, **more)
    Call(trace_id="0" * 32, span_id="0" * 16, start_ns=1, **made)
    assert set(made["metadata"]["otel"]["attributes"]) == set(attributes)
    return made


@pytest.mark.parametrize(
    ("attributes", "asked", "answered"),
    [
        (OPENLLMETRY_0_40, BERLIN_ASKED, _berlin("tool_calls")),
        (OPENLLMETRY_0_62, BERLIN_ASKED, _berlin("tool_call")),
        (OPENINFERENCE_OPENAI, BERLIN_ASKED, _berlin("tool_calls")),
        (OPENTELEMETRY_V2, None, [{"role": "assistant", "parts": [], "finish_reason": "tool_calls"}]),
    ],
    ids=["openllmetry 0.40", "openllmetry 0.62", "openinference", "opentelemetry v2"],
)
def test_four_instrumentations_tell_of_one_call_alike(
    attributes: dict[str, Any], asked: Any, answered: Any
) -> None:
    made = _read(attributes)
    assert made["kind"] == "llm"
    assert made["model"] == "gpt-4o-2024-05-13"
    assert made["provider"] == "openai"
    assert made["usage"] == BERLIN_USAGE
    assert made.get("messages_in") == asked
    assert made.get("messages_out") == answered


def test_the_model_that_was_asked_for_is_kept_beside_the_one_that_answered() -> None:
    assert _read(OPENTELEMETRY_V2)["metadata"]["request_model"] == "gpt-4o"


def test_a_conversation_in_indexed_attributes_keeps_its_tool_calls() -> None:
    made = _read(OPENLLMETRY_0_40_TALK)
    assert [entry["role"] for entry in made["messages_in"]] == ["system", "user", "assistant", "tool", "user"]
    ident = "call_WBMAOfxZbyxRXsmpErkEMfVc"
    assert made["messages_in"][2]["parts"] == [
        _tool_call(ident, "scrape_website", {"url": "http://quotes.toscrape.com/"})
    ]
    assert made["messages_in"][3]["parts"][0]["id"] == ident
    assert made["params"] == {"temperature": 0}
    assert made["usage"] == {"input_tokens": 235, "output_tokens": 35, "cache_read_tokens": 0}
    assert made["output"].startswith("The content from the website is")


@pytest.mark.parametrize("attributes", [OPENLLMETRY_0_40_COMPLETION, OPENINFERENCE_COMPLETION])
def test_a_completion_is_one_question_and_one_answer(attributes: dict[str, Any]) -> None:
    made = _read(attributes)
    answer = " if you got one.\n\nWanna hear a joke about opentelemetry? When"
    assert made["messages_in"] == [_text("user", "Tell me a joke about opentelemetry")]
    assert made["messages_out"] == [_text("assistant", answer, finish_reason="length")]


def test_an_embedding_is_one() -> None:
    made = _read(OPENTELEMETRY_V2_EMBEDDINGS)
    assert (made["kind"], made["usage"]) == ("embedding", {"input_tokens": 8})


def test_openinference_messages_with_contents_and_tool_calls() -> None:
    made = _read(OPENINFERENCE_ANTHROPIC)
    ident = "toolu_01KBqpqR73qWGsMaW3vBzEjz"
    asked = made["messages_in"]
    assert [entry["role"] for entry in asked] == ["user", "assistant", "tool"]
    assert [part["type"] for part in asked[1]["parts"]] == ["text", "tool_call"]
    assert asked[1]["parts"][1] == _tool_call(
        ident, "get_weather", {"location": "San Francisco, CA", "unit": "fahrenheit"}
    )
    assert asked[2]["parts"] == [
        {"type": "tool_call_response", "id": ident, "response": '{"weather": "sunny", "temperature": "75"}'}
    ]
    assert made["messages_out"][0]["finish_reason"] == "end_turn"
    assert made["params"] == {"max_tokens": 1024}
    assert made["input"]["model"] == "claude-sonnet-4-6"
    assert made["output"]["usage"]["output_tokens"] == 49


def _openinference_asked(*messages: dict[str, Any]) -> dict[str, Any]:
    spoken = {
        f"llm.input_messages.{index}.message.{name}": value
        for index, entry in enumerate(messages)
        for name, value in entry.items()
    }
    return {"openinference.span.kind": "LLM", "llm.model_name": "m", **spoken}


def test_openinference_tool_answers_told_as_the_users_words_are_a_tools() -> None:
    made = _read(
        _openinference_asked(
            {"role": "user", "tool_call_id": "tooluse_1", "content": "70 degrees"},
            {"role": "user", "tool_call_id": "tooluse_2"},
        )
    )
    answer = {"type": "tool_call_response", "id": "tooluse_1", "response": "70 degrees"}
    assert made["messages_in"] == [
        {"role": "tool", "parts": [answer]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "tooluse_2"}]},
    ]


def test_what_the_user_says_beside_a_tools_answer_stays_the_users() -> None:
    beside = {
        "contents.1.message_content.type": "text",
        "contents.1.message_content.text": "Is that warm?",
    }
    made = _read(
        _openinference_asked({"role": "user", "tool_call_id": "tooluse_1", "content": "70 degrees", **beside})
    )
    answer = {"type": "tool_call_response", "id": "tooluse_1", "response": "70 degrees"}
    assert made["messages_in"] == [
        {"role": "user", "parts": [answer, {"type": "text", "content": "Is that warm?"}]}
    ]


def test_reasoning_that_openinference_leaves_out_of_its_messages_is_taken_from_the_answer() -> None:
    answer = {
        "output": [
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Easy."}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Paris."}]},
        ],
        "status": "completed",
    }
    attributes = {
        "openinference.span.kind": "LLM",
        "output.value": json.dumps(answer),
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.contents.0.message_content.type": "reasoning",
        "llm.output_messages.1.message.role": "assistant",
        "llm.output_messages.1.message.contents.0.message_content.type": "text",
        "llm.output_messages.1.message.contents.0.message_content.text": "Paris.",
    }
    parts = [{"type": "reasoning", "content": "Easy."}, {"type": "text", "content": "Paris."}]
    expected = [{"role": "assistant", "parts": parts, "finish_reason": "completed"}]
    assert semconv.call_fields("Response", attributes)["messages_out"] == expected


def test_why_the_model_stopped_is_told_in_the_providers_own_words() -> None:
    message = {
        "role": "assistant",
        "parts": [{"type": "text", "content": "hi"}],
        "finish_reason": "tool_call",
    }
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.output.messages": json.dumps([message]),
        "gen_ai.response.finish_reasons": ["function_call"],
    }
    expected = [{**message, "finish_reason": "function_call"}]
    assert semconv.call_fields("chat", attributes)["messages_out"] == expected


def test_a_model_that_was_stopped_before_it_said_anything_has_its_reason() -> None:
    question = {"role": "user", "parts": [{"type": "text", "content": "hi"}]}
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": json.dumps([question]),
        "gen_ai.response.finish_reasons": ["content_filter"],
    }
    expected = [{"role": "assistant", "parts": [], "finish_reason": "content_filter"}]
    assert semconv.call_fields("chat", attributes)["messages_out"] == expected


def test_why_a_model_stopped_is_kept_where_a_span_has_no_content() -> None:
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.response.finish_reasons": ["length"]}
    fields = semconv.call_fields("chat", attributes)
    assert fields["messages_out"] == [{"role": "assistant", "parts": [], "finish_reason": "length"}]
    assert "output" not in fields


def test_an_empty_id_of_a_tool_call_makes_no_answer_of_a_tool() -> None:
    start = "llm.output_messages.0.message."
    attributes = {
        "openinference.span.kind": "LLM",
        f"{start}role": "assistant",
        f"{start}tool_call_id": "",
        f"{start}tool_calls.0.tool_call.id": "t1",
        f"{start}tool_calls.0.tool_call.function.name": "add",
        f"{start}tool_calls.0.tool_call.function.arguments": '{"x": 1}',
    }
    expected = [{"role": "assistant", "parts": [_tool_call("t1", "add", {"x": 1})]}]
    assert semconv.call_fields("chat", attributes)["messages_out"] == expected


def test_the_model_that_was_asked_for_is_kept_beside_the_one_that_openinference_names() -> None:
    attributes = {
        "openinference.span.kind": "LLM",
        "llm.model_name": "moonshotai/kimi-k2",
        "llm.invocation_parameters": '{"model": "gpt-4.1-mini"}',
    }
    fields = semconv.call_fields("ChatCompletion", attributes)
    assert (fields["model"], fields["metadata"]["request_model"]) == ("moonshotai/kimi-k2", "gpt-4.1-mini")


def test_a_tool_call_in_an_event_of_mistrals_stream_keeps_its_id() -> None:
    call = {"id": "c1", "function": {"name": "add", "arguments": '{"x": 1}'}}
    choice = {"message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "tool_calls"}
    attributes = {
        "openinference.span.kind": "LLM",
        "output.value": json.dumps({"data": {"choices": [choice]}}),
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "add",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"x": 1}',
    }
    parts = [_tool_call("c1", "add", {"x": 1})]
    expected = [{"role": "assistant", "parts": parts, "finish_reason": "tool_calls"}]
    assert semconv.call_fields("chat", attributes)["messages_out"] == expected


def test_code_that_the_provider_ran_is_what_its_tool_was_called_with_and_answered() -> None:
    code = {"type": "code_execution", "code": "print(1)", "language": "PYTHON"}
    outcome = {"type": "code_execution", "outcome": "OUTCOME_OK", "output": "1"}
    message = {
        "role": "assistant",
        "parts": [
            {"type": "server_tool_call", "name": "code_execution", "id": None, "server_tool_call": code},
            {"type": "server_tool_call_response", "id": None, "server_tool_call_response": outcome},
        ],
    }
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.output.messages": json.dumps([message])}
    (entry,) = semconv.call_fields("chat", attributes)["messages_out"]
    ran, answered = entry["parts"]
    assert ran["arguments"] == {"code": "print(1)", "language": "PYTHON"}
    assert answered["response"] == {"outcome": "OUTCOME_OK", "output": "1"}


@pytest.mark.parametrize("name", ["input", "arguments"])
def test_what_a_tool_of_the_provider_was_called_with_stands_beside_its_name(name: str) -> None:
    inner = {"type": "mcp_tool_use", name: {"question": "why?"}, "server_name": "deepwiki"}
    part = {"type": "server_tool_call", "name": "ask", "id": "s1", "server_tool_call": inner}
    message = {"role": "assistant", "parts": [part]}
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.output.messages": json.dumps([message])}
    (entry,) = semconv.call_fields("chat", attributes)["messages_out"]
    (call,) = entry["parts"]
    assert (call["id"], call["name"], call["arguments"]) == ("s1", "ask", {"question": "why?"})


def test_an_object_that_an_instrumentation_printed_is_no_answer() -> None:
    attributes = {"openinference.span.kind": "LLM", "output.value": "<groq.Stream object at 0x7f1405d1ef50>"}
    assert "messages_out" not in semconv.call_fields("Completions", attributes)


def test_a_prompt_and_an_answer_recorded_as_plain_text_are_messages_of_a_models_call_only() -> None:
    values = {"input.value": "Say this is a test", "output.value": "This is a test"}
    made = _read({"openinference.span.kind": "LLM", **values})
    assert made["messages_in"] == [_text("user", "Say this is a test")]
    assert made["messages_out"] == [_text("assistant", "This is a test")]
    made = _read({"openinference.span.kind": "CHAIN", **values})
    assert (made.get("messages_in"), made.get("messages_out")) == (None, None)


def test_the_span_that_the_anthropic_sdk_writes_itself() -> None:
    made = _read(ANTHROPIC_SDK)
    assert made["usage"] == {
        "input_tokens": 721,
        "output_tokens": 112,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
    }
    assert [part["type"] for part in made["messages_out"][0]["parts"]] == ["text", "tool_call", "tool_call"]
    assert made["messages_out"][0]["finish_reason"] == "tool_use"


def test_messages_in_span_events() -> None:
    events = [
        ("gen_ai.system.message", {"content": "Be kind."}),
        ("gen_ai.user.message", {"content": "hi"}),
        ("gen_ai.tool.message", {"id": "c1", "content": "sunny"}),
        (
            "gen_ai.choice",
            {"index": 0, "finish_reason": "stop", "message": '{"role": "assistant", "content": "4"}'},
        ),
    ]
    made = _read({"gen_ai.system": "openai", "gen_ai.request.model": "m"}, events)
    assert made["messages_in"] == [
        _text("system", "Be kind."),
        _text("user", "hi"),
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "sunny"}]},
    ]
    assert made["messages_out"] == [_text("assistant", "4", finish_reason="stop")]


def test_messages_in_one_event() -> None:
    given = {
        "gen_ai.system_instructions": '[{"type": "text", "content": "Be kind."}]',
        "gen_ai.input.messages": '[{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]',
        "gen_ai.output.messages": '[{"role": "assistant", "parts": [{"type": "text", "content": "4"}]}]',
    }
    made = _read({"gen_ai.operation.name": "chat"}, [("gen_ai.client.inference.operation.details", given)])
    assert made["messages_in"] == [_text("system", "Be kind."), _text("user", "hi")]
    assert made["messages_out"] == [_text("assistant", "4")]


def test_structured_attributes_need_no_json() -> None:
    told = ({"role": "user", "parts": ({"type": "text", "content": "hi"},)},)
    assert _read({"gen_ai.input.messages": told})["messages_in"] == [_text("user", "hi")]


def test_a_traceloop_workflow() -> None:
    made = _read(
        {
            "traceloop.span.kind": "tool",
            "traceloop.entity.name": "search",
            "traceloop.entity.input": '{"args": ["x"], "kwargs": {}}',
            "traceloop.entity.output": '"found"',
            "traceloop.association.properties.user_id": "ann",
            "traceloop.association.properties.plan": "gold",
        }
    )
    assert (made["kind"], made["input"], made["user"]) == ("tool", {"args": ["x"], "kwargs": {}}, "ann")
    assert made["metadata"]["plan"] == "gold"


def test_a_langfuse_generation() -> None:
    made = _read(
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": "claude",
            "langfuse.observation.model.parameters": '{"temperature": 0.5}',
            "langfuse.observation.input": '[{"role": "user", "content": "hi"}]',
            "langfuse.observation.output": '{"role": "assistant", "content": "4"}',
            "langfuse.observation.usage_details": (
                '{"input": 10, "output": 5, "cache_read_input_tokens": 100}'
            ),
            "langfuse.observation.cost_details": '{"total": 0.25}',
            "langfuse.observation.completion_start_time": '"1970-01-01T00:00:01.500000Z"',
            "langfuse.observation.prompt.name": "greet",
            "langfuse.observation.prompt.version": 3,
            "langfuse.trace.tags": ("a", "b"),
            "session.id": "s",
            "user.id": "ann",
        }
    )
    assert made["usage"] == {"input_tokens": 110, "output_tokens": 5, "cache_read_tokens": 100}
    assert (made["kind"], made["model"], made["params"]) == ("llm", "claude", {"temperature": 0.5})
    assert (made["messages_in"], made["messages_out"]) == ([_text("user", "hi")], [_text("assistant", "4")])
    assert (made["cost_usd"], made["first_token_ns"]) == (0.25, 1_500_000_000)
    assert made["prompt"] == {"name": "greet", "version": "3"}
    assert (made["session"], made["user"], made["tags"]) == ("s", "ann", ["a", "b"])


def test_langfuse_costs_without_a_total_are_summed() -> None:
    made = _read({"langfuse.observation.cost_details": '{"input": 0.125, "output": 0.25, "note": "x"}'})
    assert made["cost_usd"] == 0.375


def test_cached_tokens_by_their_short_names() -> None:
    made = _read(
        {
            "gen_ai.usage.input_tokens": 130213,
            "gen_ai.usage.cache_read_tokens": 128955,
            "gen_ai.usage.cache_write_tokens": 1253,
        }
    )
    assert made["usage"] == {
        "input_tokens": 130213,
        "cache_read_tokens": 128955,
        "cache_write_tokens": 1253,
    }


def test_a_logfire_span() -> None:
    made = _read(
        {
            "gen_ai.request.model": "m",
            "request_data": '{"model": "m", "messages": [{"role": "user", "content": "hi"}]}',
            "response_data": '{"message": {"role": "assistant", "content": "4"}}',
            "logfire.tags": ("LLM",),
        }
    )
    assert (made["messages_in"], made["messages_out"]) == ([_text("user", "hi")], [_text("assistant", "4")])
    assert made["tags"] == ["LLM"]


def test_an_openinference_retriever_and_its_template() -> None:
    made = _read(
        {
            "openinference.span.kind": "RETRIEVER",
            "input.value": "who?",
            "retrieval.documents.0.document.id": "a",
            "retrieval.documents.1.document.content": "B",
            "retrieval.documents.0.document.score": 0.5,
            "llm.prompt_template.template": "Hi {name}",
            "llm.prompt_template.variables": '{"name": "Ann"}',
            "metadata": '{"team": 7}',
        }
    )
    assert (made["kind"], made["input"]) == ("retriever", "who?")
    assert made["output"] == [{"id": "a", "score": 0.5}, {"content": "B"}]
    assert made["prompt"] == {"name": "span", "version": "f62954cde948", "variables": {"name": "Ann"}}
    assert made["metadata"]["team"] == 7


def test_an_exception_is_the_error() -> None:
    events = [
        {
            "name": "exception",
            "attributes": {"exception.type": "openai.RateLimitError", "exception.message": "429"},
        }
    ]
    made = _read({"gen_ai.request.model": "m", "error.type": "RateLimitError"}, events)
    assert made["error"] == {"type": "openai.RateLimitError", "message": "429"}
    assert _read({"gen_ai.request.model": "m", "error.type": "timeout"})["error"] == {"type": "timeout"}


def test_the_first_token_comes_from_an_event_or_from_the_wait() -> None:
    waited = {"gen_ai.response.time_to_first_chunk": 0.5}
    assert _read(waited, start_ns=1_000)["first_token_ns"] == 500_001_000
    assert "first_token_ns" not in _read(waited)
    events = [{"name": "First Token Stream Event", "timestamp": 7}]
    assert _read(waited, events, start_ns=1_000)["first_token_ns"] == 7


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (OPENTELEMETRY_V2, True),
        (OPENINFERENCE_OPENAI, True),
        ({"traceloop.span.kind": "workflow"}, True),
        ({"llm_trace.kind": "chain"}, True),
        ({"http.method": "GET"}, False),
        (
            {
                "traceloop.association.properties.user_id": "a",
                "session.id": "s",
                "gen_ai.conversation.id": "s",
            },
            False,
        ),
        ({"langfuse.trace.name": "x", "logfire.msg": "y"}, False),
        ({}, False),
    ],
)
def test_a_span_of_a_model_is_known_by_its_names(attributes: dict[str, Any], expected: bool) -> None:
    assert semconv.is_genai_span(attributes) is expected


REAL = [
    OPENLLMETRY_0_40, OPENLLMETRY_0_40_TALK, OPENLLMETRY_0_40_COMPLETION, OPENLLMETRY_0_62,
    OPENTELEMETRY_V2, OPENTELEMETRY_V2_EMBEDDINGS, OPENINFERENCE_OPENAI, OPENINFERENCE_COMPLETION,
    OPENINFERENCE_ANTHROPIC, ANTHROPIC_SDK,
]  # fmt: skip
KEPT = ("kind", "model", "provider", "usage", "params", "messages_in", "messages_out")


@pytest.mark.parametrize("openinference", [False, True])
@pytest.mark.parametrize("attributes", REAL)
def test_a_call_that_becomes_a_span_is_the_same_call_again(
    attributes: dict[str, Any], openinference: bool
) -> None:
    call = _read(attributes)
    made = _read(semconv.span_attributes(call, content=True, openinference=openinference))
    assert {key: made.get(key) for key in KEPT} == {key: call.get(key) for key in KEPT}


@pytest.mark.parametrize("attributes", REAL)
def test_openinference_attributes_alone_tell_the_same(attributes: dict[str, Any]) -> None:
    call = _read(attributes)
    both = semconv.span_attributes(call, content=True, openinference=True)
    made = _read(
        {name: value for name, value in both.items() if not name.startswith(("gen_ai.", "llm_trace."))}
    )
    kept = [key for key in KEPT if key != "params"]
    assert {key: made.get(key) for key in kept} == {key: call.get(key) for key in kept}
