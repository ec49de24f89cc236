"""Anthropic's SDK, its Bedrock and Vertex clients included.

Why not ride: the instrumentations of OpenTelemetry and OpenInference lose what a stream that is left early
had said, and cannot replay.
"""

from __future__ import annotations

from typing import Any

from llm_trace.instrumentation.integration import Integration, TracedMethod
from llm_trace_integrations.stainless import note_retries, replay

_CLIENTS = {"Bedrock": "aws.bedrock", "Vertex": "gcp.vertex_ai", "Foundry": "azure.ai.inference"}


def read_request(resource: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the provider, by the class of the client."""
    client = type(resource._client).__name__
    return {"provider": next((name for part, name in _CLIENTS.items() if part in client), "anthropic")}


_MODULES = {
    "anthropic.resources.messages": "messages",
    "anthropic.resources.beta.messages": "beta.messages",
    "anthropic.lib.bedrock._beta_messages": "beta.messages",
    "anthropic.lib.vertex._beta_messages": "beta.messages",
}
"""The last two hold copies of methods of the one before, made when they are imported."""


def _list_methods() -> tuple[TracedMethod, ...]:
    return tuple(
        TracedMethod(f"{module}:{prefix}Messages.{name}", f"anthropic.{resource}.{name}", since=in_all)
        for module, resource in _MODULES.items()
        for prefix in ("", "Async")
        for name, in_all in (("create", True), ("stream", resource == "messages"), ("parse", False))
    )


INTEGRATION = Integration(
    library="anthropic",
    module="anthropic",
    distribution="anthropic",
    versions=">=0.40",
    tried="0.40.0 and 2.12.0",
    methods=_list_methods(),
    read_request=read_request,
    replay=replay,
    starts={"anthropic._base_client": note_retries("anthropic._base_client")},
)
