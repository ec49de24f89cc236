"""Bias probes: unequal treatment is found, equal treatment certified, and chance taken for neither."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

import llm_trace
from llm_trace import evaluate
from llm_trace.evaluation import BiasProbe, Evaluation, exact, read_evaluation
from llm_trace.evaluation.names import MEN, WOMEN
from tests.conftest import Recorded
from tests.helpers.evaluation_toys import answer, make_desk
from tests.helpers.explained import keep_attributions, make_attribution

GROUPS = {"name": {"women": list(WOMEN), "men": list(MEN)}}


def get_probe(evaluation: Evaluation, measure: str) -> BiasProbe:
    (probe,) = (each for each in evaluation.bias_probes if each.measure == measure)
    return probe


def test_a_function_that_treats_a_group_differently_is_found(store: Recorded) -> None:
    def unfair(message: str, waited: int) -> str:
        return "DENY" if message.split(":")[0] in WOMEN and waited % 3 == 0 else answer(message, waited)

    evaluation = evaluate(unfair, make_desk(groups=GROUPS), exact, n=50)
    fresh = [each for each in evaluation.outcomes if each.instance.variant == "fresh"]
    wrong = sum(
        each.instance.slots["waited"] % 3 == 0 and each.instance.slots["waited"] <= 30 for each in fresh
    )
    measures = [(each.measure, each.slot, {each.group, each.against}) for each in evaluation.bias_probes]
    assert measures == [(name, "name", {"women", "men"}) for name in ("exact", "answer APPROVE")]
    probe = get_probe(evaluation, "exact")
    assert (probe.verdict, probe.group, probe.flip_rate) == ("found", "women", wrong / 50)
    assert probe.difference.value == pytest.approx(-wrong / 50)
    assert get_probe(evaluation, "answer APPROVE").difference.value == pytest.approx(-wrong / 50)
    assert "exact, name: women against men: are treated differently, -" in str(evaluation)


def test_equal_treatment_is_certified_within_the_margin_when_it_was_seen_often_enough(
    store: Recorded,
) -> None:
    for n, verdict in ((4, "undecided"), (55, "absent")):
        evaluation = evaluate(answer, make_desk(groups=GROUPS), exact, n=n)
        assert {each.verdict for each in evaluation.bias_probes} == {verdict}
        assert {each.flip_rate for each in evaluation.bias_probes} == {0.0}
    assert "no effect, shown to be below 5 points" in str(evaluation)
    again = read_evaluation(evaluation.run, store=store.path, margin=0.01)
    assert {each.verdict for each in again.bias_probes} == {"undecided"}


def turn_some(share: float, seed: int) -> Callable[[str, int], str]:
    """Return a function whose answers turn by chance, whoever asks."""
    random = Random(seed)

    def turn(message: str, waited: int) -> str:
        return answer(message, waited + 60 * (random.random() < share))

    return turn


def test_flips_by_chance_are_no_bias_and_repeats_tell_them_apart(store: Recorded) -> None:
    desk = make_desk(groups=GROUPS)
    once = evaluate(turn_some(0.3, 1), desk, exact, n=15)
    assert {each.verdict for each in once.bias_probes} == {"undecided"}
    assert (get_probe(once, "exact").flip_rate or 0) > 0.1
    assert "ask more questions, and with repeats=2" in str(once)
    probe = get_probe(evaluate(turn_some(0.3, 2), desk, exact, n=15, repeats=2), "exact")
    assert probe.flip_rate_again is not None
    assert probe.flip_rate_again > 0.1
    assert probe.verdict == "undecided"
    assert probe.flips is not None
    assert probe.flip_rate is not None
    assert probe.flips.value == pytest.approx(probe.flip_rate - probe.flip_rate_again)


def test_names_that_flip_answers_either_way_are_found_with_repeats(store: Recorded) -> None:
    def odd(message: str, waited: int) -> str:
        turned = message.split(":")[0] in MEN and waited % 2 == 0
        return "DENY" if (answer(message, waited) == "DENY") != turned else "APPROVE"

    probe = get_probe(evaluate(odd, make_desk(groups=GROUPS), exact, n=30, repeats=2), "answer APPROVE")
    assert (probe.verdict, probe.flip_rate_again) == ("found", 0.0)
    assert probe.difference.verdict == "undecided"  # as many turn one way as the other
    assert probe.flips is not None
    assert probe.flip_rate is not None
    assert probe.flips.value == probe.flip_rate > 0.3


def test_of_three_groups_each_stands_against_the_others_and_no_answer_counts(store: Recorded) -> None:
    def fail(message: str, waited: int) -> str:
        if message.startswith("Zoe"):
            raise RuntimeError("out of order")
        return answer(message, waited)

    evaluation = evaluate(fail, make_desk(groups={"name": ["Zoe", "Max", "Kim"]}), exact, n=25)
    probes = {(each.measure, each.group): each for each in evaluation.bias_probes}
    answers = ("exact", "answer (no answer)", "answer APPROVE", "answer DENY")
    assert set(probes) == {(measure, group) for measure in answers for group in ("Zoe", "Max", "Kim")}
    zoe = probes["answer (no answer)", "Zoe"]
    assert (zoe.against, zoe.verdict, zoe.difference.value) == ("the others", "found", 1.0)
    assert probes["exact", "Max"].difference.value == 0.5


def test_answers_in_free_words_are_compared_by_their_scores_alone(store: Recorded) -> None:
    def greet(message: str, waited: int) -> str:
        return f"Dear {message.split(':')[0]}, {answer(message, waited)}."

    def ends_well(output: str, instance: object) -> bool:
        return output.endswith(".")

    evaluation = evaluate(greet, make_desk(groups=GROUPS), ends_well, n=4)
    assert [each.measure for each in evaluation.bias_probes] == ["ends_well"]
    assert evaluate(answer, make_desk(), exact, n=2).bias_probes == ()


@llm_trace.trace(kind="llm")
def ask(prompt: str) -> str:
    return "APPROVE"


def ask_about(message: str, waited: int) -> str:
    return ask(f"Thirty days at most.\n\n{message}")


@pytest.mark.parametrize(
    ("on_women", "n", "verdict"), [(9.0, 20, "found"), (1.0, 55, "absent")], ids=["more", "as much"]
)
def test_the_weight_on_a_swapped_name_is_compared_between_groups(
    store: Recorded, on_women: float, n: int, verdict: str
) -> None:
    evaluation = evaluate(ask_about, make_desk(groups=GROUPS), exact, n=n)
    assert all(each.measure != "attribution share" for each in evaluation.bias_probes)
    for call in store.calls(name="ask", limit=1000):
        prompt = call.input["prompt"]
        values = [on_women if word.strip(":") in WOMEN else -1.0 for word in prompt.split()]
        keep_attributions(store.path, call, make_attribution(prompt, values))
    shown = read_evaluation(evaluation.run, store=store.path)
    probe = get_probe(shown, "attribution share")
    assert (probe.group, probe.against, probe.verdict) == ("women", "men", verdict)
    words = len(evaluation.outcomes[0].instance.input["message"].split())
    share = on_women / (on_women + words - 1)
    assert probe.difference.value == pytest.approx(share - 1 / words)
    assert (probe.flips, probe.flip_rate) == (None, None)
    assert "attribution share, name: women against men: " in str(shown)
    assert "flip" not in str(probe)
