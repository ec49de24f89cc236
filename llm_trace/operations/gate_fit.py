"""From checked calls to a gate's state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.errors import ConfigurationError
from llm_trace.operations.gate_calibration import calibrate_limit
from llm_trace.operations.gate_drift import draw_reference
from llm_trace.operations.gate_evidence import describe_context
from llm_trace.operations.gate_model import FOLDS, fit_model
from llm_trace.operations.gate_state import GateState
from llm_trace.operations.names import collect_texts
from llm_trace.operations.signals import (
    PLAIN,
    Signal,
    build_signal,
    build_signals,
    describe_explanation,
    rests_on_attributions,
)
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.operations.gate_evidence import CheckedCall
    from llm_trace.operations.signals import SignalMeasure
    from llm_trace.statistics.floats import Floats

    Signals = Iterable[str] | str | Mapping[str, SignalMeasure | None] | None

FIT_SHARE = 0.4
"""Part of the calls that the model is fitted to; the tests need the greater part."""
PRESENT = 0.95
"""Share of the checked calls that must have a signal for it to be taken unasked."""
_LONGEST, _LINES = 400, 8
"""Characters of a template's line, and lines, that are signals unasked."""


def fit_state(calls: Sequence[CheckedCall], signals: Signals, base: GateState) -> GateState:
    """Return the state of a gate fitted on checked calls.

    Args:
        calls: one of each input, oldest first.
        signals: names, or own functions by name; by default all that nearly every call has.
        base: name, label, error, confidence and seed.
    """
    wrong = sum(not call.right for call in calls)
    state = base.model_copy(update={"checked": len(calls), "wrong": wrong})
    if (why := _explain_useless(state)) is not None:
        return state.model_copy(update={"reason": why})
    chosen, table = _choose_signals(calls, signals, state.label)
    if not chosen:
        names = ", ".join(PLAIN)
        why = (
            f"none of {count_things(len(calls), 'checked call')} has signals that vary: attribute them "
            f"(`llm-trace attribute`), record log-probabilities, or name signals= ({names} …)"
        )
        return state.model_copy(update={"reason": why})
    complete = np.asarray(np.isfinite(table).all(axis=1))
    rows = [call for call, has_all in zip(calls, complete, strict=True) if has_all]
    own = tuple(name for name, measure in signals.items() if measure) if isinstance(signals, Mapping) else ()
    state = state.model_copy(
        update={
            "signals": tuple(signal.name for signal in chosen), "own": own,
            "left_out": len(calls) - len(rows), "contexts": _list_contexts(rows),
            "explainers": _list_explainers(rows, [signal.name for signal in chosen]),
            "functions": tuple(dict.fromkeys(call.name for call in rows)),
        }
    )  # fmt: skip
    return _calibrate(state, table[complete], np.array([not call.right for call in rows], dtype=float))


def count_fewest(error: float, confidence: float) -> int:
    """Return how many automated held-out calls, all of them right, show that the error rate is low enough."""
    return int(np.ceil(np.log1p(-confidence) / np.log1p(-error)))


def _explain_useless(state: GateState) -> str | None:
    n, wrong = state.checked, state.wrong
    if not n:
        return (
            f"no call has a score {state.label!r} that says right or wrong: check some "
            f"(`llm-trace annotate --score {state.label}`), then fit again"
        )
    if wrong in (0, n):
        kind, other = ("right", "wrong") if not wrong else ("wrong", "right")
        return (
            f"of {count_things(n, 'checked call')} each is {kind}, so nothing shows what tells {other} ones "
            "apart: check more calls, and see that both are scored"
        )
    needed = int(np.ceil(count_fewest(state.error, state.confidence) / (1 - FIT_SHARE)))
    if n < needed or min(wrong, n - wrong) < FOLDS:
        return (
            f"{count_things(n, 'checked call')}, {wrong:,} of them wrong, cannot suffice for an error rate "
            f"of {state.error:.1%} at a confidence of {state.confidence:.0%}: check {needed:,} or more, "
            f"{FOLDS} of them wrong"
        )
    return None


def _choose_signals(
    calls: Sequence[CheckedCall], signals: Signals, label: str
) -> tuple[list[Signal], Floats]:
    """Return signals and their table (calls, signals), `nan` where one is missing."""
    if signals is None:
        candidates = [build_signal(name) for name in _list_candidates(calls, label)]
    else:
        own = signals if isinstance(signals, Mapping) else {}
        candidates = build_signals(dict.fromkeys(collect_texts(signals)), own)
    table = np.array([[_read(signal, call) for signal in candidates] for call in calls])  # (calls, signals)
    table = table.reshape(len(calls), len(candidates))
    present = np.isfinite(table).mean(axis=0)
    if signals is not None:
        _refuse_absent(candidates, present)
        return candidates, table
    spread = [
        np.ptp(column[np.isfinite(column)]) if share else 0.0
        for column, share in zip(table.T, present, strict=True)
    ]
    useful = [i for i in range(len(candidates)) if present[i] >= PRESENT and spread[i] > 1e-9]
    _, first = np.unique(np.nan_to_num(table[:, useful]), axis=1, return_index=True)  # such as of one token
    useful = [useful[i] for i in sorted(first)]
    return [candidates[i] for i in useful], table[:, useful]


def _read(signal: Signal, call: CheckedCall) -> float:
    value = signal.read(call.evidence)
    return float("nan") if value is None else value


def _refuse_absent(signals: Sequence[Signal], present: Floats) -> None:
    absent = [signal.name for signal, share in zip(signals, present, strict=True) if not share]
    if absent:
        raise ConfigurationError(
            f"no checked call has the signal {absent[0]!r}: attribute or score the calls so that they have "
            f"it, or leave it out"
        )


def _list_candidates(calls: Sequence[CheckedCall], label: str) -> list[str]:
    """Return the names of all signals that calls of this kind may have."""
    prompts = [call.evidence.call.prompt for call in calls]
    templates = dict.fromkeys(call.evidence.template or "" for call in calls)
    variables = dict.fromkeys(name for p in prompts if p is not None for name in p.variables)
    lines = dict.fromkeys(line for template in templates for line in _list_lines(template))
    scores = sorted({s.name for call in calls for s in call.evidence.scores if s.source != "human"} - {label})
    rules = sorted({rule for call in calls for rule in call.evidence.rules})
    return [
        *PLAIN,
        *(f"share:{name}" for name in variables),
        *(f"share:line={line}" for line in list(lines)[:_LINES]),
        *(f"score:{name}" for name in scores),
        *(f"rule:{name}" for name in rules),
    ]


def _list_lines(template: str) -> list[str]:
    """Return the lines of a template that hold no variable."""
    lines = (line.strip() for line in template.splitlines())
    return [line for line in lines if line and "{" not in line and len(line) <= _LONGEST]


def _list_contexts(calls: Sequence[CheckedCall]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(describe_context(call.evidence.call) for call in calls))


def _list_explainers(calls: Sequence[CheckedCall], names: Sequence[str]) -> tuple[Any, ...]:
    """Return by what the attributions were made that any of the signals is read from."""
    evidence = [call.evidence for call in calls]
    if not any(rests_on_attributions(name, each) for name in names for each in evidence):
        return ()
    described = (describe_explanation(each) for each in evidence)
    return tuple(dict.fromkeys(each for each in described if each is not None))


def _calibrate(state: GateState, table: Floats, wrong: Floats) -> GateState:
    """Split the calls, fit the model to one part and test limits on the other."""
    order = np.random.default_rng(state.seed).permutation(len(wrong))
    part = round(FIT_SHARE * len(wrong))
    fit, test = order[:part], order[part:]
    if wrong[fit].sum() in (0, part) or not len(test):
        return state.model_copy(update={"reason": "too few of the checked calls are wrong: check more"})
    model, chances = fit_model(table[fit], wrong[fit], state.seed)
    held_out = model.estimate(table[test])
    tests = calibrate_limit((chances, wrong[fit]), (held_out, wrong[test]), state.error, state.confidence)
    state = state.model_copy(
        update={
            "model": model, "limit": tests.limit, "fitted": part, "held_out": len(test),
            "automated": tests.automated, "errors": tests.errors, "p_value": tests.p_value,
            "reference": draw_reference(held_out, state.seed),
        }
    )  # fmt: skip
    return (
        state if tests.limit is not None else state.model_copy(update={"reason": _explain_unreachable(state)})
    )


def _explain_unreachable(state: GateState) -> str:
    return (
        f"an error rate below {state.error:.1%} at a confidence of {state.confidence:.0%} cannot be shown: "
        f"of {count_things(state.automated, 'held-out call')} that looked safest {state.errors:,} were wrong "
        f"(p = {state.p_value or 1:.2g}); check more calls, give better signals, or ask for less"
    )


def list_fit_notes(
    labels: Mapping[str, bool], calls: Sequence[Any], contradicted: Sequence[str], label: str
) -> tuple[str, ...]:
    """Return what the reader of a gate should know of its checked calls."""
    notes = []
    if len(labels) > len(calls):
        notes.append(
            f"{len(labels) - len(calls):,} of {count_things(len(labels), 'checked call')} left out that "
            "repeat the input of another, since they are not independent: an input counts once, however "
            "often it is asked"
        )
    if contradicted:
        ids = ", ".join(sorted(set(contradicted))[:3])
        notes.append(
            f"{count_things(len(set(contradicted)), 'checked call')} with scores {label!r} that contradict "
            f"each other counted as wrong: settle them (such as {ids}) and fit again"
        )
    return tuple(notes)
