"""Run a small real program of each library that is ridden, and print what was recorded of it.

    python -m benchmarks.ridden                         all of them
    python -m benchmarks.ridden dspy crewai --keep      these; their environments stay

Each library gets a virtual environment of its own with the newest versions, which is removed afterwards; the
programs ask a server on 127.0.0.1 that answers with recorded exchanges, and reach nothing else. A number is
how often a field is right; `3 of 4` where it is not always. `all at once`: the tokens with every library of
the environment instrumented; `undo`: what it left.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.ridden.environments import FailedError, install, remove, run_child
from benchmarks.ridden.judge import judge, sum_tokens
from benchmarks.ridden.server import ScriptedProvider
from benchmarks.ridden.table import PROGRAMS


def main() -> int:
    """Print the table; return the exit code, 1 where something failed, miscounted or was left."""
    options = _parse_arguments()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="ridden-"))
    rows: dict[str, dict[str, str]] = {}
    for library in options.libraries:
        try:
            install(library, folder)
            rows[library] = _try_library(library, folder)
        except FailedError as exc:
            rows[library] = {"failed": str(exc).splitlines()[-1] if str(exc) else "?"}
            print(f"{library}: {exc}", file=sys.stderr)
        finally:
            if not options.keep:
                remove(library, folder)
    if not (options.keep or options.folder):
        shutil.rmtree(folder, ignore_errors=True)
    Console(width=240).print(_build_table(rows))
    right = all(row.get("all at once") == "equal" and row.get("undo") == "nothing" for row in rows.values())
    return 0 if right else 1


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", help=f"of {', '.join(PROGRAMS)}")
    parser.add_argument("--folder", type=Path, help="where the environments are made; a temporary folder")
    parser.add_argument("--keep", action="store_true", help="keep the environments")
    options = parser.parse_args()
    if unknown := [name for name in options.libraries if name not in PROGRAMS]:
        parser.error(f"no program of {unknown[0]!r}; there are {', '.join(PROGRAMS)}")
    options.libraries = options.libraries or list(PROGRAMS)
    return options


def _try_library(library: str, folder: Path) -> dict[str, str]:
    """Return a library's row: instrumented before it is imported, then after, alone and with all others."""
    with ScriptedProvider() as server:
        first = run_child(library, folder, "before", server.url)
        answered = server.answered
    with ScriptedProvider() as server:
        second = run_child(library, folder, "after", server.url)
        totals = _judge_totals(second["all"], server)
        later = _judge_later(first["calls"], second["alone"]["calls"])
    return {
        "version": first["versions"][0],
        "by": first["state"].removeprefix("openinference-instrumentation-"),
        "on": f"{datetime.now(UTC):%Y-%m-%d}",
        **judge(first["calls"], answered, PROGRAMS[library]),
        "imported before": later,
        "all at once": totals,
        "undo": _judge_undo(second),
    }


def _judge_totals(step: dict[str, Any], server: ScriptedProvider) -> str:
    answered = server.answered[slice(*step["answered"])]
    if not answered:
        return "equal"
    true = sum(each.input_tokens for each in answered), sum(each.output_tokens for each in answered)
    counted = sum_tokens(step["calls"])
    return "equal" if counted == true else f"{counted[0]}/{counted[1]} for {true[0]}/{true[1]}"


def _judge_later(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> str:
    """Say whether a library that was imported first is recorded as one that is imported later."""
    names = [sorted(call["name"].partition("_")[0] for call in calls) for calls in (first, second)]
    return "same" if names[0] == names[1] else f"{len(second)} calls"


def _judge_undo(result: dict[str, Any]) -> str:
    if result["changed"]:
        return f"{len(result['changed'])} names: {result['changed'][0]}"
    calls = result["undone"]["calls"]
    return f"{len(calls)} calls" if calls else "nothing"


def _build_table(rows: dict[str, dict[str, str]]) -> Table:
    table = Table(title="What is recorded of libraries that others instrument", title_justify="left")
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    for name in ("library", *names):
        table.add_column(name, overflow="fold")
    for library, row in rows.items():
        table.add_row(library, *(row.get(name, "") for name in names))
    return table


if __name__ == "__main__":
    sys.exit(main())
