"""Signals are numbers that a call has, or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from llm_trace.errors import ConfigurationError
from llm_trace.operations.signals import GateEvidence, build_signal
from llm_trace.record import Attribution, Call, PromptUse, Score, Segment

PROMPT = "Example: broken -> yes\nCustomer: it is broken"
CALL = Call(
    trace_id="0" * 32, span_id="1" * 16, name="ask", kind="llm", start_ns=1, end_ns=2, status="ok",
    output="yes", model="toy", prompt=PromptUse(name="p", version="v", variables={"message": "it is broken"}),
)  # fmt: skip


def make_attribution(
    values: tuple[float, ...] = (0.0, 1.0, 0.0, -2.0, 0.0, 0.0, 0.0, 5.0), **fields: Any
) -> Attribution:
    """Return an attribution of the prompt by word."""
    segments, at = [], 0
    for word in PROMPT.split():
        start = PROMPT.index(word, at)
        at = start + len(word)
        segments.append(Segment(start=start, end=at, text=word))
    fields = {"method": "occlusion", "bounds": "exact", "full": -0.25, **fields}
    return Attribution(
        segments=tuple(segments), values=values, prompt=PROMPT, response="yes", target="all",
        baseline="delete", **fields
    )  # fmt: skip


def make_score(name: str, value: float, source: Any, time_ns: int = 1) -> Score:
    return Score(span_id=CALL.span_id, name=name, value=value, source=source, time_ns=time_ns)


REPORT = make_attribution(
    method="self_report", unit="share", faithfulness={"agreement": {"measured": True, "pearson": 0.5}}
)
EVIDENCE = GateEvidence(
    CALL,
    (make_attribution(faithfulness={"fidelity": {"half": {"spearman": 0.75}}}), REPORT),
    (
        make_score("judge", 0.25, "model"),
        make_score("judge", 0.5, "model", 2),
        make_score("judge", 1, "human", 3),
    ),
    agreement=0.9,
    rules={"late": True, "early": False},
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("logprob", -0.25),
        ("weakest", None),
        ("verdict", 1.0),
        ("fidelity", 0.75),
        ("concentration", 0.625),
        ("agreement", 0.9),
        ("self_report", 0.5),
        ("share:message", 0.625),
        ("share:line=Example: broken -> yes", 0.375),
        ("share:line=customer", 0.625),
        ("share:text=broken", 0.75),
        ("share:text=gold", 0.0),
        ("share:kind=word", 1.0),
        ("share:nobody", None),
        ("share:chunk=handbook", None),
        ("score:judge", 0.5),
        ("score:nobody", None),
        ("rule:late", 1.0),
        ("rule:early", 0.0),
        ("rule:never", None),
    ],
)
def test_a_signal_is_read_from_what_is_known_of_a_call(name: str, value: float | None) -> None:
    assert build_signal(name).read(EVIDENCE) == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    "name", ["logprob", "verdict", "fidelity", "concentration", "self_report", "share:message"]
)
def test_without_an_attribution_such_a_signal_is_missing(name: str) -> None:
    assert build_signal(name).read(GateEvidence(CALL)) is None


def test_the_provider_s_log_probabilities_come_first() -> None:
    tokens = [{"token": "y", "logprob": -0.5}, {"token": "es", "logprob": -0.125}]
    call = CALL.model_copy(update={"output": {"choices": [{"logprobs": {"content": tokens}}]}})
    evidence = GateEvidence(call, EVIDENCE.attributions)
    assert build_signal("logprob").read(evidence) == -0.625
    assert build_signal("weakest").read(evidence) == -0.5


def test_an_attribution_without_weight_has_no_shares() -> None:
    evidence = GateEvidence(CALL, (make_attribution(values=(0.0,) * 8),))
    assert build_signal("share:message").read(evidence) is None
    assert build_signal("concentration").read(evidence) is None


def test_what_is_no_number_is_missing() -> None:
    assert build_signal("odd", {"odd": lambda evidence: float("nan")}).read(EVIDENCE) is None
    with pytest.raises(ConfigurationError, match=r"'share:' is no signal"):
        build_signal("share:")
