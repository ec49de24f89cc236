"""What a model says mattered to it, beside what perturbation measures; never evidence by itself.

One report of ten words says almost nothing: a correlation of .6 over ten numbers is compatible with -.05 to
.89. So agreement is pooled over many calls, as Plunkett et al. 2025 do over many decisions, with bounds, by
prompt and by model (`self_knowledge`); the calls become training data for introspection (`training_lines`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import unwrap_value
from llm_trace.attribution.methods.registry import Scores, describe_method
from llm_trace.attribution.methods.smile import build_empty_scores, count_affordable, smile
from llm_trace.errors import AttributionError
from llm_trace.statistics.correlation import bound_correlation, correlate, rank_correlate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.core.value import Value
    from llm_trace.record import Attribution, Segment, Verdict

LEAST_CALLS = 50
"""Calls from which on pooled agreement is evidence."""
_QUESTION = """You answered a prompt. Say how much each numbered piece of the prompt made you give this \
answer rather than another one: 1 for a piece without which the answer would have been entirely different, 0 \
for a piece that made no difference, -1 for one that spoke entirely against the answer. Reply with JSON \
only: {{"weights": [w1, w2, …]}}, one number for each of the {n} pieces, in their order.

Pieces:
{pieces}

Answer:
{answer}"""


class MalformedReportError(AttributionError):
    """A reply is not the JSON that was asked for."""


def build_question(segments: Sequence[Segment], answer: str) -> str:
    """Return the text that asks a model for its report."""
    pieces = "\n".join(f"{i}. {json.dumps(s.text, ensure_ascii=False)}" for i, s in enumerate(segments, 1))
    return _QUESTION.format(n=len(segments), pieces=pieces, answer=json.dumps(answer, ensure_ascii=False))


def parse_report(reply: str, n: int) -> NDArray[np.float64]:
    """Return the reported weights (n,), each from -1 to 1.

    Raises:
        MalformedReportError: anything but one object with n such numbers under "weights"; nothing is guessed
            or repaired.
    """
    try:
        report = json.loads(reply, parse_constant=_refuse_number, object_pairs_hook=_reject_repeats)
    except (ValueError, RecursionError) as exc:  # the latter of arrays in arrays, thousands deep
        raise MalformedReportError(f"the report is no JSON ({exc}): {reply[:120]!r}") from exc
    weights = report.get("weights") if isinstance(report, dict) and set(report) == {"weights"} else None
    if not isinstance(weights, list) or len(weights) != n:
        raise MalformedReportError(f'the report is not {{"weights": [{n} numbers]}}: {reply[:120]!r}')
    if not all(type(w) in (int, float) and -1 <= w <= 1 for w in weights):
        raise MalformedReportError(f"a weight of the report is no number from -1 to 1: {reply[:120]!r}")
    return np.array(weights, dtype=np.float64)


def _reject_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError(f"a name stands twice among {', '.join(repr(name) for name, _ in pairs[:5])}")
    return fields


def _refuse_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


@describe_method(
    "self_report",
    access="answers",
    cost="1, and the cost of smile to measure the agreement with",
    source="Plunkett et al. 2025, Self-interpretability (arXiv 2505.17120)",
)
def self_report(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return the weights that the model reports, beside the effects that perturbation measures.

    The verdict is always a doubt: `self_report_unverified`, or `malformed_report` where the reply is not what
    was asked for; then nothing more is paid.

    Raises:
        AttributionError: the model only scores responses, or is not remote.
    """
    source: Any = unwrap_value(value)
    if not hasattr(source, "tell"):
        raise AttributionError(
            "method='self_report' asks a model that answers in words: pass a callable as the model"
        )
    _, why = count_affordable(value, n, 1 - confidence, spare=1)
    if why is not None:
        return build_empty_scores(n, why)
    try:
        weights = parse_report(source.tell(build_question, example=json.dumps({"weights": [0] * n})), n)
    except MalformedReportError as exc:
        zero = np.zeros(n)
        return Scores(
            zero, bounds="none", unit="share", doubts=(("malformed_report", str(exc)),), stopped="budget"
        )
    effects = smile(value, n, confidence=confidence, seed=seed)
    return Scores(
        weights,
        bounds="none: the model's own word",
        stopped="budget",
        unit="share",
        faithfulness={"agreement": _measure_agreement(weights, effects, confidence)},
        notes=(*effects.notes, "scores are the weights that the model reports for itself, from -1 to 1"),
        doubts=(("self_report_unverified", _make_warning(weights, effects, confidence)), *effects.doubts),
    )


def _measure_agreement(weights: NDArray[np.float64], effects: Scores, confidence: float) -> dict[str, Any]:
    """Return how the report agrees with measured effects, in this one call."""
    p_values = effects.p_values if effects.p_values is not None else np.ones(len(weights))
    r = correlate(weights, effects.values)
    low, high = bound_correlation(r, len(weights), confidence)
    return {
        "with": "smile",
        "effects": effects.values.tolist(),
        "p_values": p_values.tolist(),
        "fidelity": (effects.faithfulness or {}).get("fidelity"),
        "measured": effects.faithfulness is not None,
        "pearson": r,
        "low": low,
        "high": high,
        "spearman": rank_correlate(weights, effects.values),
    }


def _make_warning(weights: NDArray[np.float64], effects: Scores, confidence: float) -> str:
    agreement = _measure_agreement(weights, effects, confidence)
    if not agreement["measured"]:
        return f"the report was not checked: {effects.doubts[0][1]}"
    return (
        f"agreement with perturbation in this one call: r = {agreement['pearson']:.2f} "
        f"({agreement['low']:.2f} to {agreement['high']:.2f}); pool {LEAST_CALLS} calls and more with "
        "self_knowledge()"
    )


@dataclass(frozen=True)
class SelfKnowledge:
    """How well a model knows what moves it, over many calls."""

    group: str
    """`all`, a model, or a prompt."""
    calls: int
    """With a report and measured effects."""
    malformed: int
    """Reports that could not be read."""
    segments: int
    agreement: float
    """Pearson's correlation of reported weights with measured effects over all segments, both centred and
    scaled within each call.
    """
    low: float
    high: float
    """Bounds, drawing whole calls anew."""
    verdict: Verdict
    """`ok`, or `insufficient_evidence` below 50 calls."""


def self_knowledge(
    reports: Iterable[Attribution],
    *,
    by: Callable[[Attribution], str] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[SelfKnowledge]:
    """Return the pooled agreement of self-reports with perturbation: of all calls, each model, each group.

    Args:
        reports: attributions by the method `self_report`; others are passed over.
        by: what a call is grouped by besides its model, such as the name of its prompt.
        confidence: of the bounds.
        seed: of the bootstrap.
    """
    groups: dict[str, list[Attribution]] = {"all": []}
    for report in reports:
        if report.method == "self_report":
            for name in ("all", f"model {report.model}", *((by(report),) if by else ())):
                groups.setdefault(name, []).append(report)
    return [_pool_reports(name, members, confidence, seed) for name, members in groups.items()]


def _pool_reports(name: str, reports: Sequence[Attribution], confidence: float, seed: int) -> SelfKnowledge:
    malformed = sum(r.verdict == "malformed_report" for r in reports)
    pairs = [pair for r in reports if (pair := _standardize_report(r)) is not None]
    if len(pairs) < 2:
        return SelfKnowledge(name, len(pairs), malformed, 0, 0.0, -1.0, 1.0, "insufficient_evidence")
    products = np.array([float(weights @ effects) for weights, effects in pairs])
    sizes = np.array([len(weights) for weights, _ in pairs], dtype=float)
    drawn = np.random.default_rng(seed).integers(0, len(pairs), (2000, len(pairs)))
    pooled = products[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = (float(x) for x in np.quantile(pooled, [tail, 1 - tail]))
    verdict: Verdict = "ok" if len(pairs) >= LEAST_CALLS else "insufficient_evidence"
    r = float(products.sum() / sizes.sum())
    return SelfKnowledge(name, len(pairs), malformed, int(sizes.sum()), r, low, high, verdict)


def _standardize_report(report: Attribution) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return reported weights and measured effects with mean 0 and size 1; `None` without both. A report
    that varies nothing agrees at 0.
    """
    agreement = report.faithfulness.get("agreement")
    if (
        report.verdict == "malformed_report"
        or not agreement
        or not agreement["measured"]
        or len(report.values) < 2
    ):
        return None
    ours, theirs = (np.asarray(row) - np.mean(row) for row in (report.values, agreement["effects"]))
    return tuple(row / row.std() if row.std() > 1e-12 else 0 * row for row in (ours, theirs))


def training_lines(reports: Iterable[Attribution]) -> Iterator[str]:
    """Yield training data for introspection, JSON Lines in chat form: the question of a report, and the
    measured effects as its right answer.

    Only calls whose effects stand out from noise are taken; effects are scaled so that the largest is 1.
    """
    for report in reports:
        agreement = report.faithfulness.get("agreement")
        if (
            report.method != "self_report"
            or not agreement
            or not agreement["measured"]
            or min(agreement["p_values"]) * len(report.values) > 1 - report.level
        ):
            continue
        effects = np.asarray(agreement["effects"])
        weights = [round(float(w), 2) for w in effects / np.abs(effects).max()]
        question = {"role": "user", "content": build_question(report.segments, report.response)}
        answer = {"role": "assistant", "content": json.dumps({"weights": weights})}
        yield json.dumps({"messages": [question, answer]}, ensure_ascii=False)
