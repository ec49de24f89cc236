"""Real servers of other platforms and of this project, for benchmarks: on loopback, until a body ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx

from llm_trace.collect.server import open_listener

if TYPE_CHECKING:
    from collections.abc import Iterator

START_S = 300
"""Seconds that a server may take to start."""
TICKS = os.sysconf("SC_CLK_TCK")


class Server(NamedTuple):
    """A running server."""

    process: subprocess.Popen[bytes]
    address: str

    def read_cpu_ms(self) -> float:
        """Return the CPU time of the server and all that it has started."""
        total = 0
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = entry.read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid:  # its session
                    total += sum(map(int, fields[11:15]))
        return 1000 * total / TICKS


@contextlib.contextmanager
def run_server(command: list[str], address: str, log: Path, **env: str) -> Iterator[Server]:
    """Run a server until the body ends."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, env=os.environ | env, start_new_session=True
        )
        try:
            yield Server(process, address)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def run_phoenix(folder: Path) -> Iterator[Server]:
    """Run Phoenix with its sqlite in a folder, once it answers."""
    ports = [find_port() for _ in range(2)]
    address = f"http://127.0.0.1:{ports[0]}"
    env = {
        "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(ports[0]), "PHOENIX_GRPC_PORT": str(ports[1]),
        "PHOENIX_WORKING_DIR": str(folder), "PHOENIX_TELEMETRY_ENABLED": "false",
    }  # fmt: skip
    command = [f"{os.environ['LLM_TRACE_SERVERS']}/phoenix", "serve"]
    with run_server(command, address, folder / "phoenix.log", **env) as server:
        _wait_for(f"{address}/healthz", folder / "phoenix.log")
        yield server


@contextlib.contextmanager
def run_mlflow(folder: Path) -> Iterator[Server]:
    """Run MLflow with its sqlite in a folder, once it answers."""
    port = find_port()
    address = f"http://127.0.0.1:{port}"
    command = [f"{os.environ['LLM_TRACE_SERVERS']}/mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    with run_server(command, address, folder / "mlflow.log", DO_NOT_TRACK="true") as server:
        _wait_for(f"{address}/health", folder / "mlflow.log")
        yield server


def count_rows(database: Path, table: str) -> int:
    """Return how many rows a table of a server's sqlite has."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def find_port() -> int:
    """Return a port that is free."""
    with open_listener("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


def _wait_for(address: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not _is_up(address):
        if time.monotonic() > deadline:
            raise SystemExit(f"the server did not start within {START_S} s: {log}")
        time.sleep(0.5)


def _is_up(address: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(address, timeout=5).status_code == 200
    return False
