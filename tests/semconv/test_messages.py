"""Messages of each provider in OpenTelemetry's shape, and where they are found in a call."""

from __future__ import annotations

from typing import Any

import pytest

from llm_trace import semconv
from llm_trace.record import Message


def _text(content: str) -> dict[str, Any]:
    return {"type": "text", "content": content}


def _call(name: str, arguments: Any, ident: str | None = None) -> dict[str, Any]:
    made = {"type": "tool_call", "id": ident, "name": name, "arguments": arguments}
    return {key: value for key, value in made.items() if value is not None}


def _said(role: str, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": role, "parts": list(parts), **more}


WEATHER = {"city": "Paris"}
PROVIDERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "openai text": ({"role": "user", "content": "hi", "name": "Ann"}, _said("user", _text("hi"), name="Ann")),
    "openai developer": ({"role": "developer", "content": "be kind"}, _said("developer", _text("be kind"))),
    "openai parts": (
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is it?"},
                {"type": "image_url", "image_url": {"url": "https://a.b/c.png", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
                {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
                {"type": "file", "file": {"file_id": "file-1"}},
            ],
        },
        _said(
            "user",
            _text("what is it?"),
            {"type": "uri", "modality": "image", "uri": "https://a.b/c.png", "detail": "low"},
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "QUJD"},
            {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "UklG"},
            {"type": "file", "file_id": "file-1"},
        ),
    ),
    "openai tool calls": (
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
                }
            ],
        },
        _said("assistant", _call("weather", WEATHER, "c1")),
    ),
    "openai half a tool call": (
        {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": '{"ci'}}]},
        _said("assistant", _call("f", '{"ci', "c1")),
    ),
    "openai old function call": (
        {"role": "assistant", "function_call": {"name": "weather", "arguments": '{"city": "Paris"}'}},
        _said("assistant", _call("weather", WEATHER)),
    ),
    "openai tool": (
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        _said("tool", {"type": "tool_call_response", "id": "c1", "response": "sunny"}),
    ),
    "openai refusal": (
        {"role": "assistant", "content": None, "refusal": "I cannot."},
        _said("assistant", {"type": "refusal", "content": "I cannot."}),
    ),
    "openai annotations": (
        {"role": "assistant", "content": "yes", "annotations": [{"url": "https://a.b"}]},
        _said(
            "assistant",
            _text("yes"),
            {"type": "provider_data", "content": {"annotations": [{"url": "https://a.b"}]}},
        ),
    ),
    "responses message": (
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "4", "annotations": []}],
        },
        _said("assistant", _text("4")),
    ),
    "responses reasoning": (
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "add"}],
            "encrypted_content": "x",
        },
        _said("assistant", {"type": "reasoning", "content": "add", "id": "rs_1", "encrypted_content": "x"}),
    ),
    "responses call": (
        {
            "type": "function_call",
            "call_id": "c1",
            "id": "fc_1",
            "name": "weather",
            "arguments": '{"city":"Paris"}',
        },
        _said("assistant", {**_call("weather", WEATHER, "c1"), "item_id": "fc_1"}),
    ),
    "responses call output": (
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        _said("tool", {"type": "tool_call_response", "id": "c1", "response": "sunny"}),
    ),
    "anthropic blocks": (
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": WEATHER},
            ],
            "stop_reason": "tool_use",
        },
        _said(
            "assistant",
            {"type": "reasoning", "content": "hm", "signature": "s"},
            _text("I look."),
            _call("weather", WEATHER, "t1"),
            finish_reason="tool_use",
        ),
    ),
    "anthropic result and image": (
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "sunny", "is_error": False},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                {"type": "document", "source": {"type": "url", "url": "https://a.b/c.pdf"}, "title": "C"},
            ],
        },
        _said(
            "user",
            {"type": "tool_call_response", "id": "t1", "response": "sunny", "is_error": False},
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "QUJD"},
            {"type": "uri", "modality": "document", "uri": "https://a.b/c.pdf", "title": "C"},
        ),
    ),
    "anthropic server tool": (
        {
            "role": "assistant",
            "content": [
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
                {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "https://a.b"}]},
            ],
        },
        _said(
            "assistant",
            {"type": "server_tool_call", "id": "s1", "name": "web_search", "arguments": {"query": "x"}},
            {
                "type": "server_tool_call_response",
                "id": "s1",
                "response": [{"url": "https://a.b"}],
                "name": "web_search_tool_result",
            },
        ),
    ),
    "gemini": (
        {
            "role": "model",
            "parts": [
                {"text": "plan", "thought": True},
                {"text": "hello", "thoughtSignature": "s"},
                {"functionCall": {"name": "weather", "args": WEATHER}},
                {"functionResponse": {"name": "weather", "response": {"sky": "blue"}}},
                {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
                {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://a/b"}},
                {"executableCode": {"language": "PYTHON", "code": "1+1"}},
            ],
        },
        _said(
            "assistant",
            {"type": "reasoning", "content": "plan"},
            {**_text("hello"), "thoughtSignature": "s"},
            _call("weather", WEATHER),
            {"type": "tool_call_response", "response": {"sky": "blue"}, "name": "weather"},
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "QUJD"},
            {"type": "uri", "modality": "video", "mime_type": "video/mp4", "uri": "gs://a/b"},
            {"type": "executable_code", "content": "1+1", "language": "PYTHON"},
        ),
    ),
    "bedrock": (
        {
            "role": "assistant",
            "content": [
                {"text": "let me see"},
                {"toolUse": {"toolUseId": "t1", "name": "weather", "input": WEATHER}},
                {"toolResult": {"toolUseId": "t1", "content": [{"text": "sunny"}], "status": "success"}},
                {"image": {"format": "png", "source": {"bytes": "QUJD"}}},
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
            ],
        },
        _said(
            "assistant",
            _text("let me see"),
            _call("weather", WEATHER, "t1"),
            {"type": "tool_call_response", "id": "t1", "response": [{"text": "sunny"}], "status": "success"},
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "QUJD"},
            {"type": "reasoning", "content": "hm", "signature": "s"},
        ),
    ),
    "cohere v1": ({"role": "CHATBOT", "message": "Arrr"}, _said("assistant", _text("Arrr"))),
    "cohere v2": (
        {
            "role": "assistant",
            "tool_plan": "I look.",
            "tool_calls": [{"id": "t1", "function": {"name": "f", "arguments": "{}"}}],
        },
        _said("assistant", {"type": "reasoning", "content": "I look."}, _call("f", {}, "t1")),
    ),
    "mistral thinking": (
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}],
        },
        _said("assistant", {"type": "reasoning", "content": "hm"}),
    ),
    "ollama": (
        {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "images": ["QUJD"],
            "tool_calls": [{"function": {"name": "f", "arguments": WEATHER}}],
        },
        _said(
            "assistant",
            {"type": "reasoning", "content": "hm"},
            {"type": "blob", "modality": "image", "content": "QUJD"},
            _call("f", WEATHER),
        ),
    ),
    "deepseek": (
        {"role": "assistant", "content": "4", "reasoning_content": "2+2"},
        _said("assistant", {"type": "reasoning", "content": "2+2"}, _text("4")),
    ),
    "langchain": (
        {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain", "schema", "HumanMessage"],
            "kwargs": {"content": "hi"},
        },
        _said("user", _text("hi")),
    ),
    "opentelemetry": (
        {
            "role": "assistant",
            "parts": [
                _text("hi"),
                _call("f", {}, "1"),
                {"type": "blob", "modality": "image", "content": "QUJD"},
            ],
            "finish_reason": "stop",
        },
        _said(
            "assistant",
            _text("hi"),
            _call("f", {}, "1"),
            {"type": "blob", "modality": "image", "content": "QUJD"},
            finish_reason="stop",
        ),
    ),
    "a bare string": ("hi", _said("user", _text("hi"))),
    "nothing known": (
        {"foo": 1},
        _said("user", {"type": "provider_data", "content": {"foo": 1}}),
    ),
    "an unknown part": (
        {"role": "user", "content": [{"type": "hologram", "depth": 3}, {"odd": 1}]},
        _said("user", {"type": "hologram", "depth": 3}, {"type": "unknown", "content": {"odd": 1}}),
    ),
}


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_message_of_each_provider_has_one_shape(name: str) -> None:
    raw, expected = PROVIDERS[name]
    made = semconv.message(raw)
    assert made == expected
    Message(**made)
    assert semconv.message(made) == made


def test_the_raw_message_is_not_changed() -> None:
    raw = {"role": "user", "content": [{"type": "text", "text": "hi"}], "tool_calls": []}
    semconv.message(raw)
    assert raw == {"role": "user", "content": [{"type": "text", "text": "hi"}], "tool_calls": []}


HI = _said("user", _text("hi"))
KIND = _said("system", _text("Be kind."))
ASKED: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "chat": ({"model": "m", "messages": [{"role": "user", "content": "hi"}]}, [HI]),
    "under kwargs": ({"kwargs": {"messages": [{"role": "user", "content": "hi"}]}}, [HI]),
    "body in json": ({"modelId": "m", "body": '{"messages": [{"role": "user", "content": "hi"}]}'}, [HI]),
    "a name of the user's": ({"history": [{"role": "user", "content": "hi"}], "k": 3}, [HI]),
    "anthropic": ({"system": "Be kind.", "messages": [{"role": "user", "content": "hi"}]}, [KIND, HI]),
    "anthropic blocks": (
        {"system": [{"type": "text", "text": "Be kind."}], "messages": [{"role": "user", "content": "hi"}]},
        [KIND, HI],
    ),
    "bedrock": (
        {"system": [{"text": "Be kind."}], "messages": [{"role": "user", "content": [{"text": "hi"}]}]},
        [KIND, HI],
    ),
    "responses": ({"model": "gpt-5", "instructions": "Be kind.", "input": "hi"}, [KIND, HI]),
    "responses items": ({"model": "gpt-5", "input": [{"role": "user", "content": "hi"}]}, [HI]),
    "gemini": ({"contents": "hi", "config": {"system_instruction": "Be kind."}}, [KIND, HI]),
    "gemini contents": (
        {
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "systemInstruction": {"parts": [{"text": "Be kind."}]},
        },
        [KIND, HI],
    ),
    "cohere v1": (
        {"model": "command", "chat_history": [{"role": "USER", "message": "hi"}], "message": "hi"},
        [HI, HI],
    ),
    "completion": ({"model": "davinci-002", "prompt": "hi"}, [HI]),
    "langchain batch": ({"messages": [[{"type": "human", "content": "hi"}]]}, [HI]),
    "a list itself": ([{"role": "user", "content": "hi"}], [HI]),
    "embedding": ({"model": "text-embedding-3-small", "input": "hi"}, []),
    "no call of a model": ({"prompt": "hi", "input": "hi", "message": "hi"}, []),
    "a list of other things": ({"rows": [{"id": 1}], "names": ["a"]}, []),
    "nothing": (None, []),
}


@pytest.mark.parametrize("name", ASKED)
def test_messages_are_found_in_the_input(name: str) -> None:
    given, expected = ASKED[name]
    assert semconv.messages_in(given) == expected


def _answer(text: str, **more: Any) -> list[dict[str, Any]]:
    return [_said("assistant", _text(text), **more)]


ANSWERED: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "chat": (
        {
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}
            ]
        },
        _answer("4", finish_reason="stop"),
    ),
    "completion": (
        {"choices": [{"text": "4", "finish_reason": "length"}]},
        _answer("4", finish_reason="length"),
    ),
    "content filter": (
        {"choices": [{"index": 0, "finish_reason": "content_filter"}]},
        [_said("assistant", finish_reason="content_filter")],
    ),
    "responses": (
        {
            "object": "response",
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4"}]},
            ],
        },
        [_said("assistant", {"type": "reasoning"}, _text("4"), finish_reason="max_output_tokens")],
    ),
    "anthropic": (
        {
            "type": "message",
            "id": "msg_1",
            "model": "claude",
            "role": "assistant",
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 1},
            "content": [{"type": "text", "text": "4"}],
        },
        _answer("4", finish_reason="end_turn"),
    ),
    "gemini": (
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "4"}]}, "finishReason": "STOP"}]},
        _answer("4", finish_reason="STOP"),
    ),
    "bedrock": (
        {"output": {"message": {"role": "assistant", "content": [{"text": "4"}]}}, "stopReason": "end_turn"},
        _answer("4", finish_reason="end_turn"),
    ),
    "ollama chat": (
        {"message": {"role": "assistant", "content": "4"}, "done": True, "done_reason": "stop"},
        _answer("4", finish_reason="stop"),
    ),
    "ollama generate": (
        {"response": "4", "done": True, "done_reason": "stop"},
        _answer("4", finish_reason="stop"),
    ),
    "cohere v1": (
        {"text": "4", "generation_id": "g", "finish_reason": "COMPLETE"},
        _answer("4", finish_reason="COMPLETE"),
    ),
    "cohere generate": (
        {"generations": [{"text": "4", "finish_reason": "COMPLETE"}]},
        _answer("4", finish_reason="COMPLETE"),
    ),
    "titan": (
        {"inputTextTokenCount": 5, "results": [{"outputText": "4", "completionReason": "FINISH"}]},
        _answer("4", finish_reason="FINISH"),
    ),
    "a message": ({"role": "assistant", "content": "4"}, _answer("4")),
    "messages": ([{"role": "assistant", "content": "4"}], _answer("4")),
    "something else": ({"text": "4", "message": "ok", "response": "4"}, []),
    "a string": ("4", []),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_messages_are_found_in_the_output(name: str) -> None:
    given, expected = ANSWERED[name]
    assert semconv.messages_out(given) == expected


def test_a_plain_answer_is_a_message_only_when_asked() -> None:
    assert semconv.messages_out("4", plain=True) == _answer("4")
