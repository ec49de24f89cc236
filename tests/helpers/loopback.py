"""A server on 127.0.0.1 that keeps what it is sent and answers as told, faults included."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

Fault = Literal["hang", "reset", "drip"]
"""No answer at all; the connection torn down; a body whose bytes come one by one without an end."""


@dataclass(frozen=True)
class Received:
    """One request, its body unpacked."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What to answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


Answering = Callable[[Received], Reply | Fault]


class Loopback:
    """A server for the length of a `with` block.

    Args:
        answer: makes the answer to a request; 200 and `{}` where it is not given.
        port: where to listen, 0 for any that is free; one that was closed can be taken again.
        tls: certificates, for a server that speaks TLS.
    """

    def __init__(
        self, answer: Answering | None = None, *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.answer: Answering = answer or (lambda _: Reply())
        self.next: deque[Reply | Fault] = deque()
        """Answers to give first, one a request; such a request is kept in `refused`, not in `received`."""
        self.received: list[Received] = []
        self.refused: list[Received] = []
        self.asked = threading.Semaphore(0)
        """Released once for each request that arrives."""
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.owner = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, request: Received) -> Reply | Fault:
        """Keep a request and return what to answer."""
        with self._lock:
            fault = self.next.popleft() if self.next else None
            if fault is None:
                self.received.append(request)
            else:
                self.refused.append(request)
        self.asked.release()
        return self.answer(request) if fault is None else fault

    def wait_closed(self, seconds: float | None = None) -> bool:
        """Wait until the server closes; return whether it has."""
        return self._closed.wait(seconds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    owner: Loopback

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients of these tests are killed on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.owner.take(Received(self.command, self.path, headers, body))
        if isinstance(reply, Reply):
            self._reply(reply)
        else:
            self.close_connection = True
            getattr(self, f"_{reply}")()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve

    def _reply(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def _hang(self) -> None:
        self.server.owner.wait_closed()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "1000000")
        self.end_headers()
        while not self.server.owner.wait_closed(0.05):
            self.wfile.write(b" ")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""
