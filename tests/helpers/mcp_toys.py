"""The door for coding agents as tests use it: through the official client, in this process."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from mcp.client.session import ClientSession
from mcp.shared.memory import create_connected_server_and_client_session

from llm_trace.mcp.log import ToolLog
from llm_trace.mcp.server import build_tool_server
from llm_trace.mcp.workbench import Workbench


class Door:
    """A server over a store; each question is one session of a client.

    Args:
        options: as `Workbench` takes them.
    """

    def __init__(self, path: Path, log: ToolLog | None = None, **options: Any) -> None:
        self.bench = Workbench(path, **options)
        self._log = log

    def talk(self, ask: Callable[[ClientSession], Awaitable[Any]]) -> Any:
        """Return what came of a talk with the server."""

        async def connect() -> Any:
            server = build_tool_server(self.bench, self._log)
            async with create_connected_server_and_client_session(server, raise_exceptions=True) as session:
                return await ask(session)

        return anyio.run(connect)

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer of a tool, which is the same as text and as data."""
        result = self.talk(lambda session: session.call_tool(tool, arguments))
        (content,) = result.content
        assert json.loads(content.text) == result.structuredContent
        assert result.isError == ("error" in result.structuredContent["recorded"])
        answer: dict[str, Any] = result.structuredContent
        return answer

    def fail(self, tool: str, **arguments: Any) -> str:
        """Return the error that a tool answers with."""
        answer = self.call(tool, **arguments)
        assert answer["verdict"] == "Not answered: see the error."
        return str(answer["recorded"]["error"])
