"""The scenario files that are shipped, asked of functions that know the rule and of some that do not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from llm_trace import evaluate
from llm_trace.evaluation import contains, exact, find_example, load_scenarios, numeric
from tests.conftest import Recorded


def answer_refund(message: str) -> str:
    """Apply the desk's rules to the words of a message."""
    waited = re.search(r"(\d+) days", message)
    if waited is None:
        return "ASK"
    if "unopened" in message and "with a receipt" in message:
        return "APPROVE"
    return "APPROVE" if int(waited[1]) < (60 if "gold" in message else 30) else "DENY"


SHARES = {"half": 2, "third": 3, "quarter": 4, "fifth": 5}


def solve_problem(question: str) -> str:
    """Read the numbers in their order."""
    numbers = [int(each) for each in re.findall(r"\d+", question)]
    share = next((SHARES[word] for word in re.findall(r"[a-z]+", question) if word in SHARES), None)
    if share is not None:
        return (
            f"so it takes {numbers[0]} + {numbers[0] // share} = {numbers[0] + numbers[0] // share} metres."
        )
    total, *given, price = numbers
    return f"#### {(total - sum(given)) * price:,}"


def find_code(context: str, question: str) -> str:
    """Find the sentence about the thing and the person of the question."""
    for sentence in context.split(". "):
        match = re.search(r"code of the (\w+) of (\w+) is (\w+)", sentence)
        if match and match[1] in question and match[2] in question:
            return f"It is {match[3]}."
    return "That is unknown."


def find_code_nearby(context: str, question: str) -> str:
    """Read the beginning alone."""
    return find_code(context[: len(context) // 2], question)


def approve(message: str) -> str:
    """Approve everything."""
    return "APPROVE"


GOOD: dict[str, tuple[Callable[..., str], Any, str]] = {
    "refund": (answer_refund, exact, "exact"),
    "arithmetic": (solve_problem, numeric(), "numeric"),
    "retrieval": (find_code, contains, "contains"),
}


@pytest.mark.parametrize("world", GOOD)
def test_who_knows_the_rule_is_right_in_every_dimension(world: str, store: Recorded) -> None:
    fn, scorer, name = GOOD[world]
    evaluation = evaluate(fn, load_scenarios(find_example(world)), scorer, n=8, concurrency=4)
    overall = {each.name: each.value for each in evaluation.dimensions if each.slice is None}
    overall.pop(f"{name} public", None)  # of other kinds than the fresh ones
    assert overall == {name: 1.0, f"{name} robustness": 1.0, f"{name} sensitivity": 1.0}


def test_who_approves_everything_is_robust_and_insensitive(store: Recorded) -> None:
    evaluation = evaluate(approve, find_example("refund"), exact, n=8, concurrency=4)
    assert evaluation.dimension("exact").value < 1
    assert evaluation.dimension("exact robustness").value == 1.0
    assert evaluation.dimension("exact sensitivity").value == 0.0


def test_recall_is_told_apart_by_the_place_of_the_fact(store: Recorded) -> None:
    evaluation = evaluate(find_code_nearby, find_example("retrieval"), contains, n=24, concurrency=4)
    recall = {
        int(each.slice.split()[1]): each.value
        for each in evaluation.dimensions
        if each.kind == "score" and each.slice and each.slice.startswith("position ")
    }
    assert list(recall) == sorted(recall)
    assert recall[0] == 1.0
    assert recall[9] == 0.0


def test_a_file_in_the_manner_of_gsm8k_takes_the_place_of_the_public_set(tmp_path: Any) -> None:
    file = tmp_path / "gsm8k.jsonl"
    file.write_text('{"question": "What is 2 + 2?", "answer": "2 + 2 = <<2+2=4>>4\\n#### 1,004"}\n')
    scenarios = load_scenarios(find_example("arithmetic"), public=file)
    public = [each for s in scenarios for each in s.make_instances(3) if each.variant == "public"]
    assert [(each.input, each.expected) for each in public] == 2 * [({"question": "What is 2 + 2?"}, 1004.0)]
