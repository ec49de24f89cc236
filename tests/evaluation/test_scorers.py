"""The library of scorers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace.evaluation import (
    Instance,
    cites,
    contains,
    exact,
    json_schema,
    matches,
    numeric,
    similarity,
)


def make_instance(expected: Any = None, **arguments: Any) -> Instance:
    return Instance(id="a/1", scenario="a", input=arguments, expected=expected)


SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


def embed(texts: list[str]) -> Sequence[Sequence[float]]:
    return [[1.0, 0.0] if "refund" in text else [0.0, 1.0] for text in texts]


CASES: dict[str, tuple[Any, Any, Any, float]] = {
    "equal texts but for blanks": (exact, " APPROVE\n", "APPROVE", 1),
    "other case": (exact, "approve", "APPROVE", 0),
    "equal data": (exact, {"a": [1, 2]}, {"a": [1, 2]}, 1),
    "word in a text": (contains, "I would deny it.", "DENY", 1),
    "part of a word": (contains, "undenyable", "DENY", 0),
    "last number": (numeric(), "16 - 3 - 4 = 9, so 9 * 2 = $1,018.0.", 1018, 1),
    "number": (numeric(), 17.9, 18, 0),
    "tolerance": (numeric(0.2), 17.9, 18, 1),
    "negative": (numeric(), "It is -4", "-4", 1),
    "no number": (numeric(), "none", 18, 0),
    "expression": (matches(r"^total: \d+$"), "total: 12", None, 1),
    "expression of the answer": (matches("= {expected}$"), "1 + 1 = 2", 2, 1),
    "valid JSON": (json_schema(SCHEMA), '{"total": 3}', None, 1),
    "invalid JSON": (json_schema(SCHEMA), '{"total": "3"}', None, 0),
    "no JSON": (json_schema(SCHEMA), "total: 3", None, 0),
    "same letters": (similarity(), "Approve", "approve", 1),
    "same meaning": (similarity(embed), "a refund it is", "refund", 1),
    "other meaning": (similarity(embed), "no", "refund", 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_scorer_grades_an_answer(case: str) -> None:
    scorer, output, expected, value = CASES[case]
    grade = scorer(output, make_instance(expected))
    assert float(getattr(grade, "value", grade)) == value


def test_citations_are_looked_up_in_the_text_that_was_given() -> None:
    instance = make_instance(document=["Refunds take thirty days.", 'She said "no".'])
    scorer = cites("document")
    whole = scorer('It says "refunds take  thirty days", so no.', instance)
    half = scorer("> Refunds take thirty days.\n> Gold members wait longer.", instance)
    none = scorer("It says so.", instance)
    assert [(each.value, each.comment) for each in (whole, half, none)] == [
        (1.0, None),
        (0.5, "not in document: 'Gold members wait longer.'"),
        (0.0, "nothing is quoted"),
    ]


def test_a_grade_says_why() -> None:
    assert numeric()("so 9", make_instance(8)).comment == "the answer is 9, expected is 8"
    assert json_schema(SCHEMA)("{}", make_instance()).comment == "$: 'total' is a required property"


@given(
    st.integers(-(10**15), 10**15),
    st.sampled_from(["{:d}", "{:,}", "so 12 + 3 = {:,}.", "${:,} in all", "{:.2f}!"]),
)
def test_the_last_number_of_a_text_is_read_as_it_was_written(number: int, text: str) -> None:
    assert numeric()(text.format(number), make_instance(number)).value
