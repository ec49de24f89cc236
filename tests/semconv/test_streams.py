"""A stream put together is what the provider would have answered without streaming."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from llm_trace import semconv


def _chunk(delta: Any = None, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    choices = [{"index": index, "delta": delta, "finish_reason": finish}] if delta is not None else []
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt",
        "choices": choices,
        **more,
    }


def test_openai_text_with_usage_in_the_last_chunk() -> None:
    chunks = [
        _chunk({"role": "assistant", "content": ""}),
        _chunk({"content": "Hel"}),
        _chunk({"content": "lo"}),
        _chunk({}, "stop"),
        _chunk(usage={"prompt_tokens": 3, "completion_tokens": 2}),
    ]
    assert semconv.reduce_stream(chunks) == {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }


def _calls(chunks: list[Any]) -> list[Any]:
    found: list[Any] = semconv.reduce_stream(chunks)["choices"][0]["message"]["tool_calls"]  # type: ignore[index]
    return found


def test_openai_tool_calls_are_merged_by_index() -> None:
    pieces = [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"x"'}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": ":1}"}},
    ]
    assert _calls([_chunk({"tool_calls": [piece]}) for piece in pieces]) == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


@pytest.mark.parametrize(
    "index", [{}, {"index": 0}], ids=["mistral without an index", "gemini always index 0"]
)
def test_a_new_id_begins_a_new_tool_call(index: dict[str, int]) -> None:
    pieces = [{**index, "id": name, "function": {"name": name, "arguments": "{}"}} for name in "ab"]
    assert [call["id"] for call in _calls([_chunk({"tool_calls": pieces})])] == ["a", "b"]


def test_two_choices_are_kept_apart_and_reasoning_is_joined() -> None:
    chunks = [
        _chunk({"content": "a"}, index=0),
        _chunk({"content": "b"}, index=1),
        _chunk({"reasoning": "hm"}, index=1),
        _chunk({"reasoning": "m"}, index=1),
    ]
    made: Any = semconv.reduce_stream(chunks)
    assert [choice["message"] for choice in made["choices"]] == [
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": "b", "reasoning": "hmm"},
    ]


def test_completions_are_joined() -> None:
    chunks = [{"object": "text_completion", "choices": [{"index": 0, "text": t}]} for t in ("a", "b")]
    assert semconv.messages_out(semconv.reduce_stream(chunks))[0]["parts"] == [
        {"type": "text", "content": "ab"}
    ]


def test_the_chunks_of_openais_stream_helper_are_found_among_its_events() -> None:
    chunks = [
        {"type": "chunk", "chunk": _chunk({"content": "a"}), "snapshot": {}},
        {"type": "content.delta", "delta": "a"},
        {"type": "chunk", "chunk": _chunk({"content": "b"}, "stop"), "snapshot": {}},
    ]
    made: Any = semconv.reduce_stream(chunks)
    assert made["choices"][0]["message"]["content"] == "ab"


RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "model": "gpt-5",
    "status": "completed",
    "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4"}]}],
    "usage": {"input_tokens": 3, "output_tokens": 1},
}
RESPONSE_EVENTS: list[Any] = [
    {
        "type": "response.created",
        "response": {**RESPONSE, "status": "in_progress", "output": [], "usage": None},
    },
    {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {"type": "message", "role": "assistant", "content": []},
    },
    {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "4"},
    {"type": "response.completed", "response": RESPONSE},
]


def test_responses_end_with_the_whole() -> None:
    assert semconv.reduce_stream(RESPONSE_EVENTS) == RESPONSE


def test_a_response_that_broke_off_keeps_what_had_arrived() -> None:
    made: Any = semconv.reduce_stream(RESPONSE_EVENTS[:3])
    assert made["status"] == "in_progress"
    assert made["output"] == RESPONSE["output"]


ANTHROPIC_EVENTS: list[Any] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [],
            "stop_reason": None,
            "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1},
        },
    },
    {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "thinking", "thinking": "", "signature": ""},
    },
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "ping"},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "I "}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "look"}},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 2,
        "delta": {"type": "input_json_delta", "partial_json": '{"x": '},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 30}},
    {"type": "message_stop"},
]
ANTHROPIC_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "I look"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
    ],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 30},
}


def test_anthropic_blocks_are_closed_and_the_last_counts_win() -> None:
    assert semconv.reduce_stream(ANTHROPIC_EVENTS) == ANTHROPIC_MESSAGE


@pytest.mark.parametrize(
    "encode", [bytes, lambda raw: base64.b64encode(raw).decode()], ids=["bytes", "base64"]
)
def test_bedrock_wraps_anthropics_events(encode: Any) -> None:
    wrapped = [{"chunk": {"bytes": encode(json.dumps(event).encode())}} for event in ANTHROPIC_EVENTS]
    assert semconv.reduce_stream(wrapped) == ANTHROPIC_MESSAGE


def test_a_message_that_broke_off_keeps_half_a_tool_call() -> None:
    made: Any = semconv.reduce_stream(ANTHROPIC_EVENTS[:11])
    assert made["content"][2]["input"] == '{"x": '


def test_bedrock_converse() -> None:
    events = [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "I "}}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "look"}}},
        {
            "contentBlockStart": {
                "contentBlockIndex": 1,
                "start": {"toolUse": {"toolUseId": "t", "name": "f"}},
            }
        },
        {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"toolUse": {"input": '{"x":'}}}},
        {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"toolUse": {"input": "1}"}}}},
        {"messageStop": {"stopReason": "tool_use"}},
        {"metadata": {"usage": {"inputTokens": 3, "outputTokens": 2}}},
    ]
    assert semconv.reduce_stream(events) == {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"text": "I look"},
                    {"toolUse": {"toolUseId": "t", "name": "f", "input": {"x": 1}}},
                ],
            }
        },
        "stopReason": "tool_use",
        "usage": {"inputTokens": 3, "outputTokens": 2},
    }


def test_gemini_joins_text_and_keeps_thoughts_apart() -> None:
    def chunk(*parts: Any, **more: Any) -> dict[str, Any]:
        return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **more}]}

    made: Any = semconv.reduce_stream(
        [
            chunk({"text": "plan", "thought": True}),
            chunk({"text": "Hel"}) | {"usageMetadata": {"promptTokenCount": 3}},
            chunk({"text": "lo"}),
            chunk({"functionCall": {"name": "f", "args": {}}}, finishReason="STOP")
            | {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}},
        ]
    )
    assert made["candidates"] == [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "plan", "thought": True},
                    {"text": "Hello"},
                    {"functionCall": {"name": "f", "args": {}}},
                ],
            },
            "finishReason": "STOP",
        }
    ]
    assert made["usageMetadata"] == {"promptTokenCount": 3, "candidatesTokenCount": 2}


def test_ollama() -> None:
    lines = [
        {"model": "l", "message": {"role": "assistant", "content": "Hel"}, "done": False},
        {"model": "l", "message": {"role": "assistant", "content": "lo"}, "done": False},
        {"model": "l", "message": {"role": "assistant", "content": ""}, "done": True, "eval_count": 2},
    ]
    assert semconv.reduce_stream(lines) == {
        "model": "l",
        "done": True,
        "eval_count": 2,
        "message": {"role": "assistant", "content": "Hello"},
    }


def test_cohere() -> None:
    events = [
        {"type": "message-start", "id": "m", "delta": {"message": {"role": "assistant", "content": []}}},
        {
            "type": "content-start",
            "index": 0,
            "delta": {"message": {"content": {"type": "text", "text": ""}}},
        },
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Ar"}}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "rr"}}}},
        {
            "type": "message-end",
            "delta": {
                "finish_reason": "COMPLETE",
                "usage": {"tokens": {"input_tokens": 3, "output_tokens": 2}},
            },
        },
    ]
    assert semconv.reduce_stream(events) == {
        "id": "m",
        "finish_reason": "COMPLETE",
        "usage": {"tokens": {"input_tokens": 3, "output_tokens": 2}},
        "message": {"role": "assistant", "content": [{"type": "text", "text": "Arrr"}]},
    }


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [(["a", "b"], "ab"), ([], None), ([1, 2], None), ([{"x": 1}], None), (["a", {"choices": []}], None)],
)
def test_text_is_joined_and_what_is_unknown_is_refused(chunks: list[Any], expected: Any) -> None:
    assert semconv.reduce_stream(chunks) == expected


def test_the_chunks_are_not_changed() -> None:
    before = json.dumps(ANTHROPIC_EVENTS)
    semconv.reduce_stream(ANTHROPIC_EVENTS)
    assert json.dumps(ANTHROPIC_EVENTS) == before
