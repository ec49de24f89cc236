"""A canary: a new version of a prompt for a share of the traffic, until a test that may stop at any time says
that it is worse, better, or not worse.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import ValidationError

from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.operations.log import Operation, OperationLog, read_operations
from llm_trace.operations.names import check_subject
from llm_trace.operations.stages import is_in_share
from llm_trace.record import Record
from llm_trace.rendering.formatting import count_things
from llm_trace.statistics.anytime import bound_least_mean

if TYPE_CHECKING:
    from llm_trace.statistics.floats import Floats
    from llm_trace.stores.duckdb import Store

CanaryVerdict = Literal["worse", "better", "not worse", "undecided"]
# A session whose call failed and that nobody scored counts as the worst there is: it must not go unseen.
_VALUES = """
    WITH c AS (
        SELECT trace_id, coalesce('s' || session, 't' || trace_id) AS unit, prompt_version AS version,
               bool_or(status IN ('error', 'interrupted')) AS failed,
               max(coalesce(end_ns, start_ns)) AS last_ns
        FROM calls WHERE prompt_name = ? AND prompt_version IN (?, ?) AND start_ns >= ? GROUP BY ALL),
    scored AS (
        SELECT c.unit, c.version, s.number, s.value, s.time_ns
        FROM scores s JOIN calls own ON own.span_id = s.span_id JOIN c ON c.trace_id = own.trace_id
        WHERE s.name = ?
        QUALIFY row_number() OVER (PARTITION BY c.unit, c.version ORDER BY s.time_ns, s.id) = 1)
    SELECT version, number, value, time_ns, unit FROM scored
    UNION ALL
    SELECT version, ?, NULL, min(last_ns), unit FROM c
    WHERE failed AND (unit, version) NOT IN (SELECT (unit, version) FROM scored) GROUP BY version, unit
    ORDER BY time_ns, unit"""


class Canary(Record):
    """What is tried."""

    prompt: str
    control: str
    """Version that all others get."""
    candidate: str
    """Version that the share gets."""
    score: str
    share: float = 0.1
    margin: float = 0.02
    """By how much the candidate's mean may be lower and it still is not worse, in the score's unit."""
    confidence: float = 0.95
    low: float = 0.0
    """Of the score's range."""
    high: float = 1.0
    lower_is_better: bool = False
    start_ns: int | None = None

    @property
    def subject(self) -> str:
        """Its name in the log."""
        return f"canary {self.prompt}"


class CanaryResult(Record):
    """What the values so far come to; the bounds hold however often one looks."""

    verdict: CanaryVerdict
    control: int
    """Sessions (calls without one count alone) that have a score or failed, which is the worst score."""
    candidate: int
    difference: float | None
    """Mean of the candidate's less that of the control's, in the score's unit; `None` before there is one."""
    low: float
    high: float
    text: str
    share: float
    """Of the traffic that the candidate gets from now on."""
    has_ended: bool


def start_canary(store: Store, canary: Canary) -> Canary:
    """Begin to try a version, unless another one is being tried; return it with its beginning.

    Raises:
        ConfigurationError: one is being tried, or a setting cannot work.
        StoreError: it cannot be noted.
    """
    _check(canary)
    earlier, end = find_canary(store, canary.prompt) or (None, None)
    if earlier is not None and end is None:
        raise ConfigurationError(
            f"a canary of {canary.prompt!r} is running: {earlier.candidate} against "
            f"{earlier.control}; end it first"
        )
    body = {"action": "start", **canary.model_dump(exclude={"start_ns"})}
    last_ns = None if end is None else end.time_ns
    operation = _note(store, canary.model_copy(update={"start_ns": last_ns}), body)
    return canary.model_copy(update={"start_ns": operation.time_ns})


def _check(canary: Canary) -> None:
    check_subject("the prompt of a canary", canary.prompt)
    check_subject("the score of a canary", canary.score)
    width = canary.high - canary.low
    problems = {
        "candidate": (canary.candidate == canary.control, "another version than the control's"),
        "share": (not 0 < canary.share < 1, "above 0 and below 1"),
        "confidence": (not 0.5 < canary.confidence < 1, "above 0.5 and below 1"),
        "high": (not 0 < width < math.inf, f"a number above low={canary.low:g}: the score's range"),
        "margin": (not 0 <= canary.margin < width, f"0 or more, and below {width:g}, the score's range"),
    }
    for name, (is_wrong, remedy) in problems.items():
        if is_wrong:
            raise ConfigurationError(
                f"{name}={getattr(canary, name)!r} of the canary of {canary.prompt!r} cannot be: give "
                f"{remedy}"
            )


def find_canary(store: Store, prompt: str) -> tuple[Canary, Operation | None] | None:
    """Return the newest canary of a prompt, and how it ended if it has; `None` where there never was one."""
    canary, end = None, None
    for operation in read_operations(store, kind="stage", subject=f"canary {prompt}"):
        if operation.body.get("action") == "start":
            fields = {name: v for name, v in operation.body.items() if name in Canary.model_fields}
            try:
                canary, end = Canary(**{**fields, "start_ns": operation.time_ns}), None
            except ValidationError:
                continue
        elif operation.body.get("action") == "end":
            end = operation
    return None if canary is None else (canary, end)


def choose_version(store: str | os.PathLike[str], canary: Canary, unit: str) -> str:
    """Return the version for a session, user or call: always the same one for the same.

    Args:
        store: the store's path; the key of the hash lies beside it.
        canary: as `find_canary` gives it.
        unit: what is drawn; the session where there is one, so that nobody gets both.
    """
    drawn = is_in_share(store, f"{canary.subject} {canary.candidate}", unit, canary.share)
    return canary.candidate if drawn else canary.control


def judge_canary(store: Store, prompt: str) -> CanaryResult:
    """Return what the canary of a prompt comes to, and end it where that is decided: a worse version is
    rolled back, one that is better or not worse gets all the traffic.

    Raises:
        NotFoundError: the prompt has no canary.
        ConfigurationError: a score lies outside the range that was stated.
    """
    latest = find_canary(store, prompt)
    if latest is None:
        raise NotFoundError(
            f"prompt {prompt!r} has no canary: `llm-trace stages canary {prompt} A B --score NAME`"
        )
    canary, end = latest
    if end is not None:
        return CanaryResult.model_validate(end.body["result"])
    control, candidate = _read_values(store, canary)
    result = compare_arms(canary, control, candidate)
    if result.has_ended:
        _note(store, canary, {"action": "end", "verdict": result.verdict, "result": result.model_dump()})
    return result


def end_canary(store: Store, prompt: str, reason: str) -> CanaryResult:
    """End the canary of a prompt by hand: all traffic goes back to the control.

    Raises:
        NotFoundError: the prompt has no canary that is running.
        ConfigurationError: the reason is empty.
    """
    if not reason.strip():
        raise ConfigurationError("a roll-back has a reason, which is kept: it is empty")
    latest = find_canary(store, prompt)
    if latest is None or latest[1] is not None:
        raise NotFoundError(f"prompt {prompt!r} has no canary that is running")
    result = compare_arms(latest[0], *_read_values(store, latest[0]))
    result = result.model_copy(
        update={"share": 0.0, "has_ended": True, "text": f"{result.text} Ended: {reason}"}
    )
    _note(store, latest[0], {"action": "end", "reason": reason, "result": result.model_dump()})
    return result


def _read_values(store: Store, canary: Canary) -> tuple[Floats, Floats]:
    """Return the scores of control and candidate in the order of time: of each session the first."""
    worst = canary.high if canary.lower_is_better else canary.low
    chosen = (canary.prompt, canary.control, canary.candidate, canary.start_ns or 0)
    arms: dict[str, list[float]] = {canary.control: [], canary.candidate: []}
    for version, number, value, *_ in store.sql(_VALUES, *chosen, canary.score, worst):
        if number is None or number != number:
            raise ConfigurationError(
                f"the score {canary.score!r} is {value}, which is no number: name another"
            )
        if not canary.low <= number <= canary.high:
            raise ConfigurationError(
                f"the score {canary.score!r} is {number:g}, outside {canary.low:g} to {canary.high:g}: "
                "state its range with low= and high="
            )
        arms[version].append(number)
    return np.array(arms[canary.control]), np.array(arms[canary.candidate])


def compare_arms(canary: Canary, control: Floats, candidate: Floats) -> CanaryResult:
    """Return what values in the order of time come to.

    Blocks of as many values of each version as the shares of traffic give are compared, so that each
    difference of their means is independent of the others and lies within the score's range. The bounds of
    its mean hold at any time, for any distribution.
    """
    width = canary.high - canary.low
    differences = _pair(control, candidate, canary.share) / width  # -1 to 1
    if canary.lower_is_better:
        differences = -differences
    each = 1 - (1 - canary.confidence) / 2
    low = bound_least_mean(differences + 1, each) - 1 if len(differences) else -1.0
    high = 1 - bound_least_mean(1 - differences, each) if len(differences) else 1.0
    verdict: CanaryVerdict = "undecided"
    if high < 0:
        verdict = "worse"
    elif low > 0:
        verdict = "better"
    elif low > -canary.margin / width:
        verdict = "not worse"
    bounds = (-high, -low) if canary.lower_is_better else (low, high)
    sign = -1 if canary.lower_is_better else 1
    mean = sign * float(differences.mean()) * width if len(differences) else None
    shares = {"worse": 0.0, "better": 1.0, "not worse": 1.0, "undecided": canary.share}
    limits = bounds[0] * width, bounds[1] * width
    counts = len(control), len(candidate)
    return CanaryResult(
        verdict=verdict, control=counts[0], candidate=counts[1],
        difference=mean, low=limits[0], high=limits[1],
        text=_write_result(canary, verdict, counts, mean, limits), share=shares[verdict],
        has_ended=verdict != "undecided",
    )  # fmt: skip


def _pair(control: Floats, candidate: Floats, share: float) -> Floats:
    sizes = max(1, round((1 - share) / share)), max(1, round(share / (1 - share)))
    n = min(len(control) // sizes[0], len(candidate) // sizes[1])
    means = [
        arm[: n * size].reshape(n, size).mean(axis=1)
        for arm, size in zip((control, candidate), sizes, strict=True)
    ]
    return np.asarray(means[1] - means[0])


def _write_result(
    canary: Canary,
    verdict: CanaryVerdict,
    counts: tuple[int, int],
    mean: float | None,
    limits: tuple[float, float],
) -> str:
    what = f"{canary.candidate} of {canary.prompt!r} against {canary.control}"
    if mean is None:
        return (
            f"{what}: undecided, with {count_things(counts[1], 'score')} of {canary.score!r} against "
            f"{counts[0]:,}."
        )
    then = {
        "worse": "it is worse and gets no more traffic",
        "better": "it is better and gets all traffic",
        "not worse": f"it is not worse by {canary.margin:g} and gets all traffic",
        "undecided": "undecided",
    }
    return (
        f"{what}: {then[verdict]}; {canary.score!r} differs by {mean:+.3g} ({limits[0]:+.3g} to "
        f"{limits[1]:+.3g}, at any time, with confidence {canary.confidence:.0%}) after {counts[1]:,} "
        f"against {count_things(counts[0], 'score')}."
    )


def _note(store: Store, canary: Canary, body: dict[str, Any]) -> Operation:
    with OperationLog(store.path) as log:
        operation = log.append("stage", canary.subject, body, after_ns=canary.start_ns)
    store.ingest()
    return operation
