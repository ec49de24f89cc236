"""Serve the tools: over standard input and output, or over HTTP on this machine."""

from __future__ import annotations

import os
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

import anyio
import uvicorn
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from llm_trace.mcp.guard import TokenGuard

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection

    from mcp.server.lowlevel import Server
    from starlette.types import Receive, Scope, Send

PATH = "/mcp"


def serve_stdio(server: Server[Any, Any]) -> None:
    """Answer the client that started this process, until it closes the input.

    What anything else prints goes to standard error: the client takes each line of the output for an answer.
    """
    answers = TextIOWrapper(os.fdopen(os.dup(1), "wb"), encoding="utf-8")
    os.dup2(2, 1)

    async def serve() -> None:
        async with stdio_server(stdout=anyio.wrap_file(answers)) as (read, write):
            await server.run(read, write, server.create_initialization_options())

    anyio.run(serve)


def build_http_application(server: Server[Any, Any], token: str, hosts: Collection[str]) -> Starlette:
    """Return the application.

    Args:
        token: what a client must give as `Authorization: Bearer`.
        hosts: the values of `Host` that it answers to.
    """
    manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)

    class Endpoint:
        """The one address, as an application, since the package answers requests itself."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await manager.handle_request(scope, receive, send)

    return Starlette(
        routes=[Route(PATH, Endpoint())],
        middleware=[Middleware(TokenGuard, token=token, hosts=hosts)],
        lifespan=lambda _: manager.run(),
    )


def build_http_server(server: Server[Any, Any], listener: socket.socket, token: str) -> uvicorn.Server:
    """Return a server of HTTP for a socket that listens on this machine."""
    port = listener.getsockname()[1]
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
    config = uvicorn.Config(
        build_http_application(server, token, hosts), log_level="warning", access_log=False, lifespan="on",
        server_header=False, ws="none",
    )  # fmt: skip
    return uvicorn.Server(config)
