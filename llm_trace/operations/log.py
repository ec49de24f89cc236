"""What gates, rules, reviews and monitors decided, as events beside the calls that it is about."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Literal

from llm_trace.capture.ids import make_id
from llm_trace.event_writer import EventWriter
from llm_trace.operations.names import check_subject
from llm_trace.record import Record

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

OperationKind = Literal["gate", "decision", "audit", "stage", "review", "alarm", "annotation", "note"]
"""A fitted gate; what a gate or rule decided; what the check of an automated call came to; a promotion or
roll-back; what a person decided; an alarm; what stands on another platform; anything else."""

_READ = """SELECT id, kind, subject, span_id, time_ns, body FROM operations
WHERE kind = coalesce(?, kind) AND subject = coalesce(?, subject) AND (?::TEXT IS NULL OR span_id = ?)
ORDER BY time_ns, id"""


class Operation(Record):
    """One decision, of a program or a person."""

    id: str
    """16 hex digits."""
    kind: OperationKind
    subject: str
    """The name of the gate, rule, monitor or prompt."""
    span_id: str | None = None
    """The call that it is about, if it is about one."""
    time_ns: int
    """Unix epoch."""
    body: dict[str, Any]
    """JSON values."""


class OperationLog(EventWriter):
    """Appends operations to a store's spool; a context manager."""

    def append(
        self,
        kind: OperationKind,
        subject: str,
        body: dict[str, Any],
        span_id: str | None = None,
        *,
        after_ns: int | None = None,
    ) -> Operation:
        """Write an operation and return it.

        Args:
            after_ns: a moment that it is later than, even where the clock was put back: of the operation that
                it takes the place of.

        Raises:
            ConfigurationError: the subject is empty.
            StoreError: the spool cannot be written, and the operation is not kept.
        """
        check_subject(f"the {kind}", subject)
        time_ns = max(time.time_ns(), (after_ns or 0) + 1)
        operation = Operation(
            id=make_id(), kind=kind, subject=subject, span_id=span_id, time_ns=time_ns, body=body
        )
        event = {name: value for name, value in operation if value is not None}  # `model_dump` takes longer
        self.write({"event": "operation", **event}, f"the {kind} of {subject!r}")
        return operation


def read_operations(
    store: Store, *, kind: OperationKind | None = None, subject: str | None = None, span_id: str | None = None
) -> list[Operation]:
    """Return the operations that match, oldest first."""
    rows = store.fetch(_READ, kind, subject, span_id, span_id)
    names = ("id", "kind", "subject", "span_id", "time_ns")
    return [Operation(**dict(zip(names, row[:5], strict=True)), body=json.loads(row[5])) for row in rows]
