"""Token counts and providers as Opik's own client names them, so that Opik's prices apply as they are meant.

Opik prices the provider's own counts, under `original_usage.`: those of Anthropic and Bedrock have cached
tokens beside the input, the others within it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PROVIDERS = {
    "aws.bedrock": "bedrock",
    "gcp.gemini": "google_ai",
    "gcp.gen_ai": "google_ai",
    "gcp.vertex_ai": "google_vertexai",
    "mistral_ai": "mistral",
}
"""Names by which Opik knows prices; the others are the same as ours."""
_USAGE = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_write_tokens": "cache_creation_input_tokens",
    "reasoning_tokens": "reasoning_tokens",
}
_OPENAI = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "cache_read_tokens": "prompt_tokens_details.cached_tokens",
    "reasoning_tokens": "completion_tokens_details.reasoning_tokens",
    "total_tokens": "total_tokens",
}
_ANTHROPIC = {
    "uncached_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_write_tokens": "cache_creation_input_tokens",
}
_BEDROCK = {
    "uncached_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "cache_read_tokens": "cacheReadInputTokens",
    "cache_write_tokens": "cacheWriteInputTokens",
    "total_tokens": "totalTokens",
}
_GOOGLE = {
    "input_tokens": "prompt_token_count",
    "said_tokens": "candidates_token_count",
    "cache_read_tokens": "cached_content_token_count",
    "reasoning_tokens": "thoughts_token_count",
    "total_tokens": "total_token_count",
}
_OWN = {
    "anthropic": _ANTHROPIC, "anthropic_vertexai": _ANTHROPIC, "bedrock": _BEDROCK, "google_ai": _GOOGLE,
    "google_vertexai": _GOOGLE
}  # fmt: skip


def get_opik_provider(call: Mapping[str, Any]) -> str | None:
    """Return Opik's name of a call's provider."""
    provider = call.get("provider")
    if provider == "gcp.vertex_ai" and "claude" in str(call.get("model")):
        return "anthropic_vertexai"
    return _PROVIDERS.get(provider or "", provider)


def build_opik_usage(call: Mapping[str, Any]) -> dict[str, int] | None:
    """Return a call's token counts by OpenAI's names, and by its provider's under `original_usage.`."""
    counts = {name: n for name, n in (call.get("usage") or {}).items() if isinstance(n, int)}
    usage = {other: counts[own] for own, other in _USAGE.items() if own in counts}
    if not usage:
        return None
    asked, answered = counts.get("input_tokens"), counts.get("output_tokens")
    if asked is not None:
        cached = counts.get("cache_read_tokens", 0) + counts.get("cache_write_tokens", 0)
        counts["uncached_tokens"] = max(0, asked - cached)
    if answered is not None:
        counts["said_tokens"] = max(0, answered - counts.get("reasoning_tokens", 0))
    if asked is not None and answered is not None:
        counts["total_tokens"] = usage["total_tokens"] = asked + answered
    own_names = _OWN.get(get_opik_provider(call) or "", _OPENAI)
    return usage | {
        f"original_usage.{other}": counts[own] for own, other in own_names.items() if own in counts
    }
