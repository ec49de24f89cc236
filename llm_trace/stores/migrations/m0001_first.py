"""The first schema; docs/store.md explains each public table and column."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CALLS = """
CREATE TABLE calls (
    span_id TEXT NOT NULL, trace_id TEXT, parent_id TEXT, name TEXT, kind TEXT, status TEXT,
    start_ns BIGINT NOT NULL, end_ns BIGINT, first_token_ns BIGINT,
    model TEXT, provider TEXT,
    input_tokens BIGINT, output_tokens BIGINT, cache_read_tokens BIGINT, cache_write_tokens BIGINT,
    reasoning_tokens BIGINT, cost_usd DOUBLE,
    run TEXT, session TEXT, "user" TEXT, tags TEXT[],
    prompt_name TEXT, prompt_version TEXT, prompt_variables JSON,
    error_type TEXT, error_message TEXT, error_traceback TEXT,
    code_function TEXT, code_file TEXT, code_line BIGINT, code_commit TEXT,
    replay_of TEXT, params JSON, metadata JSON USING COMPRESSION zstd,
    input JSON USING COMPRESSION zstd, output JSON USING COMPRESSION zstd,
    messages_in BIGINT[], messages_out BIGINT[],
    start_time TIMESTAMP AS (make_timestamp(start_ns // 1000)),
    duration_ms DOUBLE AS ((end_ns - start_ns) / 1e6)
)"""

# body is NULL where it is just {"role": role, "content": text}: nine in ten messages keep their text once.
MESSAGES = """
CREATE TABLE messages (
    id BIGINT NOT NULL, hash UBIGINT NOT NULL, role TEXT, text TEXT USING COMPRESSION zstd,
    body JSON USING COMPRESSION zstd, first_ns BIGINT
)"""

OTHERS = (
    """CREATE TABLE attributions (
        id TEXT, span_id TEXT, method TEXT, config_hash TEXT, time_ns BIGINT, status TEXT, error TEXT,
        verdict TEXT AS (CAST(attribution AS TEXT) ->> '$.verdict'), attribution JSON
    )""",
    """CREATE TABLE scores (
        id TEXT, span_id TEXT, name TEXT, value JSON, source TEXT, comment TEXT, time_ns BIGINT,
        number DOUBLE AS (TRY_CAST(value AS DOUBLE))
    )""",
    """CREATE TABLE runs (
        id TEXT, name TEXT, config JSON, tags TEXT[], environment JSON, start_ns BIGINT, end_ns BIGINT,
        replay_of TEXT, start_time TIMESTAMP AS (make_timestamp(start_ns // 1000))
    )""",
    "CREATE TABLE prompts (name TEXT, version TEXT, template TEXT, first_ns BIGINT)",
)

CALL_MESSAGES = """
CREATE VIEW call_messages AS
SELECT c.span_id, c.direction, c.position, m.id AS message_id, m.role, m.text,
       coalesce(m.body, json_object('role', m.role, 'content', m.text)) AS body
FROM (
    SELECT span_id, 'in' AS direction, unnest(messages_in) AS id,
           generate_subscripts(messages_in, 1) AS position FROM calls
    UNION ALL
    SELECT span_id, 'out', unnest(messages_out), generate_subscripts(messages_out, 1) FROM calls
) c JOIN messages m USING (id)"""

ATTRIBUTION_SEGMENTS = """
CREATE VIEW attribution_segments AS
SELECT span_id, method, config_hash, position,
       attribution ->> ('$.segments[' || (position - 1) || '].text') AS text,
       attribution ->> ('$.segments[' || (position - 1) || '].kind') AS kind,
       TRY_CAST(attribution ->> ('$.values[' || (position - 1) || ']') AS DOUBLE) AS value,
       TRY_CAST(attribution ->> ('$.low[' || (position - 1) || ']') AS DOUBLE) AS low,
       TRY_CAST(attribution ->> ('$.high[' || (position - 1) || ']') AS DOUBLE) AS high,
       attribution ->> '$.unit' AS unit
FROM (
    SELECT *, unnest(range(1, CAST(json_array_length(attribution, '$.segments') AS BIGINT) + 1)) AS position
    FROM attributions WHERE status = 'ok'
)"""

# How far each spool file has been read, and which calls still lack an end.
BOOKKEEPING = (
    "CREATE TABLE _migrations (number INTEGER, name TEXT, applied_ns BIGINT)",
    (
        "CREATE TABLE _files (file TEXT, position BIGINT, lines BIGINT, bad_lines BIGINT, quarantine_bytes "
        "BIGINT)"
    ),
    "CREATE TABLE _numbers (file TEXT, n BIGINT, id BIGINT)",
    "CREATE TABLE _unfinished (span_id TEXT, start_ns BIGINT, writer TEXT, state TEXT)",
    "CREATE TABLE _lost (file TEXT, count BIGINT, reason TEXT, time_ns BIGINT)",
    "CREATE TABLE _purged (span_id TEXT, time_ns BIGINT)",
    "CREATE TABLE _purge_later (file TEXT)",
)


def apply(connection: DuckDBPyConnection) -> None:
    """Create every table and view."""
    for statement in (CALLS, MESSAGES, *OTHERS, *BOOKKEEPING, CALL_MESSAGES, ATTRIBUTION_SEGMENTS):
        connection.execute(statement)
