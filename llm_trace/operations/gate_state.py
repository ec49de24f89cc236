"""A fitted gate and its decisions, as records."""

from __future__ import annotations

from typing import Any, Literal

from llm_trace.operations.gate_model import ErrorModel
from llm_trace.operations.stages import StageEffect
from llm_trace.record import Record

Action = Literal["automate", "check"]
Context = tuple[str | None, str | None, str | None]
"""Model, name of the prompt, its version."""
Explainer = tuple[str, str | None, str]
"""Method of an attribution, the model that explained, the unit."""
METHOD = (
    "learn-then-test: a ridge logistic regression of errors on the signals, cross-fitted to choose its shape "
    "and the candidate limits; the limits tested in a fixed sequence by exact binomial tests on calls that "
    "had no part in that"
)
ASSUMPTIONS = (
    "the checked calls were drawn at random from calls like those to come (independent, of one distribution)",
    "what people said of them is right",
    "the signals of new calls are made as those of the checked ones were",
)


class Decision(Record):
    """What a gate says of a call."""

    action: Action
    bound: float | None
    """The error rate among automated calls that the gate keeps below, at its confidence; `None` where it
    can keep none."""
    reason: str
    """In words."""
    gate: str
    span_id: str
    chance: float | None = None
    """That the answer is wrong, as estimated by the signals; no bound."""
    audit: bool = False
    """Whether the call would run alone but is checked all the same: drawn for it, or the gate may not act."""
    effect: StageEffect = "act"
    """What the gate's stage makes of its decisions: they are carried out, shown as advice, or noted only."""


class GateState(Record):
    """Everything that a gate decides by; kept in the store as an operation."""

    name: str
    label: str
    error: float
    """Error rate among automated calls that the gate keeps below."""
    confidence: float
    signals: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    """Signals that are functions of the caller: to be given again when the gate is loaded."""
    model: ErrorModel | None = None
    limit: float | None = None
    """Estimated chance of an error up to which calls run alone."""
    reason: str = ""
    """Why the gate checks every call, if it does."""
    contexts: tuple[Context, ...] = ()
    """What it was fitted on, and holds for."""
    explainers: tuple[Explainer, ...] = ()
    """By what the attributions that its signals rest on were made; empty where none rests on any."""
    functions: tuple[str, ...] = ()
    """Names of the functions whose calls were checked."""
    checked: int = 0
    """Calls that people had checked, one of each input."""
    wrong: int = 0
    left_out: int = 0
    """Of these, without some signal."""
    fitted: int = 0
    """Calls that the model was fitted to."""
    held_out: int = 0
    """Calls that the tests were made on."""
    automated: int = 0
    """Of these, at or below the limit."""
    errors: int = 0
    """Wrong ones among the automated."""
    p_value: float | None = None
    """Of the last limit that was shown to be safe."""
    reference: tuple[float, ...] = ()
    """Estimated chances of held-out calls, which those of new calls are compared with."""
    audit_share: float = 0.05
    """Share of the automated calls that are checked all the same."""
    seed: int = 0
    """Of the split, and of the draw of audits."""
    method: str = METHOD
    assumptions: tuple[str, ...] = ASSUMPTIONS
    notes: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """Share of the held-out calls that would have run alone."""
        return self.automated / self.held_out if self.limit is not None else 0.0

    def __str__(self) -> str:
        if self.limit is None:
            return f"Gate {self.name!r} checks every call: {self.reason}."
        return (
            f"Gate {self.name!r} automates {self.coverage:.0%} of calls with an error rate below "
            f"{self.error:.1%} at a confidence of {self.confidence:.0%}: on {self.held_out:,} held-out calls "
            f"{self.errors:,} of {self.automated:,} automated ones were wrong, beside {self.wrong:,} of "
            f"{self.checked:,} of all."
        )


def summarize_state(state: GateState) -> dict[str, Any]:
    """Return the state without the numbers of model and reference, as JSON values."""
    return state.model_dump(mode="json", exclude={"model", "reference"}) | {"coverage": state.coverage}


def explain_context(context: tuple[Any, ...], state: GateState) -> str:
    """Return which of model and prompt the gate was not fitted on."""
    model, name, version = context
    if model not in {known[0] for known in state.contexts}:
        what = f"the model {model!r}"
    elif (name, version) not in {known[1:] for known in state.contexts}:
        what = f"the version {version} of the prompt {name!r}" if name else "a prompt without a name"
    else:
        what = f"the model {model!r} with the prompt {name!r} {version}"
    return f"the gate was not fitted on {what}"
