"""`llm-trace review` at the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

import llm_trace
from llm_trace.operations import read_reviews, verify_reviews
from tests.helpers.cli_toys import answer, invoke
from tests.helpers.review_toys import decide, explain, record_calls, send_to_person


@pytest.fixture
def place(path: Path) -> Path:
    record_calls(path, 3)
    return path


def list_reviews(path: Path) -> list[tuple[object, ...]]:
    with llm_trace.open_store(path) as store:
        return [(r.reviewer, r.value, r.comment, r.explained) for r in read_reviews(store)]


def test_calls_are_shown_and_decided_one_after_the_other(place: Path) -> None:
    result = invoke(place, "review", "--as", "anna", stdin="y\nto the point\n\nn\n\n")
    assert result.exit_code == 0, result.output
    order = [result.stdout.index(text) for text in ("question 2", "answer 2", "question 1", "question 0")]
    assert order == sorted(order)
    assert list_reviews(place) == [("anna", True, "to the point", True), ("anna", False, None, True)]
    audit = verify_reviews(place)
    assert f"2 reviews kept; the log ends with {audit.head}" in result.stdout
    with llm_trace.open_store(place) as store:
        seconds = [review.seconds for review in read_reviews(store)]
    assert all(second is not None and 0 <= second < 60 for second in seconds)


def test_a_decision_that_cannot_be_kept_is_asked_for_again(place: Path) -> None:
    result = invoke(place, "review", "--as", "anna", stdin=f"{'x' * 1001}\n\nodd\n\nq\n")
    assert result.exit_code == 0, result.output
    assert "llm-trace: the decision has 1,001 characters: give 1 to 1,000" in result.stderr
    assert list_reviews(place) == [("anna", "odd", None, True)]


def test_what_is_decided_is_skipped_and_q_leaves(place: Path) -> None:
    assert "1 review kept" in invoke(place, "review", "--as", "anna", stdin="y\n\nq\n").stdout
    again = invoke(place, "review", "--as", "anna", stdin="n\n\n").stdout
    assert "2 calls for anna" in again
    assert "answer 2" not in again
    assert "1 call for ben" in invoke(place, "review", "--as", "ben", stdin="").stdout
    assert "3 calls for ben" in invoke(place, "review", "--as", "ben", "--others", stdin="").stdout
    invoke(place, "review", "--as", "anna", stdin="y\n\n")
    done = invoke(place, "review", "--as", "anna")
    assert (done.exit_code, "waits for a decision of anna" in done.stderr) == (3, True)


def test_explanations_stand_beside_the_call_unless_they_are_not_to_be_seen(place: Path) -> None:
    with llm_trace.open_store(place) as store:
        spans = [call.span_id for call in store.calls()]
    explain(place, spans)
    explain(place, spans, "self_report")
    send_to_person(place, "refunds", spans)
    shown = invoke(place, "review", "--as", "anna", stdin="q\n").stdout
    hidden = invoke(place, "review", "--as", "anna", "--explain", "never", stdin="q\n").stdout
    for words in ("What mattered:", "The model says of itself:", "To check, by refunds: too little weight"):
        assert (words in shown, words in hidden) == (True, False)
    assert "answer 2" in hidden


def test_filters_score_and_json(place: Path) -> None:
    with llm_trace.open_store(place) as store:
        span_id = store.calls()[1].span_id
    result = invoke(
        place, "review", "--as", "anna", "--score", "tone", "--where", f"span_id = '{span_id}'",
        stdin="formal\n\n",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with llm_trace.open_store(place) as store:
        assert [(r.span_id, r.rating, r.value) for r in read_reviews(store)] == [(span_id, "tone", "formal")]
    agreement = answer(place, "review", "--agreement", "--score", "tone")
    assert (agreement["calls"], agreement["alpha"]) == (0, None)
    assert "not known" in invoke(place, "review", "--agreement").stdout


def test_the_command_prints_the_agreement(place: Path) -> None:
    with llm_trace.open_store(place) as store:
        spans = [call.span_id for call in store.calls()]
    for reviewer in ("anna", "ben"):
        decide(place, *((span, reviewer, i == 0) for i, span in enumerate(spans)))
    printed = invoke(place, "review", "--agreement").stdout
    assert printed.startswith("Krippendorff's alpha of correct is 1.00 (")
    assert "over 3 calls that 2 people reviewed." in printed


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["--explain", "sometimes"], 2, "is none of always, never, random"),
        (["--as", " "], 1, "the reviewer's name has 0 characters"),
        (["--as", "a\x1bb"], 1, "signs that cannot be shown"),
        (["--expect", "1:abc"], 1, "is no head of a review log"),
        (["--log", "nowhere.jsonl"], 1, "is not there"),
        (["--kind", "question"], 2, "is none of"),
    ],
    ids=["explain", "nobody", "signs", "head", "log", "kind"],
)
def test_what_cannot_be_meant_is_said(place: Path, arguments: list[str], code: int, problem: str) -> None:
    result = invoke(place, "review", *arguments, COLUMNS="200")
    assert (result.exit_code, problem in result.output + result.stderr) == (code, True), result.output
