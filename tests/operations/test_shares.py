"""Shares of the weight: what was measured is a number, what was not is said, nothing is guessed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llm_trace.operations.shares import MissingSignalError, WeightShares
from llm_trace.record import Segment
from tests.helpers.explained import make_attribution

TEMPLATE = (
    "Rules: be kind.\n\nExample: arrived broken -> APPROVE\n\nCustomer: {message}\nDays: {days}\n\nAnswer:"
)
MESSAGE = "It came Broken, 75 days ago."
PROMPT = TEMPLATE.format(message=MESSAGE, days=75)
WEIGHTS = {"Example:": 0.1, "broken": 0.2, "Broken,": -0.4, "75": 0.1, "Answer:": 0.1}
"""Of words; "75" stands twice."""


def explain(prompt: str = PROMPT, **fields: Any) -> WeightShares:
    values = [WEIGHTS.get(word, 0.0) for word in prompt.split()]
    return WeightShares(
        make_attribution(prompt, values, **fields), {"message": MESSAGE, "days": 75}, TEMPLATE
    )


def test_a_word_counts_wherever_it_stands_whatever_its_case_and_punctuation_and_sign() -> None:
    shares = explain()
    assert shares.measure_text("broken") == pytest.approx(0.6)
    assert shares.measure_text("arrived BROKEN") == pytest.approx(0.2)
    assert shares.measure_text("lamp") == 0
    assert shares.measure_text("broke") == 0
    assert shares.measure_words({"75", "Answer"}) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("prompt", "text", "share"),
    [
        ("a a a", "a a", 1.0),
        ("Straße, STRASSE (x) y", "strasse", 0.5),
        ("\"a\" b.a -> a-> c", "A", 0.4),
        ("x -> y", "->", 1 / 3),
        ("x !-> y", "->", 0.0),
        ("a!  (b) a b_ ab", "a b", 0.8),
        ("İ x", "İ", 0.5),
    ],
)  # fmt: skip
def test_words_are_found_between_spaces_whatever_the_punctuation_and_case(
    prompt: str, text: str, share: float
) -> None:
    values = [1.0] * len(prompt.split())
    assert WeightShares(make_attribution(prompt, values)).measure_text(text) == pytest.approx(share)


def test_a_line_a_variable_and_a_document_have_shares() -> None:
    shares = explain()
    assert shares.measure_line("Example") == pytest.approx(0.3)
    assert shares.measure_variable("message") == pytest.approx(0.5)
    assert shares.measure_variable("days") == pytest.approx(0.1)
    text = "Paris is big. Rome is old."
    chunks = (
        Segment(start=0, end=13, text=text[:13], kind="chunk", name="doc-1"),
        Segment(start=14, end=26, text=text[14:], kind="chunk", name="doc-2"),
    )
    documents = WeightShares(make_attribution(text, (1.0, 3.0), segments=chunks))
    assert documents.measure_chunk("doc-2") == 0.75
    assert documents.measure_chunk("doc-3") == 0


def test_a_variable_is_found_where_the_template_has_it_not_where_its_text_stands_by_chance() -> None:
    prompt = "75 is my number.\nDays: 75"
    attribution = make_attribution(prompt, (0.9, 0, 0, 0, 0, 0.1))
    with_template = WeightShares(attribution, {"days": 75}, "75 is my number.\nDays: {days}")
    assert with_template.measure_variable("days") == pytest.approx(0.1)
    with pytest.raises(MissingSignalError, match="'days' stands 2 times"):
        WeightShares(attribution, {"days": 75}, "Another {days}").measure_variable("days")
    with pytest.raises(MissingSignalError, match="'days' stands 2 times"):
        WeightShares(attribution, {"days": 75}, "{{ days }} of jinja {% if %}{").measure_variable("days")


@pytest.mark.parametrize(
    ("fields", "ask", "reason"),
    [
        ({"verdict": "redundant"}, lambda s: s.measure_text("broken"), "no evidence: redundant"),
        ({}, lambda s: s.measure_variable("name"), "no variable 'name'"),
        ({}, lambda s: s.measure_chunk("doc-1"), "not by chunk"),
        ({}, lambda s: s.measure_text(" \n"), "no word to look for"),
    ],
    ids=["verdict", "variable", "chunk", "empty"],
)
def test_what_was_not_measured_is_said(fields: dict[str, Any], ask: Any, reason: str) -> None:
    with pytest.raises(MissingSignalError, match=reason):
        ask(explain(**fields))


@pytest.mark.parametrize("values", [(0.0, 0.0), (math.nan, 1.0), (math.inf, 1.0)], ids=["none", "nan", "inf"])
def test_scores_without_any_weight_give_no_shares(values: tuple[float, ...]) -> None:
    with pytest.raises(MissingSignalError, match="has any weight"):
        WeightShares(make_attribution("two words", values)).measure_text("two")


def test_a_word_inside_a_sentence_that_was_weighed_as_a_whole_has_no_share() -> None:
    text = "It broke. Why?"
    sentences = (Segment(start=0, end=9, text="It broke."), Segment(start=10, end=14, text="Why?"))
    shares = WeightShares(make_attribution(text, (1.0, 1.0), segments=sentences))
    with pytest.raises(MissingSignalError, match=r"weighs 'It broke\.' as a whole"):
        shares.measure_text("broke")
    assert shares.measure_text("It broke") == 0.5


def test_a_phrase_of_a_language_without_spaces_is_found_as_the_segment_that_it_is() -> None:
    text = "壊れた商品です"
    phrases = (Segment(start=0, end=3, text="壊れた"), Segment(start=3, end=7, text="商品です"))
    assert WeightShares(make_attribution(text, (3.0, 1.0), segments=phrases)).measure_text("壊れた") == 0.75


def test_a_megabyte_without_a_letter_takes_no_time_to_be_cut_into_words() -> None:
    text = "a" + "!" * 1_000_000 + "a broken"
    shares = WeightShares(make_attribution(text, (1.0, 1.0)))
    assert shares.measure_text("broken") == 0.5


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b,", "(C)", "→", "10"]), st.floats(-9, 9)), min_size=1, max_size=9
    )
)
def test_the_shares_of_all_words_come_to_one(pairs: list[tuple[str, float]]) -> None:
    assume(any(value for _, value in pairs))
    shares = WeightShares(make_attribution(" ".join(w for w, _ in pairs), [value for _, value in pairs]))
    total = math.fsum(shares.measure_text(word) for word in {word for word, _ in pairs})
    assert total == pytest.approx(1)
