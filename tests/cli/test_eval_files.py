"""`llm-trace eval --to`: from production back to scenarios, from the shell."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_trace import Dataset
from llm_trace.comparison.dataset import Example
from llm_trace.evaluation import load_scenarios
from tests.helpers.cli_toys import invoke, record


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a program in production."""
    path = tmp_path_factory.mktemp("production") / "t.duckdb"
    record(path)
    return path


def test_calls_of_a_run_become_a_dataset_with_a_version(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "asked.jsonl"
    arguments = ("eval", "--from-run", "first", "--where", "name = 'ask'", "--to", str(file))
    result = invoke(place, *arguments, "--expected")
    assert result.exit_code == 0, result.stderr
    dataset = Dataset.load(file)
    assert f"{len(dataset)} examples, version {dataset.version}: {file}" in result.stdout
    assert dataset.examples[0] == Example(
        input={"prompt": "Be kind.\n\nUser: one"}, expected="hello one", tags=("fast",)
    )
    again = invoke(place, *arguments)
    assert (again.exit_code, "is there already" in again.stderr) == (1, True)


def test_one_call_becomes_a_scenario_file_that_waits_for_the_expert(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "desk.yaml"
    span_id = str(
        invoke(place, "sql", "SELECT span_id FROM calls WHERE name = 'ask' LIMIT 1", "--csv").stdout
    )
    result = invoke(place, "eval", "--from-call", span_id.split()[-1][:8], "--to", str(file))
    assert result.exit_code == 0, result.stderr
    assert f"1 scenarios to be completed, where FILL_IN stands: {file}" in result.stdout
    file.write_text(file.read_text().replace("expected: FILL_IN", "expected: \"'hello ' ~ question\""))
    (scenario,) = load_scenarios(file)
    assert scenario.input == {"prompt": "Be kind.\n\nUser: {{ question }}"}


WRONG = {
    "no calls named": (["--to", "x.yaml"], 2, "--from-run RUN, --from-call ID or --where SQL"),
    "no ending": (["--to", "x.txt", "--from-run", "first"], 2, ".jsonl (a dataset), .yaml"),
    "no call": (["--to", "x.jsonl", "--where", "name = 'nobody'"], 1, "no call matches"),
    "no call to draft": (["--to", "x.yaml", "--where", "name = 'nobody'"], 1, "no call matches"),
    "unknown call": (["--to", "x.yaml", "--from-call", "ffff"], 3, "ffff"),
    "where beside a call": (
        ["--to", "x.yaml", "--from-call", "f", "--where", "name = 'ask'"],
        2,
        "--where does not go with --from-call, which names one call: leave it out",
    ),
    "run beside a call": (
        ["--to", "x.jsonl", "--from-call", "f", "--from-run", "a"],
        2,
        "--from-run does not",
    ),
    "where beside a test": (
        ["app:ask", "--to", "x.py", "--from-call", "f", "--where", "1"],
        2,
        "--where does not go with --to x.py: leave it out",
    ),
    "where without a file": (
        ["refund", "app:ask", "--where", "1"],
        2,
        "--where wants --to FILE: leave it out",
    ),
    "right without a file": (["refund", "app:ask", "--right", "DENY"], 2, "--right wants --to FILE"),
    "expected of a scenario": (
        ["--to", "x.yml", "--from-run", "a", "--expected"],
        2,
        "--expected does not go",
    ),
    "model of a dataset": (["--to", "x.jsonl", "--from-run", "a", "--model", "m"], 2, "--model does not go"),
    "count of a dataset": (["--to", "x.jsonl", "--from-run", "a", "-n", "3"], 2, "-n does not go"),
    "scorer of a file": (["--to", "x.yaml", "--from-run", "a", "--scorer", "exact"], 2, "--scorer does not"),
    "function of a dataset": (["app:ask", "--to", "x.jsonl", "--from-run", "a"], 2, "SCENARIOS does not go"),
    "retry of nothing": (["refund", "app:ask", "--retry"], 2, "--retry wants --resume RUN"),
    "nothing": ([], 2, "SCENARIOS"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_done_says_why(
    case: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, code, words = WRONG[case]
    monkeypatch.chdir(tmp_path)
    result = invoke(place, "eval", *arguments)
    assert result.exit_code == code, result.stderr
    assert words in " ".join(result.stderr.replace("│", " ").split())
    assert not list(tmp_path.iterdir())
