"""A rule tried on stored calls before it acts: how often it fires, what it finds, what it would have cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llm_trace.errors import NotFoundError
from llm_trace.lazy_names import check_library
from llm_trace.operations.labels import Labels, read_labels
from llm_trace.operations.rates import BoundedRate, bound_rate
from llm_trace.operations.rules import Course, Rule, RuleAction, RuleSet
from llm_trace.operations.rules_conditions import RuleAnswer
from llm_trace.operations.rules_facts import KnownCall, read_known_calls
from llm_trace.record import Call, Record, ScoreSource

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

LABEL = "correct"
SECONDS = 60.0
"""What a check takes where no review says how long it took."""
_REVIEWS = "SELECT median((body ->> '$.seconds')::DOUBLE) FROM operations WHERE kind = 'review'"


class RuleTrial(Record):
    """What a rule would have done."""

    rule: str
    """Its name; `all rules` for those of a file together."""
    version: str | None = None
    action: RuleAction | None = None
    fires: BoundedRate
    """Of all calls."""
    unknown: int
    """Calls of which it cannot say: they go to a person as well."""
    reason: str | None = None
    """The most common one for that."""
    precision: BoundedRate
    """How many of the labelled calls on which it fires are wrong."""
    recall: BoundedRate
    """On how many of the wrong calls it fires."""
    checks: int
    """Calls that a person would have looked at because of it."""
    seconds: float
    """What that would have taken."""
    stopped: int
    """Right answers that it would have blocked."""
    notes: tuple[str, ...] = ()


class RulesTrial(Record):
    """What the rules of a file would have done with stored calls."""

    calls: int
    labelled: int
    wrong: int
    tied: int
    """Calls that as many call right as wrong; they count for neither."""
    label: str
    source: ScoreSource
    confidence: float
    seconds_per_check: float
    measured: bool
    """Whether that is the median of reviews; else it is assumed."""
    rules: tuple[RuleTrial, ...]
    together: RuleTrial
    """All rules of the file: it fires where the call would not pass."""


def try_rules(
    rules: RuleSet,
    calls: Sequence[Call],
    store: Store,
    *,
    label: str = LABEL,
    source: ScoreSource = "human",
    confidence: float = 0.95,
    seconds_per_check: float | None = None,
) -> RulesTrial:
    """Return what rules would have done with stored calls; nothing is written.

    Precision and recall are against people's scores, with exact bounds (Clopper and Pearson): they hold for
    calls such as those that were scored.

    Args:
        calls: all of them; those without a label count for how often a rule fires and for its cost.
        label: a score that says right or wrong (true, false).
        source: who gave it.
        confidence: of each bound.
        seconds_per_check: what a person takes for a call; by default the median of the store's reviews, or
            else a minute.

    Raises:
        NotFoundError: there is no call.
        ConfigurationError: a label is neither right nor wrong.
    """
    check_library("scipy", "try_rules")
    if not calls:
        raise NotFoundError("there is no call to try the rules on: `llm-trace ls` shows what there is")
    known = read_known_calls(store, calls)
    labels = read_labels(known, label, source)
    measured = None if seconds_per_check is not None else _measure_seconds(store)
    seconds = seconds_per_check or measured or SECONDS
    judge = _Judge(labels, [call.span_id for call in calls], confidence, seconds)
    return RulesTrial(
        calls=len(calls),
        labelled=len(labels.right),
        wrong=sum(not right for right in labels.right.values()),
        tied=len(labels.tied),
        label=label,
        source=source,
        confidence=confidence,
        seconds_per_check=seconds,
        measured=measured is not None,
        rules=tuple(judge.try_rule(rule, known, label) for rule in rules),
        together=judge.try_together(rules, known),
    )


def _measure_seconds(store: Store) -> float | None:
    row = store.sql(_REVIEWS).fetchone()
    return None if row is None or not row[0] else float(row[0])


class _Judge:
    """Holds answers against labels."""

    def __init__(self, labels: Labels, ids: Sequence[str], confidence: float, seconds: float) -> None:
        self._right, self._ids = labels.right, ids
        self._confidence, self._seconds = confidence, seconds

    def try_rule(self, rule: Rule, calls: Sequence[KnownCall], label: str) -> RuleTrial:
        findings = [rule.condition.evaluate(known) for known in calls]
        reasons = Counter(finding.reason for finding in findings if finding.answer == "unknown")
        reads_label = any(name == label for name in rule.condition.scores)
        note = f"it reads {label!r}, the score that it is held against: precision and recall say nothing"
        trial = self._count([finding.answer for finding in findings], rule.action)
        return trial.model_copy(
            update={
                "rule": rule.name,
                "version": rule.version,
                "action": rule.action,
                "reason": reasons.most_common(1)[0][0] if reasons else None,
                "notes": (note,) if reads_label else (),
            }
        )

    def try_together(self, rules: RuleSet, calls: Sequence[KnownCall]) -> RuleTrial:
        courses: list[Course] = [rules.decide_on(known).action for known in calls]
        trial = self._count(["quiet" if course == "pass" else "fires" for course in courses], "check")
        blocked = [self._right.get(i) for i, c in zip(self._ids, courses, strict=True) if c == "block"]
        checks = courses.count("check")
        return trial.model_copy(
            update={"checks": checks, "seconds": checks * self._seconds, "stopped": blocked.count(True)}
        )

    def _count(self, answers: Sequence[RuleAnswer], action: RuleAction) -> RuleTrial:
        fired = [i for i, answer in zip(self._ids, answers, strict=True) if answer == "fires"]
        unknown = answers.count("unknown")
        wrong = [i for i, right in self._right.items() if not right]
        hits = [self._right[i] for i in fired if i in self._right]
        checks = unknown + (len(fired) if action == "check" else 0)
        return RuleTrial(
            rule="all rules",
            fires=bound_rate(len(fired), len(answers), self._confidence),
            unknown=unknown,
            precision=bound_rate(hits.count(False), len(hits), self._confidence),
            recall=bound_rate(hits.count(False), len(wrong), self._confidence),
            checks=checks,
            seconds=checks * self._seconds,
            stopped=hits.count(True) if action == "block" else 0,
        )
