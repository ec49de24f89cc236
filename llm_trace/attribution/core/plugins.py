"""Plug-ins by name: methods, segmenters, baselines and quality measures, ours and other packages'.

A package adds one with an entry point and touches nothing of ours:

    [project.entry-points."llm_trace.segmenters"]
    clause = "my_package:clauses"

What is registered is a plain callable. Ours win where names are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint
from typing import Any

from llm_trace.errors import AttributionError
from llm_trace.plugin_points import list_entry_points

METHODS, SEGMENTERS, BASELINES, QUALITY = (
    f"llm_trace.{kind}" for kind in ("methods", "segmenters", "baselines", "quality")
)
"""Groups of entry points. A segmenter maps a text to (start, end) or (start, end, name); a baseline maps a
segment's text to its replacement; methods and measures see `registry.Method` and `study.Measure`.
"""


def find_foreign(group: str) -> Mapping[str, EntryPoint]:
    """Return what other packages registered in a group."""
    return {point.name: point for point in list_entry_points(group)}


def list_names(group: str, builtin: Mapping[str, Any]) -> list[str]:
    """Return the names of a group, ours first."""
    return [*builtin, *(name for name in find_foreign(group) if name not in builtin)]


def find_plugin(group: str, name: str, builtin: Mapping[str, Any], what: str) -> Any:
    """Return what is registered under a name; a text `module:attribute` among ours is imported now.

    Raises:
        AttributionError: unknown, or of a package that cannot be imported.
    """
    if name in builtin:
        target = builtin[name]
        if not isinstance(target, str):
            return target
        module, _, attribute = target.partition(":")
        return getattr(import_module(module), attribute)
    point = find_foreign(group).get(name)
    if point is None:
        raise AttributionError(
            f"{what} {name!r} is unknown; choose one of {', '.join(list_names(group, builtin))}"
        )
    try:
        return point.load()
    except Exception as exc:
        raise AttributionError(f"{what} {name!r} ({point.value}) cannot be imported: {exc}") from exc


def find_package(group: str, name: str, builtin: Mapping[str, Any]) -> str:
    """Return the distribution that brings a name."""
    point = None if name in builtin else find_foreign(group).get(name)
    if point is None:
        return "llm_trace"
    return point.dist.name if point.dist is not None else "?"
