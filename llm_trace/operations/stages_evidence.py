"""What people's checks of a gate's or rule's decisions come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.operations.log import read_operations
from llm_trace.record import Record
from llm_trace.statistics.anytime import upper_bound_of_rate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llm_trace.operations.log import Operation
    from llm_trace.stores.duckdb import Store

ERROR, CONFIDENCE = 0.05, 0.95


class StageEvidence(Record):
    """Checked decisions, and the bound of their error rate."""

    checked: int
    errors: int
    error: float = ERROR
    """The level that the error rate is to be below."""
    confidence: float = CONFIDENCE
    high: float = 1.0
    """Upper bound of the error rate that holds however often one looks."""


def measure_evidence(
    checked: int, errors: int, *, error: float = ERROR, confidence: float = CONFIDENCE
) -> StageEvidence:
    """Return the evidence of so many checked decisions."""
    high = upper_bound_of_rate(errors, checked, confidence)
    return StageEvidence(checked=checked, errors=errors, error=error, confidence=confidence, high=high)


def read_stage_evidence(
    store: Store, subject: str, *, error: float | None = None, confidence: float | None = None
) -> StageEvidence:
    """Return what the audits of a gate or rule come to, since it was fitted last or rolled back.

    Args:
        store: where.
        subject: its name.
        error: the level; by default that of the gate, else 5 %.
        confidence: by default that of the gate, else 95 %.
    """
    gates = read_operations(store, kind="gate", subject=subject)
    fitted = gates[-1].body if gates else {}
    since = _find_last_return(read_operations(store, kind="stage", subject=subject))
    audits = [o for o in read_operations(store, kind="audit", subject=subject) if o.time_ns > since]
    if gates:
        audits = [o for o in audits if o.body.get("gate") == gates[-1].id]
    right = {o.span_id or o.id: o.body["right"] for o in audits if isinstance(o.body.get("right"), bool)}
    return measure_evidence(
        len(right), sum(not each for each in right.values()),
        error=error or fitted.get("error") or ERROR,
        confidence=confidence or fitted.get("confidence") or CONFIDENCE,
    )  # fmt: skip


def _find_last_return(events: Iterable[Operation]) -> int:
    return max((o.time_ns for o in events if o.body.get("action") == "roll_back"), default=0)
