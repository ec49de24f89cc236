"""Decisions of people: kept with what was seen, in a log that proves them, and asked for in an order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.comparison.feedback import ScoreWriter
from llm_trace.errors import ConfigurationError, NotFoundError, StoreError
from llm_trace.operations import (
    Review,
    ReviewWriter,
    make_review,
    measure_reviewer_agreement,
    read_operations,
    read_reviews,
    verify_reviews,
)
from llm_trace.operations.review_chain import ReviewChain
from llm_trace.operations.review_queue import build_queue
from llm_trace.operations.reviews import draw_explained
from tests.helpers.cli_toys import ROOT
from tests.helpers.review_toys import decide, explain, record_calls, send_to_person


@pytest.fixture(scope="module")
def calls_only(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    path = tmp_path_factory.mktemp("reviews") / "desk.duckdb"
    return path, record_calls(path)


def read_review(path: Path) -> Review:
    with llm_trace.open_store(path) as store:
        (review,) = read_reviews(store)
    return review


def test_a_decision_is_a_persons_score_and_a_record_of_who_saw_what(path: Path) -> None:
    span_id = record_calls(path, 1)[0]
    explain(path, [span_id])
    explain(path, [span_id], "self_report")
    decide(path, (span_id, " anna ", False), comment="no policy", seconds=3.14159, mode="always")
    review = read_review(path)
    assert review.model_dump(exclude={"time_ns"}) == {
        "span_id": span_id, "reviewer": "anna", "rating": "correct", "value": False, "comment": "no policy",
        "mode": "always", "explained": True, "available": ("heat map", "self-report"), "seconds": 3.142,
    }  # fmt: skip
    assert review.saw == ("answer", "heat map", "self-report")
    with llm_trace.open_store(path) as store:
        (score,) = store.scores(span_id)
        (operation,) = read_operations(store, kind="review", subject="correct", span_id=span_id)
    assert (score.name, score.value, score.source, score.comment) == ("correct", False, "human", "no policy")
    assert operation.body["entry"] == 1
    assert verify_reviews(path).model_dump(exclude={"log", "head"}) == {
        "entries": 1, "imported": 0, "whole": 1, "purged": 0, "expected": None, "problems": (),
    }  # fmt: skip


def test_whoever_is_not_shown_explanations_saw_the_answer_alone(path: Path) -> None:
    span_id = record_calls(path, 1)[0]
    explain(path, [span_id])
    decide(path, (span_id, "anna", "wrong tone"), mode="never")
    review = read_review(path)
    assert (review.saw, review.available, review.value) == (("answer",), ("heat map",), "wrong tone")
    assert review.seconds is None


def test_the_draw_is_a_half_is_the_same_again_and_differs_by_person_and_call() -> None:
    pairs = [(f"reviewer {i}", f"{j:016x}") for i in range(20) for j in range(100)]
    drawn = [draw_explained("random", *pair) for pair in pairs]
    assert drawn == [draw_explained("random", *pair) for pair in pairs]
    assert 920 < sum(drawn) < 1080  # 3.6 standard deviations around a half of 2,000
    by_person = [sum(drawn[i : i + 100]) for i in range(0, 2000, 100)]
    by_call = [sum(drawn[i::100]) for i in range(100)]
    assert 30 < min(by_person) <= max(by_person) < 70
    assert 1 < min(by_call) <= max(by_call) < 19
    assert all(draw_explained("always", *pair) for pair in pairs)
    assert not any(draw_explained("never", *pair) for pair in pairs)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"reviewer": " "}, "the reviewer's name has 0 characters"),
        ({"reviewer": "a" * 101}, "the reviewer's name has 101 characters"),
        ({"reviewer": "a\x1b[31mb"}, "has signs that cannot be shown"),
        ({"value": ""}, "the decision has 0 characters"),
        ({"value": "x" * 1001}, "the decision has 1,001 characters"),
        ({"value": float("nan")}, "the decision nan is no number"),
        ({"rating": ""}, "the score's name has 0 characters"),
        ({"comment": "x" * 10_001}, "the comment has 10,001 characters"),
        ({"seconds": -1.0}, "-1.0 are no seconds"),
        ({"seconds": float("inf")}, "inf are no seconds"),
        ({"seconds": float("nan")}, "nan are no seconds"),
    ],
    ids=[
        "nobody", "long-name", "control-signs", "no-decision", "long-decision", "nan", "no-score",
        "long-comment", "negative", "infinite", "no-seconds",
    ],
)  # fmt: skip
def test_a_decision_that_cannot_be_meant_is_refused(
    calls_only: tuple[Path, list[str]], changes: dict[str, Any], problem: str
) -> None:
    path, spans = calls_only
    fields = {"reviewer": "anna", "value": True, **changes}
    with llm_trace.open_store(path) as store, pytest.raises(ConfigurationError, match=problem):
        make_review(store, spans[0], fields.pop("reviewer"), fields.pop("value"), **fields)


def test_a_call_that_is_not_there_cannot_be_decided_about(calls_only: tuple[Path, list[str]]) -> None:
    with llm_trace.open_store(calls_only[0]) as store, pytest.raises(NotFoundError):
        make_review(store, "f" * 16, "anna", True)


@pytest.mark.parametrize(
    "text",
    [
        "\ud800 lone",
        "\x00 nothing",
        "é “quoted” \n line",
        "👩‍👧",
        "x" * 10_000,
        '{"$messages": [0, 1]}',
        "1e999",
    ],
    ids=["surrogate", "nul", "quotes", "joined", "long", "marker", "number"],
)
def test_odd_words_of_a_reviewer_are_kept_and_proven(path: Path, text: str) -> None:
    span_id = record_calls(path, 1)[0]
    decide(path, (span_id, "Zoë Ωmega", text[:1000]), comment=text)
    review = read_review(path)
    assert review.comment == text.strip().encode("utf-8", "replace").decode()
    assert verify_reviews(path).problems == ()


def test_calls_that_a_gate_sent_to_a_person_come_first_then_the_newest(path: Path) -> None:
    spans = record_calls(path)
    send_to_person(path, "refunds", spans[:2])
    send_to_person(path, "refunds", [spans[0]], action="automate")  # its last word
    send_to_person(path, "refunds", [spans[2]], action="automate", audit=True)
    with llm_trace.open_store(path) as store:
        queue = build_queue(store, {}, reviewer="anna")
        assert [queued.call.span_id for queued in queue] == [
            spans[2], spans[1], spans[5], spans[4], spans[3], spans[0],
        ]  # fmt: skip
        assert [(queued.asked_by, queued.reason) for queued in queue] == [
            *[("refunds", "too little weight")] * 2, *[(None, None)] * 4,
        ]  # fmt: skip
        assert (
            build_queue(store, {"where": "false) OR (true"}, reviewer="anna", limit=1)
            == queue[:1] + queue[2:3]
        )


def test_what_is_decided_is_not_asked_again_unless_others_are_to_agree(path: Path) -> None:
    spans = record_calls(path, 4)
    decide(path, (spans[0], "anna", True))
    with llm_trace.open_store(path) as store:
        left = {
            (who, others): [
                queued.call.span_id for queued in build_queue(store, {}, reviewer=who, others=others)
            ]
            for who in ("anna", "ben")
            for others in (False, True)
        }
        assert len(build_queue(store, {}, reviewer="anna", rating="tone")) == 4
    rest = spans[:0:-1]
    assert left == {
        ("anna", False): rest, ("anna", True): rest, ("ben", False): rest, ("ben", True): spans[::-1],
    }  # fmt: skip


def test_agreement_counts_the_last_decision_of_each_person(path: Path) -> None:
    spans = record_calls(path, 4)
    decide(path, *((span, "anna", i < 2) for i, span in enumerate(spans)))
    decide(path, *((span, "ben", i >= 2) for i, span in enumerate(spans)))
    decide(path, *((span, "ben", i < 2) for i, span in enumerate(spans)))  # ben has thought again
    decide(path, (spans[0], "anna", "formal"), rating="tone")
    with llm_trace.open_store(path) as store:
        agreement = measure_reviewer_agreement(store)
        assert (agreement.calls, agreement.reviewers, agreement.alpha, agreement.high) == (4, 2, 1.0, 1.0)
        assert agreement.low is not None
        assert agreement.low < 0.5  # four calls show little
        tone = measure_reviewer_agreement(store, "tone")
    assert (tone.calls, tone.alpha, tone.low, tone.high) == (0, None, None, None)
    assert str(tone).startswith("How far reviewers agree on tone is not known")


def test_many_processes_write_one_chain(path: Path) -> None:
    spans = record_calls(path, 3)
    code = """
import sys
from pathlib import Path
import llm_trace
from llm_trace.operations import ReviewWriter, make_review
path, spans = Path(sys.argv[1]), sys.argv[3:]
with llm_trace.open_store(path) as store, store.hold():
    reviews = [make_review(store, span, sys.argv[2], True) for span in spans * 5]
sys.stdin.readline()
with ReviewWriter(path) as writer:
    for review in reviews:
        writer.give(review)
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), f"person {i}", *spans], stdin=subprocess.PIPE, cwd=ROOT
        )
        for i in range(3)
    ]
    for process in writers:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
    assert [process.wait(300) for process in writers] == [0, 0, 0]
    audit = verify_reviews(path)
    assert (audit.entries, audit.whole, audit.problems) == (45, 45, ())


def test_where_the_log_cannot_be_written_nothing_is_half_kept(path: Path) -> None:
    span_id = record_calls(path, 1)[0]
    (path.parent / "desk.txt").write_text("")
    path.with_name(path.name + ".reviews.jsonl").mkdir()
    with (
        llm_trace.open_store(path) as store,
        ReviewWriter(path) as writer,
        pytest.raises(StoreError, match="the review was not kept"),
    ):
        writer.give(make_review(store, span_id, "anna", True))
    with llm_trace.open_store(path) as store:
        assert (read_reviews(store), store.scores(span_id)) == ([], [])


@pytest.mark.parametrize(
    ("writer_part", "step"),
    [(ReviewChain, "append"), (ScoreWriter, "give"), (ReviewChain, "finish")],
    ids=["before-the-line", "before-the-score", "after-the-score"],
)
@pytest.mark.parametrize("by", ["verify", "review"])
def test_the_score_of_a_review_is_there_once_wherever_its_writer_died(
    path: Path, writer_part: type, step: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    first, second = record_calls(path, 2)
    with llm_trace.open_store(path) as store:
        review = make_review(store, first, "ben", False, comment="no policy")
    with monkeypatch.context() as patch, ReviewWriter(path) as writer:
        patch.setattr(writer_part, step, die)
        with pytest.raises(KeyboardInterrupt):
            writer.give(review)
    if by == "review":
        decide(path, (second, "ben", True))
    assert verify_reviews(path).problems == ()
    with llm_trace.open_store(path) as store:
        (score,) = store.scores(first)
    assert (score.value, score.source, score.comment) == (False, "human", "no policy")
