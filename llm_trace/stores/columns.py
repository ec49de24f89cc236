"""Where each column of `calls` comes from in a spool event, and the columns that events are read with."""

from __future__ import annotations

STAGE: dict[str, str] = {
    "event": "VARCHAR",
    "span_id": "VARCHAR",
    "trace_id": "VARCHAR",
    "parent_id": "VARCHAR",
    "name": "VARCHAR",
    "kind": "VARCHAR",
    "status": "VARCHAR",
    "start_ns": "BIGINT",
    "end_ns": "BIGINT",
    "first_token_ns": "BIGINT",
    "model": "VARCHAR",
    "provider": "VARCHAR",
    "usage": "STRUCT(input_tokens BIGINT, output_tokens BIGINT, cache_read_tokens BIGINT, "
    "cache_write_tokens BIGINT, reasoning_tokens BIGINT, details JSON, tier VARCHAR)",
    "cost_usd": "DOUBLE",
    "cost_basis": "JSON",
    "run": "VARCHAR",
    "session": "VARCHAR",
    "user": "VARCHAR",
    "tags": "VARCHAR[]",
    "prompt": "STRUCT(name VARCHAR, version VARCHAR, variables JSON)",
    "error": "JSON",
    "code": 'STRUCT("function" VARCHAR, file VARCHAR, line BIGINT, commit VARCHAR)',
    "replay_of": "VARCHAR",
    "fork_of": "VARCHAR",
    "params": "JSON",
    "metadata": "JSON",
    "input": "JSON",
    "output": "JSON",
    "rebuild": "JSON",
    "same": "VARCHAR[]",
    "messages_in": "BIGINT[][]",
    "messages_out": "BIGINT[][]",
    "messages": "STRUCT(n BIGINT, body JSON)[]",
    "id": "VARCHAR",
    "config": "JSON",
    "environment": "JSON",
    "version": "VARCHAR",
    "template": "VARCHAR",
    "time_ns": "BIGINT",
    "value": "JSON",
    "source": "VARCHAR",
    "comment": "VARCHAR",
    "method": "VARCHAR",
    "config_hash": "VARCHAR",
    "attribution": "JSON",
    "count": "BIGINT",
    "reason": "VARCHAR",
    "subject": "VARCHAR",
    "body": "JSON",
}
"""Columns of a slice as DuckDB reads it; wrong types become NULL, unknown keys are left out."""

FIRST_WINS = ("trace_id", "parent_id", "name", "kind", "start_ns")
"""Columns that only a start event gives."""

LATER_WINS: dict[str, str] = {
    "first_token_ns": "first_token_ns", "model": "model", "provider": "provider",
    "input_tokens": "usage.input_tokens", "output_tokens": "usage.output_tokens",
    "cache_read_tokens": "usage.cache_read_tokens", "cache_write_tokens": "usage.cache_write_tokens",
    "reasoning_tokens": "usage.reasoning_tokens", "usage_details": "nullif(usage.details::TEXT, '{}')::JSON",
    "tier": "usage.tier",
    "cost_usd": "cost_usd", "cost_basis": "cost_basis", "run": "run",
    "session": "session", '"user"': '"user"', "tags": "tags", "prompt_name": "prompt.name",
    "prompt_version": "prompt.version", "prompt_variables": "prompt.variables",
    "error_type": "error ->> '$.type'", "error_message": "error ->> '$.message'",
    "error_traceback": "error ->> '$.traceback'", "code_function": "code.function",
    "code_file": "code.file", "code_line": "code.line", "code_commit": "code.commit",
    "replay_of": "replay_of", "params": "params", "metadata": "metadata", "input": "input",
    "output": "output", "rebuild": "rebuild", "platform": "metadata ->> '$.import.from'",
}  # fmt: skip
"""Columns of `calls` that start and end may both give, as expressions over an event; the end wins."""

LISTS = ("messages_in", "messages_out")
"""Columns of `calls` that hold ids of `messages`."""

CALLS = ("span_id", "status", "end_ns", *FIRST_WINS, *LATER_WINS, *LISTS)
"""Every stored column of `calls`, in the order in which the fold names them."""

KINDS = ("llm", "chain", "tool", "retriever", "embedding", "agent", "reranker", "guardrail", "evaluator")
ENDS = ("ok", "error", "cancelled")
