"""A client of the Model Context Protocol: what it asks a server for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import llm_trace
from llm_trace.capture import failures
from tests.conftest import Recorded

mcp = pytest.importorskip("mcp")
fastmcp = pytest.importorskip("mcp.server.fastmcp")
memory = pytest.importorskip("mcp.shared.memory")


def build_server() -> Any:
    server = fastmcp.FastMCP("mountains")

    @server.tool()  # type: ignore[untyped-decorator]
    def get_height(mountain: str) -> str:
        return f"{mountain}: 6768 metres"

    @server.resource("mountains://all")  # type: ignore[untyped-decorator]
    def list_mountains() -> str:
        return "Huascarán"

    @server.prompt()  # type: ignore[untyped-decorator]
    def ask(mountain: str) -> str:
        return f"How high is {mountain}?"

    return server


async def ask_server(work: Any) -> Any:
    async with memory.create_connected_server_and_client_session(build_server()) as session:
        return await work(session)


async def ask_for_all(session: Any) -> None:
    await session.call_tool("get_height", {"mountain": "Huascarán"})
    await session.read_resource("mountains://all")
    await session.get_prompt("ask", {"mountain": "Huascarán"})


def test_tools_resources_and_prompts_of_a_server_are_calls(store: Recorded) -> None:
    with llm_trace.instrument("mcp") as undo:
        assert undo.libraries["mcp"].startswith("llm_trace's integration of mcp ")
        asyncio.run(ask_server(ask_for_all))
    asyncio.run(ask_server(ask_for_all))
    prompt, resource, tool = store.calls()
    assert [call.kind for call in (tool, resource, prompt)] == ["tool", "retriever", "chain"]
    assert tool.input == {"name": "get_height", "arguments": {"mountain": "Huascarán"}}
    assert [part["text"] for part in tool.output["content"]] == ["Huascarán: 6768 metres"]
    assert resource.output["contents"][0]["text"] == "Huascarán"
    assert [message.text for message in prompt.messages_out] == ["How high is Huascarán?"]
    assert {call.status for call in (tool, resource, prompt)} == {"ok"}
    assert not failures.counts


def test_a_request_that_the_server_refuses_is_an_error_call_and_raises_the_same(store: Recorded) -> None:
    raised = []

    async def ask(session: Any) -> None:
        with pytest.raises(mcp.McpError, match="mountains://none") as info:
            await session.read_resource("mountains://none")
        raised.append(str(info.value))

    with llm_trace.instrument("mcp"):
        asyncio.run(ask_server(ask))
    asyncio.run(ask_server(ask))
    assert raised[0] == raised[1]
    call = store.one()
    assert (call.name, call.status) == ("mcp.read_resource", "error")
