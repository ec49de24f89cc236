"""What rules say of calls, and what comes of it: never a guess, and never twice."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llm_trace
from llm_trace.operations import parse_rules
from llm_trace.operations.rules import RuleSet
from llm_trace.operations.rules_facts import KnownCall
from llm_trace.record import Attribution, Call, CallError, Message, Part, PromptUse, Score, Usage
from tests.helpers.rules_toys import TEMPLATE, DeskCall, explain, record_desk

pytest.importorskip("cel_expr_python")

PROMPT = TEMPLATE.format(message="It came broken today.", days=75)
WEIGHTS = {"broken": 0.4, "75": 0.1, "APPROVE": 0.1}
"""Of words; "broken" stands twice: the shares are 0.8, 0.1 and 0.1."""


def make_call(**fields: Any) -> Call:
    whole: dict[str, Any] = {
        "trace_id": "0" * 32,
        "span_id": "1" * 16,
        "name": "ask",
        "kind": "llm",
        "status": "ok",
        "start_ns": 1_000_000_000,
        "end_ns": 3_500_000_000,
        "input": {"prompt": PROMPT},
        "output": "APPROVE",
        "model": "toy-1",
        "usage": Usage(input_tokens=12, output_tokens=1),
        "tags": ("prod", "desk"),
        "metadata": {"tier": "gold", "tries": 2, "share": 0.5, "deep": [{"x": None}]},
        "prompt": PromptUse(
            name="refund", version="abc", variables={"message": "It came broken today.", "days": 75}
        ),
    }
    return Call(**whole | fields)


def make_score(name: str, value: float | str | bool, time_ns: int = 1, **fields: Any) -> Score:
    return Score(span_id="1" * 16, name=name, value=value, time_ns=time_ns, **fields)


def make_known(attribution: Attribution | None = None, **fields: Any) -> KnownCall:
    scores = (
        make_score("judge", 0.2),
        make_score("judge", 0.7),
        make_score("topic", "lamps"),
        make_score("ok", True),
    )
    return KnownCall(make_call(**fields), attribution or explain(PROMPT, WEIGHTS), scores, TEMPLATE)


def make_rules(when: str, action: str = "check") -> RuleSet:
    rules: RuleSet = parse_rules(f"rules:\n- {{name: it, action: {action}, when: {json.dumps(when)}}}")
    return rules


FIRING = [
    "share('broken') > 0.79 && share('broken') < 0.81",
    "share('Came BROKEN') == 0.4 && share('lamp') == 0",
    "share_of_variable('days') < 0.2 && share_of_variable('message') >= 0.4",
    "share_of_line('Example') > share_of_line('Days')",
    "share_matching('^[0-9]+$') < 0.2 && share_matching('^(?i)BRO') > 0.7",
    "score('judge') == 0.7 && score('ok') == 1 && label('topic') == 'lamps'",
    "call.name == 'ask' && call.kind == 'llm' && call.status == 'ok' && call.model.startsWith('toy')",
    "call.seconds == 2.5 && call.input_tokens > 11 && call.output_tokens < 1.5 && call.error == ''",
    "'prod' in call.tags && call.tags.exists(t, t == 'desk') && size(call.tags) == 2",
    "call.metadata.tier == 'gold' && call.metadata.tries == 2 && call.metadata['share'] < 0.6",
    "!has(call.metadata.missing) && call.metadata.deep[0].x == null",
    "call.question.contains('Customer') && call.answer == 'APPROVE' && call.answer.matches('^APP')",
    "prompt.name == 'refund' && prompt.version == 'abc' && prompt.variables.days > 60",
    "attribution.method == 'occlusion' && attribution.verdict == 'ok'",
    "call.metadata.tries > 1 ? true : share('x') > 1",
]


@pytest.mark.parametrize("when", FIRING, ids=map(str, range(len(FIRING))))
def test_a_condition_asks_calls_prompts_attributions_and_scores(when: str) -> None:
    decision = make_rules(when).decide_on(make_known())
    assert (decision.action, decision.fired) == ("check", ("it",)), decision.reason
    assert make_rules(f"!({when})").decide_on(make_known()).action == "pass"


UNKNOWN: dict[str, tuple[str, KnownCall, str]] = {
    "no attribution": ("share('broken') > 0.4", KnownCall(make_call()), "the call has no attribution"),
    "no evidence": (
        "share('broken') > 0.4",
        make_known(explain(PROMPT, WEIGHTS, verdict="insufficient_evidence")),
        "the attribution is no evidence: insufficient_evidence",
    ),
    "no variable": ("share_of_variable('name') > 0.4", make_known(), "no variable 'name'"),
    "no score": ("score('helpful') > 0.4", make_known(), "the call has no score 'helpful'"),
    "a label": ("score('topic') > 0.4", make_known(), "the score 'topic' is 'lamps', which is no number"),
    "no cost": ("call.cost_usd > 1", make_known(), "call.cost_usd is not known of this call"),
    "no key": ("call.metadata.region == 'eu'", make_known(), 'Key not found in map : "region"'),
    "another type": (
        "call.metadata.tier > 3",
        make_known(),
        "No matching overloads found : _>_(string, int64)",
    ),
    "pattern of a call": (
        "call.name.matches(call.answer)",
        make_known(output="(a"),
        "invalid regular expression",
    ),
    "no chunk": ("share_of_chunk('doc-1') > 0", make_known(), "the attribution is not by chunk"),
    "no prompt": (
        "prompt.name == 'refund'",
        make_known(prompt=None),
        "prompt.name is not known of this call",
    ),
    "too much work": (
        "[0,1,2,3,4,5,6,7,8,9].all(x, " * 5 + "x < size(call.tags) + 99" + ")" * 5,
        make_known(),
        "Iteration budget exceeded",
    ),
    "too many questions": (
        "call.metadata.many.all(t, share(t) < 0.9)",
        make_known(metadata={"many": [f"word{i}" for i in range(300)]}),
        "more than 200 things",
    ),
}


@pytest.mark.parametrize(("when", "known", "reason"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_nobody_knows_is_unknown_and_the_call_is_checked(
    when: str, known: KnownCall, reason: str
) -> None:
    for action in ("check", "block", "tag", "alert"):
        decision = make_rules(when, action).decide_on(known)
        (finding,) = decision.findings
        assert (decision.action, decision.fired, finding.answer) == ("check", (), "unknown")
        assert finding.reason is not None
        assert reason in finding.reason


@pytest.mark.parametrize(
    ("when", "action"),
    [
        ("share('x') > 0.4 && call.name == 'other'", "pass"),
        ("call.name == 'other' && share('x') > 0.4", "pass"),
        ("share('x') > 0.4 || call.name == 'ask'", "block"),
        ("share('x') > 0.4 || call.name == 'other'", "check"),
        ("!(share('x') > 0.4)", "check"),
    ],
)
def test_the_unknown_counts_only_where_it_could_change_the_answer(when: str, action: str) -> None:
    assert make_rules(when, "block").decide_on(KnownCall(make_call())).action == action


def test_the_strictest_course_wins_and_the_reason_names_all() -> None:
    rules = parse_rules(
        "rules:\n"
        "- {name: a, action: tag, when: call.name == 'ask'}\n"
        "- {name: b, action: check, when: call.name == 'other'}\n"
        "- {name: c, action: block, when: call.kind == 'llm'}\n"
        "- {name: d, action: alert, when: call.cost_usd > 1}\n"
    )
    decision = rules.decide_on(make_known())
    assert (decision.action, decision.fired) == ("block", ("a", "c"))
    assert decision.reason == "'a' fires; 'c' fires; 'd' is unknown (call.cost_usd is not known of this call)"
    assert RuleSet(rules.rules[:1]).decide_on(make_known()).action == "pass"
    assert RuleSet(rules.rules[1:2]).decide_on(make_known()).reason == "no rule fires"


def test_a_pattern_that_would_backtrack_for_ever_takes_a_moment() -> None:
    text = "a" * 50_000 + "!"
    known = make_known(explain(text, {text: 1.0}), input={"prompt": text}, output=text)
    began = time.process_time()
    assert (
        make_rules("call.answer.matches('^(a+)+$') || share_matching('^(a|a)*$') > 2").decide_on(known).action
        == "pass"
    )
    assert time.process_time() - began < 5


ODD = {
    "surrogates": {"output": "a\ud800", "metadata": {"tier": "\udfff", "k\ud800": 1}},
    "large numbers": {"metadata": {"tier": 10**400, "x": -(2**70), "y": float("nan")}},
    "errors": {"error": CallError(type="ValueError"), "status": "error", "output": None},
    "messages": {"messages_out": (Message(role="assistant", parts=(Part(type="text", content="APPROVE"),)),)},
    "nothing": {"input": None, "output": None, "usage": None, "end_ns": None, "model": None, "prompt": None},
    "null": {"output": "\0", "tags": ("\0",)},
}


@pytest.mark.parametrize("fields", ODD.values(), ids=ODD)
def test_odd_calls_are_asked_like_others(fields: dict[str, Any]) -> None:
    rules = make_rules("call.metadata.tier == 'x' || call.answer == 'APPROVE' || call.name == 'ask'")
    assert rules.decide_on(make_known(**fields)).action == "check"
    assert rules.decide_on(make_known(**fields)).fired == ("it",)


def test_a_fault_of_the_program_is_raised_and_not_taken_for_an_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> float:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("llm_trace.operations.shares.WeightShares.measure_text", fail)
    with pytest.raises(ZeroDivisionError, match="a fault"):
        make_rules("share('x') > 0").decide_on(make_known())


@settings(max_examples=60)
@given(
    st.recursive(
        st.sampled_from(["share('broken')", "score('judge')", "0.5", "1", "score('none')", "share('x')"]),
        lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(
            lambda t: f"({' '.join(t)})"
        ),
        max_leaves=4,
    ),
    st.sampled_from(["<", ">", "<=", ">=", "==", "!="]),
)
def test_any_sum_of_shares_is_refused_with_a_remedy_or_answered(left: str, sign: str) -> None:
    try:
        rules = make_rules(f"{left} {sign} 0.5")
    except llm_trace.errors.RuleError as exc:
        assert "write numbers with a point" in str(exc)
        return
    decision = rules.decide_on(make_known())
    assert ("none" in left) == any(finding.answer == "unknown" for finding in decision.findings)


def test_a_rule_asks_the_store(path: Path) -> None:
    calls = record_desk(
        path,
        [
            DeskCall(weights={"broken": 0.4, "75": 0.1}),
            DeskCall(weights={"broken": 0.1, "75": 0.9}, right=[False]),
            DeskCall(),
        ],
    )
    rules = parse_rules(
        "rules:\n"
        "- name: example\n"
        "  action: check\n"
        "  when: share_of_line('Example') > 0.3 && share_of_variable('days') < 0.2\n"
        "- {name: refused, action: block, when: score('correct') == 0}\n"
    )
    with llm_trace.open_store(path) as store:
        assert [rules.rules[0].decide(call, store).answer for call in calls] == ["fires", "quiet", "unknown"]
        decisions = rules.decide_all(calls, store)
        assert [decision.action for decision in decisions] == ["check", "block", "check"]
        assert decisions[1] == rules.decide(calls[1], store)
        assert (
            decisions[0].reason == "'example' fires; 'refused' is unknown (the call has no score 'correct')"
        )
        assert rules.decide_all([], store) == []


def test_of_several_attributions_the_newest_that_is_evidence_counts(path: Path) -> None:
    from tests.helpers.explained import keep_attributions

    (call,) = record_desk(path, [DeskCall()])
    prompt = call.input["prompt"]
    keep_attributions(
        path, call,
        explain(prompt, {"75": 1.0}),
        explain(prompt, {"broken": 1.0}),
        explain(prompt, {"75": 1.0}, verdict="redundant"),
    )  # fmt: skip
    with llm_trace.open_store(path) as store:
        assert make_rules("share('broken') > 0.9").decide(call, store).fired == ("it",)
