"""Span attributes as data: indexed names (`llm.input_messages.0.message.role`) become lists and mappings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_DEPTH = 24
"""Names nested deeper than this keep their tail in one piece."""


class SpanEvent(NamedTuple):
    """One event of a span."""

    name: str
    attributes: Mapping[str, Any]
    time_ns: int | None


def read_event(raw: Any) -> SpanEvent:
    """Return an event from OpenTelemetry's object, a mapping, or a `(name, attributes)` pair."""
    if isinstance(raw, (list, tuple)):
        name, attributes, at = (*raw, None, None, None)[:3]
    elif isinstance(raw, Mapping):
        name, attributes = raw.get("name"), raw.get("attributes")
        at = raw.get("timestamp", raw.get("time_ns"))
    else:
        name, attributes = getattr(raw, "name", None), getattr(raw, "attributes", None)
        at = getattr(raw, "timestamp", None)
    fields = attributes if isinstance(attributes, Mapping) else {}
    return SpanEvent(str(name), fields, at if isinstance(at, int) and not isinstance(at, bool) else None)


def nest_attributes(attributes: Mapping[str, Any], prefix: str) -> Any:
    """Return what stands under `prefix.` as mappings, and as lists where every name is a number.

    A name that is both a value and a prefix keeps its value under the empty name.
    """
    tree: dict[str, Any] = {}
    start = prefix + "."
    for name, value in attributes.items():
        if isinstance(name, str) and name.startswith(start):
            _put(tree, name[len(start) :].split(".", _DEPTH), value)
    return _list_tree(tree)


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        below = tree.get(step)
        if not isinstance(below, _Branch):
            below = tree[step] = _Branch({"": below} if step in tree else {})
        tree = below
    last = tree.get(path[-1])
    if isinstance(last, _Branch):
        last[""] = value
    else:
        tree[path[-1]] = value


class _Branch(dict[str, Any]):
    """A level made from names; a mapping that came as a value is not one."""


def _list_tree(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    values = {
        name: _list_tree(value) if isinstance(value, _Branch) else value for name, value in tree.items()
    }
    if values and all(name.isascii() and name.isdigit() and len(name) < 9 for name in values):
        return [values[name] for name in sorted(values, key=int)]
    return values
