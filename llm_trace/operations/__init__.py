"""Let explanations decide what may run alone: gates, rules, reviews, monitors, and what they are worth.

    from llm_trace.operations import read_operations

Names are looked up when they are first used.
"""

from __future__ import annotations

from typing import Any

from llm_trace.lazy_names import import_name

_HOMES = {
    "Alarm": "llm_trace.operations.alarms",
    "Diet": "llm_trace.operations.diet_record",
    "DietPart": "llm_trace.operations.diet_record",
    "Operation": "llm_trace.operations.log",
    "OperationLog": "llm_trace.operations.log",
    "diet": "llm_trace.operations.diet_api",
    "read_operations": "llm_trace.operations.log",
    "send_alarm": "llm_trace.operations.alarms",
    "watch": "llm_trace.operations.monitors",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    return import_name(__name__, _HOMES, name)
