"""`why` of models that fail, and of those that call another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

import llm_trace
from llm_trace.errors import ReplayError
from llm_trace.record import Call
from tests.conftest import Recorded

VERDICT = (
    "refund(order=7) came from tool result 2 (inspect): without it 0 of 5 reruns decide so, with it 10 of 10."
)
Model = Callable[[Sequence[str]], str]


def decide_by_damage(texts: Sequence[str]) -> str:
    return "refund" if "It came damaged." in texts else "decline"


def build_agent(decide: Model) -> Any:
    """Return an agent that reads two tools' results, then refunds where its model says so."""
    look_up: Any = llm_trace.trace(name="look_up", kind="tool")(lambda order: "A blue mug.")
    inspect: Any = llm_trace.trace(name="inspect", kind="tool")(lambda order: "It came damaged.")
    refund: Any = llm_trace.trace(name="refund", kind="tool")(lambda order: "done")

    @llm_trace.trace(kind="llm")
    def choose(messages: list[dict[str, str]]) -> str:
        return decide([message["content"] for message in messages])

    @llm_trace.trace(kind="agent")
    def solve(question: str) -> Any:
        messages = [{"role": "user", "content": question}]
        messages += [{"role": "tool", "content": tool(7)} for tool in (look_up, inspect)]
        return refund(7) if choose(messages) == "refund" else None

    return solve


def record_refund(store: Recorded, solve: Any) -> Call:
    """Let an agent refund, and return that call."""
    with llm_trace.start_run("first"):
        solve("Order 7: money back.")
    refund: Call = store.calls(run="first", name="refund")[0]
    return refund


def test_a_model_that_fails_when_it_is_asked_again_accuses_no_step(store: Recorded) -> None:
    times = 0

    def decide(texts: Sequence[str]) -> str:
        nonlocal times
        times += 1
        if times % 4 == 0 or times > 50:
            raise ConnectionError("no route to the model")
        return decide_by_damage(texts)

    solve = build_agent(decide)
    refund = record_refund(store, solve)
    causes = llm_trace.why(refund, functions=solve)
    assert (str(causes), causes.calls) == (VERDICT, times - 1)
    times = 34  # 13 calls give the 10 answers with everything as it was
    with pytest.raises(ReplayError) as error:
        llm_trace.why(refund, functions=solve)
    assert str(error.value) == (
        "the model failed when it was asked again with tool result 2 (inspect) taken away (ConnectionError: "
        "no route to the model), so what it decides then is not known; it was called 19 times: ask again "
        "when it answers"
    )


def test_a_call_that_failed_is_refused_before_anything_runs(store: Recorded) -> None:
    asked: list[str] = []

    @llm_trace.trace(kind="llm")
    def decide(text: str) -> str:
        asked.append(text)
        raise ConnectionError("no route to the model")

    with pytest.raises(ConnectionError):
        decide("Order 7: money back.")
    (call,) = store.calls(name="decide")
    with pytest.raises(ReplayError, match="has status 'error', so it decided nothing: `llm-trace show"):
        llm_trace.why(call, functions=decide)
    assert asked == ["Order 7: money back."]


def test_a_model_that_is_called_inside_the_deciding_call_belongs_to_it(store: Recorded) -> None:
    asked: list[Sequence[str]] = []

    @llm_trace.trace(kind="llm")
    def ask_provider(texts: Sequence[str]) -> str:
        asked.append(texts)
        return decide_by_damage(texts)

    solve = build_agent(ask_provider)
    refund = record_refund(store, solve)
    causes = llm_trace.why(refund, functions=solve)
    assert (str(causes), causes.calls) == (VERDICT, len(asked) - 1)
