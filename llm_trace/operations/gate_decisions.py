"""From what is known of a call to a decision about it, by a gate's state; knows no store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.errors import ConfigurationError
from llm_trace.operations.gate_audits import draw_number
from llm_trace.operations.gate_evidence import describe_context
from llm_trace.operations.gate_state import Decision, explain_context
from llm_trace.operations.signals import build_signals, describe_explanation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_trace.operations.gate_model import ErrorModel
    from llm_trace.operations.gate_state import Action, GateState
    from llm_trace.operations.signals import GateEvidence, SignalMeasure
    from llm_trace.statistics.floats import Floats


class Decider:
    """Decides about calls by a fitted state."""

    def __init__(self, state: GateState, own: Mapping[str, SignalMeasure | None] | None = None) -> None:
        self.state = state
        self._signals = build_signals(state.signals, own)
        self._contexts = frozenset(state.contexts)
        self._explainers = frozenset(state.explainers)

    def is_drawn(self, span_id: str) -> bool:
        """Return whether a call is checked even where it may run alone; the same whenever it is asked."""
        return draw_number(span_id, self.state.name, self.state.seed) < self.state.audit_share

    def decide(self, span_id: str, evidence: GateEvidence, closed: str | None) -> Decision:
        """Return the decision about a call.

        Args:
            span_id: the call that is asked about; the evidence may be of the model's call inside.
            closed: why the gate automates nothing any more, if so.
        """
        state = self.state
        if closed is not None or state.limit is None or state.model is None:
            return self._decide("check", span_id, closed or state.reason, bound=None)
        if (why := self._explain_strangeness(evidence)) is not None:
            return self._decide("check", span_id, why)
        try:
            values = [signal.read(evidence) for signal in self._signals]
        except ConfigurationError as exc:  # a signal of the caller's
            return self._decide("check", span_id, str(exc))
        missing = [name for name, value in zip(state.signals, values, strict=True) if value is None]
        if missing:
            why = f"the signal {missing[0]!r} is missing, which the gate decides by"
            return self._decide("check", span_id, why)
        signals = np.array(values, dtype=float)
        chance = float(state.model.estimate(signals))
        why = f"estimated chance of an error {chance:.1%}, at most {state.limit:.1%} may run alone"
        if chance > state.limit:
            against = self._explain_chance(state.model, signals)
            return self._decide("check", span_id, f"{why}; {against}", chance=chance)
        if self.is_drawn(span_id):
            share = f"{state.audit_share:.0%}"
            why = f"it could run alone, and is one of the {share} that are checked all the same"
            return self._decide("check", span_id, why, chance=chance, audit=True)
        return self._decide("automate", span_id, why, chance=chance)

    def _explain_strangeness(self, evidence: GateEvidence) -> str | None:
        """Return in what a call is unlike those that the gate was fitted on, if it is."""
        call = evidence.call
        if call.status != "ok":
            return f"the call's status is {call.status!r}"
        context = describe_context(call)
        if context not in self._contexts:
            return explain_context(context, self.state)
        explanation = describe_explanation(evidence)
        if self._explainers and explanation is not None and explanation not in self._explainers:
            method, model, unit = explanation
            return f"the gate was not fitted on attributions by {method!r} in {unit} with the model {model!r}"
        return None

    def _explain_chance(self, model: ErrorModel, signals: Floats) -> str:
        """Return in words what speaks most against an answer."""
        i = model.explain(signals)
        usual = f"on average {model.centre[i]:.3g}"
        return f"most speaks against it {self.state.signals[i]!r}: {signals[i]:.3g}, {usual}"

    def _decide(self, action: Action, span_id: str, why: str, **fields: Any) -> Decision:
        fields = {"bound": self.state.error, **fields}
        return Decision(action=action, reason=why, gate=self.state.name, span_id=span_id, **fields)
