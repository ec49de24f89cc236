"""Serve the viewer on this machine, and say where."""

from __future__ import annotations

import contextlib
import os
import secrets
import zlib
from typing import TYPE_CHECKING

from llm_trace.collect.server import open_listener
from llm_trace.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import uvicorn

    from llm_trace.stores.duckdb import Store

_FIRST_PORT, _PORTS = 20_000, 12_000
"""Ports of stores: below those that systems give to whoever asks for a free one."""


def make_link(listener: socket.socket, token: str) -> str:
    """Return the address that opens the viewer, once."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}/?token={token}"


@contextlib.contextmanager
def open_viewer_listener(path: Path, port: int | None) -> Iterator[socket.socket]:
    """Give a socket that listens on this machine alone.

    Without a port it is the same for a store each time, since browsers keep what they keep (saved views) by
    address; where that one is taken it is a free one.

    Raises:
        ConfigurationError: the port that was asked for is taken.
    """
    own = _FIRST_PORT + zlib.crc32(os.fsencode(path)) % _PORTS
    with contextlib.ExitStack() as stack:
        try:
            listener = stack.enter_context(open_listener("127.0.0.1", own if port is None else port))
        except ConfigurationError:
            if port is not None:
                raise
            listener = stack.enter_context(open_listener("127.0.0.1", 0))
        yield listener


def make_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(24)


def build_viewer_server(
    store: Store, listener: socket.socket, token: str, functions: Sequence[str] = ()
) -> uvicorn.Server:
    """Return the server.

    Args:
        functions: `module:function` of what may be run again from a page.

    Raises:
        MissingExtraError: what it is made of is not installed.
    """
    try:
        import uvicorn

        from llm_trace.viewer.app import build_viewer
    except ImportError as exc:
        raise MissingExtraError(f"{exc.name!r} is not installed: pip install 'llm-trace[view]'") from exc
    port = listener.getsockname()[1]
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
    application = build_viewer(store, token, hosts, functions)
    config = uvicorn.Config(
        application, log_level="warning", access_log=False, lifespan="off", server_header=False, ws="none"
    )
    return uvicorn.Server(config)
