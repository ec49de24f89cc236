"""What a filter can be filled with: the values that calls have, for people who do not know them by heart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

Field = Literal["name", "model", "run", "prompt", "version", "tag", "session", "user", "score"]
RECENT = 50_000
"""The newest calls whose values are offered: older ones can still be typed."""
MOST = 50
"""Values of a field."""
_COLUMNS = {"name": "name", "model": "model", "tag": "unnest(tags)", "session": "session", "user": '"user"'}
_VALUES = """
    SELECT value FROM (SELECT {} AS value FROM calls WHERE start_ns >= ?)
    WHERE value IS NOT NULL GROUP BY value ORDER BY count(*) DESC, value LIMIT ?"""
_BEGIN = "SELECT start_ns FROM calls ORDER BY start_ns DESC LIMIT 1 OFFSET ?"
_RUNS = "SELECT id, any_value(name) FROM runs GROUP BY id ORDER BY max(start_ns) DESC LIMIT ?"
_SCORES = "SELECT name FROM scores WHERE name IS NOT NULL GROUP BY name ORDER BY count(*) DESC, name LIMIT ?"


class Choice(NamedTuple):
    """A value of a field, and what it is where the value does not say it."""

    value: str
    label: str = ""


def list_choices(store: Store) -> dict[Field, list[Choice]]:
    """Return the values of each field, the most used first, of runs the newest."""
    row = next(iter(store.fetch(_BEGIN, RECENT)), None)
    choices: dict[Field, list[Choice]] = {}
    for field, column in _COLUMNS.items():
        values = store.fetch(_VALUES.format(column), row[0] if row else 0, MOST)
        choices[field] = [Choice(value) for (value,) in values]  # type: ignore[index]
    versions = store.fetch("SELECT version, name FROM prompts ORDER BY first_ns DESC LIMIT ?", MOST)
    choices["prompt"] = [Choice(name) for name in dict.fromkeys(name for _, name in versions)]
    choices["version"] = [Choice(*version) for version in versions]
    choices["run"] = [Choice(name or run, run) for run, name in store.fetch(_RUNS, MOST)]
    choices["score"] = [Choice(name) for (name,) in store.fetch(_SCORES, MOST)]
    return choices
