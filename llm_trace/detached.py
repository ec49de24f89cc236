"""Start a process that outlives this one, as background attribution and delivery need it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DETACH = "import os,sys\nif os.fork(): os._exit(0)\nos.setsid()\nos.execv(sys.argv[1], sys.argv[1:])"


def start(module: str, arguments: Sequence[str], *, environment: Mapping[str, str], log: Path) -> None:
    """Start `python -m module arguments…` with nothing for this process to wait for.

    Raises:
        OSError: it cannot be started, as in an embedded interpreter.
    """
    if not sys.executable:
        words = " ".join(arguments)
        raise OSError(f"sys.executable is empty: run `python -m {module} {words}` beside this program")
    command = [sys.executable, "-P", "-m", module, *arguments]
    with log.open("ab") as output:
        if hasattr(os, "fork"):  # by way of a child that ends at once
            detached = [sys.executable, "-I", "-S", "-c", _DETACH, *command]
            subprocess.run(
                detached, check=True, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        else:
            flags = getattr(subprocess, "DETACHED_PROCESS", 0)
            subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                creationflags=flags,
            )


def search_path() -> str:
    """Return a `PYTHONPATH` with which the process finds what this one found."""
    paths = [path for path in sys.path if path and Path(path).is_dir()]
    return os.pathsep.join(dict.fromkeys(paths))
