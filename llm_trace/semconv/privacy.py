"""What is kept of a span's attributes without content: numbers, and names that cannot hold any."""

from __future__ import annotations

from typing import Any

_PLAIN = (
    "gen_ai.operation.", "gen_ai.provider.", "gen_ai.request.", "gen_ai.response.", "gen_ai.usage.",
    "gen_ai.conversation.id",
    "gen_ai.agent.id", "gen_ai.agent.name", "gen_ai.workflow.name", "gen_ai.tool.name", "gen_ai.tool.type",
    "mcp.method.name", "mcp.protocol.version", "llm.model_name",
    "llm.provider",
    "llm.request.type", "llm.token_count.", "openinference.span.kind", "traceloop.span.kind", "server.",
    "error.type",
    "session.id", "user.id", "http.request.method", "http.response.status_code",
)  # fmt: skip


def drop_content(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a call's metadata without OpenTelemetry events and with only those attributes that cannot
    hold prompts or answers.
    """
    metadata = {k: v for k, v in metadata.items() if k != "otel.events"}
    otel = metadata.get("otel")
    if not isinstance(otel, dict):
        return metadata
    rest = {
        k: v
        for k, v in (otel.get("attributes") or {}).items()
        if isinstance(v, (bool, int, float)) or k.startswith(_PLAIN)
    }
    links = [{k: v for k, v in link.items() if k != "attributes"} for link in otel.get("links") or ()]
    plain = {"scope": otel.get("scope"), "links": links}
    return {**metadata, "otel": {k: v for k, v in plain.items() if v} | {"attributes": rest}}


def drop_event_content(event: dict[str, Any]) -> dict[str, Any] | None:
    """Return a score without its comment; None for an attribution, a prompt's text or a decision with its
    reasons, which are content.
    """
    if event["event"] in ("attribution", "prompt", "operation"):
        return None
    return {name: value for name, value in event.items() if name != "comment"}


_CONTENT = frozenset({"input", "output", "messages_in", "messages_out", "prompt", "rebuild"})


def call_without_content(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a call without what was said: input, output, messages, prompt, error message."""
    rest = {name: value for name, value in fields.items() if name not in _CONTENT}
    if "error" in rest:
        rest["error"] = {"type": rest["error"].get("type", "error")}
    if "metadata" in rest:
        rest["metadata"] = drop_content(rest["metadata"])
    return rest
