"""By attribution: which share of a verdict's weight lies on the answer, of judges whose reading is known."""

from __future__ import annotations

import json

import pytest

from llm_trace.errors import ConfigurationError
from llm_trace.evaluation import Judge, PairJudge, attribute_verdicts
from tests.helpers.judge_toys import grade_by_quality, make_answer, read_answers, read_quality, write_grade

GOOD = [make_answer(number, quality) for number, quality in enumerate((5, 4, 5, 3))]


def test_the_weight_of_a_judge_that_reads_the_answer_lies_on_the_answer() -> None:
    shares = attribute_verdicts(Judge(grade_by_quality, "More points."), GOOD, budget=40)
    assert list(shares.parts) == ["rubric", "question", "answer", "scale"]
    assert sum(shares.parts.values()) == pytest.approx(1)
    assert (shares.n, shares.without_evidence) == (4, 0)
    assert shares.answer == shares.parts["answer"] > 0.9
    assert "of the weight of 4 verdicts lies on what is judged" in str(shares)


def test_the_weight_of_a_judge_that_reads_the_question_does_not() -> None:
    def grade(prompt: str) -> str:
        return write_grade(5 if "What of case" in prompt else 1)

    shares = attribute_verdicts(Judge(grade, "More points."), GOOD, budget=40)
    assert shares.parts["question"] > 0.9
    assert shares.answer < 0.1


def test_of_pairs_both_answers_count_and_a_judge_of_the_first_shows_it() -> None:
    def compare(prompt: str) -> str:
        first, *_ = read_answers(prompt)
        return json.dumps({"better": "A" if read_quality(first) > 2 else "B"})

    pairs = [(answer, make_answer(9, 1)[0], instance) for answer, instance in GOOD]
    shares = attribute_verdicts(PairJudge(compare, "More points."), pairs, budget=40)
    assert shares.parts["first"] > 0.9
    assert shares.answer == pytest.approx(shares.parts["first"] + shares.parts["second"])


def test_of_an_open_model_the_grade_is_explained() -> None:
    judge = Judge(
        lambda prompt: write_grade("DENY"), "Is it ours?", scale=["DENY", "APPROVE"],
        template="{rubric} {scale} {question} {answer}",
    )  # fmt: skip
    shares = attribute_verdicts(judge, GOOD[:2], model="demo")
    assert sum(shares.parts.values()) == pytest.approx(1)
    assert min(shares.parts.values()) > 0
    assert shares.low is not None
    assert shares.high is not None
    assert 0 <= shares.low <= shares.answer <= shares.high <= 1


def test_where_nothing_moves_a_verdict_it_says_so() -> None:
    with pytest.raises(ConfigurationError, match="nothing moved the verdicts on 2 answers"):
        attribute_verdicts(Judge(lambda prompt: write_grade(3), "More points."), GOOD[:2], budget=40)
