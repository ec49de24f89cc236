"""`Gate`: which calls may run alone, with an error rate that is kept, and which go to a person."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from llm_trace.comparison.sides import resolve_side
from llm_trace.errors import ConfigurationError, NotFoundError, StoreError
from llm_trace.lazy_names import check_library
from llm_trace.operations.gate_audits import Audits, find_checked_audits, read_audits
from llm_trace.operations.gate_decisions import Decider
from llm_trace.operations.gate_drift import DriftWatch, read_chances
from llm_trace.operations.gate_evidence import read_call_labels, read_checked, read_evidence
from llm_trace.operations.gate_fit import fit_state, list_fit_notes
from llm_trace.operations.gate_notes import GateNotes
from llm_trace.operations.gate_state import Decision, GateState
from llm_trace.operations.log import OperationLog, read_operations
from llm_trace.operations.names import check_subject
from llm_trace.operations.signals import GateEvidence
from llm_trace.operations.stages import read_stage, roll_back
from llm_trace.record import Call
from llm_trace.stores.duckdb import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llm_trace.comparison.sides import Spec
    from llm_trace.operations.signals import SignalMeasure

    StorePlace = str | os.PathLike[str] | Store | None

AUDIT_SHARE = 0.05


class Gate:
    """Decides about calls; made by `Gate.fit` or `Gate.load`.

    A gate that was saved or loaded notes its decisions and audits in the store as operations, and lets calls
    run alone only as its stage allows: `promote` takes it from `shadow` over `advise` to `act`.
    """

    def __init__(
        self,
        state: GateState,
        store: Path,
        *,
        own: Mapping[str, SignalMeasure | None] | None = None,
        saved: str | None = None,
    ) -> None:
        self.state = state
        self.store = store
        self._decider = Decider(state, own)
        self._notes = None if saved is None else GateNotes(store, state.name, saved)
        self._lock = threading.RLock()
        self._begin()

    def _begin(self) -> None:
        self.audits = Audits()
        self.closed: str | None = None
        """Why the gate automates nothing any more, if so."""
        self._is_noted = True
        """Whether its closing is, if it closed."""
        self._audited: set[str] = set()
        self._drift = DriftWatch(self.state)

    @classmethod
    def fit(
        cls,
        run_or_filter: Spec,
        *,
        error: float = 0.05,
        confidence: float = 0.95,
        label: str = "correct",
        signals: Iterable[str] | str | Mapping[str, SignalMeasure | None] | None = None,
        store: StorePlace = None,
        name: str = "gate",
        audit_share: float = AUDIT_SHARE,
        seed: int = 0,
    ) -> Self:
        """Return a gate that automates calls with an error rate of at most `error`, at a confidence, for any
        number of calls and whatever the signals are worth; `gate.state` names the method and what it assumes.

        Where that cannot be shown the gate checks every call and says why.

        Args:
            run_or_filter: a run (its name, id or `Run`), a prompt version, a model, or a dict of arguments of
                `Store.calls` (empty: every call); those of its calls that have been checked count.
            error: share of the automated calls that may be wrong.
            confidence: that this is kept.
            label: name of the score that says right or wrong, by people or, where nobody did, by a program.
            signals: names, as docs/operations.md lists them, or functions of a `GateEvidence` by name; by
                default all that nearly every checked call has.
            store: a path or an open store; by default what `LLM_TRACE_STORE` names.
            name: of the gate, in the store.
            audit_share: share of the automated calls that are checked all the same.
            seed: of the split, and of the draw of audits.

        Raises:
            NotFoundError: the run, prompt version or model does not exist.
            ConfigurationError: an argument that cannot be meant, a score that says neither right nor wrong, a
                function of yours that fails or gives no number. (A fitted gate checks such a call.)
        """
        check_subject("a gate", name)
        check_library("scipy", "Gate.fit")
        for what, share in (("error", error), ("confidence", confidence), ("audit_share", audit_share)):
            if not 0 < share < 1:
                raise ConfigurationError(f"{what}={share!r} must lie between 0 and 1, such as 0.05")
        opened = _open(store)
        side = resolve_side(opened, run_or_filter or {"where": "true"})
        labels = read_call_labels(opened, side.filter, label)
        calls, contradicted = read_checked(opened, labels)
        base = GateState(
            name=name, label=label, error=error, confidence=confidence, audit_share=audit_share, seed=seed,
            notes=list_fit_notes(labels.right, calls, [*labels.contradicted, *contradicted], label),
        )  # fmt: skip
        own = signals if isinstance(signals, Mapping) else None
        return cls(fit_state(calls, signals, base), Path(opened.path), own=own)

    @classmethod
    def load(
        cls, name: str, store: StorePlace = None, *, own: Mapping[str, SignalMeasure | None] | None = None
    ) -> Self:
        """Return the gate that was last saved under a name, with its audits.

        Args:
            own: the caller's functions among its signals, by name.

        Raises:
            NotFoundError: no gate was saved under that name.
            ConfigurationError: one of its signals is the caller's and not given.
        """
        opened = _open(store)
        saved = read_operations(opened, kind="gate", subject=name)
        if not saved:
            raise NotFoundError(
                f"no gate {name!r} in {str(opened.path)!r}: `llm-trace gate ls` lists them, Gate.fit makes "
                "one"
            )
        state = GateState.model_validate(saved[-1].body)
        missing = [signal for signal in state.own if not own or signal not in own]
        if missing:
            raise ConfigurationError(
                f"gate {name!r} has your own signal {missing[0]!r}: give own={{{missing[0]!r}: function}}"
            )
        gate = cls(state, Path(opened.path), own=own, saved=saved[-1].id)
        gate._restore(opened)
        return gate

    def _restore(self, opened: Store) -> None:
        """Take over what other processes noted of this gate."""
        if (notes := self._notes) is None:
            return
        with opened.hold():
            audits = read_audits(opened, self.name, notes.gate_id)
            closing = notes.read_closing(opened)
            chances = read_chances(opened, self.name, notes.gate_id)
        for audit in audits:
            self._count(str(audit.span_id), bool(audit.body["right"]))
        self.closed = closing or self.closed
        for span_id, chance in chances:
            self.observe(span_id, chance)

    @property
    def name(self) -> str:
        """The gate's name in the store."""
        return self.state.name

    @property
    def bound(self) -> float | None:
        """The error rate among automated calls that is kept; `None` where the gate checks every call."""
        return self.state.error if self.state.limit is not None and self.closed is None else None

    def save(self) -> Self:
        """Write the gate to the store; from then on it decides as the stage of its name allows, at first
        `shadow`, to which an earlier gate of its name is taken back. Audits of that one do not count for it.

        Raises:
            StoreError: the store cannot be written.
        """
        with open_store(self.store) as opened:
            if read_stage(opened, self.name).stage != "shadow":
                roll_back(opened, self.name, "the gate was fitted again")
            earlier = read_operations(opened, kind="gate", subject=self.name)
        last_ns = earlier[-1].time_ns if earlier else None
        with OperationLog(self.store) as log:
            state = self.state.model_dump(mode="json")
            operation = log.append("gate", self.name, state, after_ns=last_ns)
        self._notes = GateNotes(self.store, self.name, operation.id)
        self._begin()
        return self

    def decide(self, call: Call | str | GateEvidence) -> Decision:
        """Return whether a call may run alone. Where the decision cannot be noted in the store it is `check`.

        Args:
            call: a call or its id, about which the store is asked; or a call with all that is known of it,
                about which it is not.

        Raises:
            NotFoundError: the store has no such call.
        """
        if not isinstance(call, GateEvidence):
            return self.decide_all(call)[0]
        return self._decide(call.call.span_id, call)

    def decide_all(self, calls: Iterable[Call | str] | Call | str) -> list[Decision]:
        """Return a decision about each call, by what the store knows of it and after the audits until now.

        Raises:
            NotFoundError: the store has no such call.
        """
        each = [calls] if isinstance(calls, Call | str) else calls
        spans = [call if isinstance(call, str) else call.span_id for call in each]
        opened = open_store(self.store)
        known = read_evidence(opened, spans)
        missing = [span for span in spans if span not in known]
        if missing:
            raise NotFoundError(
                f"no call {missing[0]!r} in {str(self.store)!r}: `llm-trace ls` lists the newest"
            )
        self._collect(opened)
        return [self._decide(span, known[span]) for span in spans]

    def _decide(self, span_id: str, evidence: GateEvidence) -> Decision:
        """Return the decision, weighed by its stage and noted where the gate is saved; what cannot be noted
        is checked, since no audit could follow it.
        """
        decision = self._decider.decide(span_id, evidence, self.closed)
        try:
            if decision.chance is not None:
                self.observe(span_id, decision.chance)
            if decision.chance is not None and self.closed is not None:
                decision = self._decider.decide(span_id, evidence, self.closed)
            if self._notes is not None:
                self._note_closing()
                decision = self._notes.weigh(decision, evidence.call.trace_id)
                self._notes.note_decision(decision)
        except StoreError as exc:  # decisions are made in the path of requests
            fields = {"action": "check", "audit": False, "effect": "note", "reason": str(exc)}
            return decision.model_copy(update=fields)
        return decision

    def is_drawn(self, span_id: str) -> bool:
        """Return whether a call is checked even where it may run alone; the same whenever it is asked."""
        return self._decider.is_drawn(span_id)

    def observe(self, span_id: str, chance: float) -> None:
        """Compare the estimated chance of a call with those that the gate was fitted on, and close the gate
        where they are no longer alike; `decide` does so.
        """
        with self._lock:
            self._close(self._drift.observe(span_id, chance))

    def record_audit(self, call: Call | str, right: bool) -> Audits:
        """Note what the check of a call that was drawn for it came to, and close the gate where all of them
        show that its promise is broken.

        A call that was noted before counts once.

        Raises:
            ConfigurationError: the call was not drawn: a sample that somebody chose proves nothing.
            StoreError: the store cannot be written.
        """
        span_id = call if isinstance(call, str) else call.span_id
        if not (self.is_drawn(span_id) or (self._notes is not None and self._notes.is_audit(span_id))):
            raise ConfigurationError(
                f"call {span_id!r} was not drawn to be checked: only audits of decisions with audit=True "
                "count"
            )
        self._add_audit(span_id, right)
        return self.audits

    def _add_audit(self, span_id: str, right: bool) -> None:
        with self._lock:
            if self._count(span_id, right) and self._notes is not None:
                self._notes.note_audit(span_id, right, self.audits)
            self._close(self.audits.explain(self.state.error))

    def collect_audits(self) -> Audits:
        """Note the checks that people made since of calls that were drawn, and return what all come to."""
        if self._notes is not None:
            self._collect(open_store(self.store))
        return self.audits

    def _collect(self, opened: Store) -> None:
        if self._notes is None:
            return
        self._restore(opened)
        checked = find_checked_audits(opened, self.name, self._notes.gate_id, self.state.label)
        for span_id, right in checked.items():
            self._add_audit(span_id, right)

    def _count(self, span_id: str, right: bool) -> bool:
        """Return whether an audit is new, and count it if so."""
        if span_id in self._audited:
            return False
        self._audited.add(span_id)
        self.audits = self.audits.add(right, self.state.error, self.state.confidence)
        return True

    def _close(self, reason: str | None) -> None:
        """Close the gate for good if there is a reason, and raise the alarm."""
        if reason is None or self.closed is not None:
            return
        self.closed, self._is_noted = reason, False
        self._note_closing()

    def _note_closing(self) -> None:
        """Raise the alarm of a closing; where the store cannot be written the next decision does."""
        if self._is_noted or self._notes is None or self.closed is None:
            return
        self._notes.note_closing(self.closed)
        self._is_noted = True

    def __str__(self) -> str:
        return (
            f"{self.state}"
            if self.closed is None
            else f"Gate {self.name!r} checks every call: {self.closed}."
        )


def _open(store: StorePlace) -> Store:
    if isinstance(store, Store):
        return store
    return open_store(store or os.environ.get("LLM_TRACE_STORE", "llm_trace.duckdb"))
