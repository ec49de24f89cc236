"""What rules decide is kept, and carried out only where somebody lets them act; never twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.operations import act_on_calls, parse_rules, read_operations, send_alarm
from llm_trace.operations.alarms import Alarm, Sending
from llm_trace.operations.gate_evidence import read_evidence
from llm_trace.operations.rules import RuleDecision
from llm_trace.operations.rules_actions import Weigh
from llm_trace.operations.signals import build_signal
from llm_trace.operations.stages import StageEffect
from tests.helpers.rules_toys import DeskCall, record_desk

pytest.importorskip("cel_expr_python")

RULES = """\
rules:
  - {name: example, action: block, when: share('broken') > 0.5}
  - {name: mark, action: tag, tag: on_example, when: share('broken') > 0.5}
  - {name: ring, action: alert, to: "https://example.org/hook", when: share('broken') > 0.5, comment: Look.}
"""


@pytest.fixture
def desk(path: Path) -> Path:
    """Return a store with a call that rests on the example, one that does not, and one not explained."""
    record_desk(path, [DeskCall(weights={"broken": 0.5}), DeskCall(weights={"75": 1.0}), DeskCall()])
    return path


class Bell:
    """Keeps the alarms that would be sent."""

    def __init__(self, *, broken: bool = False) -> None:
        self.rung: list[tuple[Alarm, Sequence[str]]] = []
        self.broken = broken

    def send(self, alarm: Alarm, targets: Sequence[str]) -> None:
        if self.broken:
            raise KeyboardInterrupt
        self.rung.append((alarm, targets))


def apply(path: Path, bell: Bell | None = None, **settings: Any) -> list[RuleDecision]:
    with llm_trace.open_store(path) as store:
        calls = store.calls(kind="llm", limit=None, order="oldest")
        send = (bell or Bell()).send
        decisions: list[RuleDecision] = act_on_calls(parse_rules(RULES), calls, store, send=send, **settings)
    return decisions


def let_act(*names: str) -> Weigh:
    def weigh(rule: Any, _call: Any) -> StageEffect:
        return "act" if rule.name in names else "note"

    return weigh


def list_decisions(path: Path) -> list[tuple[str, str, str, str]]:
    with llm_trace.open_store(path) as store:
        bodies = [(o.subject, o.body) for o in read_operations(store, kind="decision")]
    return sorted((name, body["answer"], body["action"], body["effect"]) for name, body in bodies)


def list_tags(path: Path) -> list[tuple[Any, ...]]:
    with llm_trace.open_store(path) as store:
        return store.sql(
            "SELECT name, value ->> '$', source, comment FROM scores ORDER BY time_ns"
        ).fetchall()


NOTED = [
    ("example", "fires", "block", "note"),
    ("example", "unknown", "check", "note"),
    ("mark", "fires", "pass", "note"),
    ("mark", "unknown", "check", "note"),
    ("ring", "fires", "pass", "note"),
    ("ring", "unknown", "check", "note"),
]


def test_by_default_decisions_are_noted_and_nothing_is_done(desk: Path) -> None:
    bell = Bell()
    assert [decision.action for decision in apply(desk, bell)] == ["pass", "pass", "pass"]
    assert list_decisions(desk) == NOTED
    assert (list_tags(desk), bell.rung) == ([], [])


def test_a_rule_that_acts_blocks_tags_and_alerts_and_the_unknown_is_checked(desk: Path) -> None:
    bell = Bell()
    decisions = apply(desk, bell, weigh=let_act("example", "mark", "ring"))
    assert [decision.action for decision in decisions] == ["block", "pass", "check"]
    assert list_tags(desk) == [("on_example", "true", "code", "rule 'mark': share('broken') > 0.5")]
    ((alarm, targets),) = bell.rung
    assert (alarm.subject, targets) == ("ring", ("https://example.org/hook",))
    assert alarm.span_id is not None
    assert alarm.text == f"The rule 'ring' fires on call {alarm.span_id}: Look."


def test_what_a_rule_has_done_about_a_call_is_not_done_again(desk: Path) -> None:
    bell = Bell()
    everything = let_act("example", "mark", "ring")
    apply(desk, bell)
    first = apply(desk, bell, weigh=everything)
    assert apply(desk, bell, weigh=everything) == first
    apply(desk, bell)
    assert (len(list_tags(desk)), len(bell.rung)) == (1, 1)
    acted = [(name, answer, action, "act") for name, answer, action, _ in NOTED]
    assert list_decisions(desk) == sorted([*NOTED, *acted])


def test_what_was_cut_off_before_it_was_kept_is_done_next_time(desk: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        apply(desk, Bell(broken=True), weigh=let_act("ring"))
    bell = Bell()
    apply(desk, bell, weigh=let_act("ring"))
    assert len(bell.rung) == 1


def test_one_rule_acts_while_another_only_notes(desk: Path) -> None:
    decisions = apply(desk, weigh=let_act("mark"))
    assert [decision.action for decision in decisions] == ["pass", "pass", "check"]
    assert ("example", "fires", "block", "note") in list_decisions(desk)
    assert len(list_tags(desk)) == 1


def test_an_alarm_is_kept_in_the_store_where_no_sender_is_named(desk: Path) -> None:
    rules = parse_rules("rules:\n- {name: ring, action: alert, when: share('broken') > 0.5}")
    with llm_trace.open_store(desk) as store:
        calls = store.calls(kind="llm", limit=None)
        act_on_calls(rules, calls, store, weigh=let_act("ring"))
    send_alarm(Alarm(subject="later", text="later", key="1"), store=desk).wait(60)  # they go in their order
    with llm_trace.open_store(desk) as store:
        states = [o.body["state"] for o in read_operations(store, kind="alarm", subject="ring")]
    assert states == ["raised"]


def test_an_alarm_that_did_not_arrive_is_sent_by_the_next_run(desk: Path, tmp_path: Path) -> None:
    flag = tmp_path / "reachable"
    rules = parse_rules(
        f"rules:\n- {{name: ring, action: alert, to: 'command:test -e {flag}', when: share('broken') > 0.5}}"
    )
    states = []
    for _ in range(3):
        sendings: list[Sending] = []

        def send(alarm: Alarm, targets: Sequence[str], sendings: list[Sending] = sendings) -> Sending:
            sendings.append(send_alarm(alarm, targets, store=desk))
            return sendings[-1]

        with llm_trace.open_store(desk) as store:
            calls = store.calls(kind="llm", limit=None)
            act_on_calls(rules, calls, store, weigh=let_act("ring"), send=send)
        states.append([delivery.state for sending in sendings for delivery in sending.wait(60)])
        flag.touch()
    assert states == [["failed"], ["sent"], []]
    assert len(list_decisions(desk)) == 2  # the call that was not explained is unknown


def test_an_alarm_that_a_killed_run_had_queued_is_sent_by_the_next(desk: Path) -> None:
    rules = parse_rules("rules:\n- {name: ring, action: alert, when: share('broken') > 0.5}")
    bell = Bell()
    with llm_trace.open_store(desk) as store:
        calls = store.calls(kind="llm", limit=None)
        act_on_calls(rules, calls, store, weigh=let_act("ring"), send=lambda *_: Sending({}))
        act_on_calls(rules, calls, store, weigh=let_act("ring"), send=bell.send)
    assert len(bell.rung) == 1


def test_a_gate_reads_a_rule_that_was_asked_and_not_one_that_never_ran(desk: Path) -> None:
    apply(desk)
    with llm_trace.open_store(desk) as store:
        spans = [call.span_id for call in store.calls(kind="llm", limit=None, order="oldest")]
        evidence = read_evidence(store, spans)
        notes = read_operations(store, kind="note")
    read = {name: build_signal(f"rule:{name}") for name in ("example", "late")}
    values = [[read[name].read(evidence[span]) for name in read] for span in spans]
    assert values == [[1.0, None], [0.0, None], [None, None]]
    apply(desk)
    with llm_trace.open_store(desk) as store:
        assert read_operations(store, kind="note") == notes
