"""The versions of prompts with the calls that used them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.record import PromptVersion
from llm_trace.stores.calls import read_dicts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_VERSIONS = """
    WITH bisections AS (SELECT id FROM runs WHERE config ->> 'bisect' = 'true')
    SELECT p.name, p.version,
           row_number() OVER (
               PARTITION BY p.name ORDER BY coalesce(u.halfway, FALSE), p.first_ns, p.version
           ) AS number,
           coalesce(p.template, '') AS template, p.first_ns,
           greatest(coalesce(u.last_ns, p.first_ns), p.first_ns) AS last_ns,
           coalesce(u.calls, 0) AS calls
    FROM prompts p LEFT JOIN (
        SELECT prompt_name, prompt_version, max(start_ns) AS last_ns, count(*) AS calls,
               bool_and(coalesce(run IN (SELECT id FROM bisections), FALSE)) AS halfway
        FROM calls WHERE prompt_name IS NOT NULL GROUP BY ALL
    ) u ON u.prompt_name = p.name AND u.prompt_version = p.version
    WHERE CAST(? AS BOOLEAN) OR NOT coalesce(u.halfway, FALSE)
    ORDER BY p.name, number"""


def read_prompt_versions(connection: DuckDBPyConnection, *, halfway: bool) -> list[PromptVersion]:
    """Return the versions of each prompt, by name and number.

    Args:
        halfway: also those that only `bisect` asked with; they are numbered after all others.
    """
    return [PromptVersion(**row) for row in read_dicts(connection, _VERSIONS, [halfway])]
