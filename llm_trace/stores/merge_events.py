"""Fold the events that are not calls: runs, prompts, scores, attributions, operations, losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from llm_trace.stores.staging import SliceContents

# Later lines win, key by key; what the table holds is older than any line.
_RUNS = """
CREATE OR REPLACE TEMP TABLE merged AS
SELECT id, arg_max(name, seq) AS name, arg_max(config, seq) AS config, arg_max(tags, seq) AS tags,
       arg_max(environment, seq) AS environment, arg_max(start_ns, seq) AS start_ns,
       arg_max(end_ns, seq) AS end_ns, arg_max(replay_of, seq) AS replay_of,
       arg_max(fork_of, seq) AS fork_of
FROM (
    SELECT id, name, config, tags, environment, start_ns, end_ns, replay_of, fork_of, row AS seq
    FROM stage WHERE event = 'run'
    UNION ALL
    SELECT id, name, config, tags, environment, start_ns, end_ns, replay_of, fork_of, -1 FROM runs
    WHERE id IN (SELECT id FROM stage WHERE event = 'run')
) GROUP BY id"""

_STEPS: dict[str, tuple[str, ...]] = {
    "run": (
        _RUNS,
        "DELETE FROM runs WHERE id IN (SELECT id FROM merged)",
        """INSERT INTO runs (id, name, config, tags, environment, start_ns, end_ns, replay_of, fork_of)
           SELECT id, name, config, tags, environment, start_ns, end_ns, replay_of, fork_of FROM merged""",
    ),
    "prompt": (
        """CREATE OR REPLACE TEMP TABLE merged AS
           SELECT name, version, arg_min(template, time_ns) AS template, min(time_ns) AS time_ns
           FROM (SELECT name, version, template, coalesce(time_ns, 0) AS time_ns
                 FROM stage WHERE event = 'prompt'
                 UNION ALL SELECT name, version, template, first_ns FROM prompts
                 WHERE (name, version) IN (SELECT (name, version) FROM stage WHERE event = 'prompt'))
           GROUP BY name, version""",
        "DELETE FROM prompts WHERE (name, version) IN (SELECT (name, version) FROM merged)",
        "INSERT INTO prompts SELECT name, version, template, time_ns FROM merged",
    ),
    "score": (
        """INSERT INTO scores (id, span_id, name, value, source, comment, time_ns)
           SELECT id, span_id, name, value, source, comment, time_ns FROM stage
           WHERE event = 'score' AND id NOT IN (SELECT id FROM scores)
           QUALIFY row_number() OVER (PARTITION BY id ORDER BY row) = 1""",
    ),
    "attribution": (
        """CREATE OR REPLACE TEMP TABLE merged AS
           SELECT id, span_id, method, coalesce(config_hash, '') AS config_hash, time_ns,
                  coalesce(status, 'ok') AS status, error ->> '$' AS error, attribution
           FROM stage WHERE event = 'attribution'
           QUALIFY row_number() OVER (PARTITION BY span_id, method, config_hash ORDER BY row DESC) = 1""",
        """DELETE FROM attributions WHERE (span_id, method, config_hash) IN
           (SELECT (span_id, method, config_hash) FROM merged)""",
        """INSERT INTO attributions (id, span_id, method, config_hash, time_ns, status, error, attribution)
           SELECT * FROM merged""",
    ),
    "operation": (
        """INSERT INTO operations (id, kind, subject, span_id, time_ns, body)
           SELECT id, kind, subject, span_id, time_ns, body FROM stage
           WHERE event = 'operation' AND id NOT IN (SELECT id FROM operations)
           QUALIFY row_number() OVER (PARTITION BY id ORDER BY row) = 1""",
    ),
    "lost": (
        """INSERT INTO _lost SELECT p.file, coalesce(s.count, 1), s.reason, s.time_ns
           FROM (SELECT * FROM stage WHERE event = 'lost') s
           JOIN pieces p ON s.row >= p.first AND s.row < p.stop""",
    ),
}


def fold_others(connection: DuckDBPyConnection, contents: SliceContents) -> None:
    """Add the runs, prompts, scores, attributions, operations and losses of the slice in `stage`."""
    for event in sorted(contents.events):
        for step in _STEPS.get(event, ()):
            connection.execute(step)
