"""What the rules decide about calls, put into effect: decisions in the log, tags as scores, alarms."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.capture.ids import make_id
from llm_trace.operations.log import OperationLog, read_operations
from llm_trace.operations.rules import (
    Rule,
    RuleDecision,
    RuleFinding,
    RuleSet,
    build_decision,
    find_course,
)
from llm_trace.operations.stages import Stage, StageEffect, read_effect, read_stage

if TYPE_CHECKING:
    from llm_trace.operations.alarms import Alarm
    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

Weigh = Callable[[Rule, "Call"], StageEffect]
"""Says what the findings of a rule about a call mean."""
AlarmSender = Callable[["Alarm", Sequence[str]], object]
"""Sends an alarm to targets. Where it returns what `send_alarm` does, what becomes of it is looked up in the
store next time.
"""
_DECIDED = """
    SELECT span_id, body ->> '$.version', body ->> '$.answer', body ->> '$.effect',
        body ->> '$.alarm' FROM operations
    WHERE kind = 'decision' AND body ->> '$.by' = 'rule' AND span_id IN (SELECT unnest(?))"""
_QUIET = """
    SELECT span_id, body -> '$.quiet' FROM operations
    WHERE kind = 'note' AND subject = 'rules' AND span_id IN (SELECT unnest(?))"""
_VERSIONS = """
    SELECT body ->> '$.version', min(time_ns) FROM operations
    WHERE kind = 'decision' AND subject = ? AND body ->> '$.by' = 'rule' GROUP BY ALL"""


def note_only(_rule: Rule, _call: Call) -> StageEffect:
    """Let no rule do anything yet."""
    return "note"


def weigh_by_stage(rules: RuleSet, store: Store) -> Weigh:
    """Return what the findings of rules mean by the stage of each; calls of a session go together.

    A rule that was edited since it was promoted is in shadow again.
    """
    stages = {rule.name: find_rule_stage(rule, store) for rule in rules}
    path = store.path
    return lambda rule, call: read_effect(stages[rule.name], path, call.session or call.trace_id)


def find_rule_stage(rule: Rule, store: Store) -> Stage:
    """Return the stage of a rule as it is now: shadow where another version of it was promoted."""
    stage = read_stage(store, rule.name)
    rows = store.sql(_VERSIONS, rule.name)
    promoted = {version for version, time_ns in rows if time_ns < (stage.since_ns or 0)}
    return Stage(subject=rule.name) if promoted and rule.version not in promoted else stage


def act_on_calls(
    rules: RuleSet,
    calls: Sequence[Call],
    store: Store,
    *,
    weigh: Weigh = note_only,
    send: AlarmSender | None = None,
) -> list[RuleDecision]:
    """Decide about calls and keep the decisions; return what they come to, in the calls' order.

    Each rule that fires or is unknown writes an operation of the kind `decision`: its course (`action`), what
    the rule does, `answer`, `reason`, `version` and `effect`. Only where that is `act` the course counts for
    the decision that is returned, `tag` gives the call a score of the tag's name, and `alert` sends an alarm.
    Which rules said nothing of a call is noted too (kind `note`), so that a gate knows that they were asked.
    What a version of a rule has done about a call before is not done again; an alarm that did not arrive is.

    Args:
        weigh: what a rule's findings about a call mean now; by default they are only noted.
        send: how alarms are sent; by default `llm_trace.operations.alarms.send_alarm`.

    Raises:
        StoreError: the spool cannot be written; what was not kept is decided again next time.
    """
    decisions = rules.decide_all(calls, store)
    by_name = {rule.name: rule for rule in rules}
    acting: list[RuleDecision] = []
    with OperationLog(store.path) as log:
        desk = _Desk(log, send or _make_sender(store), _WorkDone(store, rules, calls))
        for call, decision in zip(calls, decisions, strict=True):
            carried = []
            for finding in decision.findings:
                effect = weigh(by_name[finding.rule], call)
                desk.carry_out(by_name[finding.rule], finding, call.span_id, effect)
                carried += [finding] if effect == "act" else []
            speaking = {finding.rule for finding in decision.findings}
            desk.note_quiet(call.span_id, {r.name: r.version for r in rules if r.name not in speaking})
            acting.append(build_decision(call.span_id, carried))
    return acting


class _WorkDone:
    """What rules have done about calls before."""

    def __init__(self, store: Store, rules: RuleSet, calls: Sequence[Call]) -> None:
        from llm_trace.operations.alarms import list_outcomes

        spans = [call.span_id for call in calls]
        self._decisions = {tuple(row): bool(queued) for *row, queued in store.sql(_DECIDED, spans)}
        """Whether an alarm was on its way to be kept in the store."""
        self._quiet = {(span_id, body) for span_id, body in store.sql(_QUIET, spans)}
        self._alarms = {
            rule.name: list_outcomes(
                read_operations(store, kind="alarm", subject=rule.name), has_targets=bool(rule.to)
            )
            for rule in rules
            if rule.action == "alert"
        }

    def find_decision(self, finding: RuleFinding, span_id: str, effect: StageEffect) -> bool | None:
        """Return whether an alarm was on its way when a finding was put into this effect, or acted on; `None`
        where it was not.
        """
        ways = ((span_id, finding.version, finding.answer, way) for way in (effect, "act"))
        return next((self._decisions[way] for way in ways if way in self._decisions), None)

    def lacks_alarm(self, alarm: Alarm, queued: bool | None) -> bool:
        """Return whether an alarm is to be sent: for the first time, or since it did not arrive.

        Args:
            queued: as `find_decision` has it.
        """
        arrived = self._alarms[alarm.subject].get(alarm.key)
        return queued is not False if arrived is None else not arrived

    def has_quiet(self, span_id: str, versions: dict[str, str]) -> bool:
        """Return whether it is known that these rules say nothing of a call."""
        return (span_id, _dump(versions)) in self._quiet


class _Desk:
    """Puts findings into effect."""

    def __init__(self, log: OperationLog, send: AlarmSender, done: _WorkDone) -> None:
        self._log, self._send, self._done = log, send, done

    def carry_out(self, rule: Rule, finding: RuleFinding, span_id: str, effect: StageEffect) -> None:
        """Tag and alert before the decision is kept: killed in between, it is done again, not never."""
        acts = effect == "act" and finding.answer == "fires"
        decided = self._done.find_decision(finding, span_id, effect)
        is_kept = acts and rule.action == "alert" and self._alert(rule, span_id, decided)
        if decided is not None:
            return
        if acts and rule.action == "tag":
            self._log.write(_build_tag(rule, span_id), f"the tag {rule.tag or rule.name!r}")
        body: dict[str, Any] = finding.model_dump(exclude={"rule", "action"}, exclude_none=True)
        body |= {"by": "rule", "action": find_course(finding), "does": rule.action, "effect": effect}
        body |= {"alarm": "queued"} if is_kept else {}
        self._log.append("decision", rule.name, body | {"when": rule.condition.text}, span_id)

    def _alert(self, rule: Rule, span_id: str, decided: bool | None) -> bool:
        """Send the alarm unless it has arrived; return whether what becomes of it will stand in the store."""
        from llm_trace.operations.alarms import Sending

        alarm = _build_alarm(rule, span_id)
        return self._done.lacks_alarm(alarm, decided) and isinstance(self._send(alarm, rule.to), Sending)

    def note_quiet(self, span_id: str, versions: dict[str, str]) -> None:
        """Keep that rules of these versions were asked about a call and said nothing."""
        if versions and not self._done.has_quiet(span_id, versions):
            self._log.append("note", "rules", {"quiet": versions}, span_id)


def _dump(value: dict[str, str]) -> str:
    """Return JSON as the store gives it back."""
    return orjson.dumps(value).decode()


def _build_tag(rule: Rule, span_id: str) -> dict[str, Any]:
    return {
        "event": "score",
        "id": make_id(),
        "name": rule.tag or rule.name,
        "value": True,
        "span_id": span_id,
        "source": "code",
        "comment": f"rule {rule.name!r}: {rule.condition.text}",
        "time_ns": time.time_ns(),
    }


def _build_alarm(rule: Rule, span_id: str) -> Alarm:
    from llm_trace.operations.alarms import Alarm

    comment = f": {rule.comment}" if rule.comment else ""
    return Alarm(
        subject=rule.name,
        text=f"The rule {rule.name!r} fires on call {span_id}{comment}",
        key=f"{rule.version} {span_id}",
        span_id=span_id,
        details={"when": rule.condition.text},
    )


def _make_sender(store: Store) -> AlarmSender:
    from llm_trace.operations.alarms import send_alarm

    return lambda alarm, targets: send_alarm(alarm, targets, store=store.path)
