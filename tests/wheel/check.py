"""Build the wheel, install it into an empty environment without the sources, import it and use it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_BYTES = 3_500_000
USE = Path(__file__).with_name("use.py")


def run(*command: str | Path, cwd: Path) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "LLM_TRACE"))}
    subprocess.run(list(map(str, command)), check=True, cwd=cwd, env=clean)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, ROOT, cwd=place)
        (wheel,) = place.glob("*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        assert wheel.stat().st_size <= MAX_BYTES, f"{wheel.name} has {wheel.stat().st_size} bytes"
        assert not [
            n
            for n in names
            if n.split("/")[0] not in ("llm_trace", "llm_trace_integrations") and ".dist-info/" not in n
        ]
        assert {"llm_trace/py.typed", "llm_trace/mcp/SKILL.md"} <= set(names)
        venv.create(place / "env", with_pip=True)
        python = place / "env" / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=place)
        script = place / "use.py"
        script.write_text(USE.read_text())
        run(python, "-W", "error", script, cwd=place)
        run(python.with_name("llm-trace"), "doctor", "--store", place / "traces.duckdb", cwd=place)
    print("the wheel works on its own: 1 passed, 0 failed")


if __name__ == "__main__":
    main()
