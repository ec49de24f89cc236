"""What docs/lake.md shows does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from llm_trace import open_store
from llm_trace.stores.lake.shipping import ship
from llm_trace.stores.lake.tables import SHAPES

DOCUMENT = Path(__file__).parents[2] / "docs" / "lake.md"
PROGRAM = """
@llm_trace.trace(kind="llm")
def ask(question: str) -> str:
    return "yes"

assert ask("Is it?") == "yes"
llm_trace.shutdown()
"""


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the document with a lake of the test's own."""
    pytest.importorskip("deltalake")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return DOCUMENT.read_text(encoding="utf-8").replace("/srv/lake", f"{tmp_path}/lake")


def test_its_programs_record_and_ask(text: str, tmp_path: Path) -> None:
    configuring, asking = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    subprocess.run([sys.executable, "-c", configuring + PROGRAM], check=True, cwd=tmp_path)
    address = f"delta://{tmp_path}/lake"
    ship(address)
    done = subprocess.run(
        [sys.executable, "-c", f"import llm_trace\n{asking}print(lake.calls()[0].output)"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "yes\n"
    with open_store(address) as lake:
        assert [call.name for call in lake.calls()] == ["ask"]


def test_it_names_every_table() -> None:
    rows = DOCUMENT.read_text(encoding="utf-8").split("| ordered by |")[1]
    named = re.findall(r"^\| (`.*?) \|", rows, re.MULTILINE)
    assert {name for row in named for name in re.findall(r"`(\w+)`", row)} == set(SHAPES)
