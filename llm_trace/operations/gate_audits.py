"""Checks of automated calls drawn at random: which ones, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from llm_trace.operations.gate_evidence import read_call_labels
from llm_trace.operations.log import read_operations
from llm_trace.statistics.anytime import is_rate_above, lower_bound_of_rate, upper_bound_of_rate
from llm_trace.stores.filters import Filter

if TYPE_CHECKING:
    from llm_trace.operations.log import Operation
    from llm_trace.stores.duckdb import Store

_DRAWN = """SELECT span_id FROM operations
WHERE kind = 'decision' AND subject = ? AND span_id IS NOT NULL
    AND body ->> '$.gate' = ? AND body ->> '$.audit' = 'true'
GROUP BY span_id ORDER BY min(time_ns), span_id"""


@dataclass(frozen=True)
class Audits:
    """What the audits of a gate have come to; the bounds hold however often they are looked at."""

    checked: int = 0
    errors: int = 0
    low: float = 0.0
    """Bounds of the error rate among automated calls, each at the gate's confidence."""
    high: float = 1.0
    broken: bool = False
    """Whether the error rate is shown to be above the one that the gate keeps below."""

    def add(self, right: bool, error: float, confidence: float) -> Audits:
        """Return the audits with one more."""
        n, errors = self.checked + 1, self.errors + (not right)
        return Audits(
            n, errors, lower_bound_of_rate(errors, n, confidence), upper_bound_of_rate(errors, n, confidence),
            self.broken or is_rate_above(errors, n, error, confidence),
        )  # fmt: skip

    def explain(self, error: float) -> str | None:
        """Return why the gate has to close, if it has."""
        if not self.broken:
            return None
        return (
            f"the gate is closed: {self.errors:,} of {self.checked:,} audited calls were wrong, so that the "
            f"error rate is above {self.low:.1%}, not below {error:.1%}; fit it again on calls of now"
        )


def draw_number(span_id: str, name: str, seed: int) -> float:
    """Return a number from 0 to 1 that is drawn evenly over calls and the same whenever it is asked for."""
    digest = blake2b(span_id.encode(), key=_make_key(name, seed), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@lru_cache
def _make_key(name: str, seed: int) -> bytes:
    return blake2b(f"{seed} {name}".encode()).digest()


def read_audits(store: Store, name: str, gate_id: str) -> list[Operation]:
    """Return the audits of a saved gate, oldest first."""
    audits = read_operations(store, kind="audit", subject=name)
    return [audit for audit in audits if audit.body.get("gate") == gate_id]


def find_checked_audits(store: Store, name: str, gate_id: str, label: str) -> dict[str, bool]:
    """Return calls that were drawn, have been checked since the gate was saved, and are not noted as audits
    yet: whether each was right.
    """
    noted = {audit.span_id for audit in read_audits(store, name, gate_id)}
    waiting = [span for (span,) in store.sql(_DRAWN, name, gate_id).fetchall() if span not in noted]
    if not waiting:
        return {}
    marks = ", ".join("?" * len(waiting))
    ((saved_ns,),) = store.sql("SELECT time_ns FROM operations WHERE id = ?", gate_id).fetchall()
    calls = Filter(f"span_id IN ({marks})", tuple(waiting))
    right = read_call_labels(store, calls, label, after_ns=saved_ns).right
    return {span: right[span] for span in waiting if span in right}
