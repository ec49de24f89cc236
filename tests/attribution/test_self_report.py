"""Self-reports: parsed strictly, set beside perturbation, pooled over many calls, exported for training."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from llm_trace.attribution.api import attribute
from llm_trace.attribution.core.plan import Plan
from llm_trace.attribution.methods.self_report import (
    parse_report,
    self_knowledge,
    training_lines,
)
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution
from llm_trace.statistics.correlation import bound_correlation
from tests.helpers.remote_toys import desk, explain

PIECES = ["please", "tell", "me", "what", "a", "gold", "customer", "may", "expect"]
HONEST = [0.0] * 5 + [1.0] + [0.0] * 3


class Speaks:
    """Answers as the desk does; asked about itself it gives this report."""

    def __init__(self, report: Any) -> None:
        self.report = report if isinstance(report, str) else json.dumps({"weights": report})
        self.calls = 0

    def __call__(self, prompt: Any) -> str:
        self.calls += 1
        return self.report if "Reply with JSON only" in str(prompt) else desk(str(prompt))


def reported(report: Any, prompt: Any = " ".join(PIECES), **settings: Any) -> Attribution:
    return explain(Speaks(report), prompt, method="self_report", **({"budget": 80} | settings))


def test_a_report_stands_beside_its_measured_agreement_and_is_never_ok() -> None:
    found = reported(HONEST)
    told = found.faithfulness["agreement"]
    assert (found.values, found.unit, found.verdict) == (tuple(HONEST), "share", "self_report_unverified")
    assert told["pearson"] > 0.99
    assert int(np.argmax(told["effects"])) == 5
    assert "r = 1.00" in found.warnings[0]
    lying = reported([1.0] + [0.0] * 8).faithfulness["agreement"]
    assert lying["pearson"] < 0.2


def test_ten_words_leave_nearly_everything_open() -> None:
    low, high = bound_correlation(0.6, 10, 0.95)
    assert (round(low, 2), round(high, 2)) == (-0.05, 0.89)


def test_messages_are_asked_by_a_message() -> None:
    found = reported([1.0, 0.0], [{"role": "user", "content": "gold customer"}])
    assert found.faithfulness["agreement"]["pearson"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "gold matters most",
        "```json\n" + json.dumps({"weights": HONEST}) + "\n```",
        json.dumps(HONEST),
        json.dumps({"weights": HONEST[1:]}),
        json.dumps({"weights": [*HONEST[1:], 1.5]}),
        json.dumps({"weights": [*HONEST[1:], "1"]}),
        json.dumps({"weights": [*HONEST[1:], True]}),
        json.dumps({"weights": [*HONEST[1:], math.nan]}),
        json.dumps({"weights": HONEST, "why": "because"}),
        json.dumps({"weights": HONEST})[:-1],
        json.dumps({"weights": HONEST})[:-1] + ", " + json.dumps({"weights": HONEST})[1:],
        "[" * 5000 + "]" * 5000,
    ],
)
def test_a_malformed_report_is_a_stated_outcome_and_nothing_more_is_paid(reply: str) -> None:
    model = Speaks(reply)
    found = explain(model, " ".join(PIECES), method="self_report", budget=80)
    assert (found.verdict, set(found.values), model.calls) == ("malformed_report", {0.0}, 2)
    assert "report" in found.warnings[0]


def test_numbers_are_read_as_they_are() -> None:
    assert parse_report('{"weights": [0, 1, -0.25]}', 3).tolist() == [0.0, 1.0, -0.25]


def test_a_budget_without_room_for_the_comparison_pays_for_no_report() -> None:
    model = Speaks(HONEST)
    found = explain(model, " ".join(PIECES), method="self_report", budget=6)
    assert (found.verdict, model.calls) == ("insufficient_evidence", 0)
    plan = attribute(" ".join(PIECES), model=model, method="self_report", budget=80, dry_run=True)
    assert isinstance(plan, Plan)
    assert (plan.evaluations, plan.verdict, model.calls) == (80, "ok", 0)


def test_a_model_that_is_no_callable_cannot_report() -> None:
    with pytest.raises(AttributionError, match="answers in words"):
        attribute("gold", "yes", model="demo", method="self_report")


def many(count: int, honest: bool) -> list[Attribution]:
    rng = np.random.default_rng(0)
    found = []
    for seed in range(count):
        order = [PIECES[i] for i in rng.permutation(len(PIECES))]
        weights = (
            [float(word == "gold") for word in order] if honest else rng.uniform(-1, 1, len(order)).tolist()
        )
        found.append(reported(weights, " ".join(order), budget=40, seed=seed, response="We approve it"))
    return found


def test_agreement_is_pooled_over_fifty_calls_with_bounds_by_model_and_prompt() -> None:
    honest, blind = many(50, honest=True), many(50, honest=False)
    whole = self_knowledge(honest, by=lambda report: "the desk")
    assert [(k.group, k.calls, k.verdict) for k in whole] == [
        ("all", 50, "ok"), ("model Speaks", 50, "ok"), ("the desk", 50, "ok"),
    ]  # fmt: skip
    assert whole[0].low > 0.9
    unaware = self_knowledge(blind)[0]
    assert unaware.low < 0 < unaware.high
    assert unaware.high - unaware.low < 0.25
    few = self_knowledge([*honest[:20], reported("no JSON"), explain(desk, budget=40)])[0]
    assert (few.verdict, few.calls, few.malformed) == ("insufficient_evidence", 20, 1)
    assert self_knowledge([])[0].verdict == "insufficient_evidence"


def test_training_data_answers_the_question_with_the_measured_effects() -> None:
    lines = [
        json.loads(line)
        for line in training_lines([reported([0.0] * 9), reported("no JSON"), explain(desk, budget=40)])
    ]
    assert len(lines) == 1
    asked, said = lines[0]["messages"]
    assert (asked["role"], said["role"]) == ("user", "assistant")
    assert '6. "gold"' in asked["content"]
    weights = json.loads(said["content"])["weights"]
    assert weights[5] == 1.0
    assert max(map(abs, weights[:5] + weights[6:])) < 0.1
