"""A real pair: solutions of two models to the same problems, against scipy's bootstrap."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from llm_trace import compare
from llm_trace.statistics.paired import estimate
from tests.conftest import SHARED
from tests.helpers.spool_toys import HandWriter, spool_of

DATA = SHARED / "data" / "text" / "gsm8k_model_solutions.jsonl"
A, B = "6b_finetuning", "175b_verification"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, dict[str, object]]]:
    if not DATA.exists():
        pytest.skip(f"{DATA} is absent")
    return [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]


def test_the_difference_of_two_models_agrees_with_scipys_paired_bootstrap(
    rows: list[dict[str, dict[str, object]]], tmp_path: Path
) -> None:
    part = rows[:300]
    writer = HandWriter(spool_of(tmp_path / "t.duckdb"))
    for side, model in enumerate((A, B)):
        for i, row in enumerate(part):
            number = side * len(part) + i
            writer.call(
                number, input={"question": row["question"]}, model=model, output=row[model]["solution"]
            )
            score = {"span_id": f"{number:016x}", "name": "accuracy", "value": row[model]["is_correct"]}
            writer.event("score", id=f"{number:016x}", source="code", time_ns=1, **score)
    writer.close()
    found = compare(A, B, store=tmp_path / "t.duckdb").metric("accuracy")
    a, b = (np.array([float(bool(row[model]["is_correct"])) for row in part]) for model in (A, B))
    expected = stats.bootstrap((b - a,), np.mean, n_resamples=4000, method="BCa", rng=0).confidence_interval
    assert (found.n, found.verdict) == (300, "better")
    assert found.difference == pytest.approx(float((b - a).mean()))
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.01)


def test_the_length_of_solutions_agrees_with_scipys_paired_bootstrap(
    rows: list[dict[str, dict[str, object]]],
) -> None:
    a, b = (np.array([float(len(str(row[model]["solution"]))) for row in rows]) for model in (A, B))
    found = estimate(a, b)
    expected = stats.bootstrap((b - a,), np.mean, n_resamples=2000, method="BCa", rng=0).confidence_interval
    width = expected.high - expected.low
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.1 * width)
