"""Tokens, models and parameters that requests and responses tell."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from llm_trace import semconv

COUNTS: dict[str, tuple[Any, Any]] = {
    "openai chat": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 60},
            "completion_tokens_details": {"reasoning_tokens": 5},
        },
        (100, 20, 60, None, 5),
    ),
    "openai responses": (
        {
            "input_tokens": 100,
            "output_tokens": 20,
            "input_tokens_details": {"cached_tokens": 60},
            "output_tokens_details": {"reasoning_tokens": 5},
        },
        (100, 20, 60, None, 5),
    ),
    "embeddings": ({"prompt_tokens": 8, "total_tokens": 8}, (8, None, None, None, None)),
    "xai counts reasoning beside the completion": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "total_tokens": 113,
            "completion_tokens_details": {"reasoning_tokens": 100},
        },
        (10, 103, None, None, 100),
    ),
    "anthropic counts the cache beside the input": (
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 20,
        },
        (130, 5, 100, 20, None),
    ),
    "anthropic with nulls": (
        {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": None},
        (10, 5, None, None, None),
    ),
    "gemini counts thoughts and tool prompts beside": (
        {
            "promptTokenCount": 32,
            "candidatesTokenCount": 20,
            "thoughtsTokenCount": 37,
            "toolUsePromptTokenCount": 4610,
            "cachedContentTokenCount": 30,
        },
        (4642, 57, 30, None, 37),
    ),
    "gemini sdk": ({"prompt_token_count": 5, "thoughts_token_count": 4}, (5, 4, None, None, 4)),
    "bedrock": (
        {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 0},
        (110, 5, 100, 0, None),
    ),
    "cohere": (
        {"billed_units": {"input_tokens": 7}, "tokens": {"input_tokens": 69.0, "output_tokens": 80.0}},
        (69, 80, None, None, None),
    ),
    "deepseek": (
        {"prompt_tokens": 563, "prompt_cache_hit_tokens": 512, "completion_tokens": 1},
        (563, 1, 512, None, None),
    ),
    "ollama": ({"prompt_eval_count": 26, "eval_count": 298}, (26, 298, None, None, None)),
    "langchain": (
        {
            "input_tokens": 100,
            "output_tokens": 5,
            "input_token_details": {"cache_read": 60, "cache_creation": 1},
        },
        (100, 5, 60, 1, None),
    ),
    "langfuse counts the cache beside the input": (
        {"input": 10, "output": 5, "cache_read_input_tokens": 100},
        (110, 5, 100, None, None),
    ),
    "opentelemetry": (
        {
            "gen_ai.usage.input_tokens": 130,
            "gen_ai.usage.output_tokens": 5,
            "gen_ai.usage.cache_read.input_tokens": 100,
            "gen_ai.usage.cache_creation.input_tokens": 20,
        },
        (130, 5, 100, 20, None),
    ),
    "openinference": (
        {"llm.token_count.prompt": 130, "llm.token_count.completion": 5},
        (130, 5, None, None, None),
    ),
    "ours": ({"input_tokens": 130, "output_tokens": 5, "cache_read_tokens": 100}, (130, 5, 100, None, None)),
    "no counts": ({"search_units": 1, "total_tokens": 3}, None),
    "no counts of tokens": ({"input_tokens": True, "output_tokens": -1, "prompt_tokens": 1.5}, None),
    "nothing": (None, None),
}
_NAMES = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


@pytest.mark.parametrize("name", COUNTS)
def test_cached_tokens_are_in_the_input_and_reasoning_is_in_the_output(name: str) -> None:
    raw, expected = COUNTS[name]
    counts = {key: value for key, value in (semconv.usage(raw) or {}).items() if key in _NAMES}
    assert counts == {key: n for key, n in zip(_NAMES, expected or (), strict=False) if n is not None}


def test_a_request_tells_model_and_parameters() -> None:
    given = {
        "model": "gpt-5",
        "messages": [],
        "temperature": 0,
        "max_tokens": None,
        "stop": ["\n"],
        "user": "ann",
        "seed": 7,
    }
    assert semconv.request_fields(given) == {
        "model": "gpt-5",
        "params": {"temperature": 0, "stop": ["\n"], "seed": 7},
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"modelId": "nova", "inferenceConfig": {"maxTokens": 5, "topP": 0.5}},
            {"max_tokens": 5, "top_p": 0.5},
        ),
        ({"model": "gemini", "config": {"maxOutputTokens": 5}}, {"max_output_tokens": 5}),
        ({"model": "llama", "options": {"num_ctx": 5, "seed": 1}}, {"num_ctx": 5, "seed": 1}),
        ({"kwargs": {"model": "m", "top_k": 3}}, {"top_k": 3}),
        ({"model": "m", "response_format": dict, "temperature": "NOT_GIVEN"}, {"response_format": "dict"}),
    ],
)
def test_parameters_in_a_providers_own_group_are_found(given: Any, expected: Any) -> None:
    told = semconv.request_fields(given)
    assert told["params"] == expected
    assert "model" in told


def test_a_model_that_is_an_object_is_no_name() -> None:
    assert semconv.request_fields({"model": object(), "x": 1}) == {}


CHAT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5-2025",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "4"},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
}
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "4"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 3},
}
CHAT_FIELDS = {
    "model": "gpt-5-2025",
    "provider": "openai",
    "usage": {"input_tokens": 9, "output_tokens": 1},
    "finish_reason": "stop",
}
ANTHROPIC_FIELDS = {
    "model": "claude",
    "provider": "anthropic",
    "usage": {"input_tokens": 12, "output_tokens": 1, "cache_read_tokens": 3},
    "finish_reason": "end_turn",
}


def test_a_response_tells_model_usage_and_why_it_stopped() -> None:
    assert semconv.response_fields(CHAT) == CHAT_FIELDS
    assert semconv.response_fields(ANTHROPIC) == ANTHROPIC_FIELDS


def test_the_object_of_an_sdk_tells_the_same_as_its_json() -> None:
    chat = pytest.importorskip("openai.types.chat")
    types = pytest.importorskip("anthropic.types")
    assert semconv.response_fields(chat.ChatCompletion.model_validate(CHAT)) == CHAT_FIELDS
    assert semconv.response_fields(types.Message.model_validate(ANTHROPIC)) == ANTHROPIC_FIELDS


@pytest.mark.parametrize(
    ("answer", "provider"),
    [
        ({**ANTHROPIC, "id": "msg_bdrk_1"}, "aws.bedrock"),
        ({"candidates": [], "usageMetadata": {"trafficType": "ON_DEMAND"}}, "gcp.vertex_ai"),
        ({"candidates": [], "usageMetadata": {"promptTokenCount": 1}}, "gcp.gen_ai"),
        ({**CHAT, "x_groq": {"id": "req"}}, "groq"),
        ({**CHAT, "prompt_filter_results": []}, "azure.ai.openai"),
        ({"done": True, "created_at": "2025", "response": "4"}, "ollama"),
        (
            {**CHAT, "choices": [{**CHAT["choices"][0], "content_filter_results": {"hate": {}}}]},
            "azure.ai.openai",
        ),
        ({**CHAT, "id": "gen-1", "provider": "OpenAI", "model": "openai/gpt-4o"}, "openrouter"),
        ({**CHAT, "model": "qwen3:8b", "system_fingerprint": "fp_ollama"}, "ollama"),
        (CHAT, "openai"),
        ({**CHAT, "model": "deepseek-chat"}, "deepseek"),
        ({**CHAT, "model": "meta-llama/Llama-3.3-70B"}, None),
    ],
)
def test_the_provider_is_told_only_where_the_answer_shows_it(answer: Any, provider: str | None) -> None:
    assert semconv.response_fields(answer).get("provider") == provider


class Car:
    model = "T"

    @property
    def usage(self) -> Any:
        raise AssertionError("a property of the user's object was run")


@pytest.mark.parametrize(
    "value", ["text", 3, None, [CHAT], {"model": "T", "usage": "daily"}, Car(), {"type": "message"}]
)
def test_what_is_no_answer_of_a_model_tells_nothing(value: Any) -> None:
    assert semconv.response_fields(value) == {}


def test_importing_loads_the_standard_library_only() -> None:
    code = (
        "import sys; before = set(sys.modules); import llm_trace.semconv as s; s.message({'role': 'user'});"
        "roots = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(*roots - set(sys.stdlib_module_names) - {'llm_trace'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")
