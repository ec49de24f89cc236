"""Whether scores are evidence.

`findings` holds the cheap checks that make the verdict of every attribution. `fidelity`, `curves` and
`sanity` measure an attribution on masks it was not made from; `measures.measure` does so for any finished
`Attribution`. Packages add measures by the entry point group `llm_trace.quality`: plain callables from a
`Study` to a dict of figures.
"""

from llm_trace.attribution.quality.findings import (
    CHECKED,
    NOISE,
    Findings,
    check_baseline_dependence,
    check_completeness,
    check_evidence,
    check_hidden,
    check_redundancy,
    check_unlikely,
    has_significant_score,
)
from llm_trace.attribution.quality.measures import judge_figures, measure, measure_now, run_measures
from llm_trace.attribution.quality.study import Study

__all__ = [
    "CHECKED",
    "NOISE",
    "Findings",
    "Study",
    "check_baseline_dependence",
    "check_completeness",
    "check_evidence",
    "check_hidden",
    "check_redundancy",
    "check_unlikely",
    "has_significant_score",
    "judge_figures",
    "measure",
    "measure_now",
    "run_measures",
]
