"""What is known of a proxy for a task: terms, what each call showed, and the verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llm_trace.attribution.proxies.sequential_tests import (
    Test,
    compute_bounds,
    find_decision,
    is_overturned,
)
from llm_trace.errors import AttributionError
from llm_trace.statistics.anytime import is_rate_above, upper_bound_of_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = 1
LEAST_AGREEMENT = 0.5
"""Share of calls with the same answer below which a proxy is of no use."""
MOST_POOR = 0.5
"""Share of audits that may show nothing, the oracle's own explanation being poor."""
MOST_FAILED = 3
"""Audits in a row that could not be made before the proxy's explanations are no evidence."""
WINDOW = 50
"""Instances that count after the screen: the newest audits and what was before them."""
_MOST: dict[Test, int] = {"betting": 100, "t": 50}
ScreenOutcome = Literal["accepted", "rejected", "undecided", "revoked", "expired"]


@dataclass(frozen=True)
class Terms:
    """What is asked of a proxy, and for which models; other terms are another screen."""

    task: str
    oracle: str
    proxy: str
    oracle_id: str = ""
    proxy_id: str = ""
    how: str = ""
    """Segments, methods and agreement."""
    tau: float = 0.9
    """Part of the oracle's quality that the proxy must reach on average."""
    confidence: float = 0.99
    test: Test = "betting"
    most: int | None = None
    """Instances of a screen; absent: 50 of the published test, 100 of `betting`, which accepts no proxy
    like the oracle before the 44th.
    """
    floor: float = 0.3
    """Quality of the oracle's own explanation below which an instance decides nothing."""
    version: int = VERSION

    def __post_init__(self) -> None:
        for name, share in (("tau", self.tau), ("floor", self.floor)):
            if not 0 < share <= 1:
                raise AttributionError(f"{name}={share!r} must be above 0 and at most 1")
        if self.most is None:
            object.__setattr__(self, "most", _MOST[self.test])
        if not 0.5 < self.confidence < 1:
            raise AttributionError(f"confidence={self.confidence!r} must lie between 0.5 and 1, such as 0.99")


@dataclass(frozen=True)
class ScreenedCall:
    """What one call showed; a line of the file."""

    key: str
    """Of the call: its span id, or a hash of prompt and response."""
    kind: Literal["measured", "poor", "disagreed", "failed"]
    """`poor`: the oracle's own explanation is; `failed`: something could not be computed, see `why`."""
    oracle: float | None = None
    """Quality of its explanation, 0 to 1."""
    proxy: float | None = None
    audit: bool = False
    calls: int = 0
    """Of the oracle, for its explanation and the held-out prompts."""
    tokens: int = 0
    usd: float | None = None
    own_calls: int = 0
    """Of these, those for its explanation alone: what a proxied call saves."""
    own_tokens: int = 0
    own_usd: float | None = None
    answered_by: tuple[str, ...] = ()
    """Which models said that they answered."""
    why: str = ""


@dataclass(frozen=True)
class Screen:
    """A proxy's standing."""

    terms: Terms
    instances: tuple[ScreenedCall, ...] = ()
    stopped: str = ""
    """Why it ended before it was decided, in words."""
    expired: str = ""
    """Why it holds no more."""

    @cached_property
    def verdict(self) -> tuple[ScreenOutcome, str]:
        """ScreenOutcome and reason."""
        return ("expired", self.expired) if self.expired else _judge_screen(self)

    @property
    def outcome(self) -> ScreenOutcome:
        """`accepted` is the only one with which the proxy is used."""
        return self.verdict[0]

    @property
    def unchecked(self) -> str | None:
        """In words that the latest audits could not be made: nothing has checked the proxy since."""
        audits = [i for i in self.instances if i.audit]
        lost = next((at for at, i in enumerate(reversed(audits)) if i.kind != "failed"), len(audits))
        if lost < MOST_FAILED:
            return None
        return (
            f"the last {lost} audits of the proxy could not be made ({audits[-1].why}): nothing has checked "
            "it since"
        )

    def list_evidence(self) -> dict[str, Any]:
        """Return the evidence in JSON values."""
        t, measured = self.terms, self.measured
        recent = measured[-WINDOW:] if self._audits else measured
        d = _list_differences(recent, t.tau)
        low, high = compute_bounds(d, t.tau, t.confidence, t.test)
        figures = {
            "outcome": self.outcome,
            "why": self.verdict[1],
            "instances": len(recent),
            "audits": self._audits,
            "oracle_quality": _compute_mean([i.oracle for i in recent]),
            "proxy_quality": _compute_mean([i.proxy for i in recent]),
            "difference": _compute_mean(d),
            "low": low,
            "high": high,
            "disagreed": sum(i.kind == "disagreed" for i in self.instances),
            "poor": sum(i.kind == "poor" for i in self.instances),
            "failed": sum(i.kind == "failed" for i in self.instances),
            "calls": sum(i.calls for i in self.instances),
            "tokens": sum(i.tokens for i in self.instances),
            "usd": sum((i.usd for i in self.instances if i.usd is not None), start=0.0),
        }
        return {**asdict(t), **figures}

    def own_cost(self) -> dict[str, float | None]:
        """Return what the oracle's own explanation cost on average."""
        paid = [i for i in self.instances if i.own_calls]
        return {
            "calls": _compute_mean([i.own_calls for i in paid]),
            "tokens": _compute_mean([i.own_tokens for i in paid]),
            "usd": _compute_mean([i.own_usd for i in paid]),
        }

    @property
    def _audits(self) -> int:
        return sum(i.audit for i in self.instances)

    @property
    def measured(self) -> list[ScreenedCall]:
        """Those that count."""
        return [i for i in self.instances if i.kind == "measured"]


def _judge_screen(screen: Screen) -> tuple[ScreenOutcome, str]:
    t, measured = screen.terms, screen.measured
    models = sorted({name for i in measured for name in i.answered_by})
    if len(models) > 1:
        return "expired", f"the oracle answered as {' and as '.join(models)}: screen again"
    d = _list_differences(measured, t.tau)
    when = find_decision(d, t.tau, t.confidence, t.test) if d else 0
    if when > 0:
        for k in range(when + 1, len(d) + 1):
            if is_overturned(d[max(0, k - WINDOW) : k], t.tau):
                return "revoked", f"audits overturned it after {k - when}: screen again"
        if (why := _explain_unmeasurable(screen)) is not None:
            return "revoked", why
        shown = f"shown by {when} instances: the proxy reaches at least {t.tau:g} of the oracle's quality"
        return "accepted", "; but ".join(filter(None, (shown, screen.unchecked)))
    if when < 0:
        return (
            "rejected",
            f"shown by {-when} instances: the proxy reaches less than {t.tau:g} of the oracle's quality",
        )
    return _judge_undecided(screen)


def _explain_unmeasurable(screen: Screen) -> str | None:
    """Return in words that most audits could compare nothing, the oracle's own explanation being poor:
    what was shown holds no more.
    """
    poor = [i.kind == "poor" for i in screen.instances if i.audit and i.kind in ("measured", "poor")]
    for k in range(1, len(poor) + 1):
        latest = poor[max(0, k - WINDOW) : k]
        if is_rate_above(sum(latest), len(latest), MOST_POOR, screen.terms.confidence):
            return (
                f"the oracle's own explanation is poor in {sum(latest)} of {len(latest)} audits, which "
                "compare nothing: screen again"
            )
    return None


def _judge_undecided(screen: Screen) -> tuple[ScreenOutcome, str]:
    """Return what the answers say where the qualities do not decide."""
    t, kinds = screen.terms, [i.kind for i in screen.instances if i.kind != "failed"]
    agreed, asked = len(kinds) - kinds.count("disagreed"), len(kinds)
    if asked and upper_bound_of_rate(agreed, asked, t.confidence) < LEAST_AGREEMENT:
        return "rejected", f"both models give the same answer in {agreed} of {asked} calls only"
    poor = kinds.count("poor")
    why = screen.stopped or f"{len(screen.measured)} instances decide nothing yet"
    if poor > len(screen.measured):
        why += f"; the oracle's own explanation is poor in {poor} of {agreed} calls"
    return "undecided", why


def _list_differences(instances: Sequence[ScreenedCall], tau: float) -> list[float]:
    return [i.proxy - tau * i.oracle for i in instances if i.proxy is not None and i.oracle is not None]


def _compute_mean(numbers: Sequence[float | None]) -> float | None:
    known = [x for x in numbers if x is not None]
    return float(np.mean(known)) if known else None
