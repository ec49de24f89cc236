"""`llm-trace attach` beside real Phoenix and MLflow servers: `make test-servers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from llm_trace.record import Call
from tests.conftest import Recorded
from tests.helpers.cli_toys import answer
from tests.helpers.explained import keep_attributions, make_attribution
from tests.servers.test_servers import BIN, WAIT_S, find_port, record, server, wait_until

pytestmark = pytest.mark.skipif(not BIN, reason="real servers are opt-in: make test-servers")
QUESTION = "Is the sky blue?"


def attach_and_explain(address: str, store: Path) -> Call:
    """Attach, keep an attribution of the model's call and attach again; return that call."""
    assert answer(store, "attach", address)["calls"] >= 2
    ask: Call
    (ask,) = [call for call in Recorded(store).calls() if call.name == "ask"]
    keep_attributions(store, ask, make_attribution(QUESTION, [0.0, 0.1, 0.5, 2.0]))
    second = answer(store, "attach", address)
    assert (second["calls"], second["written"]) == (0, 1)
    assert answer(store, "attach", address)["written"] == 0
    assert ask.messages_in[-1].text == QUESTION
    return ask


def test_phoenix_shows_the_verdict_on_its_span(tmp_path: Path) -> None:
    port, grpc = find_port(), find_port()
    base = f"http://127.0.0.1:{port}"
    env = {
        "PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port), "PHOENIX_GRPC_PORT": str(grpc),
        "PHOENIX_WORKING_DIR": str(tmp_path), "PHOENIX_TELEMETRY_ENABLED": "false",
    }  # fmt: skip
    with server([f"{BIN}/phoenix", "serve"], env, f"{base}/healthz", tmp_path / "log"):
        record(tmp_path / "sent.duckdb", f"otlp://127.0.0.1:{port}?metrics=false")
        spans = f"{base}/v1/projects/default/spans"
        wait_until(lambda: len(httpx.get(spans).json()["data"]) == 3, WAIT_S, tmp_path / "log")
        ask = attach_and_explain(f"phoenix://127.0.0.1:{port}/default", tmp_path / "t.duckdb")

        def list_annotations() -> Any:
            query = {"span_ids": ask.span_id}
            return httpx.get(f"{base}/v1/projects/default/span_annotations", params=query).json()["data"]

        (annotation,) = wait_until(list_annotations, WAIT_S, tmp_path / "log")
    assert (annotation["name"], annotation["result"]["label"]) == ("llm_trace.attribution", "ok")
    assert "blue?" in annotation["result"]["explanation"]
    assert annotation["metadata"]["method"] == "occlusion"


def test_mlflow_shows_the_verdict_on_its_span(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = find_port()
    base = f"http://127.0.0.1:{port}"
    command = [f"{BIN}/mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-mlflow-experiment-id=0")
    with server(command, {"DO_NOT_TRACK": "true"}, f"{base}/health", tmp_path / "log"):
        record(tmp_path / "sent.duckdb", f"otlp://127.0.0.1:{port}?metrics=false")
        ask = attach_and_explain(f"mlflow://127.0.0.1:{port}/Default", tmp_path / "t.duckdb")
        trace = httpx.get(f"{base}/api/3.0/mlflow/traces/tr-{ask.trace_id}").json()["trace"]
    (assessment,) = (trace.get("trace_info") or trace)["assessments"]
    assert (assessment["assessment_name"], assessment["span_id"]) == ("llm_trace.attribution", ask.span_id)
    assert assessment["feedback"]["value"] == "ok"
    assert "blue?" in assessment["rationale"]
