"""Reruns of a fork: the loop that they share, and models that fail in some of them."""

from __future__ import annotations

import asyncio

import llm_trace
from llm_trace.replays.forks import fork
from tests.conftest import Recorded


def test_reruns_of_an_async_program_share_a_loop_and_leave_no_task_to_the_next(store: Recorded) -> None:
    loops: list[asyncio.AbstractEventLoop] = []
    left: list[asyncio.Task[None]] = []

    @llm_trace.trace(kind="llm")
    async def decide(question: str) -> str:
        loops.append(asyncio.get_running_loop())  # what a client that keeps its connections is bound to
        return "yes"

    @llm_trace.trace(kind="agent")
    async def solve(question: str) -> str:
        left.append(asyncio.create_task(asyncio.sleep(60)))
        return await decide(question)

    with llm_trace.start_run("first"):
        asyncio.run(solve("why?"))
    loops.clear()
    left.clear()
    result = fork(
        "first",
        store.calls(run="first", name="decide")[0].span_id,
        {"arguments": {"question": "how?"}},
        repeats=3,
        functions=solve,
    )
    assert [rerun.equal for rerun in result.reruns] == [True, True, True]
    assert (len(loops), len(set(loops))) == (3, 1)
    assert [task.cancelled() for task in left] == [True] * 4  # of the trial before anything is paid, too


def test_a_fork_says_in_how_many_runs_a_model_failed(store: Recorded) -> None:
    asked: list[str] = []

    @llm_trace.trace(kind="llm")
    def decide(question: str) -> str:
        asked.append(question)
        if len(asked) == 3:
            raise ConnectionError("no route to the model")
        return "yes"

    with llm_trace.start_run("first"):
        decide("why?")
    result = fork(
        "first",
        store.calls(run="first", name="decide")[0].span_id,
        {"arguments": {"question": "how?"}},
        repeats=3,
        functions=decide,
    )
    assert result.summary().endswith(
        " In 1 of 3 a model failed (ConnectionError: no route to the model): fork again when it answers."
    )
