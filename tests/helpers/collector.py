"""A receiver of OTLP on a free port of this machine."""

from __future__ import annotations

import socket
import threading

import httpx

from llm_trace.collect.connections import ConnectionLimits
from llm_trace.collect.receiver import Receiver
from llm_trace.collect.server import build_server


class Server:
    """A receiver on a free port of this machine, in a thread."""

    def __init__(
        self, receiver: Receiver, token: str | None = None, patience: ConnectionLimits | None = None
    ) -> None:
        self.server = build_server(receiver, token, patience)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}"
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})

    def __enter__(self) -> httpx.Client:
        self.thread.start()
        self.client = httpx.Client(base_url=self.url, timeout=60)
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.server.should_exit = True
        self.thread.join()
        self.listener.close()
