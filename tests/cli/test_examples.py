"""The examples run as they stand, in an empty folder, and leave what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import llm_trace
from tests.helpers.cli_toys import ROOT


def run(example: str, folder: Path, *arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LLM_TRACE_")}
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / example), *arguments]
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_seven_lines(tmp_path: Path) -> None:
    assert run("seven_lines.py", tmp_path) == "You asked: Why is the sky blue?\n"
    with llm_trace.open_store(tmp_path / "traces.duckdb") as store:
        (call,) = store.calls()
    assert (call.name, call.kind, call.model, call.input) == (
        "ask",
        "llm",
        "my-model",
        {"question": "Why is the sky blue?"},
    )


def test_service_keeps_concurrent_requests_apart(tmp_path: Path) -> None:
    assert "0 pending, 0 rejected, 0 dropped" in run("service.py", tmp_path)
    with llm_trace.open_store(tmp_path / "llm_trace.duckdb") as store:
        traces = {call.trace_id: store.trace(call.trace_id) for call in store.calls(name="answer")}
    assert len(traces) == 20
    for calls in traces.values():
        assert sorted(call.name for call in calls) == ["answer", "complete", "search"]
        assert len({(call.session, call.user) for call in calls}) == 1
        (root,) = (call for call in calls if call.parent_id is None)
        (stream,) = (call for call in calls if call.name == "complete")
        assert stream.prompt is not None
        assert stream.prompt.variables["visitor"] == root.session
        assert stream.first_token_ns is not None


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_pool_records_every_call_of_every_worker(tmp_path: Path, method: str) -> None:
    calls, processes = (int(word) for word in run("pool.py", tmp_path, method).split() if word.isdigit())
    assert calls == 40
    assert 1 <= processes <= 4


@pytest.mark.parametrize("framework", ["fastapi", "starlette", "flask", "django"])
def test_a_call_in_a_web_request_is_in_the_callers_trace_and_carries_it_on(
    tmp_path: Path, framework: str
) -> None:
    printed = run(f"web_{framework}.py", tmp_path)
    with llm_trace.open_store(tmp_path / "llm_trace.duckdb") as store:
        (call,) = store.calls()
    assert (call.name, call.kind, call.status) == ("complete", "llm", "ok")
    assert (call.trace_id, call.parent_id) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert printed.strip().strip('"') == f"Why? in 00-{call.trace_id}-{call.span_id}-01"
