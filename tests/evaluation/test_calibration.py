"""A judge against people: agreement and bias with bounds, from the store or from lists."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

import llm_trace
from llm_trace import evaluate
from llm_trace.errors import ConfigurationError
from llm_trace.evaluation import Instance, calibrate, read_evaluation
from tests.conftest import Recorded
from tests.helpers.evaluation_toys import answer, make_desk


def lenient(output: Any, instance: Instance) -> float:
    return {"DENY": 0.5, "APPROVE": 1.0}[output]


def test_scores_of_people_in_the_store_calibrate_the_score_of_their_name(store: Recorded) -> None:
    evaluation = evaluate(answer, make_desk(), {"quality": lenient}, n=30)
    assert evaluation.calibrations == ()
    for outcome in evaluation.outcomes[:24]:
        value = 1.0 if outcome.output == "APPROVE" else 0.25
        llm_trace.log_score("quality", value, call=outcome.span_id, source="human")
    llm_trace.flush()
    again = read_evaluation(evaluation.run, store=store.path)
    (calibration,) = again.calibrations
    denied = sum(each.output == "DENY" for each in evaluation.outcomes[:24])
    assert (calibration.score, calibration.n, calibration.equal) == ("quality", 24, (24 - denied) / 24)
    assert (calibration.correlation, calibration.bias) == (
        pytest.approx(1.0),
        pytest.approx(denied * 0.25 / 24),
    )
    assert calibration.kappa_low < calibration.kappa < calibration.kappa_high
    assert f"kappa {calibration.kappa:.2f}" in str(again)
    assert "points more lenient" in str(again)
    assert again.dimensions == evaluation.dimensions  # what people say changes no score of the judge


def test_scores_of_another_name_and_scale(store: Recorded) -> None:
    evaluation = evaluate(answer, make_desk(), {"quality": lenient}, n=12)
    for outcome in evaluation.outcomes:
        label = "good" if outcome.output == "APPROVE" else "fair"
        llm_trace.log_score("opinion", label, call=outcome.span_id, source="human")
    llm_trace.flush()
    outcomes = read_evaluation(evaluation.run, store=store.path).outcomes
    scale = ["bad", "fair", "good"]
    calibration = calibrate(outcomes, "opinion", score="quality", human_scale=scale)
    assert (calibration.human, calibration.n, calibration.kappa, calibration.bias) == (
        "opinion",
        12,
        1.0,
        0.0,
    )
    with pytest.raises(
        ConfigurationError, match="'opinion' is '(good|fair)' of an answer.*give human_scale="
    ):
        calibrate(outcomes, "opinion", score="quality")
    with pytest.raises(ConfigurationError, match="0 answers have both 'quality' and 'other'.*source='human'"):
        calibrate(outcomes, "other", score="quality")


def judge_people(n: int, error: float) -> tuple[list[float], list[int]]:
    random = Random(3)
    people = [random.randint(1, 5) for _ in range(n)]
    scores = [each if random.random() > error else random.randint(1, 5) for each in people]
    return [(each - 1) / 4 for each in scores], people


def test_judges_that_agree_or_guess_are_told_apart() -> None:
    for error, verdict in ((0.05, "agrees"), (1.0, "disagrees"), (0.4, "undecided")):
        scores, people = judge_people(120, error)
        calibration = calibrate(scores, people, human_scale=[1, 2, 3, 4, 5])
        assert (calibration.verdict, calibration.n) == (verdict, 120)
        assert {"agrees": "it agrees with people", "disagrees": "it does not agree with people",
                "undecided": "is open: score more answers"}[verdict] in str(calibration)  # fmt: skip


def test_a_judge_that_always_says_the_same_has_no_correlation_and_no_kappa() -> None:
    calibration = calibrate([1.0] * 20, [True] * 10 + [False] * 10)
    assert (calibration.kappa, calibration.correlation, calibration.bias) == (0.0, None, 0.5)
    same = calibrate([1.0] * 20, [True] * 20)
    assert (same.kappa_low, same.kappa_high, same.verdict) == (-1.0, 1.0, "undecided")


def test_lists_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="2 scores of the judge and 1 of people do not pair"):
        calibrate([0.5, 1], [1])
