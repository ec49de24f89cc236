"""What is known of a call, as numbers that may tell right answers from wrong ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

from llm_trace.errors import ConfigurationError
from llm_trace.operations.names import collect_texts
from llm_trace.operations.shares import MissingSignalError, WeightShares
from llm_trace.record import Attribution, Call, Score
from llm_trace.semconv.logprobs import find_token_logprobs


@dataclass(frozen=True)
class GateEvidence:
    """A call with what was found out about it."""

    call: Call
    """The call of a model; of a call around one, the last inside."""
    attributions: tuple[Attribution, ...] = ()
    """Oldest first."""
    scores: tuple[Score, ...] = ()
    """Of the call and of the one around it, oldest first."""
    agreement: float | None = None
    """Share of other calls of the same input and model that gave the same output."""
    rules: Mapping[str, bool] = field(default_factory=dict)
    """Of each rule that was asked and knew an answer, whether it fired."""
    template: str | None = None
    """Of the call's prompt."""

    @cached_property
    def attribution(self) -> Attribution | None:
        """The newest attribution that was measured."""
        measured = (a for a in reversed(self.attributions) if a.method != "self_report")
        return next(measured, None)

    @cached_property
    def shares(self) -> WeightShares | None:
        """Where the weight of the attribution lies, whatever its verdict: a gate learns what it is worth."""
        if self.attribution is None:
            return None
        variables = self.call.prompt.variables if self.call.prompt else {}
        return WeightShares(self.attribution, variables, self.template, any_verdict=True)


SignalMeasure = Callable[[GateEvidence], float | None]
"""A signal; `None` where the call has nothing to measure it by."""


@dataclass(frozen=True)
class Signal:
    """A named measure."""

    name: str
    measure: SignalMeasure

    def read(self, evidence: GateEvidence) -> float | None:
        """Return the finite number that the measure gives, else `None`.

        Raises:
            ConfigurationError: the measure fails, or gives what is no number.
        """
        try:
            value = self.measure(evidence)
            if isinstance(value, str):
                raise TypeError(f"{value!r} is no number")
            number = math.nan if value is None else float(value)
        except Exception as exc:
            raise ConfigurationError(
                f"the signal {self.name!r} fails on call {evidence.call.span_id} ({type(exc).__name__}: "
                f"{exc}): a signal is a function that returns a number, or None where there is none"
            ) from exc
        return number if math.isfinite(number) else None


def describe_explanation(evidence: GateEvidence) -> tuple[str, str | None, str] | None:
    """Return by which method, with which model and in which unit a call was explained, if it was."""
    a = evidence.attribution
    return None if a is None else (a.method, a.model, a.unit)


def rests_on_attributions(name: str, evidence: GateEvidence) -> bool:
    """Return whether a signal of a call is read from its attribution."""
    if name == "logprob":
        return not find_token_logprobs(evidence.call.output)
    return name in ("verdict", "fidelity", "concentration") or name.startswith("share:")


def get_logprob(evidence: GateEvidence) -> float | None:
    """Return the answer's log-probability in nats, as the provider or the explained model gives it."""
    if tokens := find_token_logprobs(evidence.call.output):
        return sum(token.logprob for token in tokens)
    a = evidence.attribution
    return a.full if a is not None and a.unit == "nats" else None


def get_weakest(evidence: GateEvidence) -> float | None:
    """Return the log-probability of the answer's least likely token."""
    tokens = find_token_logprobs(evidence.call.output)
    return min(token.logprob for token in tokens) if tokens else None


def get_verdict(evidence: GateEvidence) -> float | None:
    """Return 1 where the attribution is evidence, else 0."""
    return None if evidence.attribution is None else float(evidence.attribution.verdict == "ok")


def get_fidelity(evidence: GateEvidence) -> float | None:
    """Return how well the attribution predicts the answer to held-out masks: R² of SMILE, else the rank
    correlation over masks that keep half.
    """
    figures = evidence.attribution.faithfulness.get("fidelity") if evidence.attribution else None
    if isinstance(figures, int | float):
        return float(figures)
    kinds = [kind for kind in figures.values() if isinstance(kind, Mapping)] if figures else []
    return next((float(kind["spearman"]) for kind in kinds if "spearman" in kind), None)


def get_concentration(evidence: GateEvidence) -> float | None:
    """Return the share of the weight on the one strongest segment."""
    a = evidence.attribution
    total = sum(map(abs, a.values)) if a is not None else 0.0
    return max(map(abs, a.values)) / total if a is not None and total > 0 else None


def get_agreement(evidence: GateEvidence) -> float | None:
    """Return the share of repeats that gave the same output."""
    return evidence.agreement


def get_self_report(evidence: GateEvidence) -> float | None:
    """Return the correlation of the model's own report with the measured effects."""
    reports = (a for a in reversed(evidence.attributions) if a.method == "self_report")
    agreement = next((a.faithfulness.get("agreement") for a in reports), None)
    return float(agreement["pearson"]) if agreement and agreement.get("measured") else None


def get_share(evidence: GateEvidence, name: str) -> float | None:
    """Return the share of the weight on a part of the prompt.

    Args:
        name: `text=…`, `line=…` (lines with these words), `chunk=…` (a document's id), `kind=…` (segments of
            a kind, such as `chunk`), or the name of a variable.
    """
    shares = evidence.shares
    if shares is None:
        return None
    how, _, value = name.partition("=")
    try:
        if how == "text" and value:
            return shares.measure_text(value)
        if how == "line" and value:
            return shares.measure_line(value)
        if how == "chunk" and value:
            return shares.measure_chunk(value)
        if how == "kind" and value:
            return shares.measure_kind(value)
        return shares.measure_variable(name)
    except MissingSignalError:
        return None


def get_judge_score(evidence: GateEvidence, name: str) -> float | None:
    """Return the newest score of a name that no person gave, such as a judge's."""
    scores = (s.value for s in reversed(evidence.scores) if s.name == name and s.source != "human")
    value = next(scores, None)
    return None if value is None or isinstance(value, str) else float(value)


def get_rule(evidence: GateEvidence, name: str) -> float | None:
    """Return 1 where a rule fired, 0 where it did not; nothing where it was not asked or did not know."""
    fires = evidence.rules.get(name)
    return None if fires is None else float(fires)


PLAIN: dict[str, SignalMeasure] = {
    "logprob": get_logprob,
    "weakest": get_weakest,
    "verdict": get_verdict,
    "fidelity": get_fidelity,
    "concentration": get_concentration,
    "agreement": get_agreement,
    "self_report": get_self_report,
}
"""Signals by name."""
NAMED: dict[str, Callable[..., float | None]] = {
    "share": get_share,
    "score": get_judge_score,
    "rule": get_rule,
}
"""Signals of something that has a name itself: `share:days`, `share:line=Example`, `score:judge` …"""


def build_signal(name: str, own: Mapping[str, SignalMeasure | None] | None = None) -> Signal:
    """Return the signal of a name.

    Args:
        own: the caller's own signals by name.

    Raises:
        ConfigurationError: there is none.
    """
    measure = own.get(name) if own else None
    if measure is not None:
        return Signal(name, measure)
    if name in PLAIN:
        return Signal(name, PLAIN[name])
    kind, _, of = name.partition(":")
    if kind in NAMED and of:
        return Signal(name, partial(NAMED[kind], name=of))
    known = ", ".join(
        [
            *PLAIN,
            "share:VARIABLE",
            "share:text=…",
            "share:line=…",
            "share:kind=chunk",
            "score:NAME",
            "rule:NAME",
        ]
    )
    raise ConfigurationError(
        f"{name!r} is no signal: name one of {known}, or give your own as {{name: function}}"
    )


def build_signals(
    names: Iterable[str] | str, own: Mapping[str, SignalMeasure | None] | None = None
) -> list[Signal]:
    """Return the signals of names, in their order; see `build_signal`."""
    return [build_signal(name, own) for name in collect_texts(names)]
