"""`llm-trace compare` as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.cli_toys import answer, invoke
from tests.helpers.comparison_toys import record


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("comparison") / "traces.duckdb"
    record(path, 40)
    return path


def test_the_table_names_sides_pairs_metrics_and_verdicts(place: Path) -> None:
    said = invoke(place, "compare", "qa v1", "qa v2").stdout
    assert "40 pairs by function and input without version" in said
    assert [line.split()[-1] for line in said.splitlines() if line.startswith("accuracy")] == ["worse"]


def test_json_is_the_record(place: Path) -> None:
    found = answer(
        place, "compare", "try v1", "try v2", "--metric", "accuracy", "--slice", "metadata.example"
    )
    assert ([m["name"] for m in found["metrics"]], found["slices"]) == (["accuracy"], [])


def test_a_condition_that_holds_is_exit_code_1(place: Path) -> None:
    failed = invoke(place, "compare", "try v1", "try v2", "--fail-if", "accuracy.low < -0.02")
    assert (failed.exit_code, "accuracy.low < -0.02" in failed.stderr) == (1, True)
    assert invoke(place, "compare", "try v1", "try v2", "--fail-if", "accuracy.high > 0").exit_code == 0
    unknown = invoke(place, "compare", "try v1", "try v2", "--fail-if", "beauty.low < 0")
    assert unknown.exit_code != 0
    assert "no metric 'beauty'" in unknown.stderr


def test_what_has_no_common_input_is_exit_code_3(place: Path) -> None:
    assert invoke(place, "compare", "try v1", "nothing").exit_code == 3


def test_a_page_is_written(place: Path, tmp_path: Path) -> None:
    invoke(place, "compare", "try v1", "try v2", "--html", str(tmp_path / "page.html"))
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
