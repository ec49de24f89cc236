"""Real servers take what the OTLP exporter sends and give it back by their interfaces: `make test-servers`.

They are heavy, so they live in an environment of their own, named by LLM_TRACE_SERVERS; without it these
tests are skipped.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import llm_trace

BIN = os.environ.get("LLM_TRACE_SERVERS", "")
pytestmark = pytest.mark.skipif(not BIN, reason="real servers are opt-in: make test-servers")
START_S = 420
WAIT_S = 60
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is the sky blue?"}]


@contextmanager
def server(command: list[str], env: dict[str, str], ready: str, log: Path) -> Iterator[None]:
    """Run a server until the block ends; it is up when `ready` answers."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=os.environ | env, stdout=out, stderr=out, cwd=log.parent, start_new_session=True
        )
        try:
            wait_until(lambda: httpx.get(ready, timeout=2).status_code == 200, START_S, log)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with the workers it has started
            process.wait()


def wait_until(done: Callable[[], Any], limit_s: float, log: Path) -> Any:
    deadline = time.monotonic() + limit_s
    while True:
        try:
            if found := done():
                return found
        except httpx.HTTPError:
            pass
        if time.monotonic() > deadline:
            pytest.fail(f"not within {limit_s} s; the server said: {log.read_text()[-2000:]}")
        time.sleep(0.2)


def find_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def record(store: Path, address: str) -> dict[str, str]:
    """Trace a pipeline with a model's call in it to a destination; return the span ids by name."""
    llm_trace.configure(store, exporters=(address,))

    @llm_trace.trace(kind="llm", model="small-1")
    def ask(messages: list[dict[str, str]]) -> str:
        llm_trace.update_current_call(usage={"input_tokens": 12, "output_tokens": 3})
        llm_trace.log_score("brief", 1.0)
        return "Yes, it is."

    @llm_trace.trace(kind="agent")
    def pipeline(question: str) -> str:
        return ask(MESSAGES)

    assert pipeline("sky") == "Yes, it is."
    report = llm_trace.flush(WAIT_S)
    llm_trace.shutdown()
    assert report.ok, str(report)
    assert report.destinations[address.partition("?")[0]].delivered >= 2
    return {call.name: call.span_id for call in llm_trace.open_store(store).calls()}


def test_phoenix_shows_the_call_with_its_messages(tmp_path: Path) -> None:
    port, grpc = find_port(), find_port()
    base = f"http://127.0.0.1:{port}"
    env = {
        "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port), "PHOENIX_GRPC_PORT": str(grpc),
        "PHOENIX_WORKING_DIR": str(tmp_path), "PHOENIX_TELEMETRY_ENABLED": "false",
    }  # fmt: skip
    with server([f"{BIN}/phoenix", "serve"], env, f"{base}/healthz", tmp_path / "log"):
        ids = record(tmp_path / "t.duckdb", f"otlp://127.0.0.1:{port}?metrics=false")

        def both() -> Any:
            spans = httpx.get(f"{base}/v1/projects/default/spans").json().get("data", [])
            return spans if len(spans) == 3 else None

        spans = {s["context"]["span_id"]: s for s in wait_until(both, WAIT_S, tmp_path / "log")}
    asked = spans[ids["ask"]]
    assert (asked["span_kind"], asked["parent_id"]) == ("LLM", ids["pipeline"])
    said = asked["attributes"]
    assert said["llm.model_name"] == "small-1"
    assert said["llm.token_count.prompt"] == 12
    assert said["llm.input_messages.1.message.content"] == "Is the sky blue?"
    assert said["output.value"] == "Yes, it is."
    assert [s["name"] for s in spans.values() if s["parent_id"] is None] == ["pipeline"]


def test_mlflow_shows_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = find_port()
    base = f"http://127.0.0.1:{port}"
    command = [f"{BIN}/mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-mlflow-experiment-id=0")
    with server(command, {"DO_NOT_TRACK": "true"}, f"{base}/health", tmp_path / "log"):
        record(tmp_path / "t.duckdb", f"otlp://127.0.0.1:{port}?metrics=false")
        where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}

        def found() -> Any:
            answer = httpx.post(f"{base}/api/3.0/mlflow/traces/search", json={"locations": [where]})
            return answer.json().get("traces")

        (trace,) = wait_until(found, WAIT_S, tmp_path / "log")
        whole = httpx.get(f"{base}/api/3.0/mlflow/traces/get", params={"trace_id": trace["trace_id"]}).json()
    names = {span["name"] for span in whole["trace"]["spans"]}
    assert len(names) == 3
    assert "Be brief." not in trace["request_preview"]
    assert "sky" in trace["request_preview"]
    assert "Yes, it is." in trace["response_preview"]
