"""`why` of agents as people write them: SDKs, contents in parts, tools asked for at once, state objects."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llm_trace
from tests.conftest import Recorded
from tests.helpers.sdk_agents import (
    RESULTS,
    SYSTEM,
    Text,
    build_anthropic_agent,
    build_openai_agent,
    build_request_agent,
    build_state_agent,
)

QUESTION = "Order 7: I want my money back."


@pytest.fixture(autouse=True)
def _instrumented() -> Iterator[None]:
    with llm_trace.instrument("openai", "anthropic"):
        yield


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(build_openai_agent, id="openai"),
        pytest.param(build_anthropic_agent, id="anthropic"),
        pytest.param(build_request_agent, id="request"),
        pytest.param(build_state_agent, id="state"),
    ],
)
def test_the_tool_result_that_an_agent_decided_by_is_named(
    store: Recorded, build: Callable[[], Callable[[str], Any]]
) -> None:
    solve = build()
    with llm_trace.start_run("first"):
        result = solve(QUESTION)
        if inspect.isawaitable(result):
            asyncio.run(_await_result(result))
    (refund,) = store.calls(run="first", name="refund")
    causes = llm_trace.why(refund, functions=solve)
    assert str(causes) == (
        "refund(order=7) came from tool result 2 (inspect): without it 0 of 5 reruns decide so, with it "
        "10 of 10."
    )
    assert {step.label: step.text for step in causes.steps} == {
        "the system prompt": SYSTEM,
        "the user's words": QUESTION,
        "tool result 1 (look_up)": RESULTS["look_up"],
        "tool result 2 (inspect)": RESULTS["inspect"],
    }


def test_the_agents_own_words_in_an_object_of_an_sdk_are_taken_away_too(store: Recorded) -> None:
    @llm_trace.trace(kind="llm")
    def decide(messages: list[dict[str, Any]]) -> str:
        return "The money goes back today." if "damaged" in str(messages) else "Nothing is wrong, I think."

    @llm_trace.trace(kind="agent")
    def solve() -> str:
        words = [Text("text", "So it came damaged?")]
        return str(
            decide([{"role": "assistant", "content": words}, {"role": "user", "content": "Yes, it did."}])
        )

    solve()
    (call,) = store.calls(name="decide")
    causes = llm_trace.why(call, functions=solve)
    assert [(step.label, step.text) for step in causes.significant] == [
        ("the agent's own words", "So it came damaged?")
    ]


async def _await_result(result: Any) -> Any:
    return await result
