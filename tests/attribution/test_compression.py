"""Prompts of the demo's desk, cut where nothing mattered, and what the cut costs."""

from __future__ import annotations

from typing import Any

import pytest

from llm_trace.attribution.api import attribute
from llm_trace.attribution.core.value import Budget
from llm_trace.attribution.remote.model import Remote
from llm_trace.attribution.studies.aggregate import aggregate
from llm_trace.attribution.studies.compression import (
    RemovableSegments,
    check_prompt,
    compress,
    find_removable,
)
from llm_trace.demo.model import answer
from llm_trace.demo.world import rule
from llm_trace.errors import AttributionError

IDLE = "The desk is open on Monday. It is in the hall."
PROMPT = f"Decide about refunds. {IDLE}\n\nCustomer: It came {{}} days ago.\n\nAnswer:"


def calls(*days: int) -> list[tuple[str, str]]:
    return [(PROMPT.format(d), answer(PROMPT.format(d))) for d in days]


def by_rule(days: range) -> list[tuple[Any, str]]:
    return [(PROMPT.format(d), rule(PROMPT.format(d))) for d in days]


def test_one_attribution_cuts_the_words_without_an_effect_and_keeps_the_answer() -> None:
    (call,) = calls(75)
    found = attribute(*call, model="demo")
    cut = find_removable(found)
    short = cut(call[0])
    assert "75" in short
    assert len(short.split()) < len(call[0].split())
    measured = check_prompt(cut, [call], model="demo")
    assert (measured.shortened, measured.unchanged, measured.control) == (1, 1, 1)
    assert measured.saved > 0
    assert measured.counted == "tokens"


def test_a_sentence_that_never_mattered_is_found_on_one_half_and_checked_on_the_other() -> None:
    found = compress(calls(*range(5, 115, 11)), model="demo", limit=0.7)
    assert found.evidence.calls == 5
    assert found.check.calls == 5
    assert found.check.unchanged == found.check.control == found.check.shortened == 5
    assert {"The desk is open on Monday.", "It is in the hall."} <= found.cut.texts
    assert not any("days" in text for text in found.cut.texts)
    assert found.check.summary().endswith(
        "in 5 of 5 calls (48% to 100%), and in 5 when the whole prompt was asked again."
    )


def test_a_cut_that_takes_what_matters_is_seen_to_cost() -> None:
    cut = RemovableSegments("sentence", frozenset(["Customer: It came 9 days ago."]))
    measured = check_prompt(
        cut, [*by_rule(range(9, 10)), *by_rule(range(40, 44))], model=Remote(rule, concurrency=1)
    )
    assert (measured.calls, measured.shortened, measured.unchanged, measured.control) == (5, 1, 0, 1)
    assert measured.counted == "bytes"


def test_messages_keep_their_roles() -> None:
    messages = [
        {"role": "system", "content": f"Decide. {IDLE}"},
        {"role": "user", "content": "It came 9 days ago."},
    ]
    cut = RemovableSegments("sentence", frozenset(["The desk is open on Monday.", "It is in the hall."]))
    assert cut(messages) == [
        {"role": "system", "content": "Decide."},
        {"role": "user", "content": "It came 9 days ago."},
    ]


def test_nothing_is_cut_where_everything_matters_and_nothing_is_asked() -> None:
    def never(_: str) -> str:
        raise AssertionError("asked")

    measured = check_prompt(RemovableSegments("sentence", frozenset()), by_rule(range(3, 6)), model=never)
    assert (measured.shortened, measured.saved) == (0, 0)
    assert measured.summary() == "Nothing was cut in 3 calls."


def test_a_budget_that_does_not_pay_for_the_check_says_so() -> None:
    cut = RemovableSegments("sentence", frozenset(["It is in the hall."]))
    with pytest.raises(AttributionError, match="budget is spent after 3 calls.*3 of 8 prompts"):
        check_prompt(
            cut, by_rule(range(3, 7)), model=Remote(rule, concurrency=1), budget=Budget(evaluations=3)
        )


def test_a_prompt_that_would_be_left_empty_is_refused() -> None:
    cut = RemovableSegments("sentence", frozenset(["Decide."]))
    with pytest.raises(AttributionError, match="nothing is left of 1 prompts"):
        check_prompt(cut, [("Decide.", " ASK")], model=rule)


def test_an_attribution_that_is_no_evidence_cuts_nothing() -> None:
    (call,) = calls(75)
    found = attribute(*call, model="demo").model_copy(update={"verdict": "insufficient_evidence"})
    with pytest.raises(AttributionError, match="no evidence"):
        find_removable(found)


def test_a_proxy_finds_what_can_go_and_only_the_check_asks_the_oracle() -> None:
    asked: list[str] = []

    def oracle(prompt: str) -> str:
        asked.append(prompt)
        return rule(prompt)

    found = compress(by_rule(range(3, 23)), model=Remote(oracle, concurrency=1), by="demo", limit=0.7)
    assert found.evidence.calls == 10
    assert found.check.shortened == found.check.unchanged == 10
    assert len(asked) == 20


def test_variables_are_never_cut() -> None:
    made = [
        attribute(*call, model="demo", segments={"opening": IDLE, "message": call[0].split("Customer: ")[1]})
        for call in calls(10, 20, 80, 100)
    ]
    assert find_removable(aggregate(made)).texts == frozenset()


def test_a_single_call_cannot_be_halved() -> None:
    with pytest.raises(AttributionError, match="1 calls cannot be halved"):
        compress(calls(9), model="demo")
