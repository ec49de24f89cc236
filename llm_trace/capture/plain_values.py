"""A value in JSON's own types, so that the C encoder that writes it runs no code and lets no other thread in.

orjson asks an enum for its `value` and a time for its `utcoffset`, and calls back for what it does not know.
Where such code raises, or another thread takes its turn there and shortens a list, the process ends with a
segmentation fault.
"""

from __future__ import annotations

import datetime
import gc
import math
import uuid
from typing import Any

import orjson

from llm_trace.capture.json_forms import describe
from llm_trace.capture.state import identify

_PLAIN = identify(str, int, float, bool, type(None))
_FLOAT = id(float)
_EXACT = _PLAIN - {_FLOAT}
_CONTAINERS = identify(dict, list, tuple)
_JSON = _PLAIN | _CONTAINERS
_MOST_CONTAINERS = 100_000
"""Containers that are looked into; lists that hold one list in many places would have no end."""
_MAX_DEPTH = 250


def dump_plain(value: Any, option: int = 0) -> bytes:
    """Return the JSON of a value; what is no JSON is described.

    Raises:
        Exception: JSON does not have some of it (keys that are no text, long integers, infinities, lone
            surrogates, cycles), another thread has changed it meanwhile, or some of it cannot be read.
    """
    if type(value) is dict and _EXACT.issuperset(map(id, map(type, value.values()))):  # most fields of events
        return orjson.dumps(value, None, option)
    types = _find_types(value)
    if not types <= _JSON:
        value = _Pass().make_plain(value, 0)
    data = orjson.dumps(value, None, option | orjson.OPT_PASSTHROUGH_DATACLASS)
    if (_FLOAT in types or not types <= _JSON) and b"null" in data and _has_nonfinite(value):
        raise ValueError("JSON has no infinity and no NaN")
    return data


def _find_types(value: Any) -> set[int]:
    """Return the `id`s of the types in a value, level by level in C, up to the level with a type that is not
    JSON's.
    """
    types = {id(type(value))}
    level, depth, count = [value], 0, 0
    while level and types <= _JSON:
        depth, count = depth + 1, count + len(level)
        if depth > _MAX_DEPTH or count > _MOST_CONTAINERS:
            raise RecursionError("the value is nested too deeply, or has too many parts")
        parts = gc.get_referents(*level)
        new = set(map(id, map(type, parts)))
        types |= new
        level = [] if new <= _PLAIN else [part for part in parts if id(type(part)) in _CONTAINERS]
    return types


def _has_nonfinite(value: Any) -> bool:
    """Return whether orjson writes `null` for a number in a plain value; level by level in C."""
    level = [value]
    while level:
        if not all(map(math.isfinite, [part for part in level if type(part) is float])):
            return True
        level = gc.get_referents(*[part for part in level if id(type(part)) in _CONTAINERS])
    return False


class _Pass:
    """One pass over a value; containers without anything odd in them stay the ones that they are."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _MOST_CONTAINERS

    def make_plain(self, value: Any, depth: int) -> Any:
        cls: Any = type(value)
        if cls is dict:
            return (
                value
                if _PLAIN.issuperset(map(id, map(type, value.values())))
                else self._change_dict(value, depth)
            )
        if cls is list or cls is tuple:
            return value if _PLAIN.issuperset(map(id, map(type, value))) else self._change_list(value, depth)
        if id(cls) in _PLAIN:
            return value
        if cls is datetime.datetime or cls is datetime.date or cls is datetime.time:
            return value.isoformat()
        self._count(depth)
        return str(value) if cls is uuid.UUID else self.make_plain(describe(value), depth + 1)

    def _count(self, depth: int) -> None:
        self.left -= 1
        if depth > _MAX_DEPTH or self.left < 0:
            raise RecursionError("the value is nested too deeply, or has too many parts")

    def _change_dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        self._count(depth)
        out = value
        for key, item in value.items():
            if id(type(item)) not in _PLAIN and (plain := self.make_plain(item, depth + 1)) is not item:
                out = dict(value) if out is value else out
                out[key] = plain
        return out

    def _change_list(self, value: list[Any] | tuple[Any, ...], depth: int) -> Any:
        self._count(depth)
        out: Any = value
        for place, item in enumerate(value):
            if id(type(item)) not in _PLAIN and (plain := self.make_plain(item, depth + 1)) is not item:
                out = list(value) if out is value else out
                out[place] = plain
        return out
