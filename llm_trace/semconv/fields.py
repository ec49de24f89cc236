"""What a request and a response say about a call: model, provider, parameters, tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_trace.semconv.tokens import usage
from llm_trace.semconv.values import field, fields, is_response, items, number, text

_MODELS = ("model", "modelId", "model_id")
_PARAMS = {name: name for name in (
    "temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "max_output_tokens",
    "max_tokens_to_sample", "seed", "random_seed", "stop", "stop_sequences", "n", "candidate_count",
    "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs",
    "response_format", "reasoning_effort", "reasoning", "thinking", "tool_choice", "parallel_tool_calls", "stream",
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
_KEPT = (bool, int, float, str, list, tuple, dict)
_ABSENT = ("NOT_GIVEN", "<NOT_GIVEN>", "omit", "Omit()")


def request_fields(input: Any) -> dict[str, Any]:  # noqa: A002  the contract's name
    """Return `model` and `params` of a request, as far as its arguments (bound by name) tell them.

    Parameters in a provider's own group (`options`, `generationConfig`, `inferenceConfig`) are found too; camel-case
    names are written in snake case, values are as given.
    """
    if not isinstance(input, Mapping):
        return {}
    made: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for source in (input, *(input.get(name) for name in _NESTED)):
        if isinstance(source, Mapping) and source:
            _collect(source, made, params)
    if params:
        made["params"] = params
    return made


def _collect(source: Mapping[str, Any], made: dict[str, Any], params: dict[str, Any]) -> None:
    for name in _MODELS:
        if "model" not in made and text(source.get(name)):
            made["model"] = source[name]
    for name, value in source.items():
        target = _PARAMS.get(name)
        if target is None or value is None or target in params:
            continue
        if isinstance(value, type):
            params[target] = value.__name__  # response_format=MyModel
        elif isinstance(value, _KEPT) and value not in _ABSENT:
            params[target] = value


def response_fields(output: Any) -> dict[str, Any]:
    """Return `model`, `provider`, `usage`, `cost_usd` and `finish_reason` of a model's answer, as far as it tells them.

    Empty at once for scalars and lists, and for a mapping or object that has neither token counts nor the shape of an
    answer: its `model` may be a car's.

    Args:
        output: the answer as JSON values, or the object of an SDK, whose stored attributes are read.
    """
    if not is_response(output):
        return {}
    source = fields(output)
    counted = _usage(source)
    if counted is None and not _is_answer(source):
        return {}
    found = {
        "model": _model(source),
        "provider": _provider(output, source),
        "usage": counted,
        "cost_usd": number(field(source.get("usage"), "cost")),  # OpenRouter, LiteLLM
        "finish_reason": _finish(source),
    }
    return {name: value for name, value in found.items() if value is not None}


def _usage(source: Mapping[str, Any]) -> dict[str, int] | None:
    told = field(source, "usage", "usageMetadata", "usage_metadata")
    if told is None:
        told = field(source, "meta")  # Cohere v1
    if told is None:
        told = field(source, "amazon-bedrock-invocationMetrics")
    if told is None:
        told = field(field(source, "x_groq"), "usage")  # the last chunk of Groq's streams
    if told is None and any(name in source for name in _BARE_COUNTS):
        told = source
    return usage(told) if told is not None else None


_BARE_COUNTS = ("eval_count", "prompt_eval_count", "generation_token_count", "inputTextTokenCount")
"""Signs of token counts that lie in the answer itself: Ollama, and Llama and Titan on Bedrock."""


def _is_answer(source: Mapping[str, Any]) -> bool:
    if isinstance(source.get("choices"), list) or isinstance(source.get("candidates"), list):
        return True
    shown = text(source.get("object")), text(source.get("type"))
    if shown[0] in ("response", "list", "interaction") or shown[1] == "message":
        return "model" in source
    return "done" in source and ("message" in source or "response" in source)


def _model(source: Mapping[str, Any]) -> str | None:
    told = field(source, "model", "modelVersion", "model_version")
    if told is None:
        told = field(field(source, "response_metadata"), "model_name", "model", "model_id")  # LangChain
    return text(told)


_PROVIDER_OF_SDK = {
    "anthropic": "anthropic", "mistralai": "mistral_ai", "cohere": "cohere", "groq": "groq", "ollama": "ollama",
    "together": "together_ai", "vertexai": "gcp.vertex_ai", "google": "gcp.gen_ai",
}  # fmt: skip


def _provider(output: Any, source: Mapping[str, Any]) -> str | None:
    """Return who answered where the answer shows it; OpenAI's shape and SDK show nothing, for many speak it."""
    known = None
    if not isinstance(output, Mapping):
        known = _PROVIDER_OF_SDK.get(str(type(output).__module__).partition(".")[0])
    return _provider_shown(source) or known


def _provider_shown(source: Mapping[str, Any]) -> str | None:
    ident = source.get("id")
    if isinstance(ident, str) and ident.startswith("msg_") and text(source.get("type")) == "message":
        return "aws.bedrock" if ident.startswith("msg_bdrk_") else "anthropic"
    if "candidates" in source or "usageMetadata" in source:
        vertex = field(source.get("usageMetadata"), "trafficType") is not None
        return "gcp.vertex_ai" if vertex else "gcp.gen_ai"
    shown = {"x_groq": "groq", "stopReason": "aws.bedrock", "prompt_filter_results": "azure.ai.openai"}
    for name, provider in shown.items():
        if source.get(name) is not None:
            return provider
    if "done" in source and "created_at" in source:
        return "ollama"
    return "cohere" if field(field(source, "usage", "meta"), "billed_units") is not None else None


def _finish(source: Mapping[str, Any]) -> str | None:
    """Return why the model stopped, of the first choice."""
    first = next(iter(items(field(source, "choices", "candidates"))), None)
    told = field(first, "finish_reason", "finishReason")
    if told is None:
        told = field(source, "stop_reason", "stopReason", "finish_reason", "done_reason")
    if told is None:
        told = field(field(source, "incomplete_details"), "reason")
    if told is None and text(source.get("object")) in ("response", "interaction"):
        told = field(source, "status")
    told = getattr(told, "value", told)  # an Enum of google-genai
    return str(told) if isinstance(told, (str, int)) and told != "" else None
