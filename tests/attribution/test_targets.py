"""What is explained and against what: contrasts, units, averaged baselines, values of other calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llm_trace.attribution.api import attribute
from llm_trace.attribution.core import plugins
from llm_trace.attribution.question.objective import Goal, Query, build_goal
from llm_trace.attribution.question.targets import Contrast, find_decision_rows, replace_contrast
from llm_trace.capture.prompts import Prompt
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution
from tests.helpers import attribution_toys as toys

PROMPT = "Lily had a red ball. One day Tom came."
RESPONSE = " One day the dog came."


def run(prompt: Any = PROMPT, response: str | None = RESPONSE, **settings: Any) -> Attribution:
    given = {"model": toys.llama(), "tokenizer": toys.byte_level(), "method": "occlusion", "baseline": "mask"}
    found: Attribution = attribute(prompt, response, **(given | settings))
    return found


def test_a_contrast_is_the_difference_of_two_answers() -> None:
    this, that = np.array(run().values), np.array(run(response=" Tom said hello.").values)
    both = run(target=Contrast("Tom said hello."))
    assert np.array(both.values) == pytest.approx(this - that, abs=1e-4)
    assert both.target == "'One day the dog came.' rather than 'Tom said hello.'"
    assert np.array(both.matrix).sum(axis=0) == pytest.approx(np.array(both.values))
    assert len(both.matrix or ()) == len(both.target_tokens)
    assert [t.startswith("not ") for t in both.target_tokens].index(True) > 0


@pytest.mark.parametrize("target", [Contrast("dog", "ball"), ("dog", "ball")])
def test_a_contrast_within_the_response_reads_the_same_beginning(target: Any) -> None:
    found = run(target=target)
    whole, other = (
        toys.byte_level()(PROMPT + RESPONSE)["input_ids"],
        toys.byte_level()(PROMPT + " One day the ball came.")["input_ids"],
    )
    prompt = toys.byte_level()(PROMPT)["input_ids"]
    ends = []
    for ids, word in ((whole, " dog"), (other, " ball")):
        last = next(
            i for i in range(len(ids)) if toys.byte_level().decode(ids[: i + 1]).endswith("the" + word)
        )
        ends.append(last - len(prompt) + 1)
    first = next(i for i, (a, b) in enumerate(zip(whole, other, strict=False)) if a != b) - len(prompt)
    parts = [
        toys.brute(toys.llama(), prompt, ids[len(prompt) :])[first:end].sum()
        for ids, end in zip((whole, other), ends, strict=True)
    ]
    assert found.full == pytest.approx(parts[0] - parts[1], abs=1e-4)
    assert found.target == "'dog' rather than 'ball'"


def test_two_answers_of_one_token_cost_one_pass() -> None:
    one = run(target=0)
    token = toys.byte_level().decode([5])
    both = build_goal(Query.of((3, 4), [0]), Query.of((5,), [0]))
    assert token
    assert both == Goal((Query((), (0, 0), (3, 5)),), (1, -1), "nats")
    longer = build_goal(Query.of((3, 4, 6), [1, 2]), Query.of((3, 5), [1]))
    assert longer == Goal((Query((3, 4), (1, 2, 1), (4, 6, 5)),), (1, 1, -1), "nats")
    assert len(build_goal(Query.of((3, 4, 6), [0, 1, 2]), Query.of((5, 6), [0, 1])).queries) == 2
    contrast = run(target=Contrast("!"))
    assert contrast.passes >= one.passes


def test_a_contrast_with_a_continuation_explains_the_rest() -> None:
    assert find_decision_rows([1, 2, 3], [1, 2], [0, 1, 2], [0, 1]) == ([2], [])
    assert replace_contrast(Contrast("dog", "cat"), " the dog came") == ((5, 8), " the cat came")
    assert replace_contrast(Contrast("no"), " yes") == ((0, 4), " no")
    found = run(target=Contrast("One day"))
    assert found.full is not None
    assert found.full <= 0.0


def test_probability_and_logit() -> None:
    nats, probability, logit = (
        run(target=-1, unit=unit, method="shapley", segments="sentence")
        for unit in ("nats", "probability", "logit")
    )
    assert nats.full is not None
    assert nats.empty is not None
    p, q = np.exp(nats.full), np.exp(nats.empty)
    assert (probability.full, probability.empty) == pytest.approx((p, q), abs=1e-6)
    assert sum(probability.values) == pytest.approx(p - q, abs=1e-6)
    assert (logit.full, logit.empty) == pytest.approx((np.log(p / (1 - p)), np.log(q / (1 - q))), abs=1e-4)
    assert (probability.unit, logit.unit, probability.matrix, logit.matrix) == (
        "probability",
        "logit",
        None,
        None,
    )
    one, two, both = (
        run(response=r, unit="probability", target=t).full or 0.0
        for r, t in ((" One", None), (" day", None), (" One", Contrast(" day")))
    )
    assert both == pytest.approx(one - two, abs=1e-6)


@pytest.mark.parametrize("unit", ["probability", "logit"])
def test_gradient_methods_follow_the_unit(unit: str) -> None:
    settings: dict[str, Any] = {"target": -1, "model": toys.llama(initializer_range=0.12)}
    nats = run(method="input_x_gradient", baseline="auto", **settings)
    found = run(method="input_x_gradient", baseline="auto", unit=unit, **settings)
    p = np.exp(nats.full or 0.0)
    slope = p if unit == "probability" else 1 / (1 - p)
    assert np.array(found.values) == pytest.approx(np.array(nats.values) * slope, rel=1e-3, abs=1e-6)
    sig = run(method="sig", segments="token", unit=unit, **settings)
    loo = run(method="occlusion", segments="token", unit=unit, **settings)
    assert sig.values == pytest.approx(loo.values, abs=1e-5)


def test_certainty_has_a_finite_logit() -> None:
    import torch

    aim = build_goal(Query((), (0,), (1,)), unit="logit")
    assert float(aim.worth(torch.zeros(1, 1, dtype=torch.float64))) == pytest.approx(16.63, abs=0.01)
    assert float(aim.worth(torch.tensor([[-0.6931471805599453]]))) == pytest.approx(0.0, abs=1e-6)


def test_baselines_are_averaged_and_named() -> None:
    one, two, both = (run(baseline=b) for b in ("mask", "...", ["mask", "..."]))
    assert np.array(both.values) == pytest.approx((np.array(one.values) + np.array(two.values)) / 2, abs=1e-4)
    assert both.baseline == f"mean over 2 of: {one.baseline}; text: '...'"
    assert run(baseline=["mask"]).values == one.values


def test_a_package_brings_a_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        value = "package:dots"

        def load(self) -> Any:
            return lambda text: "." * len(text)

    monkeypatch.setattr(
        plugins, "find_foreign", lambda group: {"dots": Point()} if group == plugins.BASELINES else {}
    )
    found = run(segments=[(0, 4)], baseline="dots")
    monkeypatch.undo()
    assert found.baseline == "dots"
    assert found.values == run(segments=[(0, 4)], baseline="....").values


def test_a_variable_is_replaced_by_its_values_in_other_calls() -> None:
    prompt = Prompt("p", "{who} had a {what}. One day Tom came.").format(who="Lily", what="red ball")
    seen = {"who": ["Tom", "Sue"], "what": ["dog", "kite", "hat"]}
    found = run(prompt, segments="variable", baseline=seen)
    response = toys.byte_level()(PROMPT + RESPONSE)["input_ids"][
        len(toys.byte_level()(PROMPT)["input_ids"]) :
    ]

    def plain(who: str, what: str) -> float:
        ids = toys.byte_level()(f"{who} had a {what}. One day Tom came.")["input_ids"]
        return float(toys.brute(toys.llama(), ids, response).sum())

    rounds = [("Tom", "dog"), ("Sue", "kite"), ("Tom", "hat")]
    whole = plain("Lily", "red ball")
    expected = [
        whole - np.mean([plain(who, "red ball") for who, _ in rounds]),
        whole - np.mean([plain("Lily", what) for _, what in rounds]),
    ]
    assert found.values == pytest.approx(expected, abs=1e-4)
    assert found.empty == pytest.approx(float(np.mean([plain(*r) for r in rounds])), abs=1e-4)
    assert found.baseline == "values of other calls (mean over 3)"
    same = run(prompt, segments="variable", baseline={"who": ["Lily"], "what": ["red ball"]})
    assert same.values == (0.0, 0.0)


def test_bad_targets_and_baselines_are_clear_errors() -> None:
    prompt = Prompt("p", "{who} had a ball.").format(who="Lily")
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (PROMPT, {"unit": "bits"}, "unit 'bits' is unknown; choose one of nats, probability, logit"),
        (PROMPT, {"target": Contrast("cat", "dog")}, "does not stand in the response"),
        (PROMPT, {"target": Contrast("dog", "dog")}, "and itself"),
        (PROMPT, {"target": Contrast(RESPONSE)}, "and itself"),
        (
            prompt,
            {"segments": "variable", "baseline": {"what": ["x"]}},
            "no list of values for 'who'; it has what",
        ),
        (prompt, {"segments": "variable", "baseline": {"who": []}}, "no list of values"),
    ]
    for text, settings, message in cases:
        with pytest.raises(AttributionError, match=message):
            run(text, **settings)
    with pytest.raises(AttributionError, match="a contrast is"):
        Contrast()
