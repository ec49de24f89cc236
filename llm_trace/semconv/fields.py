"""What a request and a response say about a call: model, provider, parameters, tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_trace.semconv.providers import find_provider
from llm_trace.semconv.token_details import read_tier
from llm_trace.semconv.tokens import usage
from llm_trace.semconv.values import (
    get_field,
    get_number,
    get_raw_body,
    get_text,
    is_response,
    list_fields,
    list_items,
)

_MODELS = ("model", "modelId", "model_id")
_PARAMS = {name: name for name in (
    "temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "max_output_tokens",
    "max_tokens_to_sample", "seed", "random_seed", "stop", "stop_sequences", "n", "candidate_count",
    "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs",
    "response_format", "reasoning_effort", "reasoning", "thinking", "tool_choice", "parallel_tool_calls",
    "stream",
    "service_tier", "dimensions", "encoding_format", "num_predict", "num_ctx", "best_of", "verbosity",
)} | {
    "maxTokens": "max_tokens", "topP": "top_p", "topK": "top_k", "stopSequences": "stop_sequences",
    "maxOutputTokens": "max_output_tokens", "candidateCount": "candidate_count",
    "frequencyPenalty": "frequency_penalty", "presencePenalty": "presence_penalty",
    "responseMimeType": "response_mime_type", "thinkingConfig": "thinking_config",
}  # fmt: skip
_NESTED = (
    "kwargs",
    "body",
    "request",
    "config",
    "generation_config",
    "generationConfig",
    "inferenceConfig",
    "options",
)
_TALK = ("messages", "contents", "input", "prompt", "body", "message")
_KEPT = (bool, int, float, str, list, tuple, dict)
_ABSENT = ("NOT_GIVEN", "<NOT_GIVEN>", "omit", "Omit()")


def request_fields(input: Any) -> dict[str, Any]:  # noqa: A002  the contract's name
    """Return `model`, `params` and `provider` of a request, as far as its arguments, by name, tell them.

    Parameters in a provider's own group (`options`, `generationConfig`, `inferenceConfig`) are found too;
    camel-case names are written in snake case, values are as given.
    """
    if not isinstance(input, Mapping):
        return {}
    fields: dict[str, Any] = {}
    params: dict[str, Any] = {}
    _collect(input, fields, params)
    for name in _NESTED:
        inner: Any = input.get(name)
        if issubclass(type(inner), dict):  # not `isinstance`, which a lazy object may answer by loading
            _collect(inner if type(inner) is dict else dict(dict.items(inner)), fields, params)
    if not fields and not params:
        for source in input.values():
            if type(source) is dict and _is_request(source):
                _collect(source, fields, params)
    if params:
        fields["params"] = params
    return fields


def _is_request(source: Mapping[str, Any]) -> bool:
    """Say whether a mapping (`**arguments` of any name) is a request to a model: a car has a `model` too."""
    return any(name in source for name in _MODELS) and any(name in source for name in _TALK)


def _collect(source: Mapping[str, Any], fields: dict[str, Any], params: dict[str, Any]) -> None:
    for name in _MODELS:
        if "model" not in fields and get_text(source.get(name)):
            fields["model"] = source[name]
            if name == "modelId":
                fields["provider"] = "aws.bedrock"
    for name, value in source.items():
        target = _PARAMS.get(name)
        if target is None or value is None or target in params:
            continue
        if issubclass(type(value), type):
            params[target] = value.__name__  # response_format=MyModel
        elif issubclass(type(value), _KEPT) and value not in _ABSENT:
            params[target] = value


def response_fields(output: Any) -> dict[str, Any]:
    """Return `model`, `provider`, `usage`, `cost_usd`, `finish_reason` of an answer, as far as it tells them.

    Empty at once for scalars and lists, and for a mapping or object that has neither token counts nor the
    shape of an
    answer: its `model` may be a car's.

    Args:
        output: the answer as JSON values, or the object of an SDK, whose stored attributes are read.
    """
    if not is_response(output):
        return {}
    source = list_fields(output)
    if "http_response" in source:
        source = get_raw_body(output) or source
    counted = _read_usage(source)
    if counted is None and not _is_answer(source):
        return {}
    fields = {
        "model": (model := _model(source)),
        "provider": find_provider(output, source, model),
        "usage": counted,
        "cost_usd": get_number(get_field(source.get("usage"), "cost")),  # OpenRouter, LiteLLM
        "finish_reason": _finish(source),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _read_usage(source: Mapping[str, Any]) -> dict[str, Any] | None:
    counts = get_field(source, "usage", "usageMetadata", "usage_metadata")
    if counts is None:
        counts = get_field(source, "meta")  # Cohere v1
    if counts is None:
        counts = get_field(source, "amazon-bedrock-invocationMetrics")
    if counts is None:
        counts = get_field(get_field(source, "x_groq"), "usage")  # the last chunk of Groq's streams
    if counts is None and any(name in source for name in _BARE_COUNTS):
        counts = source
    counted = usage(counts) if counts is not None else None
    if counted is not None and "tier" not in counted and (tier := read_tier(source)) is not None:
        counted["tier"] = tier  # OpenAI says it beside the counts
    return counted


_BARE_COUNTS = ("eval_count", "prompt_eval_count", "generation_token_count", "inputTextTokenCount")
"""Signs of token counts that lie in the answer itself: Ollama, and Llama and Titan on Bedrock."""


def _is_answer(source: Mapping[str, Any]) -> bool:
    if isinstance(source.get("choices"), list) or isinstance(source.get("candidates"), list):
        return True
    shown = get_text(source.get("object")), get_text(source.get("type"))
    if shown[0] in ("response", "list", "interaction") or shown[1] == "message":
        return "model" in source
    return "done" in source and ("message" in source or "response" in source)


def _model(source: Mapping[str, Any]) -> str | None:
    model = get_field(source, "model", "modelVersion", "model_version")
    if model is None:
        model = get_field(
            get_field(source, "response_metadata"), "model_name", "model", "model_id"
        )  # LangChain
    return get_text(model)


def _finish(source: Mapping[str, Any]) -> str | None:
    """Return why the model stopped, of the first choice."""
    first = next(iter(list_items(get_field(source, "choices", "candidates"))), None)
    reason = get_field(first, "finish_reason", "finishReason")
    if reason is None:
        reason = get_field(source, "stop_reason", "stopReason", "finish_reason", "done_reason")
    if reason is None:
        reason = get_field(get_field(source, "incomplete_details"), "reason")
    if reason is None and get_text(source.get("object")) in ("response", "interaction"):
        reason = get_field(source, "status")
    reason = getattr(reason, "value", reason)  # an Enum of google-genai
    return str(reason) if isinstance(reason, (str, int)) and reason != "" else None
