"""Serve the viewer on this machine, and say where."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from llm_trace.errors import MissingExtraError

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    import uvicorn

    from llm_trace.stores.duckdb import Store


def make_link(listener: socket.socket, token: str) -> str:
    """Return the address that opens the viewer, once."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}/?token={token}"


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
