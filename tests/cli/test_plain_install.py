"""The command line where only what a plain `pip install llm-trace` brings is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.cli_toys import ROOT, record

PLAIN = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numpy", "scipy", "torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from llm_trace.cli import main
main()
"""


@pytest.mark.parametrize(
    "command", ["demo", "methods", "methods bench", "proxy screen --oracle demo", "proxy show"]
)
def test_what_a_plain_installation_lacks_is_named_with_its_extra(command: str, tmp_path: Path) -> None:
    record(tmp_path / "llm_trace.duckdb")
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, *command.split()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"llm-trace: {command.partition(' ')[0]} needs ")
    assert line.endswith("pip install 'llm-trace[local]'")
