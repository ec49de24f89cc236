"""Stages: what a gate or rule may do now, shadow, advise or act, and what it takes to go further."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, Literal, get_args

from llm_trace.capture.input_key import InputKey, get_key_file
from llm_trace.errors import ConfigurationError, LLMTraceError, NotFoundError
from llm_trace.operations.log import Operation, OperationLog, read_operations
from llm_trace.operations.stages_evidence import StageEvidence, read_stage_evidence
from llm_trace.record import Record
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.stores.duckdb import Store

StageName = Literal["shadow", "advise", "act"]
STAGES: tuple[StageName, ...] = get_args(StageName)
StageEffect = Literal["note", "show", "act"]
"""What a decision means: it is only noted; it is shown to who decides; it is carried out."""


class PromotionError(LLMTraceError, ValueError):
    """The evidence for a promotion is lacking; the message says what is missing."""


class Stage(Record):
    """What a gate or rule may do now."""

    subject: str
    stage: StageName = "shadow"
    share: float = 1.0
    """Of the traffic for which its decisions are carried out, or shown; chosen by a keyed hash."""
    since_ns: int | None = None
    """`None`: it has been in shadow from the beginning."""
    reason: str | None = None
    """Why it was promoted against the evidence, or rolled back."""
    is_forced: bool = False

    def __str__(self) -> str:
        share = "" if self.stage == "shadow" else f" for {self.share:.0%} of the traffic"
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.subject}: {self.stage}{share}{why}"


class StageStep(Record):
    """One step of a plan, and what it takes."""

    stage: StageName
    share: float = 1.0
    checked: int
    """Decisions that people have checked, at least."""
    bounded: bool = True
    """Whether the upper bound of the error rate must lie below the level too."""

    def list_missing(self, evidence: StageEvidence) -> list[str]:
        """Return what the evidence lacks, in words."""
        missing = []
        if evidence.checked < self.checked:
            missing.append(
                f"{count_things(self.checked - evidence.checked, 'more checked decision')} "
                f"({evidence.checked:,} of {self.checked:,})"
            )
        if self.bounded and not evidence.high < evidence.error:
            missing.append(
                f"an error rate that is shown to be below {evidence.error:.1%} ({evidence.errors:,} of "
                f"{evidence.checked:,} were wrong: at most {evidence.high:.1%}, at any time, with confidence "
                f"{evidence.confidence:.0%})"
            )
        return missing


PLAN = (
    StageStep(stage="advise", checked=30, bounded=False),
    StageStep(stage="act", share=0.05, checked=100),
    StageStep(stage="act", share=0.25, checked=200),
    StageStep(stage="act", share=1.0, checked=500),
)
"""From shadow on."""


def read_stage(store: Store, subject: str) -> Stage:
    """Return the stage of a gate or rule; what was never promoted is in shadow."""
    events = read_operations(store, kind="stage", subject=subject)
    return next(filter(None, map(_parse_stage, reversed(events))), Stage(subject=subject))


def list_stages(store: Store) -> list[Stage]:
    """Return the stage of each gate and rule that was ever promoted or has decided."""
    subjects = {o.subject for o in read_operations(store, kind="stage") if _parse_stage(o)}
    subjects |= {
        row[0]
        for row in store.sql("SELECT DISTINCT subject FROM operations WHERE kind IN ('gate', 'decision')")
    }
    return [read_stage(store, subject) for subject in sorted(subjects)]


def _parse_stage(operation: Operation) -> Stage | None:
    """Return the stage that an event begins; `None` where it is of something else, such as a canary."""
    body = operation.body
    if body.get("to") not in STAGES:
        return None
    share = body.get("share", 1.0)
    valid = isinstance(share, int | float) and 0 <= share <= 1
    return Stage(
        subject=operation.subject, stage=body["to"], share=share if valid else 0.0,
        since_ns=operation.time_ns, reason=body.get("reason"), is_forced=bool(body.get("forced")),
    )  # fmt: skip


def find_next_step(stage: Stage, plan: Sequence[StageStep] = PLAN) -> StageStep | None:
    """Return the first step of a plan that goes beyond a stage; `None` at its end."""
    here = _rank(stage.stage, stage.share)
    return next((step for step in plan if _rank(step.stage, step.share) > here), None)


def _rank(stage: StageName, share: float) -> tuple[int, float]:
    return STAGES.index(stage), share if stage != "shadow" else 1.0


def promote(
    store: Store,
    subject: str,
    *,
    plan: Sequence[StageStep] = PLAN,
    evidence: StageEvidence | None = None,
    force: str | None = None,
) -> Stage:
    """Take a gate or rule one step further along a plan, and note it with its evidence.

    Args:
        store: where.
        subject: the name of the gate or rule.
        plan: the steps, least first.
        evidence: by default what people's checks of its decisions come to, as `read_stage_evidence` has them.
        force: a reason to do it although evidence is missing; it is kept with what was missing.

    Raises:
        NotFoundError: no gate or rule of that name has decided yet.
        PromotionError: evidence is missing and nothing forces it, or the plan ends here.
        ConfigurationError: the reason is empty.
        StoreError: it cannot be noted; the stage stays.
    """
    if force is not None and not force.strip():
        raise ConfigurationError("a promotion is forced with a reason, which is kept: it is empty")
    _require_subject(store, subject)
    before = read_stage(store, subject)
    step = find_next_step(before, plan)
    if step is None:
        raise PromotionError(f"{subject!r} is at the end of its plan: {before.stage}, {before.share:.0%}")
    evidence = evidence or read_stage_evidence(store, subject)
    missing = step.list_missing(evidence)
    if missing and force is None:
        raise PromotionError(
            f"{subject!r} stays in {before.stage}: for {step.stage} at {step.share:.0%} it lacks "
            f"{' and '.join(missing)}; force it with a reason if it must be"
        )
    body: dict[str, Any] = {
        "action": "promote", "from": before.stage, "from_share": before.share, "to": step.stage,
        "share": step.share, "evidence": evidence.model_dump(), "forced": bool(missing),
    }  # fmt: skip
    if missing:
        body |= {"reason": force, "missing": missing}
    return _note(store, before, body)


def _require_subject(store: Store, subject: str) -> None:
    """Refuse a name that nothing decides by: of a rule it would also hide that it was edited since."""
    kinds = "('gate', 'decision', 'audit')"
    rows = store.sql(f"SELECT DISTINCT subject FROM operations WHERE kind IN {kinds} ORDER BY 1")
    known = [str(row[0]) for row in rows]
    if subject not in known:
        near = difflib.get_close_matches(subject, known, 1)
        remedy = f"did you mean {near[0]!r}?" if near else "llm-trace stages lists them"
        raise NotFoundError(f"no gate or rule {subject!r} has decided in this store: {remedy}")


def roll_back(store: Store, subject: str, reason: str, *, to: StageName = "shadow") -> Stage:
    """Take a gate or rule back to an earlier stage, and note why; its evidence begins anew.

    Raises:
        ConfigurationError: the reason is empty, or it would be no step back.
        StoreError: it cannot be noted; the stage stays.
    """
    if not reason.strip():
        raise ConfigurationError("a roll-back has a reason, which is kept: it is empty")
    before = read_stage(store, subject)
    if STAGES.index(to) >= STAGES.index(before.stage):
        raise ConfigurationError(f"{subject!r} is in {before.stage}: {to} is no step back")
    body = {
        "action": "roll_back", "from": before.stage, "from_share": before.share, "to": to, "share": 1.0,
        "reason": reason,
    }  # fmt: skip
    return _note(store, before, body)


def _note(store: Store, before: Stage, body: dict[str, Any]) -> Stage:
    with OperationLog(store.path) as log:
        operation = log.append("stage", before.subject, body, after_ns=before.since_ns)
    store.ingest()
    stage = _parse_stage(operation)
    assert stage is not None
    return stage


def is_in_share(store: str | os.PathLike[str], subject: str, unit: str, share: float) -> bool:
    """Whether a call, session or user belongs to the share of traffic of a gate, rule or canary.

    A keyed hash says so: always alike, in every process; who is in at 5 % is in at 25 % too; for each subject
    others; and nobody can tell without the key, which lies beside the store.

    Raises:
        OSError: the key cannot be read or made.
    """
    if share >= 1:
        return True
    digest = InputKey(get_key_file(store))(f"{subject}\0{unit}".encode())
    return bool(int(digest, 16) < share * 16 ** len(digest))


def read_effect(stage: Stage, store: str | os.PathLike[str], unit: str) -> StageEffect:
    """Return what a decision about a call means at a stage.

    Args:
        stage: as `read_stage` gives it, or `StageGuard.stage`.
        store: the store's path.
        unit: what the share is drawn over: the call's trace, session or user.
    """
    if stage.stage == "shadow":
        return "note"
    if not is_in_share(store, stage.subject, unit, stage.share):
        return "note" if stage.stage == "advise" else "show"
    return "show" if stage.stage == "advise" else "act"
