"""The refund desk: its rule on hand-written prompts and on every subset of words, its generators."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_trace.demo import sentences
from llm_trace.demo.world import (
    ANSWERS,
    TEMPLATE_V1,
    TEMPLATE_V2,
    build_chat,
    delete_words,
    find_words,
    make_cases,
    make_customers,
    make_training_example,
    mask_words,
    rule,
)


@pytest.mark.parametrize(
    ("message", "by_v1", "by_v2"),
    [
        ("I bought this lamp 12 days ago.", " APPROVE", " APPROVE"),
        ("I bought this lamp 30 days ago.", " APPROVE", " APPROVE"),
        ("I bought this lamp 31 days ago.", " DENY", " DENY"),
        ("I bought this lamp 45 days ago. I am a gold member.", " APPROVE", " APPROVE"),
        ("I bought this lamp 45 days ago. I have a VIP card.", " APPROVE", " APPROVE"),
        ("I bought this lamp 61 days ago. I am a gold member.", " DENY", " DENY"),
        (
            "I bought this lamp 90 days ago. It is still unopened. I have the receipt here.",
            " APPROVE",
            " APPROVE",
        ),
        ("I bought this lamp 90 days ago. I have the receipt here.", " DENY", " DENY"),
        ("I bought this lamp a while ago.", " ASK", " ASK"),
        ("I bought this lamp 75 days ago. It arrived broken at my door.", " DENY", " APPROVE"),
        ("I bought this lamp 75 days ago. It arrived torn at my door.", " DENY", " DENY"),
        ("I bought this lamp a while ago. It arrived broken.", " ASK", " APPROVE"),
    ],
)
def test_the_rule(message: str, by_v1: str, by_v2: str) -> None:
    assert rule(TEMPLATE_V1.format(message=message)) == by_v1
    assert rule(TEMPLATE_V2.format(message=message)) == by_v2


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.sets(st.integers(0, 80)), st.booleans())
def test_every_subset_of_words_has_an_answer(seed: int, gone: set[int], by_mask: bool) -> None:
    prompt = TEMPLATE_V2.format(message=make_customers(1, seed)[0].message)
    spans = [span for i, span in enumerate(find_words(prompt)) if i in gone]
    assert rule(mask_words(prompt, spans) if by_mask else delete_words(prompt, spans)) in ANSWERS


@pytest.mark.parametrize("kind", ["single", "conjunction", "redundant", "distractors", "example"])
def test_planted_words_are_the_ones_that_decide(kind: str) -> None:
    for case in make_cases(kind, 30, seed=3):  # type: ignore[arg-type]
        spans = find_words(case.prompt)
        alone = [span for span in spans if rule(mask_words(case.prompt, [span])) != case.answer]
        if kind == "redundant":
            assert not set(alone) & set(case.spans)
            assert rule(mask_words(case.prompt, case.spans)) != case.answer
        else:
            assert tuple(alone) == case.spans
        assert tuple(case.prompt[a:b] for a, b in case.spans) == case.planted


def test_generators_depend_on_their_seed_alone() -> None:
    assert make_customers(20, 1) == make_customers(20, 1) != make_customers(20, 2)
    assert make_cases("single", 5, 1) == make_cases("single", 5, 1) != make_cases("single", 5, 2)
    first, second = random.Random(4), random.Random(4)
    assert [make_training_example(first) for _ in range(50)] == [
        make_training_example(second) for _ in range(50)
    ]


def test_the_customers_of_the_demo_include_late_and_broken_ones() -> None:
    late = [c for c in make_customers(100, 0) if "broken" in c.cues and (c.days or 0) > 60]
    assert sum(c.policy == " DENY" for c in late) >= 5


def test_training_never_shows_the_sentences_kept_for_the_test() -> None:
    rng = random.Random(9)
    seen = " ".join(make_training_example(rng)[0] for _ in range(300))
    assert not [s for s in sentences.UNSEEN if "{" not in s and s in seen]


def test_a_prompt_as_chat_has_rules_and_example_in_the_system_message() -> None:
    system, user = build_chat(TEMPLATE_V2.format(message="Hi."))
    assert (system["role"], user) == ("system", {"role": "user", "content": "Hi."})
    assert "Example: arrived broken -> APPROVE" in system["content"]
