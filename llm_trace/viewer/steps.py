"""The steps of a trace in their order, as many as one looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.rendering.steps import choose_steps, describe_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_trace.rendering.steps import AgentStep
    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.lookup import TreeRow

STEPS = 50
"""Steps a page; the rest follows as one scrolls."""


def describe_steps(
    store: Store, rows: Sequence[TreeRow], attempts: Mapping[str, int], begin: int
) -> dict[str, Any]:
    """Return the steps of a trace from a number on."""
    chosen = choose_steps(rows)
    part = chosen[begin : begin + STEPS]
    return {
        "steps": read_steps_of(store, part, attempts),
        "begin": begin,
        "step_count": len(chosen),
        "first_ns": rows[0].start_ns,
        "next_step": begin + STEPS if len(chosen) > begin + STEPS else None,
    }


def read_steps_of(store: Store, rows: Sequence[TreeRow], attempts: Mapping[str, int]) -> list[AgentStep]:
    """Return calls as steps, in the order of their starts."""
    calls = store.pick([row.span_id for row in rows], [row.start_ns for row in rows])
    return [describe_step(call, attempts.get(call.span_id, 1)) for call in calls]
