"""OpenAI's SDK, and every server that it can be pointed at: Azure, vLLM, OpenRouter, DeepSeek …

Why not ride: the instrumentations of OpenTelemetry and OpenInference lose what a stream that is left early
had said, and cannot replay.
"""

from __future__ import annotations

from typing import Any

from llm_trace.instrumentation.integration import Integration, TracedMethod
from llm_trace_integrations.stainless import note_retries, replay

_HOSTS = {
    "api.openai.com": "openai",
    "openrouter.ai": "openrouter",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.together.xyz": "together_ai",
    "api.x.ai": "x_ai",
    "generativelanguage.googleapis.com": "gcp.gemini",
}


def read_request(resource: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the provider, by the class and address of the client; one not known may pass
    on what others answer."""
    client = resource._client
    if "Azure" in type(client).__name__:
        return {"provider": "azure.ai.openai"}
    host = client.base_url.host
    if host.endswith(".azure.com"):
        return {"provider": "azure.ai.openai"}
    return {"provider": _HOSTS[host]} if host in _HOSTS else {"likely_provider": host}


_CHAT = "openai.resources.chat.completions"
_BETA = "openai.resources.beta.chat.completions"
"""Where `parse` is in versions before 1.92."""
_RESPONSES = "openai.resources.responses"


def _list_methods() -> tuple[TracedMethod, ...]:
    methods = []
    for prefix in ("", "Async"):
        methods += [
            TracedMethod(f"{_CHAT}:{prefix}Completions.create", "openai.chat.completions.create"),
            TracedMethod(f"{_CHAT}:{prefix}Completions.parse", "openai.chat.completions.parse", since=False),
            TracedMethod(f"{_BETA}:{prefix}Completions.parse", "openai.chat.completions.parse", since=False),
            TracedMethod(f"{_RESPONSES}:{prefix}Responses.create", "openai.responses.create", since=False),
            TracedMethod(f"{_RESPONSES}:{prefix}Responses.parse", "openai.responses.parse", since=False),
            TracedMethod(
                f"openai.resources.completions:{prefix}Completions.create", "openai.completions.create"
            ),
            TracedMethod(
                f"openai.resources.embeddings:{prefix}Embeddings.create",
                "openai.embeddings.create",
                "embedding",
            ),
        ]
    return tuple(methods)


INTEGRATION = Integration(
    library="openai",
    module="openai",
    distribution="openai",
    versions=">=1.40",
    tried="1.40.0 and 3.54.0",
    methods=_list_methods(),
    read_request=read_request,
    replay=replay,
    starts={"openai._base_client": note_retries("openai._base_client")},
)
