"""What a judge reads: each intervention finds out the judge that it is meant for, and no fair one."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.evaluation import Instance, Judge, PairJudge, audit_judge, audit_pair_judge
from llm_trace.evaluation.interventions import exchange, lengthen, shuffle_words
from tests.conftest import Recorded
from tests.helpers.judge_toys import (
    compare_by,
    grade_by_quality,
    judge_by,
    make_answers,
    prefer_by,
    read_quality,
)

ANSWERS = make_answers(60)
PAIRS = [
    (one, other, instance) for (one, instance), (other, _) in zip(ANSWERS, make_answers(60, 1), strict=True)
]
NAME = "GPT-5 over Llama 3 8B"


def ignore(answer: str) -> float:
    return 0.0


def count_length(answer: str) -> float:
    return len(answer) / 600


def know_name(answer: str) -> float:
    return 0.25 * answer.startswith("GPT-5")


SINGLE: dict[str, tuple[Callable[[str, Instance], float], str, dict[str, str], str]] = {
    "reads the answer": (
        judge_by(ignore), "fair",
        {"length": "absent", NAME: "absent", "words": "found", "answer": "absent"},
        "The judge is fair",
    ),
    "prefers the longer": (judge_by(count_length), "biased", {"length": "found", NAME: "absent"}, "longer"),
    "prefers the shorter": (
        judge_by(lambda answer: 0.3 - count_length(answer)), "biased", {"length": "found"}, "the shorter",
    ),
    "prefers a name": (judge_by(know_name), "biased", {"length": "absent", NAME: "found"}, "of GPT-5"),
    "reads nothing": (
        judge_by(ignore, reads=False), "blind",
        {"length": "absent", NAME: "absent", "words": "absent", "answer": "absent"},
        "does not read the answer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SINGLE)
def test_an_audit_finds_what_a_judge_of_single_answers_reads(kind: str) -> None:
    judge, verdict, effects, words = SINGLE[kind]
    audit = audit_judge(judge, ANSWERS)
    assert {name: audit.effect(name).verdict for name in effects} == effects
    assert (audit.verdict, audit.n, audit.calls, audit.failed) == (verdict, 60, 360, 0)
    assert words in str(audit)


COMPARING: dict[str, tuple[Callable[[str, str, Instance], float], str, int]] = {
    "prefers the longer": (prefer_by(lambda answer: len(answer) / 150), "length", 1),
    "prefers the first": (prefer_by(ignore, first=0.3), "position", 1),
    "prefers the second": (prefer_by(ignore, first=-0.3), "position", -1),
    "prefers a name": (prefer_by(know_name), NAME, 1),
}


@pytest.mark.parametrize("kind", COMPARING)
def test_an_audit_finds_what_a_judge_of_pairs_prefers(kind: str) -> None:
    prefer, name, sign = COMPARING[kind]
    audit = audit_pair_judge(prefer, PAIRS)
    assert [each.name for each in audit.effects] == ["length", "position", NAME, "words", "answer"]
    biases = [each.name for each in audit.effects[:3] if each.verdict == "found"]
    assert (audit.verdict, biases) == ("biased", [name])
    effect = audit.effect(name)
    assert effect.value * sign > 0
    assert effect.low is not None
    assert effect.high is not None
    assert effect.low < effect.value < effect.high
    assert 0 < effect.p_value <= effect.corrected_p < 0.05


def test_a_fair_judge_of_pairs_is_certified() -> None:
    def prefer(one: str, other: str, instance: Instance) -> float:
        return 0.5 + (read_quality(one) - read_quality(other)) / 8

    audit = audit_pair_judge(prefer, PAIRS)
    assert (audit.verdict, audit.effect("words").verdict) == ("fair", "found")
    assert audit.effect("position").value == 0


def test_judges_that_ask_models_are_audited_with_their_calls_recorded(store: Recorded) -> None:
    audit = audit_judge(Judge(grade_by_quality, "More points."), ANSWERS[:12], concurrency=3)
    assert (audit.calls, audit.failed, audit.effect("words").n) == (72, 0, 12)
    calls = store.calls(kind="evaluator", limit=None)
    assert len(calls) == 72
    pair = PairJudge(compare_by(lambda text: 0), "Anything.")  # always the first
    assert audit_pair_judge(pair.prefer, PAIRS[:12]).effect("position").value == 1.0


async def judge_later(answer: str, instance: Instance) -> float:
    return judge_by(ignore)(answer, instance)


def test_async_judges_and_any_concurrency_come_to_the_same() -> None:
    expected = audit_judge(judge_by(ignore), ANSWERS[:20])
    assert audit_judge(judge_later, ANSWERS[:20], concurrency=5) == expected


def test_calls_that_give_no_score_are_left_out_and_counted() -> None:
    def judge(answer: str, instance: Instance) -> Any:
        if instance.id == "q/3":
            raise RuntimeError("out of order")
        return {"a": 0.5, "b": 1.0} if instance.id == "q/4" else 1.5 if instance.id == "q/5" else 0.5

    audit = audit_judge(judge, ANSWERS[:8])
    assert (audit.failed, audit.effect("length").n) == (18, 5)
    assert "18 of 48 calls gave no score; the first: RuntimeError: out of order" in str(audit)
    with pytest.raises(
        ConfigurationError, match="no score at all; the first time: RuntimeError: out of order"
    ):
        audit_judge(judge, [ANSWERS[3], ANSWERS[3]])


def test_changes_that_change_nothing_are_no_evidence() -> None:
    audit = audit_judge(judge_by(ignore), [("APPROVE", instance) for _, instance in ANSWERS[:9]])
    assert [each.name for each in audit.effects] == ["length", NAME]
    with pytest.raises(NotFoundError, match="no effect 'words': there are length, GPT-5 over"):
        audit.effect("words")


def test_what_cannot_be_audited_says_so() -> None:
    with pytest.raises(ConfigurationError, match="at least two answers, better 60, and not 1"):
        audit_judge(judge_by(ignore), ANSWERS[:1])
    with pytest.raises(ConfigurationError, match="at least two different names"):
        audit_judge(judge_by(ignore), ANSWERS, names=["A", "A"])


def test_interventions_keep_what_they_must() -> None:
    answer, random = ANSWERS[0][0] * 5, Random(0)
    longer = lengthen(answer, random)
    assert longer.startswith(answer)
    assert len(longer) > 1.5 * len(answer)
    shuffled = shuffle_words(answer, random)
    assert sorted(shuffled.split()) == sorted(answer.split())
    assert shuffled != answer
    texts = [str(number) for number in range(9)]
    others = exchange(texts, random)
    assert sorted(others) == texts
    assert all(one != other for one, other in zip(texts, others, strict=True))
