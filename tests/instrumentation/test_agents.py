"""Agents of Pydantic AI and OpenAI Agents: model calls, tools, errors, and tokens that count once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import httpx2 as httpx
import openai
import pytest

import llm_trace
from llm_trace.capture import failures
from llm_trace.instrumentation.import_hooks import load_name
from llm_trace.instrumentation.rides import RIDES, Ride
from tests.conftest import Recorded

TOOL = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"x": 3}'}}


@pytest.fixture(autouse=True)
def _loop() -> Iterator[None]:
    """An event loop for `run_sync`, which closes none that it makes."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


def reply(request: httpx.Request) -> httpx.Response:
    """Ask for a tool, then answer; refuse what asks for the model `broken`."""
    body = json.loads(request.content)
    if body["model"] == "broken":
        return httpx.Response(400, json={"error": {"message": "no such model"}})
    answered = any(message["role"] == "tool" for message in body["messages"])
    message = {"role": "assistant"} | ({"content": "hello"} if answered else {"tool_calls": [TOOL]})
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return httpx.Response(
        200,
        json={
            "id": f"c{len(body['messages'])}", "object": "chat.completion", "created": 1, "model": "m-1",
            "choices": [choice], "usage": usage,
        },
    )  # fmt: skip


@pytest.fixture
def client() -> openai.AsyncOpenAI:
    web = httpx.AsyncClient(transport=httpx.MockTransport(reply))
    return openai.AsyncOpenAI(api_key="k", http_client=web, max_retries=0)


def sum_tokens(calls: list[Any]) -> tuple[int, int]:
    counted = [call.usage for call in calls if call.usage is not None]
    return sum(u.input_tokens for u in counted), sum(u.output_tokens for u in counted)


class TestPydanticAI:
    @pytest.fixture(autouse=True)
    def _undo(self, store: Recorded) -> Iterator[None]:
        pytest.importorskip("pydantic_ai")
        with llm_trace.instrument("pydantic-ai", "openai"):
            yield
        assert not failures.counts

    def test_an_agent_its_model_calls_and_its_tools_are_calls(self, store: Recorded) -> None:
        from pydantic_ai import Agent
        from pydantic_ai.models.test import TestModel

        agent = Agent(TestModel(), name="desk")
        agent.tool_plain(look)
        assert agent.run_sync("hi").output == '{"look":"found 0"}'
        calls = store.calls()[::-1]
        assert [call.kind for call in calls] == ["agent", "llm", "tool", "llm"]
        assert {call.parent_id for call in calls[1:]} == {calls[0].span_id}
        assert (calls[2].input, calls[2].output) == ({"x": 0}, "found 0")
        assert [m.text for m in calls[3].messages_out] == ['{"look":"found 0"}']

    def test_tokens_count_once_where_the_sdk_is_instrumented_too(
        self, store: Recorded, client: openai.AsyncOpenAI
    ) -> None:
        from pydantic_ai import Agent
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        agent = Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client)))
        agent.tool_plain(look)
        assert agent.run_sync("hi").output == "hello"
        calls = store.calls()
        assert [(call.model, call.provider) for call in calls if call.kind == "llm"] == [
            ("m-1", "openai")
        ] * 2
        assert sum_tokens(calls) == (6, 4)

    def test_a_model_that_fails_is_an_error_call(self, store: Recorded) -> None:
        from pydantic_ai import Agent
        from pydantic_ai.models.function import FunctionModel

        def fail(*_: Any) -> Any:
            raise ValueError("out of words")

        with pytest.raises(ValueError, match="out of words"):
            Agent(FunctionModel(fail)).run_sync("hi")
        assert {(call.kind, call.status) for call in store.calls()} == {("agent", "error"), ("llm", "error")}

    def test_undoing_gives_back_what_was_set_and_leaves_what_the_program_set(self, store: Recorded) -> None:
        from pydantic_ai import Agent

        assert Agent._instrument_default is not False
        Agent.instrument_all(True)
        try:
            with llm_trace.instrument("pydantic-ai"):
                assert Agent._instrument_default is True
            assert Agent._instrument_default is True
        finally:
            Agent.instrument_all(False)


def look(x: int) -> str:
    """Look something up."""
    return f"found {x}"


def test_openai_agents_are_ridden_and_tokens_count_once(store: Recorded, client: openai.AsyncOpenAI) -> None:
    agents = pytest.importorskip("agents")
    pytest.importorskip("openinference.instrumentation.openai_agents")
    with llm_trace.instrument("openai-agents", "openai"):
        model = agents.OpenAIChatCompletionsModel(model="m", openai_client=client)
        agent = agents.Agent(name="desk", model=model, tools=[agents.function_tool(look)])
        assert agents.Runner.run_sync(agent, "hi").final_output == "hello"
    calls = store.calls()
    assert {"agent", "llm", "tool"} <= {call.kind for call in calls}
    assert len([call for call in calls if call.kind == "llm"]) == 2
    assert sum_tokens(calls) == (6, 4)
    assert [call.output for call in calls if call.kind == "tool"] == ["found 3"]


@pytest.mark.parametrize("ride", RIDES, ids=lambda ride: ride.library)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_class_of_an_installed_instrumentation_is_where_the_table_says(ride: Ride) -> None:
    try:
        metadata.version(ride.instrumentation)
        metadata.version(ride.distribution)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{ride.instrumentation} or {ride.distribution} is not installed")
    instrumentor: Any = load_name(ride.instrumentor)
    assert {"instrument", "uninstrument"} <= set(dir(instrumentor))
