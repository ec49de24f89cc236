"""The pytest plugin and instrumented SDKs: code without decorators is recorded once, then needs no server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import openai
import openai.lib.streaming.chat
import openai.resources.chat.completions  # noqa: F401  # loaded once, beside what pytester unloads
import pytest

import llm_trace.config
import llm_trace.replays.session
import llm_trace.stores.duckdb  # noqa: F401
from tests.helpers.loopback import Loopback, Received, Reply

pytest_plugins = ["pytester"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pytest.md"
KEY = "sk-proj-0123456789abcdefghijklmnopqrstuvwx"
CHAT: dict[str, Any] = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m-1"}


def answer(request: Received) -> Reply:
    if request.json().get("stream"):
        chunks = [
            {**CHAT, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}
            for text in ("We are ", "sorry.")
        ]
        body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        return Reply(200, body.encode(), {"content-type": "text/event-stream"})
    message = {"role": "assistant", "content": '{"refund": true}'}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    return Reply(body=json.dumps({**CHAT, "choices": choices}).encode())


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The project that the page shows, and a server for as long as it is recorded."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    blocks = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE.read_text(), re.DOTALL)
    pytester.makepyfile(**dict(blocks))
    with Loopback(answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        run(pytester, "--llm-trace=record").assert_outcomes(passed=1)
        assert len(server.received) == 2
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "llm_trace.pytest_plugin", "-p", "no:cacheprovider", *arguments)


def test_the_example_of_the_page_needs_no_server_once_it_is_recorded(project: pytest.Pytester) -> None:
    run(project).assert_outcomes(passed=1)
    cassette = (project.path / "cassettes" / "test_support" / "test_support.json").read_text()
    assert KEY not in cassette
    assert "It came broken. My key was " in cassette


def test_another_question_fails_with_a_diff(project: pytest.Pytester) -> None:
    file = project.path / "test_support.py"
    file.write_text(file.read_text().replace("It came broken.", "It came late."))
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*asks something that is not in the record*"])
