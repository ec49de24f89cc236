"""Spark gives the same answers about a lake as `open_store`; run by `make test-spark`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from llm_trace import open_store
from llm_trace.stores.lake.delta import LakeTable
from llm_trace.stores.lake.shipping import ship
from llm_trace.stores.lake.tables import SHAPES
from tests.helpers.spool_toys import BEGIN, HandWriter, bodies, spool_of

SCRIPT = Path(__file__).with_name("spark_reads.py")
PYTHON = os.environ.get("LLM_TRACE_SPARK", "")
DAY = 24 * 3600
pytestmark = pytest.mark.skipif(not PYTHON, reason="run by `make test-spark`")


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give a lake that two machines shipped to, with calls of three days."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for machine in range(2):
        store = tmp_path / f"m{machine}.duckdb"
        writer = HandWriter(spool_of(store))
        for number in range(30):
            said = {"role": "user", "content": f"Question {number} of {machine}"}
            at = machine + number % 3 * DAY + number * 2
            writer.start(
                at, model=f"m{number % 4}" if number % 5 else None, tags=["x", "y"][: number % 3],
                input={"m": {"$messages": [0, 1]}}, messages_in=[[number, number]],
                messages=bodies(said, first=number),
            )  # fmt: skip
            writer.end(at, output="yes", cost_usd=number / 8)
        writer.event("score", id=f"{machine:016x}", span_id="0" * 16, name="s", value=1, time_ns=BEGIN)
        writer.close()
        ship(f"delta://{tmp_path}/lake", store)
    return f"delta://{tmp_path}/lake"


def list_files(address: str) -> dict[str, list[str]]:
    """Return the files of the lake's tables as of now, by the log."""
    root, files = address.removeprefix("delta://"), {}
    for name in ("calls", "messages"):
        table = LakeTable(root, name, SHAPES[name].time)
        table.load()
        files[name] = [f"{table.uri}/{file.path}" for file in table.list_files()]
    return files


def test_spark_gives_the_same_answers(address: str, tmp_path: Path) -> None:
    files = tmp_path / "files.json"
    files.write_text(json.dumps(list_files(address)))
    done = subprocess.run([PYTHON, str(SCRIPT), str(files)], check=True, capture_output=True, text=True)
    answers: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    with open_store(address) as lake:
        assert answers["newest"] == [[call.span_id] for call in lake.calls(limit=50)]
        assert answers["tag"] == sorted([call.span_id] for call in lake.calls(tag="y"))
        by_model = (
            "SELECT model, count(*), sum(cost_usd) FROM calls GROUP BY model ORDER BY model NULLS FIRST"
        )
        assert answers["models"] == [list(row) for row in lake.fetch(by_model)]
        talk = "SELECT span_id, role, text FROM call_messages WHERE direction = 'in' ORDER BY ALL"
        assert answers["talk"] == [list(row) for row in lake.fetch(talk)]
