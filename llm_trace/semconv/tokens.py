"""Token counts, from any provider's names to ours.

Two definitions are in use. OpenAI, Gemini, DeepSeek, LangChain and OpenTelemetry count cached tokens inside
the input; Anthropic, Bedrock and Langfuse beside it. Ours is the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from llm_trace.semconv import names
from llm_trace.semconv.token_details import read_tier, read_token_details
from llm_trace.semconv.values import count, get_field, list_fields


class _Names(NamedTuple):
    """Names of one count, the likeliest first; most usages have none of them, which the set tells at once."""

    order: tuple[str, ...]
    every: frozenset[str]

    @classmethod
    def of(cls, *order: str) -> Self:
        return cls(order, frozenset(order))


_INPUT = _Names.of(
    "prompt_tokens", "promptTokenCount", "prompt_token_count", "input_tokens", "inputTokens",
    "inputTokenCount",
    "prompt_eval_count", "promptTokens", "total_input_tokens", "inputTextTokenCount",
    *names.INPUT_TOKEN_NAMES, "input",
)  # fmt: skip
_OUTPUT = _Names.of(
    "completion_tokens", "candidatesTokenCount", "candidates_token_count", "responseTokenCount",
    "output_tokens",
    "outputTokens", "outputTokenCount", "eval_count", "completionTokens", "total_output_tokens",
    "generation_token_count", "totalOutputTextTokenCount", *names.OUTPUT_TOKEN_NAMES, "output",
)  # fmt: skip
_INPUT_DETAILS = _Names.of(
    "prompt_tokens_details", "input_tokens_details", "input_token_details", "prompt_token_details",
    "inputTokenDetails"
)  # fmt: skip
_OUTPUT_DETAILS = _Names.of(
    "completion_tokens_details", "output_tokens_details", "output_token_details", "outputTokenDetails"
)  # fmt: skip
_CACHE_READ = _Names.of(
    "cache_read_tokens", "cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount",
    "cachedContentTokenCount", "cached_content_token_count", "prompt_cache_hit_tokens", "cached_tokens",
    "cachedInputTokens", "input_cached_tokens", "total_cached_tokens", *names.CACHE_READ_NAMES,
)  # fmt: skip
_CACHE_WRITE = _Names.of(
    "cache_write_tokens", "cache_creation_input_tokens", "cacheWriteInputTokens", "cacheWriteInputTokenCount",
    *names.CACHE_WRITE_NAMES,
)  # fmt: skip
_REASONING = _Names.of(
    "reasoning_tokens", "thoughtsTokenCount", "thoughts_token_count", "reasoningTokens",
    "output_reasoning_tokens",
    "total_thought_tokens", *names.REASONING_NAMES,
)  # fmt: skip
_TOTAL = _Names.of("total_tokens", "totalTokenCount", "total_token_count", "totalTokens")
_TOOL_PROMPT = _Names.of("toolUsePromptTokenCount", "tool_use_prompt_token_count", "total_tool_use_tokens")
_BESIDE_INPUT = _Names.of(
    "cache_read_input_tokens", "cache_creation_input_tokens", "cacheReadInputTokens", "cacheWriteInputTokens",
    "cacheReadInputTokenCount", "cacheWriteInputTokenCount", "input_cached_tokens",
)  # fmt: skip
"""Names whose tokens are counted beside `input_tokens`, `inputTokens`, `input`."""
_CACHED_INSIDE = _Names.of("cached_tokens", "cache_read")
_WRITTEN_INSIDE = _Names.of("cache_write_tokens", "cache_creation", "cache_creation_tokens")
_THOUGHT_INSIDE = _Names.of("reasoning_tokens", "reasoning", "thinking_tokens")
_EXCLUSIVE = _Names.of("input_tokens", "inputTokens", "inputTokenCount", "input")
_BESIDE_OUTPUT = _Names.of(
    "thoughtsTokenCount", "thoughts_token_count", "total_thought_tokens", "output_reasoning_tokens"
)  # fmt: skip
_PLAIN_REASONING = _Names.of(
    "reasoning_tokens",
)
_INSIDE = _Names.of("prompt_tokens", "input_tokens_details", "input_token_details")
"""Signs that `input_tokens` includes the cached ones."""


def usage(raw: Any) -> dict[str, Any] | None:
    """Return what a provider says about tokens under the names of `llm_trace.record.Usage`, or None.

    Only what was reported is there: an absent key is not 0. `input_tokens` includes cached tokens and what
    Gemini counts for its own tools; `output_tokens` includes reasoning.

    Args:
        raw: a usage mapping or SDK object, or span attributes.
    """
    details, source = read_token_details(list_fields(raw))
    tier = read_tier(source)
    # Cohere; `tokens` is what the model saw.
    nested = list_fields(get_field(source, "tokens", "billed_units"))
    if nested and _INPUT.every.isdisjoint(source):
        source = {**nested, **_read_cohere_cached(source)}
    counts = {
        "input_tokens": _read_input(source),
        "output_tokens": _read_output(source),
        "cache_read_tokens": _get_detail(source, _CACHE_READ, _INPUT_DETAILS, _CACHED_INSIDE),
        "cache_write_tokens": _get_detail(source, _CACHE_WRITE, _INPUT_DETAILS, _WRITTEN_INSIDE),
        "reasoning_tokens": _get_detail(source, _REASONING, _OUTPUT_DETAILS, _THOUGHT_INSIDE),
    }
    present: dict[str, Any] = {name: value for name, value in counts.items() if value is not None}
    if details and present:
        present["details"] = details
    if tier is not None and present:
        present["tier"] = tier
    return present or None


def _read_cohere_cached(source: Mapping[str, Any]) -> dict[str, Any]:
    cached = source.get("cached_tokens")
    return {} if cached is None else {"cached_tokens": cached}


def _get_first(source: Mapping[str, Any], names: _Names) -> int | None:
    if not source or names.every.isdisjoint(source):
        return None
    for name in names.order:
        if name in source and (number := count(source[name])) is not None:
            return number
    return None


def _get_detail(source: Mapping[str, Any], names: _Names, places: _Names, inner: _Names) -> int | None:
    number = _get_first(source, names)
    if number is not None or places.every.isdisjoint(source):
        return number
    return _get_first(list_fields(get_field(source, *places.order)), inner)


def _read_input(source: Mapping[str, Any]) -> int | None:
    number = _get_first(source, _INPUT)
    if number is None:
        return None
    beside = [_get_first(source, _TOOL_PROMPT)]
    if _INSIDE.every.isdisjoint(source) and not _EXCLUSIVE.every.isdisjoint(source):
        beside += [count(source[name]) for name in _BESIDE_INPUT.order if name in source]
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
    if _OUTPUT_DETAILS.every.isdisjoint(source):
        return 0
    reasoning = _get_first(list_fields(get_field(source, *_OUTPUT_DETAILS.order)), _PLAIN_REASONING)
    input_tokens = _get_first(source, _INPUT)
    total = _get_first(source, _TOTAL)
    if not reasoning or output is None or input_tokens is None or total is None:
        return 0
    return reasoning if total == input_tokens + output + reasoning else 0
