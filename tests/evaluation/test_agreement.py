"""Whether attributions in the store find the words that a scenario knows to be decisive."""

from __future__ import annotations

from typing import Any

import pytest

import llm_trace
from llm_trace import evaluate
from llm_trace.evaluation import exact, read_evaluation
from llm_trace.evaluation.agreement import measure_agreement
from tests.conftest import Recorded
from tests.helpers.evaluation_toys import make_desk
from tests.helpers.explained import keep_attributions, make_attribution


@llm_trace.trace(kind="llm")
def ask(prompt: str) -> str:
    return "APPROVE"


def answer(message: str, waited: int) -> str:
    return ask(f"Thirty days at most, 30 days.\n\n{message}")


def explain(store: Recorded, weigh: Any, **fields: Any) -> None:
    for call in store.calls(name="ask"):
        prompt = call.input["prompt"]
        values = [weigh(word, i) for i, word in enumerate(prompt.split())]
        keep_attributions(store.path, call, make_attribution(prompt, values, **fields))


def test_attributions_that_find_what_decides_agree_with_bounds_and_others_do_not(store: Recorded) -> None:
    desk = make_desk(decisive=["waited"])
    evaluation = evaluate(answer, desk, exact, n=12)
    assert [each.name for each in evaluation.dimensions] == ["exact"]
    explain(store, lambda word, i: -4.0 if word.isdigit() and i > 6 else i / 100, verdict="noise_untested")
    assert [each.name for each in read_evaluation("answer", store=store.path).dimensions] == ["exact"]
    waited = {str(each.instance.slots["waited"]) for each in evaluation.outcomes}
    explain(store, lambda word, i: -4.0 if word in waited and i > 6 else i / 100)
    shown = read_evaluation("answer", store=store.path)
    agreement = shown.dimension("attribution agreement")
    assert (agreement.kind, agreement.n, agreement.instances, agreement.value) == ("agreement", 12, 12, 1.0)
    assert agreement.low is not None
    assert agreement.low > 0.7
    assert "attribution: a word that decides outweighs another one in 100%" in str(shown)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([0, 0, 0, 3, 1, 0], 1.0, id="first"),
        pytest.param([0, 0, 0, -3, 1, 0], 1.0, id="against the answer"),
        pytest.param([9, 9, 1, 1, 1, 1], 0.5, id="rules do not count"),
        pytest.param([0, 0, 5, 0, 1, 3], 0.0, id="last"),
    ],
)
def test_the_agreement_is_the_area_under_the_curve_over_the_words_of_the_input(
    values: list[float], expected: float
) -> None:
    attribution = make_attribution("After 30: waited 75 days now", values)
    assert measure_agreement(attribution, {"message": "waited 75 days now"}, ["75"]) == expected


def test_without_a_decisive_word_in_the_input_there_is_none() -> None:
    attribution = make_attribution("waited 75 days", [1, 2, 3])
    assert measure_agreement(attribution, {"message": "waited 75 days"}, ["7", "gold"]) is None
    assert measure_agreement(attribution, {"message": "75"}, ["75"]) is None
