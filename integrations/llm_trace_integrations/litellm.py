"""LiteLLM, its router included.

Why not ride: OpenInference's spans (0.1.51) lack model and provider, miss `text_completion` and functions
imported by name, and take a stream that is left early for a whole one.
"""

from __future__ import annotations

from typing import Any

from llm_trace.instrumentation.integration import Integration, TracedMethod

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
    attempts = (hidden.get("additional_headers") or {}).get("x-litellm-attempted-retries")
    fields = {
        "provider": _PROVIDERS.get(str(provider), provider),
        "cost_usd": float(cost) if cost is not None else None,
        "metadata": {"attempts": int(attempts) + 1} if attempts else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


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
)
