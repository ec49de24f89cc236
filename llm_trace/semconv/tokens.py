"""Token counts, from any provider's names to ours.

Two definitions are in use. OpenAI, Gemini, DeepSeek, LangChain and OpenTelemetry count cached tokens inside
the input; Anthropic, Bedrock and Langfuse beside it. Ours is the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_trace.semconv import names
from llm_trace.semconv.values import count, get_field, list_fields

_INPUT = (
    "prompt_tokens", "promptTokenCount", "prompt_token_count", "input_tokens", "inputTokens",
    "inputTokenCount",
    "prompt_eval_count", "promptTokens", "total_input_tokens", "inputTextTokenCount",
    *names.INPUT_TOKEN_NAMES, "input",
)  # fmt: skip
_OUTPUT = (
    "completion_tokens", "candidatesTokenCount", "candidates_token_count", "responseTokenCount",
    "output_tokens",
    "outputTokens", "outputTokenCount", "eval_count", "completionTokens", "total_output_tokens",
    "generation_token_count", "totalOutputTextTokenCount", *names.OUTPUT_TOKEN_NAMES, "output",
)  # fmt: skip
_INPUT_DETAILS = (
    "prompt_tokens_details", "input_tokens_details", "input_token_details", "prompt_token_details",
    "inputTokenDetails"
)  # fmt: skip
_OUTPUT_DETAILS = (
    "completion_tokens_details", "output_tokens_details", "output_token_details", "outputTokenDetails"
)  # fmt: skip
_CACHE_READ = (
    "cache_read_tokens", "cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount",
    "cachedContentTokenCount", "cached_content_token_count", "prompt_cache_hit_tokens", "cached_tokens",
    "cachedInputTokens", "input_cached_tokens", "total_cached_tokens", *names.CACHE_READ_NAMES,
)  # fmt: skip
_CACHE_WRITE = (
    "cache_write_tokens", "cache_creation_input_tokens", "cacheWriteInputTokens", "cacheWriteInputTokenCount",
    *names.CACHE_WRITE_NAMES,
)  # fmt: skip
_REASONING = (
    "reasoning_tokens", "thoughtsTokenCount", "thoughts_token_count", "reasoningTokens",
    "output_reasoning_tokens",
    "total_thought_tokens", *names.REASONING_NAMES,
)  # fmt: skip
_TOTAL = ("total_tokens", "totalTokenCount", "total_token_count", "totalTokens")
_TOOL_PROMPT = ("toolUsePromptTokenCount", "tool_use_prompt_token_count", "total_tool_use_tokens")
_BESIDE_INPUT = (
    "cache_read_input_tokens", "cache_creation_input_tokens", "cacheReadInputTokens", "cacheWriteInputTokens",
    "cacheReadInputTokenCount", "cacheWriteInputTokenCount", "input_cached_tokens",
)  # fmt: skip
"""Names whose tokens are counted beside `input_tokens`, `inputTokens`, `input`."""
_EXCLUSIVE = ("input_tokens", "inputTokens", "inputTokenCount", "input")
_BESIDE_OUTPUT = (
    "thoughtsTokenCount", "thoughts_token_count", "total_thought_tokens", "output_reasoning_tokens"
)  # fmt: skip


def usage(raw: Any) -> dict[str, int] | None:
    """Return what a provider says about tokens under the names of `llm_trace.record.Usage`, or None.

    Only what was reported is there: an absent key is not 0. `input_tokens` includes cached tokens and what
    Gemini counts for its own tools; `output_tokens` includes reasoning.

    Args:
        raw: a usage mapping or SDK object, or span attributes.
    """
    source = list_fields(raw)
    nested = list_fields(
        get_field(source, "tokens", "billed_units")
    )  # Cohere; `tokens` is what the model saw
    if nested and not any(name in source for name in _INPUT):
        source = {**nested, **_read_cohere_cached(source)}
    counts = {
        "input_tokens": _read_input(source),
        "output_tokens": _read_output(source),
        "cache_read_tokens": _get_detail(
            source, _CACHE_READ, _INPUT_DETAILS, ("cached_tokens", "cache_read")
        ),
        "cache_write_tokens": _get_detail(
            source,
            _CACHE_WRITE,
            _INPUT_DETAILS,
            ("cache_write_tokens", "cache_creation", "cache_creation_tokens"),
        ),
        "reasoning_tokens": _get_detail(
            source, _REASONING, _OUTPUT_DETAILS, ("reasoning_tokens", "reasoning", "thinking_tokens")
        ),
    }
    present = {name: value for name, value in counts.items() if value is not None}
    return present or None


def _read_cohere_cached(source: Mapping[str, Any]) -> dict[str, Any]:
    cached = source.get("cached_tokens")
    return {} if cached is None else {"cached_tokens": cached}


def _get_first(source: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        if name in source and (number := count(source[name])) is not None:
            return number
    return None


def _get_detail(
    source: Mapping[str, Any], names: tuple[str, ...], places: tuple[str, ...], inner: tuple[str, ...]
) -> int | None:
    number = _get_first(source, names)
    if number is not None:
        return number
    return _get_first(list_fields(get_field(source, *places)), inner)


def _read_input(source: Mapping[str, Any]) -> int | None:
    number = _get_first(source, _INPUT)
    if number is None:
        return None
    beside = [_get_first(source, _TOOL_PROMPT)]
    if not any(
        name in source for name in ("prompt_tokens", "input_tokens_details", "input_token_details")
    ) and any(name in source for name in _EXCLUSIVE):
        beside += [count(source[name]) for name in _BESIDE_INPUT if name in source]
    return number + sum(extra for extra in beside if extra is not None)


def _read_output(source: Mapping[str, Any]) -> int | None:
    number = _get_first(source, _OUTPUT)
    thoughts = _get_first(source, _BESIDE_OUTPUT)
    if thoughts is not None:
        return (number or 0) + thoughts
    hidden = _find_hidden_reasoning(source, number)
    return number if number is None else number + hidden


def _find_hidden_reasoning(source: Mapping[str, Any], output: int | None) -> int:
    """Return reasoning tokens that a provider (xAI) counts in the total but not in `completion_tokens`."""
    reasoning = _get_first(list_fields(get_field(source, *_OUTPUT_DETAILS)), ("reasoning_tokens",))
    input_tokens = _get_first(source, _INPUT)
    total = _get_first(source, _TOTAL)
    if not reasoning or output is None or input_tokens is None or total is None:
        return 0
    return reasoning if total == input_tokens + output + reasoning else 0
