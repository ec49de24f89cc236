"""Suggested rules: found where wrong answers rest on something else, confirmed on other calls."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import llm_trace
from llm_trace.errors import ConfigurationError
from llm_trace.operations import parse_rules, suggest_rules
from llm_trace.operations.rules_candidates import (
    Bound,
    Feature,
    RuleCandidate,
    compute_p_values,
    find_candidates,
    list_features,
    write_literal,
)
from llm_trace.operations.rules_facts import KnownCall
from llm_trace.operations.rules_suggestions import CheckedCase, confirm_candidates
from llm_trace.operations.shares import WeightShares
from llm_trace.record import Call
from tests.helpers.rules_toys import DeskCall, explain, record_desk

pytest.importorskip("cel_expr_python")

BOUNDS = [
    (Bound("share('a')", ">", 0.5),),
    (Bound("share('b')", ">", 0.7),),
    (Bound("share('a')", ">", 0.8),),
]


def draw_desk(seed: int, count: int, *, flaw: bool) -> list[DeskCall]:
    """Return customers, a third answered wrong; with the flaw, where "broken" outweighs the days."""
    rng = random.Random(seed)
    calls = []
    for number in range(count):
        wrong = number % 3 == 0
        on_example = flaw and (wrong if rng.random() < 0.9 else not wrong)
        heavy, light = rng.uniform(0.7, 1), rng.uniform(0, 0.1)
        weights = {"broken": heavy, "75": light} if on_example else {"broken": light, "75": heavy}
        noise = {word: rng.uniform(0, 0.1) for word in ("Customer:", "today.", "Answer:", "APPROVE")}
        message = f"The lamp came today. My number is {number}."
        calls.append(DeskCall(message=message, weights=weights | noise, right=[not wrong]))
    return calls


def test_the_flaw_is_found_confirmed_and_ready_to_paste(path: Path) -> None:
    record_desk(path, draw_desk(1, 90, flaw=True))
    suggestions = suggest_rules("desk", store=path)
    assert (suggestions.training, suggestions.held_out, suggestions.wrong) == (45, 45, 30)
    assert suggestions.left_out == {}
    best = suggestions.rules[0]
    assert any(
        part in best.when
        for part in ("share('broken') >", "share_of_line('Example') >", "share_of_variable('days') <")
    )
    assert best.p_value < 0.001
    assert best.precision.value is not None
    assert best.precision.value > 0.75
    text = suggestions.to_yaml()
    rules = parse_rules(text)
    assert [(rule.name, rule.condition.text, rule.action) for rule in rules] == [
        (rule.name, rule.when, "check") for rule in suggestions.rules
    ]
    assert suggestions == suggest_rules("desk", store=path)
    with llm_trace.open_store(path) as store:
        assert store.sql("SELECT count(*) FROM operations").fetchone() == (0,)
        decisions = rules.decide_all(store.calls(kind="llm", limit=None), store)
    assert {decision.action for decision in decisions} == {"check", "pass"}


def test_where_there_is_nothing_to_find_nothing_is_proposed(path: Path) -> None:
    record_desk(path, draw_desk(2, 60, flaw=False))
    suggestions = suggest_rules(store=path)
    assert suggestions.rules == ()
    assert "None held on the calls held out." in suggestions.to_yaml()
    with pytest.raises(llm_trace.errors.RuleError, match="begins with `rules:`"):
        parse_rules(suggestions.to_yaml())


@pytest.mark.parametrize(
    ("calls", "message"),
    [
        ([], r"0 wrong and 0 right of 0 calls"),
        ([DeskCall(weights={"75": 1.0})] * 3, r"4 calls left out: no score 'correct' by human"),
        (
            [DeskCall(weights={"75": 1.0}, right=[True])] * 12,
            r"0 wrong and 12 right of 12 calls .* 10 of each are needed",
        ),
        ([DeskCall(weights={"75": 1.0}, right=[False])] * 12, r"12 wrong and 0 right of 12 calls"),
        ([DeskCall(right=[False])] * 2, r"2 calls left out: the call has no attribution"),
        (
            [DeskCall(weights={"75": 1.0}, right=[True, False])] * 2,
            r"2 calls left out: as many say right as wrong",
        ),
        (
            [DeskCall(weights={"75": 1.0}, right=[True], fields={"verdict": "redundant"})],
            r"1 call left out: the attribution is no evidence: redundant",
        ),
    ],
    ids=["no calls", "no scores", "all right", "all wrong", "unexplained", "contradictory", "no evidence"],
)
def test_too_little_to_learn_from_is_said_with_the_reason(
    path: Path, calls: list[DeskCall], message: str
) -> None:
    record_desk(path, [*calls, DeskCall()])
    with pytest.raises(ConfigurationError, match=message):
        suggest_rules(store=path)


def test_calls_with_one_question_are_on_one_side_of_the_split() -> None:
    from llm_trace.operations.rules_suggestions import split_cases

    cases = [
        make_case(f"question {number // 3}", {"question": 1.0}, wrong=number % 7 == 0) for number in range(60)
    ]
    training, held_out = split_cases(cases, 0)
    sides = [
        {case.known.attribution.prompt for case in half if case.known.attribution}
        for half in (training, held_out)
    ]
    assert sides[0] & sides[1] == set()
    assert len(training) + len(held_out) == 60
    assert abs(len(training) - len(held_out)) <= 6


def test_of_calls_with_one_question_one_is_tested(path: Path) -> None:
    """What five customers asked ten times each proves no more than five calls do."""
    desk = [
        DeskCall(f"Lamp {number}.", weights={"broken" if number % 2 else "75": 1.0}, right=[number % 2 == 0])
        for number in range(5)
    ]
    record_desk(path, desk * 10)
    suggestions = suggest_rules(store=path)
    assert suggestions.rules == ()
    assert suggestions.training + 10 * suggestions.held_out == 50
    assert suggestions.left_out == {"another of its session or question is tested": 9 * suggestions.held_out}


def make_case(prompt: str, weights: dict[str, float], *, wrong: bool) -> CheckedCase:
    call = Call(trace_id="0" * 32, span_id="1" * 16, name="ask", start_ns=1)
    return CheckedCase(KnownCall(call, explain(prompt, weights)), wrong)


@pytest.mark.parametrize(
    "word", ["it's", 'say "hi"', "back\\slash", "né\u2028e", "日本", "a\tb", "😀", "#", "{x}: y", "%s"]
)
def test_odd_words_come_through_the_text_of_a_condition_and_of_a_file(word: str) -> None:
    from llm_trace.operations.rates import bound_rate
    from llm_trace.operations.rules_record import SuggestedRule, Suggestions

    when = f"call.answer == {write_literal(word)}"
    rate = bound_rate(1, 2)
    rule = SuggestedRule(name=f"on {word}", when=when, p_value=0.01, precision=rate, recall=rate, fires=rate)
    suggestions = Suggestions(
        rules=(rule,),
        candidates=1,
        training=1,
        held_out=1,
        wrong=1,
        left_out={},
        label=word,
        confidence=0.9,
        seed=0,
    )
    (back,) = parse_rules(suggestions.to_yaml())
    assert (back.name, back.condition.text) == (f"on {word}", when)
    call = Call(trace_id="0" * 32, span_id="1" * 16, name="ask", start_ns=1, output=word)
    assert back.condition.evaluate(KnownCall(call)).answer == "fires"


def test_p_values_are_those_of_fishers_exact_test() -> None:
    rng = np.random.default_rng(0)
    flags, wrong = rng.random((20, 40)) < 0.3, rng.random(40) < 0.4
    for row, p_value in zip(flags, compute_p_values(flags, wrong), strict=True):
        table = [[(row & wrong).sum(), (row & ~wrong).sum()], [(~row & wrong).sum(), (~row & ~wrong).sum()]]
        assert p_value == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue)


def test_of_candidates_that_fire_on_the_same_calls_one_is_tested() -> None:
    values = np.array([0.1] * 10 + [0.9] * 10)
    wrong = values > 0.5
    features = [Feature(f"share('{name}')", values) for name in "abc"]
    (candidate,) = find_candidates(features, wrong, 8)
    assert candidate.text.startswith("share('a') > ")
    assert find_candidates([], wrong, 8) == []
    assert find_candidates([Feature("share('a')", np.full(20, np.nan))], wrong, 8) == []


def test_a_second_bound_is_taken_where_it_tells_much_more() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random(200), rng.random(200)
    wrong = (a > 0.6) & (b < 0.4)
    best = find_candidates([Feature("share('a')", a), Feature("share('b')", b)], wrong, 3)[0]
    assert [(bound.feature, bound.sign) for bound in best.bounds] == [
        ("share('a')", ">"),
        ("share('b')", "<"),
    ]


def test_a_condition_says_of_calls_what_the_candidate_said(path: Path) -> None:
    cases = [case_of(call) for call in draw_desk(3, 60, flaw=True)]
    features = list_features([case.known.shares for case in cases])
    wrong = np.array([case.wrong for case in cases])
    candidates = find_candidates(features, wrong, 8)
    assert candidates
    for candidate in candidates:
        when = parse_rules(f"rules:\n- name: a\n  action: check\n  when: {candidate.text}").rules[0].condition
        fired = [when.evaluate(case.known).answer == "fires" for case in cases]
        assert fired == candidate.flags.tolist()


def case_of(call: DeskCall) -> CheckedCase:
    from llm_trace.record import PromptUse
    from tests.helpers.rules_toys import TEMPLATE

    variables: dict[str, Any] = {"message": call.message, "days": call.days}
    attribution = explain(TEMPLATE.format(**variables), call.weights or {})
    use = PromptUse(name="refund", version="1", variables=variables)
    whole = Call(trace_id="0" * 32, span_id="1" * 16, name="ask", start_ns=1, prompt=use)
    return CheckedCase(KnownCall(whole, attribution, template=TEMPLATE), not call.right[0])


def test_chance_is_confirmed_no_more_often_than_stated() -> None:
    """200 draws of 40 calls: at 5 %, 17 or fewer in 99 of 100 such series."""
    rng = np.random.default_rng(4)
    confirmed = 0
    for _ in range(200):
        cases = [
            make_case("a b", {"a": share, "b": 1 - share}, wrong=bool(rng.random() < 0.4))
            for share in rng.random(40)
        ]
        flags = np.zeros(1, dtype=bool)
        tested = [RuleCandidate(bound, flags, 0.0) for bound in BOUNDS]
        confirmed += bool(confirm_candidates(tested, cases, 0.95))
    assert confirmed <= 17


def test_features_are_variables_lines_words_and_numbers() -> None:
    cases = [case_of(call) for call in draw_desk(5, 30, flaw=True)]
    shares = [case.known.shares for case in cases]
    names = [feature.text for feature in list_features(shares)]
    assert {"share_of_variable('days')", "share_of_line('Example')", "share('broken')"} <= set(names)
    assert "share_matching('^[0-9]+([.,][0-9]+)*$')" in names
    assert not any("'75'" in name for name in names)
    assert isinstance(shares[0], WeightShares)
