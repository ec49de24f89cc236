"""Serve the receiver: the socket, who may listen where, and the spool behind it."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from llm_trace.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    import asyncio

    import uvicorn

    from llm_trace.collect.connections import ConnectionLimits
    from llm_trace.collect.receiver import Receiver


def check_token(host: str, token: str | None) -> None:
    """Refuse to listen beyond this machine without a token.

    Raises:
        ConfigurationError: whoever reaches the host could write to the store.
    """
    if token == "" or (token is not None and not token.isprintable()):
        raise ConfigurationError("the token is empty or holds signs that no header can: choose another")
    if token is None and not _is_loopback(host):
        raise ConfigurationError(
            f"--host {host!r} lets other machines in: give a --token (or LLM_TRACE_COLLECT_TOKEN) that "
            f"senders must know"
        )


def _is_loopback(host: str) -> bool:
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError as exc:
        raise ConfigurationError(f"--host {host!r} is no address of this machine: {exc}") from exc
    return all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in addresses)


@contextlib.contextmanager
def open_listener(host: str, port: int) -> Iterator[socket.socket]:
    """Give a socket that listens; port 0 takes a free one.

    Raises:
        ConfigurationError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as exc:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {exc.strerror}; try another --port"
        ) from exc
    with listener:
        yield listener


def serve_collector(
    receiver: Receiver, listener: socket.socket, token: str | None, patience: ConnectionLimits | None = None
) -> None:
    """Take spans until SIGINT or SIGTERM; requests under way are answered first."""
    serving = build_server(receiver, token, patience)  # says first which extra is missing
    limit_repeats()
    serving.run(sockets=[listener])


def limit_repeats() -> None:
    """Let the log of this process say a repeated thing once a minute."""
    from llm_trace.collect.connections import Once

    once_a_minute = Once()
    for name in ("uvicorn.error", "asyncio", "llm_trace.collect"):
        logging.getLogger(name).addFilter(once_a_minute)


def build_server(
    receiver: Receiver, token: str | None, patience: ConnectionLimits | None = None
) -> uvicorn.Server:
    """Return the server, which waits for senders as long as it is told to."""
    try:
        import uvicorn

        from llm_trace.collect.app import build_collector
        from llm_trace.collect.intake import OwnIntake
    except ImportError as exc:
        raise MissingExtraError(f"{exc.name!r} is not installed: pip install 'llm-trace[collect]'") from exc
    app = build_collector(OwnIntake(receiver), receiver.limits, token)
    return uvicorn.Server(configure_uvicorn(app, patience, lifespan="off"))


def configure_uvicorn(app: Any, patience: ConnectionLimits | None = None, **more: Any) -> uvicorn.Config:
    """Return what uvicorn is told: connections are bounded, and only complaints are logged."""
    import uvicorn

    from llm_trace.collect.connections import BACKLOG, Connection, ConnectionLimits

    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", partial(Connection, patience=patience or ConnectionLimits())),
        ws="none",
        backlog=BACKLOG,
        log_level="warning",
        access_log=False,
        server_header=False,
        **more,
    )
