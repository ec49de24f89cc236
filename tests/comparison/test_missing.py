"""What `compare` makes of labels, missing values, no numbers, failures, and calls that look alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import llm_trace
from llm_trace import compare
from llm_trace.comparison.comparison import Comparison
from llm_trace.comparison.records import Metric
from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.record import Call
from tests.conftest import Recorded

Score = Callable[[int], Any]


@llm_trace.trace
def answer(number: int, score: Any, fails: bool = False) -> None:
    """Score itself as told, unless there is nothing to score."""
    llm_trace.update_current_call(input={"number": number})
    if fails:
        raise TimeoutError("no answer")
    if score is not None:
        llm_trace.log_score("quality", score)


def run(name: str, score: Score, fails: Callable[[int], bool] = lambda i: False, count: int = 40) -> None:
    with llm_trace.start_run(name):
        for i in range(count):
            try:
                answer(i, score(i), fails(i))
            except TimeoutError:
                continue


def bounds(metric: Metric) -> tuple[float, float]:
    assert metric.low is not None
    assert metric.high is not None
    return metric.low, metric.high


def warned(found: Comparison, text: str) -> bool:
    return any(text in warning for warning in found.warnings)


def test_a_version_that_fails_where_it_would_be_wrong_is_not_better(store: Recorded) -> None:
    run("a", lambda i: i % 2 == 0)
    run("b", lambda i: i % 2 == 0, fails=lambda i: i % 2 == 1)
    found = compare("a", "b", store=store.path)
    metric = found.metric("quality")
    assert (metric.n, metric.a, metric.b, metric.verdict) == (40, 0.5, 0.5, "same")
    assert "quality: 20 calls of b failed without it and count as the worst, 0" in found.notes
    assert found.metric("errors").verdict == "worse"


@pytest.mark.parametrize(
    ("score", "lower", "worst"),
    [
        pytest.param(lambda i: 0.5, (), 0.0, id="a-grade-of-1"),
        pytest.param(lambda i: 0.5, ("quality",), 1.0, id="a-grade-of-1-better-when-lower"),
        pytest.param(lambda i: 2 + i % 4, (), 2.0, id="a-rating-from-2-to-5"),
        pytest.param(lambda i: 2 + i % 4, ("quality",), 5.0, id="a-rating-better-when-lower"),
        pytest.param(lambda i: 5, (), 0.0, id="always-rated-5"),
    ],
)
def test_a_failure_counts_as_the_worst_of_the_scale(
    store: Recorded, score: Score, lower: tuple[str, ...], worst: float
) -> None:
    run("a", score)
    run("b", score, fails=lambda i: i % 4 == 0)
    metric = compare("a", "b", store=store.path, lower=lower).metric("quality")
    scored = [score(i) for i in range(40)]
    expected = [worst if i % 4 == 0 else value for i, value in enumerate(scored)]
    assert metric.n == 40
    assert metric.b == pytest.approx(sum(expected) / 40)


def test_failures_among_repeats_of_an_input_count(store: Recorded) -> None:
    for name in "ab":
        with llm_trace.start_run(name):
            for i in range(20):
                try:
                    answer(i % 10, 1.0, fails=name == "b" and i >= 10)
                except TimeoutError:
                    continue
    assert compare("a", "b", store=store.path).metric("quality").b == 0.5


def test_a_verdict_that_missing_scores_could_turn_stays_undecided(store: Recorded) -> None:
    run("a", lambda i: i >= 12)
    run("b", lambda i: True if i < 38 else None)
    found = compare("a", "b", store=store.path)
    metric = found.metric("quality")
    assert (metric.n, metric.missing, metric.verdict) == (38, (2, 0), "better")
    assert warned(found, "quality is known of 2 pairs only in a")
    run("c", lambda i: True if i < 20 else None)
    metric = compare("a", "c", store=store.path).metric("quality")
    assert (metric.n, metric.missing, metric.verdict) == (20, (20, 0), "undecided")
    assert metric.q_value is not None
    assert metric.q_value < 0.01
    assert bounds(metric)[0] < 0 < bounds(metric)[1]
    assert "undecided: 20 missing" in str(compare("a", "c", store=store.path))


def test_calls_that_were_begun_and_not_finished_weigh_on_the_bounds(store: Recorded) -> None:
    run("a", lambda i: i >= 12)
    with llm_trace.start_run("b"):
        for i in range(40):
            if i < 20:
                answer(i, True)
            else:
                with pytest.raises(GeneratorExit), llm_trace.span("answer", input={"number": i}):
                    raise GeneratorExit
    found = compare("a", "b", store=store.path)
    assert warned(found, "20 inputs that a finished were begun by b and not finished")
    assert (found.metric("quality").missing, found.metric("quality").verdict) == ((20, 0), "undecided")


def test_labels_are_compared_by_their_shares(store: Recorded) -> None:
    run("a", lambda i: "good" if i % 4 else "bad")
    run("b", lambda i: "bad")
    found = compare("a", "b", store=store.path)
    shares = {m.name: (m.kind, m.a, m.b, m.better, m.verdict) for m in found.metrics if ":" in m.name}
    assert shares == {
        "quality: bad": ("yesno", 0.25, 1.0, None, "higher"),
        "quality: good": ("yesno", 0.75, 0.0, None, "lower"),
    }
    assert [m.name for m in compare("a", "b", store=store.path, metrics=["quality"]).metrics] == list(shares)
    judged = compare("a", "b", store=store.path, lower=["quality: bad"]).metric("quality: bad")
    assert judged.verdict == "worse"
    assert found.fails("quality: bad.difference > 0.5")


def test_only_the_most_frequent_of_many_labels_are_compared(store: Recorded) -> None:
    for name in "ab":
        run(name, lambda i: f"label {i % 20:02}" if i > 1 else "often")
    found = compare("a", "b", store=store.path)
    assert sum(m.name.startswith("quality: ") for m in found.metrics) == 10
    assert "quality has 21 labels: the 10 most frequent are compared" in found.notes


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        pytest.param(1.0, None, "quality is known in a and not in b: score b as well", id="numbers-in-a"),
        pytest.param(None, "good", "quality is known in b and not in a: score a as well", id="labels-in-b"),
        pytest.param(1.0, "good", "quality has numbers or labels in one of a and b", id="numbers-and-labels"),
    ],
)
def test_a_score_that_cannot_be_compared_is_named(store: Recorded, a: Any, b: Any, text: str) -> None:
    run("a", lambda i: a)
    run("b", lambda i: b)
    assert warned(compare("a", "b", store=store.path), text)


def test_spans_without_an_input_hint_at_a_key(store: Recorded) -> None:
    @llm_trace.trace
    def ask(question: str) -> None: ...

    for name in "ab":
        with llm_trace.start_run(name):
            for i in range(6):
                with llm_trace.span("step"):
                    ask(f"number {i}")
    found = compare("a", "b", store=store.path)
    assert (found.pairs, warned(found, "12 calls of step recorded no input and count as the same")) == (
        1,
        True,
    )
    assert warned(found, "--by")
    assert compare("a", "b", store=store.path, by="input.question").pairs == 6


@pytest.mark.parametrize("repeats", [pytest.param(1, id="once"), pytest.param(10, id="ten-times")])
def test_one_question_a_side_is_not_paired_with_another(store: Recorded, repeats: int) -> None:
    @llm_trace.trace
    def ask(question: str, style: str) -> None: ...

    for name, question in (("a", "What is the capital of France?"), ("b", "What is 2 + 2?")):
        with llm_trace.start_run(name):
            for _ in range(repeats):
                ask(question, style="brief")
    with pytest.raises(NotFoundError, match=r"they differ in question: .*--by"):
        compare("a", "b", store=store.path)
    assert compare("a", "b", store=store.path, by="input.style").pairs == 1


def test_sessions_of_either_side_make_pairs_dependent(store: Recorded) -> None:
    for name in "ab":
        with llm_trace.start_run(name):
            for i in range(40):
                with llm_trace.using_session(f"s{i // 4}" if name == "b" else f"all of {name}"):
                    answer(i, True)
    with llm_trace.start_run("c"):
        for i in range(40):
            answer(i, True)
    for a in ("a", "c"):
        assert (
            "pairs of one session count as dependent: 10 sessions" in compare(a, "b", store=store.path).notes
        )
    assert warned(compare("a", "c", store=store.path), "All pairs of a are of one session, 'all of a'")


def test_one_session_that_dominates_is_said(store: Recorded) -> None:
    for name in "ab":
        with llm_trace.start_run(name):
            for i in range(40):
                with llm_trace.using_session("large" if i < 20 else f"small {i // 2}"):
                    answer(i, True)
    found = compare("a", "b", store=store.path)
    assert warned(found, "tell as much as 3.64 of equal size (the largest holds 50% of the pairs)")


def test_one_pair_is_called_one_pair(store: Recorded) -> None:
    for name in "ab":
        run(name, lambda i: True, count=1)
    text = str(compare("a", "b", store=store.path))
    assert "a  run a, 1 call\n" in text
    assert "\n1 pair by function and input;" in text
    assert "Only 1 pair:" in text


@pytest.mark.parametrize("size", [1e308, 1e100, 5e-324], ids=["largest", "large", "smallest"])
def test_scores_of_any_size_are_compared_or_named(store: Recorded, size: float) -> None:
    run("a", lambda i: size * (i % 2), count=12)
    run("b", lambda i: -size if i % 3 else 0.0, count=12)
    found = compare("a", "b", store=store.path)
    assert found.metric("quality").n == (2 if size > 1e100 else 12)
    assert any("quality: 14 values are no number" in note for note in found.notes) == (size > 1e100)


def test_a_metric_that_does_not_return_two_numbers_is_refused_by_name(store: Recorded) -> None:
    run("a", lambda i: 1.0, count=3)
    run("b", lambda i: 1.0, count=3)
    for value in (1.0, [1.0], (1.0, 2.0, 3.0), "good", {"a": 1}, (1.0, 1e308), (float("inf"), 1.0)):
        with pytest.raises(ConfigurationError, match="metric 'odd' returned .*: return two numbers"):
            compare("a", "b", store=store.path, metrics={"odd": partial(_return, value)})


def _return(value: Any, a: Call, b: Call) -> Any:
    return value
