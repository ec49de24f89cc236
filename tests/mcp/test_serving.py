"""The server as clients start it: over standard input and output, and over HTTP with its guard."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from starlette.testclient import TestClient

import llm_trace
from llm_trace.mcp.server import build_tool_server
from llm_trace.mcp.serving import build_http_application
from llm_trace.mcp.workbench import Workbench
from tests.helpers.cli_toys import ROOT, record

HEADERS = {"authorization": "Bearer secret", "accept": "application/json, text/event-stream"}
ASK = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "runs", "arguments": {}}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("serving") / "traces.duckdb"
    record(path)
    return path


def test_a_client_starts_it_and_asks_over_standard_input_and_output(place: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LLM_TRACE_")}
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "llm_trace.cli", "mcp", "--store", str(place)],
        env={**environment, "PYTHONPATH": str(ROOT)}, cwd=str(ROOT),
    )  # fmt: skip

    async def talk() -> Any:
        async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
            about = await session.initialize()
            return about, await session.call_tool("runs", {})

    about, answer = anyio.run(talk)
    assert about.serverInfo.name == "llm-trace"
    assert [run["name"] for run in answer.structuredContent["recorded"]["runs"]] == ["second", "first"]
    with llm_trace.open_store(place.with_name("traces.mcp.duckdb")) as logged:
        assert [(call.name, call.kind) for call in logged.calls(run="mcp")] == [("mcp.runs", "tool")]


@pytest.fixture
def client(place: Path) -> Iterator[TestClient]:
    application = build_http_application(build_tool_server(Workbench(place)), "secret", {"127.0.0.1:7000"})
    with TestClient(application, "http://127.0.0.1:7000") as opened:
        yield opened


def test_over_http_a_tool_answers_who_has_the_token(client: TestClient) -> None:
    answer = client.post("/mcp", json=ASK, headers=HEADERS)
    assert answer.status_code == 200
    runs = answer.json()["result"]["structuredContent"]["recorded"]["runs"]
    assert [run["name"] for run in runs] == ["second", "first"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "secret"}, 401),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1:7001"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:7000"}, 200),
    ],
    ids=["none", "wrong", "bare", "host", "port", "origin", "null", "own"],
)
def test_http_is_for_this_machine_with_the_token_and_for_no_foreign_page(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    assert client.post("/mcp", json=ASK, headers={**HEADERS, **headers}).status_code == status


def test_the_command_serves_the_official_client_over_http_on_loopback(place: Path) -> None:
    from tests.helpers.cli_toys import start

    with start(
        "mcp", "--http", "--log", "none", "--store", str(place), LLM_TRACE_MCP_TOKEN="secret"
    ) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split()[0]

        async def talk() -> Any:
            async with (
                httpx.AsyncClient(headers={"authorization": "Bearer secret"}) as http,
                streamable_http_client(address, http_client=http) as (read, write, _),
                ClientSession(read, write) as session,
            ):
                await session.initialize()
                return await session.call_tool("calls", {"name": "ask"})

        answer = anyio.run(talk)
        process.terminate()
        process.wait(60)
    assert address.startswith("http://127.0.0.1:")
    assert len(answer.structuredContent["recorded"]["calls"]) == 3
