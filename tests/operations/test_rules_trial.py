"""A rule on trial: counts, exact bounds and costs against what people said; nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scipy import stats

import llm_trace
from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.operations import OperationLog, parse_rules, try_rules
from llm_trace.operations.rates import BoundedRate, bound_rate
from tests.helpers.rules_toys import DeskCall, record_desk

pytest.importorskip("cel_expr_python")

ON_EXAMPLE, ON_DAYS = {"broken": 0.4, "75": 0.1}, {"75": 1.0}
CALLS = [
    *[DeskCall(weights=ON_EXAMPLE, right=[False])] * 3,
    DeskCall(weights=ON_EXAMPLE, right=[True]),
    DeskCall(weights=ON_EXAMPLE),
    DeskCall(weights=ON_DAYS, right=[True]),
    DeskCall(weights=ON_DAYS, right=[0.0]),
    DeskCall(weights=ON_DAYS, right=["correct", "wrong"]),
    DeskCall(weights=ON_DAYS, right=[True, True, False]),
    DeskCall(right=[False]),
]
RULES = """\
rules:
  - {name: example, action: check, when: share('broken') > 0.5}
  - {name: stop, action: block, when: share('broken') > 0.5}
  - {name: mark, action: tag, when: score('correct') == 0}
"""


@pytest.fixture
def desk(path: Path) -> Path:
    record_desk(path, CALLS)
    return path


def try_on(path: Path, **settings: Any) -> Any:
    with llm_trace.open_store(path) as store:
        return try_rules(parse_rules(RULES), store.calls(kind="llm", limit=None), store, **settings)


def test_a_trial_counts_what_the_rule_would_have_found_and_cost(desk: Path) -> None:
    trial = try_on(desk)
    assert (trial.calls, trial.labelled, trial.wrong, trial.tied) == (10, 8, 5, 1)
    assert (trial.seconds_per_check, trial.measured) == (60, False)
    example, stop, mark = trial.rules
    assert example.fires == bound_rate(5, 10)
    assert example.precision == bound_rate(3, 4)
    assert example.recall == bound_rate(3, 5)
    assert (example.unknown, example.reason) == (
        1,
        "the call has no attribution: llm-trace attribute makes one",
    )
    assert (example.checks, example.seconds, example.stopped) == (6, 360, 0)
    assert (stop.checks, stop.stopped) == (1, 1)
    assert (mark.fires.count, mark.unknown, mark.checks) == (6, 2, 2)
    assert mark.notes == (
        "it reads 'correct', the score that it is held against: precision and recall say nothing",
    )
    assert example.notes == ()
    assert trial.together.fires.count == 7
    assert trial.together.checks == 2
    assert trial.together.stopped == 1


def test_nothing_is_written_by_a_trial(desk: Path) -> None:
    try_on(desk)
    with llm_trace.open_store(desk) as store:
        assert store.sql("SELECT count(*) FROM operations").fetchone() == (0,)


def test_the_time_of_a_check_is_what_reviews_took(desk: Path) -> None:
    with OperationLog(desk) as log:
        for seconds in (10, 20, 90):
            log.append("review", "correct", {"seconds": seconds})
    trial = try_on(desk)
    assert (trial.seconds_per_check, trial.measured, trial.rules[0].seconds) == (20, True, 120)
    assert try_on(desk, seconds_per_check=5).rules[0].seconds == 30


def test_without_scores_a_trial_still_says_how_often_rules_fire(path: Path) -> None:
    record_desk(path, [DeskCall(weights=ON_EXAMPLE), DeskCall(weights=ON_DAYS)])
    example = try_on(path).rules[0]
    nothing = BoundedRate(count=0, of=0, value=None, low=0, high=1)
    assert (example.fires.count, example.precision, example.recall) == (1, nothing, nothing)


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_where_all_are_right_or_all_wrong_the_bounds_say_how_little_is_known(path: Path, right: bool) -> None:
    record_desk(path, [DeskCall(weights=ON_EXAMPLE, right=[right])] * 4)
    example = try_on(path).rules[0]
    assert example.precision == bound_rate(0 if right else 4, 4)
    assert example.recall.of == (0 if right else 4)
    assert example.precision.high - example.precision.low > 0.5


def test_a_score_that_is_neither_right_nor_wrong_is_said(path: Path) -> None:
    record_desk(path, [DeskCall(weights=ON_EXAMPLE, right=[0.7])])
    with pytest.raises(ConfigurationError, match="is 0.7, which is neither right nor wrong"):
        try_on(path)


def test_a_trial_on_no_calls_is_said(desk: Path) -> None:
    with (
        llm_trace.open_store(desk) as store,
        pytest.raises(NotFoundError, match="no call to try"),
    ):
        try_rules(parse_rules(RULES), [], store)


@pytest.mark.parametrize(("count", "of"), [(0, 7), (7, 7), (3, 7), (50, 1000)])
def test_bounds_of_a_rate_are_those_of_clopper_and_pearson(count: int, of: int) -> None:
    rate = bound_rate(count, of, 0.9)
    low = stats.beta.ppf(0.05, count, of - count + 1) if count else 0.0
    high = stats.beta.ppf(0.95, count + 1, of - count) if count < of else 1.0
    assert rate.value == count / of
    assert [rate.low, rate.high] == pytest.approx([low, high])
