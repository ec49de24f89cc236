"""LiteLLM, its router included.

Why not ride: OpenInference's spans (0.1.51) lack model and provider, miss `text_completion` and functions
imported by name, and take a stream that is left early for a whole one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from llm_trace.capture import failures
from llm_trace.capture.callspan import CallSpan, current_call
from llm_trace.instrumentation.integration import Integration, TracedMethod, replace_attribute
from llm_trace_integrations.stainless import note_retries

_PROVIDERS = {
    "azure": "azure.ai.openai", "azure_ai": "azure.ai.inference", "bedrock": "aws.bedrock",
    "vertex_ai": "gcp.vertex_ai", "gemini": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai",
    "text-completion-openai": "openai", "watsonx": "ibm.watsonx.ai", "moonshot": "moonshot_ai",
}  # fmt: skip


def read_request(_: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the provider, which a model's name begins with (`anthropic/claude…`) or an argument names."""
    named = arguments.get("custom_llm_provider")
    model = arguments.get("model")
    if named is None and isinstance(model, str) and "/" in model:
        named = model.partition("/")[0]
    return {"provider": _PROVIDERS.get(named, named)} if named else {}


def read_response(response: Any) -> dict[str, Any]:
    """Return what LiteLLM says beside an answer: who answered, and what it cost."""
    hidden = getattr(response, "_hidden_params", None) or {}
    provider, cost = hidden.get("custom_llm_provider"), hidden.get("response_cost")
    fields = {
        "provider": _PROVIDERS.get(str(provider), provider),
        "cost_usd": float(cost) if cost is not None else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


_LOGGING = "litellm.litellm_core_utils.litellm_logging"
_asked: WeakKeyDictionary[CallSpan, str] = WeakKeyDictionary()
"""The model that each call asked last."""


def note_requests() -> Callable[[], None]:
    """Note on a call how often LiteLLM asks a model again, and how often another in its place; return what
    undoes it.
    """
    logging = sys.modules[_LOGGING].Logging
    pre_call = logging.pre_call

    @wraps(pre_call)
    def note_and_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            _note_request(str(self.model))
        except Exception as exc:  # noqa: BLE001  the program's request goes on
            failures.note("a request of litellm", exc)
        return pre_call(self, *args, **kwargs)

    return replace_attribute(logging, "pre_call", note_and_call)


def _note_request(model: str) -> None:
    call = current_call()
    if call is None or call.spec.library != "litellm":
        return
    if (last := _asked.get(call)) is not None:
        name = "retries" if last == model else "fallbacks"
        call.set(metadata={name: call.metadata.get(name, 0) + 1})
    _asked[call] = model


_FUNCTIONS = {
    "main": ("completion", "acompletion", "text_completion", "atext_completion", "embedding", "aembedding"),
    "responses.main": ("responses", "aresponses"),
}

INTEGRATION = Integration(
    library="litellm",
    module="litellm",
    distribution="litellm",
    versions=">=1.60",
    tried="1.110.2",
    methods=tuple(
        TracedMethod(
            f"litellm.{module}:{name}",
            f"litellm.{name}",
            "embedding" if name.endswith("embedding") else "llm",
            since=module == "main",
        )
        for module, names in _FUNCTIONS.items()
        for name in names
    ),
    read_request=read_request,
    read_response=read_response,
    starts={_LOGGING: note_requests, "openai._base_client": note_retries("openai._base_client")},
)
