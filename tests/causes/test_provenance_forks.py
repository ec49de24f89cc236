"""Whose words a decision rests on where no model can be opened: it is made again without them."""

from __future__ import annotations

from typing import Any

import pytest

import llm_trace
from llm_trace.errors import AttributionError, ConfigurationError, ReplayError
from llm_trace.record import Attribution
from tests.conftest import Recorded
from tests.helpers import cause_toys as toys


@pytest.fixture
def refund(store: Recorded) -> Any:
    """A tool that an agent called because of what another tool had answered."""
    with llm_trace.start_run("agent"):
        toys.solve("Order 7: money back.")
    (call,) = store.calls(name="refund")
    return call


def weigh(call: Any, store: Recorded, **settings: Any) -> Attribution:
    options: dict[str, Any] = {"functions": toys.solve, "repeats": 10, **settings}
    return llm_trace.provenance(call, store=store.path, **options)


def test_a_decision_is_made_again_without_the_words_of_each_origin(refund: Any, store: Recorded) -> None:
    attribution = weigh(refund, store)
    effects = {weight.origin: weight.value for weight in attribution.origins}
    assert effects == {"system": 0, "user": 0, "tool": 1}
    tool = attribution.origins[2]
    assert 0 < tool.low < tool.value <= tool.high
    assert attribution.q_values is not None
    assert attribution.q_values[2] < 0.05 < attribution.q_values[0]
    assert [(s.origin, s.text) for s in attribution.segments][1:] == [
        ("user", "Order 7: money back."), ("tool", toys.DAMAGED),
    ]  # fmt: skip
    assert (attribution.method, attribution.unit, attribution.full) == ("forks", "probability", 1.0)
    assert (attribution.span_id, attribution.response) == (refund.span_id, "refund(order=7)")
    assert "what tools answered by +1" in attribution.summary()


def test_no_tool_runs_and_each_call_of_the_model_is_counted(refund: Any, store: Recorded) -> None:
    attribution = weigh(refund, store)
    ended = [run for run in store.runs() if run.fork_of is not None]
    assert len(ended) == attribution.passes == 10 + 3 * 5
    outputs = [(call.run, call.output) for call in store.calls(name="refund", limit=None)]
    assert {output for run, output in outputs if run != refund.run} == {None}


def test_origins_of_reruns_may_be_named_by_tool_and_role(refund: Any, store: Recorded) -> None:
    attribution = weigh(refund, store, origins={"inspect": "outside", "user": "system"})
    assert [(weight.origin, weight.value) for weight in attribution.origins] == [
        ("system", 0),
        ("outside", 1),
    ]


def test_a_prompts_variables_are_the_users_and_its_lines_the_authors(store: Recorded) -> None:
    toys.reply("late parcel", toys.BAD)
    (call,) = store.calls(name="ask")
    attribution = weigh(call, store, functions=toys.reply)
    assert [(weight.origin, weight.value) for weight in attribution.origins] == [("system", 1), ("user", 0)]


def test_a_model_that_decides_otherwise_now_is_no_evidence(
    refund: Any, store: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toys, "DAMAGED", "It is fine.")
    attribution = weigh(refund, store, functions=change_mind(monkeypatch))
    assert attribution.verdict == "insufficient_evidence"
    assert attribution.warnings == (
        "only 0 of 10 reruns with everything as it was decide so, or the budget did not reach all origins",
    )
    assert {(weight.low, weight.high) for weight in attribution.origins} == {(-1.0, 1.0)}


def change_mind(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the model decline from now on."""

    @llm_trace.trace(name="decide", kind="llm", model="toy-1")
    def decide(messages: list[dict[str, str]]) -> str:
        return "inspect" if messages[-1]["role"] != "tool" else "decline"

    monkeypatch.setattr(toys, "decide", decide)
    return toys.solve


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a model too": ({"model": "demo"}, AttributionError, "give model= or functions=, not both"),
    "a response": ({"response": "no"}, AttributionError, "give a call of a store, and no response"),
    "no such origin": ({"origins": {"user": "me"}}, AttributionError, "'user' has 'me'; choose one of"),
    "too few": ({"repeats": 2}, ConfigurationError, "cannot tell the effect .*; nothing was run"),
    "another function": ({"functions": toys.reply}, ReplayError, "does not take what it was called with"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_reruns_cannot_say_is_refused_before_anything_is_paid(
    refund: Any, store: Recorded, case: str
) -> None:
    settings, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        weigh(refund, store, **settings)
    assert [run for run in store.runs() if run.fork_of is not None] == []
