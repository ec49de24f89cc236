"""What coding agents say in log events and spans of their own, under OpenTelemetry's GenAI names.

One table has the events, one the attributes; an agent that is not in it needs a row, no code.

Sources: Claude Code 2.1.223 (code.claude.com/docs/en/monitoring-usage, 2026-08-21); Codex CLI (openai/codex,
    codex-rs/otel/src/events/session_telemetry.rs, 2026-08); Gemini CLI 0.56 (packages/core/src/telemetry/
    types.ts, 2026-08-21); Qwen Code (packages/core/src/telemetry/constants.ts, 2026-08), a fork of Gemini's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from llm_trace.semconv import names
from llm_trace.semconv.tokens import usage
from llm_trace.semconv.values import EMPTY, count, dump_json, get_first_value, get_number

Role = Literal["turn", "request", "model", "answer", "tool", "decision"]
"""What an event tells of: a user's prompt, the request to a model, its outcome, its text, a tool that ran,
and whether one may run.
"""
AGENTS: Final = ("claude_code", "codex", "gemini_cli", "qwen-code")
"""First part of the names of an agent's events and metrics."""
_GEMINI: Final[dict[str, Role]] = {
    "user_prompt": "turn", "api_request": "request", "api_response": "model", "api_error": "model",
    "tool_call": "tool",
}  # fmt: skip
_EVENTS: Final[dict[str, dict[str, Role]]] = {
    "claude_code": {
        "user_prompt": "turn", "api_request_body": "request", "api_request": "model", "api_error": "model",
        "assistant_response": "answer", "api_response_body": "answer", "tool_result": "tool",
        "tool_decision": "decision",
    },
    "codex": {
        "user_prompt": "turn", "api_request": "request", "websocket_request": "request",
        "sse_event": "model", "tool_result": "tool", "tool_decision": "decision",
    },
    "gemini_cli": _GEMINI,
    "qwen-code": _GEMINI,
}  # fmt: skip
ROLES: Final[dict[str, Role]] = {
    f"{agent}.{event}": role for agent, events in _EVENTS.items() for event, role in events.items()
}
_SCOPES: Final = {"gemini-cli": "gemini_cli", "qwen-code": "qwen-code"}
_SPANS: Final = {"interaction": "agent", "llm_request": "llm", "tool": "tool", "subagent": "agent"}
_KIND_OF_ROLE: Final = {"turn": "agent", "model": "llm", "answer": "llm", "tool": "tool", "decision": "tool"}

SESSIONS: Final = ("session.id", "conversation.id", "session_id")
TURNS: Final = ("prompt.id", "prompt_id")
DURATIONS: Final = ("duration_ms", "duration")
CALL_ID: Final = "gen_ai.tool.call.id"
_RENAMED: Final[dict[str, tuple[str, ...]]] = {
    names.RESPONSE_MODEL: ("model", "model_name"),
    names.RESPONSE_ID: ("request_id", "response_id"),
    names.TOOL_NAME: ("tool_name", "function_name"),
    CALL_ID: ("tool_use_id", "call_id"),
    names.TOOL_ARGUMENTS: (
        "tool_input", "arguments", "function_args", "tool_parameters", "full_command", "file_path"
    ),
    names.TOOL_RESULT: ("output", "tool_output"),
    names.CONVERSATION: SESSIONS,
    names.AGENT_NAME: ("agent.name", "agent_id", "subagent_name"),
    names.FINISH_REASONS: ("finish_reasons", "stop_reason"),
    names.ERROR_TYPE: ("error_type", "error.type", "auth.error_code"),
    "gen_ai.usage.cost": ("cost_usd",),
    names.OI_INPUT: ("request_text",),
    names.OI_OUTPUT: ("response_text",),
}  # fmt: skip
_BODIES: Final = {"request": names.OI_INPUT, "answer": names.OI_OUTPUT}
"""What the `body` of an event is, by its role."""
_SPOKEN: Final = {
    names.INPUT_MESSAGES: ("user", ("prompt", "user_prompt")),
    names.OUTPUT_MESSAGES: ("assistant", ("response",)),
}
_ERRORS: Final = ("error", "error.message", "error_message")
_REDACTED: Final = (*EMPTY, "<REDACTED>", "[REDACTED]")
_TOKENS: Final = {
    "input_tokens": "input_tokens", "output_tokens": "output_tokens",  # Claude: the cache beside the input
    "cache_read_tokens": "cache_read_input_tokens", "cache_creation_tokens": "cache_creation_input_tokens",
    "input_token_count": "prompt_tokens", "output_token_count": "completion_tokens",
    "cached_token_count": "cached_tokens", "reasoning_token_count": "reasoning_tokens",
    "cache_write_token_count": "cache_write_tokens",
    "cached_content_token_count": "cached_tokens",
}  # fmt: skip
_USAGE_NAMES: Final = {
    "input_tokens": names.USAGE_INPUT, "output_tokens": names.USAGE_OUTPUT,
    "cache_read_tokens": names.USAGE_CACHE_READ, "cache_write_tokens": names.USAGE_CACHE_WRITE,
    "reasoning_tokens": names.USAGE_REASONING,
}  # fmt: skip
_GEMINI_TYPES: Final = {
    "input": "promptTokenCount", "output": "candidatesTokenCount", "cache": "cachedContentTokenCount",
    "tool": "toolUsePromptTokenCount",
}  # fmt: skip
METRIC_TOKENS: Final[dict[str, dict[str, str]]] = {
    "claude_code.token.usage": {
        "input": "input_tokens", "output": "output_tokens", "cacheRead": "cache_read_input_tokens",
        "cacheCreation": "cache_creation_input_tokens",
    },
    "gemini_cli.token.usage": {**_GEMINI_TYPES, "thought": "thoughtsTokenCount"},
    "qwen-code.token.usage": {**_GEMINI_TYPES, "thought": "reasoning_tokens"},
    "codex.turn.token_usage": {
        "input": "prompt_tokens", "output": "completion_tokens", "cached_input": "cached_tokens",
        "reasoning_output": "reasoning_tokens",
    },
}  # fmt: skip
"""Metrics of tokens, and what a provider calls each of their types."""
_CODEX_TOTAL: Final = "codex.usage.total_tokens"
_CODEX_NAMES: Final = {
    "codex.usage.reasoning_output_tokens": names.USAGE_REASONING,
    "codex.request.reasoning_effort": names.REQUEST + "reasoning_effort",
}
METRIC_COSTS: Final = ("claude_code.cost.usage",)


class AgentEvent(NamedTuple):
    """What an event or a span of a coding agent tells."""

    agent: str
    role: Role
    attributes: dict[str, Any]
    """As they came, and under OpenTelemetry's names."""
    error: str | None
    """What went wrong; empty where nothing says more than that it did, `None` where nothing did."""


def find_role(name: str, attributes: Mapping[str, Any]) -> Role | None:
    """Return what an event tells of, `None` for one that is no part of a call.

    Of the events of a stream only the last counts, and one that failed.
    """
    role = ROLES.get(name)
    if role == "request" or (name == _STREAM and attributes.get("event.kind") != "response.completed"):
        return "model" if _find_error(attributes) is not None else role if role == "request" else None
    if role == "decision" and str(attributes.get("decision", "")).lower() not in _REFUSALS:
        return None
    return role


_STREAM: Final = "codex.sse_event"
_REFUSALS: Final = ("reject", "rejected", "denied", "abort", "aborted")


def read_agent_event(name: str, role: Role, attributes: Mapping[str, Any]) -> AgentEvent:
    """Return an event of the table with its attributes under OpenTelemetry's names."""
    error = "rejected" if role == "decision" else _find_error(attributes)
    known = _rename(attributes) | {names.OWN_KIND: _KIND_OF_ROLE.get(role, "chain")}
    if role == "decision":
        known[names.ERROR_TYPE] = "rejected"
    if role in _BODIES and isinstance(attributes.get("body"), str):
        known[_BODIES[role]] = attributes["body"]
    return AgentEvent(name.partition(".")[0], role, {**attributes, **known}, error)


def find_agent(name: str, scope: str | None, attributes: Mapping[str, Any]) -> str | None:
    """Return the coding agent that a span or an event is of."""
    agent = name.partition(".")[0]
    if agent in AGENTS:
        return agent
    if _CODEX_TOTAL in attributes:
        return "codex"
    return _SCOPES.get(scope or "")


def rename_span_attributes(name: str, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attributes of a span, those of a coding agent's under OpenTelemetry's names too."""
    if _CODEX_TOTAL in attributes:
        return {**_read_codex(attributes), **attributes}
    agent, _, step = name.partition(".")
    if agent not in AGENTS or step not in _SPANS:
        return attributes
    return {**_rename(attributes), names.OWN_KIND: _SPANS[step], **attributes}


def _read_codex(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a span of Codex that has counted an answer's tokens tells under OpenTelemetry's names.

    Its name is what came last in the stream (`completed`), and it has neither a model nor an id.
    """
    others = {ours: attributes[theirs] for theirs, ours in _CODEX_NAMES.items() if theirs in attributes}
    return {names.OWN_KIND: "llm", **others}


def _rename(attributes: Mapping[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for ours, theirs in _RENAMED.items():
        value = get_first_value(attributes, theirs)
        if value not in _REDACTED:
            known[ours] = value
    for ours, (role, theirs) in _SPOKEN.items():
        value = get_first_value(attributes, theirs)
        if value not in _REDACTED:
            part = {"type": "text", "content": value if isinstance(value, str) else dump_json(value)}
            known[ours] = [{"role": role, "parts": [part]}]
    if isinstance(reason := known.get(names.FINISH_REASONS), str):
        known[names.FINISH_REASONS] = [reason]
    micros, first = get_number(attributes.get("cost_usd_micros")), get_number(attributes.get("ttft_ms"))
    known |= {} if micros is None else {"gen_ai.usage.cost": micros / 1e6}
    known |= {} if first is None else {names.TIME_TO_FIRST_CHUNK: first / 1e3}
    return known | _count_tokens(attributes)


def _count_tokens(attributes: Mapping[str, Any]) -> dict[str, int]:
    """Return the tokens by OpenTelemetry's names: the cache within the input, reasoning within the output."""
    raw = {theirs: attributes[name] for name, theirs in _TOKENS.items() if name in attributes}
    counts = dict(usage(raw) or {}) if raw else {}
    thoughts, tool = (count(attributes.get(f"{name}_token_count")) for name in ("thoughts", "tool"))
    if thoughts is not None and counts:
        counts["reasoning_tokens"] = thoughts
        asked, answered = counts.get("input_tokens", 0), counts.get("output_tokens", 0)
        total = count(attributes.get("total_token_count"))
        if total == asked + answered + thoughts + (tool or 0):  # Gemini counts them beside, others within
            counts["output_tokens"] = answered + thoughts
            counts["input_tokens"] = asked + (tool or 0)
    return {_USAGE_NAMES[name]: value for name, value in counts.items()}


def _find_error(attributes: Mapping[str, Any]) -> str | None:
    """Return what an event says went wrong, `None` where it succeeded."""
    message = get_first_value(attributes, _ERRORS)
    status = get_first_value(attributes, ("status_code", "http.response.status_code"))
    code = count(status)
    failed = str(attributes.get("success", "")).lower() == "false" or (code is not None and code >= 400)
    if message in _REDACTED and not failed:
        return None
    if message in _REDACTED:
        message = attributes.get("error_type") or ("" if code is None else f"HTTP {code}")
    return str(message)
