"""What people's checks of a gate's or rule's decisions come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.errors import ConfigurationError
from llm_trace.operations.labels import read_labels
from llm_trace.operations.log import read_operations
from llm_trace.operations.rules_facts import read_known_calls
from llm_trace.record import Record
from llm_trace.statistics.anytime import upper_bound_of_rate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llm_trace.operations.log import Operation
    from llm_trace.stores.duckdb import Store

ERROR, CONFIDENCE = 0.05, 0.95
RULE_ERROR = 0.5
"""Level for rules: more often than not a call on which one fires is to be wrong."""
LABEL = "correct"
_FIRED = """
    SELECT span_id, body ->> '$.answer' = 'fires' AND time_ns > ? FROM operations
    WHERE kind = 'decision' AND subject = ? AND body ->> '$.by' = 'rule'
    QUALIFY body ->> '$.version' = last_value(body ->> '$.version') OVER (
        ORDER BY time_ns, id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"""


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

    A rule was right where it fires on a call that people score as wrong (`correct`); those on which its
    newest version fires count.

    Args:
        store: where.
        subject: its name.
        error: the level; by default that of the gate, else 5 %; of a rule 50 %.
        confidence: by default that of the gate, else 95 %.

    Raises:
        ConfigurationError: level or confidence is no share between 0 and 1.
    """
    for name, share in (("error", error), ("confidence", confidence)):
        if share is not None and not 0 < share < 1:
            raise ConfigurationError(f"{name}={share!r} must lie between 0 and 1, such as 0.05")
    gates = read_operations(store, kind="gate", subject=subject)
    fitted = gates[-1].body if gates else {}
    since = _find_last_return(read_operations(store, kind="stage", subject=subject))
    audits = [o for o in read_operations(store, kind="audit", subject=subject) if o.time_ns > since]
    if gates:
        audits = [o for o in audits if o.body.get("gate") == gates[-1].id]
    fired = None if gates else _read_fired(store, subject, since)
    right = (fired or {}) | {
        o.span_id or o.id: o.body["right"] for o in audits if isinstance(o.body.get("right"), bool)
    }
    return measure_evidence(
        len(right), sum(not each for each in right.values()),
        error=error or fitted.get("error") or (ERROR if fired is None else RULE_ERROR),
        confidence=confidence or fitted.get("confidence") or CONFIDENCE,
    )  # fmt: skip


def _read_fired(store: Store, subject: str, since: int) -> dict[str, bool] | None:
    """Return of the calls on which a rule fires, and that people have scored, whether they are wrong; `None`
    where no rule of that name has decided.
    """
    decisions = store.sql(_FIRED, since, subject).fetchall()
    if not decisions:
        return None
    ids = ", ".join(sorted({f"'{span_id}'" for span_id, counts in decisions if counts})) or "NULL"
    calls = store.calls(where=f"span_id IN ({ids})", limit=None)
    labels = read_labels(read_known_calls(store, calls), LABEL)
    return {span_id: not right for span_id, right in labels.right.items()}


def _find_last_return(events: Iterable[Operation]) -> int:
    return max((o.time_ns for o in events if o.body.get("action") == "roll_back"), default=0)
