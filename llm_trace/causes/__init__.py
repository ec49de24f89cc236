"""Say what caused a call by doing it again otherwise: forks, causes, bisection, and where words came from.

    from llm_trace.causes import why

Names are looked up when they are first used.
"""

from __future__ import annotations

from typing import Any

from llm_trace.lazy_names import import_name

_HOMES: dict[str, str] = {
    "Bisection": "llm_trace.causes.bisect_record",
    "bisect": "llm_trace.causes.bisect_api",
    "ToolGuard": "llm_trace.causes.guard",
    "provenance": "llm_trace.causes.provenance_api",
    "why": "llm_trace.causes.why_api",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    return import_name(__name__, _HOMES, name)
