"""What a saved gate notes in the store, and what its stage makes of its decisions."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from llm_trace.operations.log import OperationLog, read_operations
from llm_trace.operations.stages import roll_back
from llm_trace.operations.stages_guard import StageGuard
from llm_trace.stores.duckdb import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from llm_trace.operations.gate_audits import Audits
    from llm_trace.operations.gate_state import Decision
    from llm_trace.stores.duckdb import Store

_NOTED = """SELECT count(*) FROM operations WHERE kind = 'decision' AND subject = ? AND span_id = ?
    AND body ->> '$.gate' = ? AND body ->> '$.audit' = 'true'"""


class GateNotes:
    """Of one saved gate.

    Args:
        store: where.
        name: of the gate.
        gate_id: of the operation that it was saved as.

    Raises:
        StoreError: its stage cannot be read.
    """

    def __init__(self, store: Path, name: str, gate_id: str) -> None:
        self.store, self.name, self.gate_id = store, name, gate_id
        self._guard = StageGuard(store, name)
        self._log = OperationLog(store)
        weakref.finalize(self, self._log.__exit__)

    def weigh(self, decision: Decision, unit: str) -> Decision:
        """Return what a decision comes to in the gate's stage: before it may act, what could run alone is
        checked all the same, and all of it counts as audits.

        Args:
            decision: what the signals say.
            unit: what the share of the traffic is drawn over, the call's trace.
        """
        effect = self._guard.weigh(unit)
        if effect == "act" or not (decision.audit or decision.action == "automate"):
            return decision.model_copy(update={"effect": effect})
        stage = self._guard.stage
        now = f"acts on {stage.share:.0%} of the traffic" if stage.stage == "act" else f"is in {stage.stage}"
        why = f"it could run alone, but the gate {now}: llm-trace gate promote {self.name} takes it further"
        return decision.model_copy(update={"action": "check", "audit": True, "effect": effect, "reason": why})

    def note_decision(self, decision: Decision) -> None:
        """Write a decision."""
        body = dict(decision) | {"by": "gate", "gate": self.gate_id}
        del body["span_id"]
        self._log.append("decision", self.name, body, decision.span_id)

    def note_audit(self, span_id: str, right: bool, audits: Audits) -> None:
        """Write an audit and what all come to with it."""
        counts = {"checked": audits.checked, "errors": audits.errors}
        self._log.append("audit", self.name, {"gate": self.gate_id, "right": right, **counts}, span_id)

    def note_closing(self, reason: str) -> None:
        """Raise the alarm, and take the gate back to shadow."""
        body = {"state": "raised", "key": self._key, "text": reason, "details": {"gate": self.gate_id}}
        self._log.append("alarm", self.name, body)  # as `send_alarm` keeps one
        if self._guard.refresh().stage != "shadow":
            with open_store(self.store) as opened:
                roll_back(opened, self.name, reason)
            self._guard.refresh()

    def read_closing(self, opened: Store) -> str | None:
        """Return why the gate was closed, if it was."""
        alarms = read_operations(opened, kind="alarm", subject=self.name)
        return next((str(a.body["text"]) for a in alarms if a.body.get("key") == self._key), None)

    def is_audit(self, span_id: str) -> bool:
        """Return whether a call was noted to be checked although it could run alone."""
        with open_store(self.store) as opened:
            ((count,),) = opened.sql(_NOTED, self.name, span_id, self.gate_id).fetchall()
        return bool(count)

    @property
    def _key(self) -> str:
        return f"closed {self.gate_id}"
