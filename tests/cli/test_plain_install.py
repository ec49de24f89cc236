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


VIEWER = """
import sys
for name in ("numpy", "scipy", "torch", "transformers"):
    sys.modules[name] = None
import llm_trace
from tests.helpers.viewer_toys import make_client
from pathlib import Path
client = make_client(Path("llm_trace.duckdb"))
call = llm_trace.open_store("llm_trace.duckdb").calls()[0]
for page in ("calls", "runs", "review", "health", f"trace/{call.trace_id}"):
    assert client.get(f"/{page}").status_code == 200, page
for page in ("prompts.json", "compare.json?a=x&b=y"):
    refused = client.get(f"/{page}")
    print(refused.status_code, refused.json()["error"])
"""


def test_the_viewer_opens_without_what_only_some_pages_need_and_they_name_it(tmp_path: Path) -> None:
    record(tmp_path / "llm_trace.duckdb")
    done = subprocess.run(
        [sys.executable, "-c", VIEWER],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == ["503 this needs numpy: pip install 'llm-trace[view]'"] * 2, (
        done.stderr
    )


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
