"""Rules: a condition over a call, its prompt, its attribution and its scores, and what is then to happen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from llm_trace.operations.rules_conditions import ConditionFinding, RuleAnswer, RuleCondition
from llm_trace.operations.rules_facts import KnownCall, read_known_calls
from llm_trace.record import Call, Record

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

RuleAction = Literal["check", "block", "tag", "alert"]
ACTIONS: tuple[RuleAction, ...] = get_args(RuleAction)
Course = Literal["pass", "check", "block"]
"""What becomes of a call: nothing stands against it, a person looks at it, it is not to be used."""
_STRICTEST_FIRST: tuple[Course, ...] = ("block", "check")


@dataclass(frozen=True)
class Rule:
    """One rule."""

    name: str
    condition: RuleCondition
    action: RuleAction
    comment: str | None = None
    tag: str | None = None
    """Of the action `tag`: the name of the score that a call gets; the rule's name where it is `None`."""
    to: tuple[str, ...] = ()
    """Of the action `alert`: where the alarm goes."""
    line: int | None = None
    """In its file."""

    @property
    def version(self) -> str:
        """First 12 hex digits of the SHA-256 of condition, action and tag."""
        text = "\0".join((self.condition.text, self.action, self.tag or ""))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def decide(self, call: Call, store: Store) -> ConditionFinding:
        """Return whether the rule fires on a call, from what the store knows of it.

        `unknown` where the condition needs what nobody knows: such a call is to be checked.
        """
        return self.condition.evaluate(read_known_calls(store, [call])[0])


class RuleFinding(Record):
    """What a rule says of a call."""

    rule: str
    version: str
    """Of the rule."""
    action: RuleAction
    answer: RuleAnswer
    reason: str | None = None
    """Why it is unknown."""


class RuleDecision(Record):
    """What the rules of a file come to for a call."""

    span_id: str
    action: Course
    """The strictest that a rule asks for; `check` also where one is unknown."""
    findings: tuple[RuleFinding, ...] = ()
    """Of the rules that fire or are unknown, in the file's order."""

    @property
    def fired(self) -> tuple[str, ...]:
        """The names of the rules that fire."""
        return tuple(finding.rule for finding in self.findings if finding.answer == "fires")

    @property
    def reason(self) -> str:
        """Why, in words."""
        words = [f"{name!r} fires" for name in self.fired]
        words += [f"{f.rule!r} is unknown ({f.reason})" for f in self.findings if f.answer == "unknown"]
        return "; ".join(words) or "no rule fires"


@dataclass(frozen=True)
class RuleSet:
    """The rules of a file."""

    rules: tuple[Rule, ...]
    path: Path | None = None

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    def decide(self, call: Call, store: Store) -> RuleDecision:
        """Return what the rules come to for a call, from what the store knows of it; nothing is written."""
        return self.decide_on(read_known_calls(store, [call])[0])

    def decide_all(self, calls: Sequence[Call], store: Store) -> list[RuleDecision]:
        """Return what the rules come to for calls, in their order; nothing is written."""
        return [self.decide_on(known) for known in read_known_calls(store, calls)]

    def decide_on(self, known: KnownCall) -> RuleDecision:
        """Return what the rules come to for a call of which this is known."""
        findings = []
        for rule in self.rules:
            finding = rule.condition.evaluate(known)
            if finding.answer != "quiet":
                findings.append(
                    RuleFinding(
                        rule=rule.name,
                        version=rule.version,
                        action=rule.action,
                        answer=finding.answer,
                        reason=finding.reason,
                    )
                )
        return build_decision(known.call.span_id, findings)


def build_decision(span_id: str, findings: Sequence[RuleFinding]) -> RuleDecision:
    """Return what findings come to for a call."""
    courses = {find_course(finding) for finding in findings}
    action: Course = next((course for course in _STRICTEST_FIRST if course in courses), "pass")
    return RuleDecision(span_id=span_id, action=action, findings=tuple(findings))


def find_course(finding: RuleFinding) -> Course:
    """Return what becomes of a call by what one rule says of it."""
    if finding.answer == "fires" and finding.action == "block":
        return "block"
    return "check" if finding.answer == "unknown" or finding.action == "check" else "pass"
