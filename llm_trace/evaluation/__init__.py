"""Evaluate on fresh scenarios: questions drawn anew, answers computed, each quality judged on its own.

    from llm_trace.evaluation import Scenario, evaluate, exact, load_scenarios

Names are looked up when they are first used; the libraries come with `pip install 'llm-trace[evaluation]'`.
"""

from __future__ import annotations

from typing import Any

from llm_trace.lazy_names import import_name

_HOMES = {
    "BiasProbe": "llm_trace.evaluation.bias",
    "Calibration": "llm_trace.evaluation.calibration",
    "DatasetScenario": "llm_trace.evaluation.dataset_scenario",
    "Dimension": "llm_trace.evaluation.dimensions",
    "Evaluation": "llm_trace.evaluation.evaluation",
    "FailedAnswer": "llm_trace.evaluation.evaluation_record",
    "GeneratorScenario": "llm_trace.evaluation.generator_scenario",
    "Grade": "llm_trace.evaluation.grades",
    "Instance": "llm_trace.evaluation.instances",
    "InstanceSource": "llm_trace.evaluation.instances",
    "JudgeAudit": "llm_trace.evaluation.audit_record",
    "Judge": "llm_trace.evaluation.judge",
    "Mutant": "llm_trace.evaluation.mutants",
    "MemorisationGap": "llm_trace.evaluation.memorisation",
    "Outcome": "llm_trace.evaluation.outcomes",
    "PairJudge": "llm_trace.evaluation.judge",
    "Scenario": "llm_trace.evaluation.scenario",
    "ScenarioEdit": "llm_trace.evaluation.edits",
    "Scorer": "llm_trace.evaluation.grades",
    "VerdictShares": "llm_trace.evaluation.verdict_shares",
    "attribute_verdicts": "llm_trace.evaluation.verdict_shares",
    "audit_judge": "llm_trace.evaluation.audit",
    "audit_pair_judge": "llm_trace.evaluation.audit",
    "calibrate": "llm_trace.evaluation.calibration",
    "cites": "llm_trace.evaluation.scorers",
    "contains": "llm_trace.evaluation.scorers",
    "draft_scenarios": "llm_trace.evaluation.drafts",
    "evaluate": "llm_trace.evaluation.api",
    "exact": "llm_trace.evaluation.scorers",
    "find_example": "llm_trace.evaluation.scenario_file",
    "from_autoevals": "llm_trace.evaluation.adapters",
    "from_pydantic_evals": "llm_trace.evaluation.adapters",
    "json_schema": "llm_trace.evaluation.scorers",
    "load_scenarios": "llm_trace.evaluation.scenario_file",
    "make_mutants": "llm_trace.evaluation.mutants",
    "matches": "llm_trace.evaluation.scorers",
    "numeric": "llm_trace.evaluation.scorers",
    "read_evaluation": "llm_trace.evaluation.evaluation",
    "similarity": "llm_trace.evaluation.scorers",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    return import_name(__name__, _HOMES, name)
