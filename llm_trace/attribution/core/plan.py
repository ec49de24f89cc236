"""What an attribution would cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_trace.record import Verdict


@dataclass(frozen=True)
class Plan:
    """What `attribute(…, dry_run=True)` says. Checks of the result come on top: about ten evaluations,
    fewer where the budget is spent.
    """

    method: str
    baseline: str
    segments: int
    target: str
    evaluations: int
    """Passes through the model; of methods that stop when their bounds are tight the most they would make."""
    tokens: int
    """Tokens that go through the model, those of shared beginnings counted once."""
    seconds: float
    """By the speed of one pass over the whole prompt, which was made to learn it; 0 for remote models,
    which are not asked for that.
    """
    usd: float | None = None
    """At most; of remote models whose price is known."""
    verdict: Verdict = "ok"
    """`insufficient_evidence` where the budget cannot reach the level: then nothing would be asked."""
    warnings: tuple[str, ...] = ()
