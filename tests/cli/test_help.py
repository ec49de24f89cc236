"""Help, version, the page docs/cli.md, and what starting the command line costs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import llm_trace
from llm_trace.cli import app
from llm_trace.cli.app import build_app
from llm_trace.cli.reference import build_page
from tests.helpers.cli_toys import ROOT, record, start

COMMANDS = list(typer.main.get_command(build_app()).commands)  # type: ignore[attr-defined]
# typer itself loads pydantic for a command's parameters.
HEAVY = (
    "duckdb",
    "torch",
    "transformers",
    "numpy",
    "pandas",
    "pyarrow",
    "orjson",
    "opentelemetry.sdk",
)


def test_the_tour_comes_first_and_what_removes_comes_last() -> None:
    assert (COMMANDS[0], COMMANDS[-1]) == ("demo", "purge")
    assert {"ls", "show", "runs", "prompts", "tail", "attribute", "sql", "export", "ingest", "doctor"} < set(
        COMMANDS
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    result = CliRunner().invoke(build_app(), [command, "--help"], env={"COLUMNS": "100", "NO_COLOR": "1"})
    assert result.exit_code == 0
    assert f"Example: llm-trace {command}" in re.sub(r"\s+", " ", result.stdout)


def test_docs_cli_is_what_the_commands_say() -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == build_page(), "run: python -m llm_trace.cli.reference > docs/cli.md"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["ls", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert _list_loaded(arguments, HEAVY) == []


def test_a_command_loads_no_other_command() -> None:
    modules = [f"llm_trace.cli.{place.partition(':')[0]}" for place in app.COMMANDS.values()]
    assert _list_loaded(["prompts", "--help"], modules) == ["llm_trace.cli.prompts"]


def _list_loaded(arguments: list[str], names: Sequence[str]) -> list[str]:
    """Return which of these modules a command has loaded when it leaves."""
    code = f"""
import sys
from llm_trace.cli import main
sys.argv[1:] = {arguments!r}
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
print(*[name for name in {list(names)!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stderr.split()


def test_version_is_the_package_version() -> None:
    assert CliRunner().invoke(build_app(), ["--version"]).stdout == f"llm-trace {llm_trace.__version__}\n"


def test_the_store_comes_from_the_option_else_the_environment_else_the_folder(tmp_path: Path) -> None:
    record(tmp_path / "llm_trace.duckdb")
    for arguments, environment, code in (
        (["sql", "SELECT 1", "--csv"], {}, 0),
        (["sql", "SELECT 1", "--csv"], {"LLM_TRACE_STORE": str(tmp_path / "none.duckdb")}, 3),
        (["sql", "SELECT 1", "--csv", "--store", "llm_trace.duckdb"], {"LLM_TRACE_STORE": "none.duckdb"}, 0),
    ):
        with start(*arguments, cwd=tmp_path, **environment) as process:
            printed, complained = process.communicate(timeout=60)
        assert (process.returncode, bool(printed), bool(complained)) == (code, code == 0, code != 0)


def test_a_terminal_without_unicode_gets_codes_instead_of_an_error(tmp_path: Path) -> None:
    record(tmp_path / "t.duckdb")
    with start(
        "ls", "--store", str(tmp_path / "t.duckdb"), PYTHONIOENCODING="ascii", PYTHONUTF8="0", COLUMNS="200"
    ) as process:
        printed, complained = process.communicate(timeout=60)
    assert (process.returncode, complained) == (0, "")
    assert "9\\u21922" in printed
