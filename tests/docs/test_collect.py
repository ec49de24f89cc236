"""examples/collect: what its files start is accepted by the command, and they fit together."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from llm_trace.collect.receiver import RequestLimits
from tests.conftest import Recorded
from tests.helpers.cli_toys import ROOT, invoke

FOLDER = ROOT / "examples" / "collect"
UNIT = FOLDER / "llm-trace-collect.service"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]


@pytest.mark.parametrize("text", [UNIT.read_text(), COMPOSE["llm-trace"]["command"]], ids=["unit", "compose"])
def test_the_command_takes_the_options(recorded: Recorded, text: str) -> None:
    command = re.search(r"llm-trace collect ([^\n\"]+)", text)
    assert command is not None
    arguments = shlex.split(command[1])
    assert "--workers" in arguments
    at = arguments.index("--store")
    result = invoke(recorded.path, "collect", *arguments[:at], *arguments[at + 2 :], "--help")
    assert result.exit_code == 0, result.output


def test_the_collector_sends_where_the_receiver_listens_no_more_than_it_takes() -> None:
    collector = yaml.safe_load((FOLDER / "otel-collector.yaml").read_text())
    sending = collector["exporters"]["otlphttp"]
    assert sending["endpoint"] == "http://llm-trace:4318"
    assert "--port 4318" in COMPOSE["llm-trace"]["command"]
    assert sending["headers"] == {"Authorization": "Bearer ${env:LLM_TRACE_COLLECT_TOKEN}"}
    assert "LLM_TRACE_COLLECT_TOKEN" in COMPOSE["collector"]["environment"]
    assert collector["processors"]["batch"]["send_batch_max_size"] < RequestLimits().spans
    assert sending["sending_queue"]["storage"] in collector["extensions"]
    for pipeline in collector["service"]["pipelines"].values():
        assert set(pipeline["processors"]) <= set(collector["processors"])
        assert pipeline["exporters"] == ["otlphttp"]


def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/llm-trace/bin/llm-trace", sys.executable))
    done = subprocess.run([verify, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
