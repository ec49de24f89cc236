"""`llm-trace eval`: a function asked from the shell, exit codes, resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import llm_trace
from llm_trace.capture import slots
from llm_trace.cli.app import build_app
from llm_trace.config import configure_from_environment
from tests.helpers.cli_toys import SCREEN, invoke

APP = """
def always(message):
    return "APPROVE"

def short(output, instance):
    return len(output) < 9
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program, to start the command in."""
    (tmp_path / "eval_app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_shipped_file_is_asked_and_told_in_a_table_with_sentences(folder: Path) -> None:
    result = invoke(folder / "t.duckdb", "eval", "refund", "eval_app:always", "-n", "6", "--scorer", "exact",
                    "--scorer", "eval_app:short")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "exact sensitivity" in result.stdout
    assert "short: 100% on 12 fresh questions" in result.stdout


def test_a_budget_that_ends_leaves_with_1_and_resume_completes_it(folder: Path) -> None:
    store = folder / "t.duckdb"
    first = invoke(store, "eval", "refund", "eval_app:always", "-n", "2", "--budget", "5", "--json")
    evaluation = json.loads(first.stdout)
    assert (first.exit_code, evaluation["answered"]) == (1, 5)
    assert f"calls are lacking: --resume {evaluation['run']['id']}" in first.stderr
    second = invoke(store, "eval", "refund", "eval_app:always", "-n", "2", "--resume", "always", "--json")
    whole = json.loads(second.stdout)
    assert (second.exit_code, whole["answered"], whole["run"]["id"]) == (
        0, whole["planned"], evaluation["run"]["id"],
    )  # fmt: skip


def test_a_condition_that_holds_leaves_with_1(folder: Path) -> None:
    arguments = ("eval", "refund", "eval_app:always", "-n", "4", "--fail-if")
    for condition, code in (("exact sensitivity.high < 0.9", 1), ("exact robustness.value < 1", 0)):
        result = invoke(folder / "t.duckdb", *arguments, condition)
        assert (result.exit_code, f"failed, as {condition}" in result.stderr) == (code, bool(code))


WRONG = {
    "scenario file": (["refnd", "eval_app:always"], 1, "are shipped: arithmetic, refund, retrieval"),
    "function": (["refund", "eval_app:nobody"], 1, "'eval_app' has no function 'nobody'"),
    "scorer": (["refund", "eval_app:always", "--scorer", "right"], 2, "is none of exact, contains"),
    "line": (["bad.yaml", "eval_app:always"], 1, "'bad.yaml', line 3: scenario 'a': 'y' in 'y' is no slot"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_work_is_said_with_the_remedy(case: str, folder: Path) -> None:
    (folder / "bad.yaml").write_text("scenarios:\n  - id: a\n    expected: y\n    input: {message: Hello}\n")
    arguments, code, message = WRONG[case]
    result = invoke(folder / "t.duckdb", "eval", *arguments)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_a_program_that_says_where_it_records_is_recorded_there(folder: Path) -> None:
    (folder / "eval_own.py").write_text(f"import llm_trace\nllm_trace.configure('own.duckdb')\n{APP}")
    result = CliRunner().invoke(build_app(), ["eval", "refund", "eval_own:always", "-n", "1"], env=SCREEN)
    assert result.exit_code == 0, result.stderr
    llm_trace.shutdown()
    with llm_trace.open_store(folder / "own.duckdb") as store:
        assert store.runs()[0].name == "always"


def test_the_option_counts_more_than_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = folder / "option.duckdb"
    monkeypatch.setattr(slots, "bootstrap", configure_from_environment)  # as importing llm_trace does there
    arguments = ("eval", "refund", "eval_app:always", "-n", "1")
    result = invoke(store, *arguments, LLM_TRACE_STORE=str(folder / "environment.duckdb"))
    assert result.exit_code == 0, result.stderr
    assert len(llm_trace.open_store(store).runs()) == 1
