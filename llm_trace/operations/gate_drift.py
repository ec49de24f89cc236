"""Whether calls are still like those that a gate was fitted on, by the estimated chances of an error: needs
no labels, so it sees a change of the world long before audits can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm_trace.bounded_dict import BoundedDict
from llm_trace.operations.gate_audits import draw_number
from llm_trace.statistics.shifts import ShiftDetector

if TYPE_CHECKING:
    from llm_trace.operations.gate_state import GateState
    from llm_trace.statistics.floats import Floats
    from llm_trace.stores.duckdb import Store

REFERENCE = 2000
"""Held-out calls, at most, that new ones are compared with."""
DIGITS = 6
"""Of the chances that are compared."""
CALLS_PER_FALSE_CLOSING = 20_000.0
"""How many calls pass on average, at least, until a gate closes though nothing changed."""
_REMEMBERED = 10_000
_REPLAYED = 2000
_CHANCES = """SELECT span_id, (arg_min(body, time_ns) ->> '$.chance')::DOUBLE FROM operations
WHERE kind = 'decision' AND subject = ? AND span_id IS NOT NULL
    AND body ->> '$.gate' = ? AND body ->> '$.chance' IS NOT NULL
GROUP BY span_id ORDER BY min(time_ns) DESC, span_id LIMIT ?"""


class DriftWatch:
    """Compares the chances of calls, as they come, with those of the held-out calls."""

    def __init__(self, state: GateState) -> None:
        self._key = f"{state.name} rank", state.seed
        self._seen: BoundedDict[str, None] = BoundedDict(_REMEMBERED)
        self._detector = ShiftDetector(state.reference, values_per_false_alarm=CALLS_PER_FALSE_CLOSING)

    def observe(self, span_id: str, chance: float) -> str | None:
        """Return why the gate has to close, if the chance of this call shows that; a call counts once."""
        if span_id in self._seen:
            return None
        self._seen[span_id] = None
        shift = self._detector.observe(round(chance, DIGITS), draw_number(span_id, *self._key))
        if shift is None:
            return None
        ago = shift.at - shift.since + 1
        return (
            "the gate is closed: calls are no longer like those that it was fitted on, since their estimated "
            f"chances of an error went {shift.direction} about {ago:,} calls ago; check calls of now and fit "
            "it again"
        )


def draw_reference(chances: Floats, seed: int) -> tuple[float, ...]:
    """Return the chances of held-out calls that new ones are compared with."""
    drawn = np.random.default_rng([seed, 1]).permutation(chances)[:REFERENCE]
    return tuple(drawn.round(DIGITS).tolist())


def read_chances(store: Store, name: str, gate_id: str) -> list[tuple[str, float]]:
    """Return the latest calls that a saved gate decided about, and their chances, oldest first."""
    return store.sql(_CHANCES, name, gate_id, _REPLAYED).fetchall()[::-1]
