"""Groq's SDK.

Why not ride: of 19 recorded exchanges OpenInference's instrumentation does not tell the answer and tokens of
the streams, and tells of failed calls as good ones:

    python -m benchmarks.fields groq openinference:groq own:groq
"""

from __future__ import annotations

from typing import Any

from llm_trace.instrumentation.integration import Integration, TracedMethod
from llm_trace_integrations.stainless import note_retries, replay


def read_request(resource: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the provider."""
    return {"provider": "groq"}


_CHAT, _EMBEDDINGS = "groq.resources.chat.completions", "groq.resources.embeddings"
INTEGRATION = Integration(
    library="groq",
    module="groq",
    distribution="groq",
    versions=">=0.9",
    tried="1.7.0",
    methods=tuple(
        method
        for prefix in ("", "Async")
        for method in (
            TracedMethod(f"{_CHAT}:{prefix}Completions.create", "groq.chat.completions.create"),
            TracedMethod(f"{_EMBEDDINGS}:{prefix}Embeddings.create", "groq.embeddings.create", "embedding"),
        )
    ),
    read_request=read_request,
    replay=replay,
    starts={"groq._base_client": note_retries("groq._base_client")},
)
