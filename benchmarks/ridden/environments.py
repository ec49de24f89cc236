"""Virtual environments, one a library, and programs that run in them without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.ridden.table import list_requirements

ROOT = Path(__file__).resolve().parents[2]
_MOST_SECONDS = 600
_FREE_BYTES = 4 << 30
_QUIET = {
    "OPENAI_API_KEY": "x", "ANTHROPIC_API_KEY": "x", "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false", "HAYSTACK_TELEMETRY_ENABLED": "false", "HF_HUB_OFFLINE": "1",
    "OPENAI_AGENTS_DISABLE_TRACING": "0", "LITELLM_LOCAL_MODEL_COST_MAP": "true",
}  # fmt: skip
"""What keeps libraries from asking the network, which the programs cannot reach."""


class FailedError(Exception):
    """An environment could not be made, or a program failed in it."""


def install(library: str, folder: Path) -> None:
    """Make the environment of a library with the newest versions of what it needs, and this project.

    Raises:
        FailedError: the disk is nearly full, or pip failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < _FREE_BYTES:
        raise FailedError(f"less than {_FREE_BYTES >> 30} GB are free in {folder}")
    environment = folder / library
    if not environment.exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    wanted = [*list_requirements(library), str(ROOT)]
    done = subprocess.run([*pip, *wanted], capture_output=True, text=True)
    if done.returncode:
        raise FailedError(f"pip install {' '.join(wanted)}: {done.stderr.strip()[-400:]}")


def run_child(library: str, folder: Path, when: str, url: str) -> dict[str, Any]:
    """Run a program in its environment and return what was recorded of it.

    Raises:
        FailedError: the program failed or did not end.
    """
    place = folder / f"{library}-{when}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    variables = {
        "PATH": os.environ["PATH"], "HOME": str(place), "RIDDEN_URL": url, **_QUIET,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "integrations"))),
    }  # fmt: skip
    command = [str(folder / library / "bin" / "python"), "-m", "benchmarks.ridden.child", library]
    try:
        done = subprocess.run(
            [*command, str(place), when], env=variables, cwd=ROOT, capture_output=True, text=True,
            timeout=_MOST_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired as exc:
        raise FailedError(f"the program did not end in {_MOST_SECONDS} s") from exc
    if done.returncode:
        raise FailedError(done.stderr.strip()[-600:])
    result: dict[str, Any] = json.loads((place / "result.json").read_text())
    return result


def remove(library: str, folder: Path) -> None:
    """Give the disk back."""
    for name in (library, f"{library}-before", f"{library}-after"):
        shutil.rmtree(folder / name, ignore_errors=True)
