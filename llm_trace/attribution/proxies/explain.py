"""A call explained by the proxy where it may, else by the oracle; every result says which and why."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from llm_trace.attribution.proxies.case import OracleCost, TaskCall
from llm_trace.attribution.proxies.examine import examine_call
from llm_trace.attribution.proxies.screen import build_terms, describe_overrun, price_screen
from llm_trace.attribution.proxies.screen_file import File
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from pathlib import Path

    from llm_trace.attribution.core.plan import Plan
    from llm_trace.attribution.core.value import Budget
    from llm_trace.attribution.proxies.model import Proxied
    from llm_trace.attribution.proxies.screen_state import Screen, ScreenedCall
    from llm_trace.record import Attribution

_SHOWN = (
    "outcome",
    "why",
    "instances",
    "audits",
    "failed",
    "tau",
    "confidence",
    "test",
    "oracle_quality",
    "proxy_quality",
    "difference",
    "low",
    "high",
)


def explain_by_proxy(
    call_or_prompt: Any,
    response: str | None,
    proxied: Proxied,
    *,
    segments: Any = "word",
    budget: Budget | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    cache: str | Path | None = None,
    dry_run: bool = False,
) -> Attribution | Plan:
    """Return the proxy's explanation where its screen was passed and both models agree, else the oracle's
    own; of an audited call the oracle's too, as it has been paid for.

    `faithfulness["proxy"]` holds whose it is, why, the evidence of the screen and what was saved.

    Args:
        call_or_prompt: a logged call, messages or a prompt.
        response: the oracle's answer where the call does not say it.
        proxied: both models.
        segments: as for `attribute`.
        budget: of the oracle, should it be asked; audits that it does not pay for are not made.
        confidence: of both explanations.
        seed: of both explanations.
        cache: see `attribute`; for the oracle.
        dry_run: return what it costs at most: the oracle's own explanation.

    Raises:
        AttributionError: the oracle has to be asked, and cannot explain this call within the budget.
    """
    case = TaskCall(proxied, call_or_prompt, response, segments, seed, cache, confidence)
    if dry_run:
        return cast("Plan", case.explain("oracle", budget=budget, dry_run=True))
    file = File(proxied.place, build_terms(case))
    screen = file.read()
    by_proxy, why = _ask_proxy(case, screen)
    audit = None
    if by_proxy is not None and _is_audited(case, budget):
        audit = examine_call(case, screen.terms.floor, audit=True)
        file.append(audit)
        screen = file.read()
        if screen.outcome != "accepted":
            by_proxy, why = None, _describe_standing(screen)
        if case.bought is not None:
            why = "this call was drawn for an audit" if by_proxy is not None else why
            return _describe_explanation(case.bought, "oracle", why, screen, audit)
    if by_proxy is not None:
        return _describe_explanation(by_proxy, "proxy", why, screen, audit)
    try:
        return _describe_explanation(case.explain("oracle", budget=budget), "oracle", why, screen, audit)
    except AttributionError as exc:
        raise AttributionError(f"{why}; and the oracle cannot explain this call itself: {exc}") from exc


def _ask_proxy(case: TaskCall, screen: Screen) -> tuple[Attribution | None, str]:
    """Return the proxy's explanation, or `None`, and why."""
    if screen.outcome != "accepted":
        return None, _describe_standing(screen)
    try:
        if (why := case.disagreement()) is not None:
            return None, why
        return case.explain("proxy"), "the screen was passed, and both models give the same answer"
    except AttributionError as exc:
        return None, f"the proxy cannot explain this call: {exc}"


def _describe_standing(screen: Screen) -> str:
    return f"the proxy is {screen.outcome}: {screen.verdict[1]}"


def _is_audited(case: TaskCall, budget: Budget | None) -> bool:
    """Whether this call's proxy explanation is checked, in every process alike, within the budget."""
    drawn = int(hashlib.sha256(f"audit {case.key}".encode()).hexdigest()[:12], 16) / 16**12
    if drawn >= case.proxied.audit:
        return False
    return budget is None or describe_overrun(budget, OracleCost(), price_screen(case)) is None


def _describe_explanation(
    explanation: Attribution, by: str, why: str, screen: Screen, audit: ScreenedCall | None
) -> Attribution:
    """Return the explanation with whose it is, on what evidence, and the cost of an audit added."""
    evidence, own = screen.list_evidence(), screen.own_cost()
    saved = own if by == "proxy" else dict.fromkeys(own, 0.0)
    about: dict[str, Any] = {
        "explained_by": by,
        "why": why,
        **{name: evidence[name] for name in ("oracle", "proxy", "task")},
        "screen": {name: evidence[name] for name in _SHOWN},
        "saved": {**saved, "basis": "mean cost of the oracle's own explanations in the screen"},
        "audit": None if audit is None else asdict(audit),
    }
    note = f"explained by the {by} {evidence[by]!r}: {why}"
    if by == "proxy" and (calls := own["calls"]) is not None:
        note += f"; about {calls:.0f} calls of {evidence['oracle']!r} were saved"
    update: dict[str, Any] = {"faithfulness": {**explanation.faithfulness, "proxy": about}}
    update["notes"] = (*explanation.notes, note)
    if by == "proxy" and screen.unchecked is not None:
        update["warnings"] = (*explanation.warnings, screen.unchecked)
        update["verdict"] = "proxy_unverified" if explanation.verdict == "ok" else explanation.verdict
    if audit is not None:
        counted = (audit.own_calls, audit.own_tokens) if by == "oracle" else (0, 0)  # by `explanation`
        update["passes"] = explanation.passes + audit.calls - counted[0]
        update["tokens"] = explanation.tokens + audit.tokens - counted[1]
    return explanation.model_copy(update=update)
