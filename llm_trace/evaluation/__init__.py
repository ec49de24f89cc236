"""Evaluate on fresh scenarios: questions drawn anew, answers computed, each quality judged on its own.

    from llm_trace.evaluation import Scenario, load_scenarios

Names are looked up when they are first used; the libraries come with `pip install 'llm-trace[evaluation]'`.
"""

from __future__ import annotations

from typing import Any

from llm_trace.lazy_names import import_name

_HOMES = {
    "GeneratorScenario": "llm_trace.evaluation.generator_scenario",
    "Instance": "llm_trace.evaluation.instances",
    "InstanceSource": "llm_trace.evaluation.instances",
    "Scenario": "llm_trace.evaluation.scenario",
    "ScenarioEdit": "llm_trace.evaluation.edits",
    "load_scenarios": "llm_trace.evaluation.scenario_file",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    return import_name(__name__, _HOMES, name)
