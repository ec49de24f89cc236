"""Other libraries to compare with: an environment each, and a loopback sink in place of their servers.

    python -m benchmarks.peers opik langfuse traceloop phoenix      makes benchmarks/.envs/<peer> with pip

Nothing that a peer sends leaves this machine: its address is the sink's and its own telemetry is off.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / "benchmarks" / ".envs"
PACKAGES = {
    "opik": ["opik"],
    "langfuse": ["langfuse"],
    # free versions cost pip a quarter of an hour
    "traceloop": [
        "traceloop-sdk==0.62.4",
        "opentelemetry-sdk==1.45.1",
        "opentelemetry-exporter-otlp-proto-http==1.45.1",
        "httpx",  # imported, not declared
    ],
    "phoenix": ["arize-phoenix-otel", "openinference-instrumentation"],
}
IMPORTS = {"opik": "opik", "langfuse": "langfuse", "traceloop": "traceloop.sdk", "phoenix": "phoenix.otel"}
"""What a user of each imports."""


def python_of(subject: str) -> str:
    """Return the interpreter that runs a subject; our own for what is no peer.

    Raises:
        SystemExit: the peer's environment is not there yet.
    """
    if subject not in PACKAGES:
        return sys.executable
    python = ENVIRONMENTS / subject / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"{subject} has no environment yet: python -m benchmarks.peers {subject}")
    return str(python)


def install(peer: str) -> None:
    """Make a peer's environment with the newest version of its packages."""
    folder = ENVIRONMENTS / peer
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PACKAGES[peer]], check=True)


def version_of(peer: str) -> str:
    """Return the installed version of a peer's first package."""
    package = PACKAGES[peer][0].partition("==")[0]
    say = f"import importlib.metadata as m; print(m.version({package!r}))"
    done = subprocess.run([python_of(peer), "-c", say], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def environment(sink: str) -> dict[str, str]:
    """Return environment variables for a subject: every peer talks to the sink and to nobody else."""
    inherited = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("LLM_TRACE", "OTEL_", "OPIK_", "LANGFUSE_", "TRACELOOP_"))
    }
    return inherited | {
        "BENCH_SINK": sink,
        "OPIK_URL_OVERRIDE": sink,
        "OPIK_SENTRY_ENABLE": "false",
        "OPIK_ANALYTICS_ENABLE": "false",
        "LANGFUSE_HOST": sink,
        "LANGFUSE_BASE_URL": sink,
        "LANGFUSE_PUBLIC_KEY": "pk-lf-bench",
        "LANGFUSE_SECRET_KEY": "sk-lf-bench",
        "TRACELOOP_BASE_URL": sink,
        "TRACELOOP_API_KEY": "bench",
        "TRACELOOP_TELEMETRY": "false",
        "PHOENIX_COLLECTOR_ENDPOINT": sink,
        "http_proxy": "http://127.0.0.1:9",  # what would go elsewhere fails at once
        "https_proxy": "http://127.0.0.1:9",
        "no_proxy": "127.0.0.1,localhost",
    }  # fmt: skip


# The sink


@dataclass
class Received:
    """What arrived: bodies are read only when asked for, so that the sink does not take the peer's CPU."""

    keep: bool
    requests: int = 0
    bodies: list[tuple[str, str, bytes]] = field(default_factory=list)

    def add(self, path: str, encoding: str, body: bytes) -> None:
        self.requests += 1
        if self.keep:
            self.bodies.append((path, encoding, body))

    def count(self) -> dict[str, int]:
        """Return the requests, and the finished spans in them by distinct id."""
        ids: set[Any] = set()
        for path, encoding, body in list(self.bodies):
            plain = (
                gzip.decompress(body)
                if encoding == "gzip"
                else zlib.decompress(body)
                if encoding == "deflate"
                else body
            )
            if path.endswith("/traces") and plain[:1] == b"\n":
                ids.update(otlp_ids(plain))
            elif "/spans" in path:
                ids.update(opik_ids(json.loads(plain)))
        return {"requests": self.requests, "spans": len(ids)}


def otlp_ids(body: bytes) -> Iterator[bytes]:
    """Yield the span ids in an OTLP export request: resource_spans 1, in it scope_spans 2, in it spans 2,
    in it span_id 2.
    """
    for resource in _fields(body, 1):
        for scope in _fields(resource, 2):
            for span in _fields(scope, 2):
                yield from _fields(span, 2)


def _fields(body: bytes, wanted: int) -> Iterator[bytes]:
    """Yield the length-delimited fields of one number in a protobuf message."""
    at = 0
    while at < len(body):
        tag, at = _varint(body, at)
        kind = tag & 7
        if kind == 0:
            _, at = _varint(body, at)
        elif kind == 2:
            length, at = _varint(body, at)
            if tag >> 3 == wanted:
                yield body[at : at + length]
            at += length
        else:
            at += {1: 8, 5: 4}[kind]


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def opik_ids(body: Any) -> Iterator[str]:
    """Yield the ids of the spans in a request of Opik that say when they ended."""
    for span in body.get("spans", [body]) if isinstance(body, dict) else []:
        if span.get("end_time") and "id" in span:
            yield span["id"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    received: ClassVar[Received]

    def do_POST(self) -> None:
        self.received.add(self.path, self.headers.get("Content-Encoding", ""), self._body())
        self._reply(b"" if self.path.endswith("/traces") else b"{}")

    do_PUT = do_PATCH = do_POST  # noqa: N815

    def do_GET(self) -> None:
        self._reply(json.dumps(self.received.count() if self.path == "/bench/count" else {}).encode())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reply(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: killed clients hang up in the middle of a request."""


def serve(*, keep: bool) -> None:
    """Be the sink until standard input ends; the port is the first line of standard output."""
    _Handler.received = Received(keep)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        print(server.server_port, flush=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.read()


@dataclass(frozen=True)
class Sink:
    """A running sink."""

    url: str

    def count(self) -> dict[str, int]:
        """Return how many requests and distinct finished spans have arrived."""
        with urlopen(self.url + "/bench/count", timeout=120) as reply:
            counted: dict[str, int] = json.load(reply)
        return counted


@contextlib.contextmanager
def sink(*, keep: bool = True) -> Iterator[Sink]:
    """Run a sink in a process of its own.

    Args:
        keep: keep what arrives, so that it can be counted.
    """
    command = [sys.executable, "-m", "benchmarks.peers", "--serve", *(["--keep"] if keep else [])]
    child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin, child.stdout:
        try:
            yield Sink(f"http://127.0.0.1:{int(child.stdout.readline())}")
        finally:
            child.stdin.close()
            child.wait(timeout=30)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "peer", nargs="*", default=list(PACKAGES), help=f"which to install: {', '.join(PACKAGES)}"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(keep=options.keep)
    if unknown := set(options.peer) - set(PACKAGES):
        parser.error(f"{', '.join(unknown)} is unknown; choose from {', '.join(PACKAGES)}")
    for peer in options.peer:
        install(peer)
        print(f"{peer} {version_of(peer)} is in {ENVIRONMENTS / peer}")
    return None


if __name__ == "__main__":
    main()
