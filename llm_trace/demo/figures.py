"""What one run of the demo measured, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_trace.demo.agent_failure import AgentFailure
    from llm_trace.demo.fix import Fix
    from llm_trace.demo.scenes import AnsweredRuns, Costs, JudgedRun, WeightShift
    from llm_trace.demo.victim import Crash


@dataclass(frozen=True)
class Figures:
    """What one run of the demo found; the answer of `llm-trace demo --json`."""

    holds: bool
    """Whether the model behaved as the story tells."""
    doubts: tuple[str, ...]
    """Where it did not."""
    answers: AnsweredRuns
    judged: tuple[JudgedRun, ...]
    """v2 against v1 on all customers, then on parts of them."""
    shift: WeightShift | None
    """`None` where no answer changed."""
    crash: Crash
    fix: Fix | None
    """`None` where v2 got nothing wrong."""
    agent: AgentFailure
    costs: Costs
    store: str
    kept: bool
    """Whether the store is still there after the demo."""
    seconds: float
    """The whole demo."""
    next: tuple[str, ...]
    """Commands to go on with."""
