"""`llm-trace prompts`: versions, how their calls went, and what changed."""

from __future__ import annotations

from pathlib import Path

import pytest

import llm_trace
from llm_trace.comparison.iterations import diff, find_prompt_version
from tests.helpers.cli_toys import answer, invoke
from tests.helpers.comparison_toys import PROMPTS, record


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "traces.duckdb"
    record(path, 10)
    return path


def test_each_version_is_listed_with_its_use(place: Path) -> None:
    first, second = answer(place, "prompts")
    assert (first["number"], first["use"]["calls"], first["use"]["errors"]) == (1, 10, 0)
    assert (first["use"]["scores"], second["use"]["scores"]) == ({"accuracy": 1.0}, {"accuracy": 0.8})
    assert second["use"]["input_tokens"] - first["use"]["input_tokens"] == len("Be brief.\n")
    assert first["use"]["cost_usd"] == pytest.approx(0.018 * 10)
    assert "accuracy 0.8" in invoke(place, "prompts", COLUMNS="200").stdout


@pytest.mark.parametrize(("before", "after"), [("v1", "v2"), ("1", PROMPTS["v2"].version[:5])])
def test_a_diff_shows_words_that_came_and_went(place: Path, before: str, after: str) -> None:
    assert (
        invoke(place, "prompts", "diff", "qa", before, after).stdout
        == "{+Be brief.\n+}Question: {question}\n"
    )


def test_a_diff_names_variables_and_rebuilds_both_texts(tmp_path: Path) -> None:
    llm_trace.configure(tmp_path / "t.duckdb")
    old, new = "Answer {question} kindly.", "Answer {question} in {language}."
    llm_trace.Prompt("p", old).format(question="q")
    llm_trace.Prompt("p", new).format(question="q", language="fr")
    llm_trace.shutdown()
    with llm_trace.open_store(tmp_path / "t.duckdb") as store:
        found = diff(find_prompt_version(store, "p", "v1"), find_prompt_version(store, "p", "v2"))
    assert (found.added_variables, found.removed_variables) == (("language",), ())
    assert "".join(p.text for p in found.pieces if p.change != "added") == old
    assert "".join(p.text for p in found.pieces if p.change != "removed") == new


def test_what_is_not_there_or_not_meant_is_said(place: Path) -> None:
    missing = invoke(place, "prompts", "diff", "qa", "v1", "v9")
    assert (missing.exit_code, "'qa' has not one version 'v9': there is v1" in missing.stderr) == (3, True)
    assert invoke(place, "prompts", "diff", "qa").exit_code == 2
