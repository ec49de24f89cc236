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
    build_anthropic_agent,
    build_openai_agent,
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


async def _await_result(result: Any) -> Any:
    return await result
