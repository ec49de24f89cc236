"""Give recorded JSON back as the values it was made of, or say why that cannot be done."""

from __future__ import annotations

import base64
import builtins
import datetime
import enum
import json
import sys
import uuid
from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, RootModel

from llm_trace.capture.lost_types import UNKNOWN, Types, lost_types
from llm_trace.capture.state import UNREAD
from llm_trace.capture.values import Encoder
from llm_trace.errors import ReplayedError, ReplayError

_encoder = Encoder()
_SAID = ("__type__", UNREAD)
"""Keys of an object's record that are no fields."""
Moved = dict[str, str]
"""Module a class was defined in when it was recorded -> module it is in now."""


def revive(data: Any, types: Types, moved: Moved | None = None) -> Any:
    """Return the value that was recorded as `data`, whose objects are built anew (`data` is used up).

    Classes are looked for among what is imported; nothing is imported for it.

    Raises:
        ReplayError: the record does not say enough for the same value.
    """
    places = [(pointer, name) for name, pointers in types.items() for pointer in pointers]
    for pointer, name in sorted(places, key=lambda place: -place[0].count("/")):  # what is inside comes first
        data = _replaced(data, pointer, name, moved or {})
    return data


def check(data: Any, types: Types, moved: Moved | None = None) -> None:
    """Make sure that `data` can be revived: that the value has the same types and the same JSON.

    Raises:
        ReplayError: it cannot.
    """
    before = _encoder.canonical(data)
    value = revive(json.loads(json.dumps(data)), types, moved)
    if _counted(lost_types(value), {}) != _counted(types, moved or {}) or _encoder.canonical(value) != before:
        raise ReplayError(f"the record does not hold {_named(types)} whole")


def revive_error(name: str, message: str | None, moved: Moved | None = None) -> BaseException:
    """Return the recorded exception: of its class where that is imported, made without its `__init__` where that asks for more."""
    cls = _find(name.rpartition(".")[0] or "builtins", name.rpartition(".")[2], moved or {})
    if not (isinstance(cls, type) and issubclass(cls, Exception)):
        return ReplayedError(name, message)
    for args in ((message,), (_literal(message),)) if message else ((),):
        try:
            error = cls(*args)
        except Exception:  # noqa: BLE001  # a class of the user's
            error = cls.__new__(cls, *args)
        if str(error) == (message or ""):
            return error
    return ReplayedError(name, message)


def _literal(text: str) -> Any:
    """Return what a `KeyError`, whose text is the `repr` of its key, was raised with."""
    import ast

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _counted(types: Types, moved: Moved) -> Counter[tuple[str, str]]:
    def name_now(name: str) -> str:
        module, colon, rest = name.partition(":")
        return f"{moved.get(module, module)}{colon}{rest}"

    return Counter((name_now(name), pointer) for name, pointers in types.items() for pointer in pointers)


def _named(types: Types) -> str:
    names = [name.replace(":", ".") for name in types if name not in (UNKNOWN, "dict")]
    return " and ".join(f"the {name}" for name in names[:3]) or "the value"


def _replaced(data: Any, pointer: str, name: str, moved: Moved) -> Any:
    """Return `data` with the node at a JSON pointer built."""
    if not pointer:
        return _build(name, data, moved)
    *way, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    node = data
    try:
        for step in way:
            node = node[int(step) if isinstance(node, list) else step]
        key: Any = int(last) if isinstance(node, list) else last
        node[key] = _build(name, node[key], moved)
    except (LookupError, TypeError, ValueError) as exc:
        raise ReplayError(f"the record lacks what stood at {pointer!r}") from exc
    return data


def _build(name: str, node: Any, moved: Moved) -> Any:
    if name == "dict":
        return node
    if name == UNKNOWN:
        raise ReplayError(
            "it holds what JSON cannot tell: keys that are no text, a set of objects, or a cycle"
        )
    module, _, qualname = name.rpartition(":")
    cls = _find(module or "builtins", qualname, moved)
    if not isinstance(cls, type):
        raise ReplayError(f"its type {name.replace(':', '.')} is not imported")
    try:
        return _built(cls, node)
    except ReplayError:
        raise
    except Exception as exc:  # a class of the user's
        raise ReplayError(f"a {name.replace(':', '.')} cannot be made from its record: {exc}") from exc


def _built(cls: Any, node: Any) -> Any:
    """Return an object of a class that makes plain data: no other is called, whatever a record says."""
    inside = {k: v for k, v in node.items() if k not in _SAID} if isinstance(node, dict) else {}
    if issubclass(cls, BaseModel):
        return cls.model_validate(inside["root"] if issubclass(cls, RootModel) else inside)
    if is_dataclass(cls):
        return _dataclass(cls, inside)
    if issubclass(cls, dict):
        return cls(node)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return cls(**inside)
    if issubclass(cls, (set, frozenset)):
        return cls(inside["items"])
    if issubclass(cls, (bytes, bytearray)) and "truncated" not in inside:
        return cls(base64.b64decode(inside["base64"]))
    if issubclass(cls, complex):
        return cls(*inside["value"])
    if issubclass(cls, PurePath):
        return cls(inside["path"])
    if issubclass(cls, (datetime.date, datetime.time)):
        return cls.fromisoformat(node)
    if not inside and issubclass(cls, (tuple, list, str, int, float, enum.Enum, uuid.UUID)):
        return cls(node)
    raise ReplayError(f"a {cls.__module__}.{cls.__qualname__} was kept as its description only")


def _dataclass(cls: Any, inside: dict[str, Any]) -> Any:
    """Return a dataclass's instance as it was, without what its `__post_init__` does once more."""
    made: Any = object.__new__(cls)
    for field in fields(cls):
        object.__setattr__(made, field.name, inside[field.name])
    return made


def _find(module: str, qualname: str, moved: Moved) -> Any:
    """Return what a module that is imported has under this name, or `None`."""
    found: Any = builtins if module == "builtins" else sys.modules.get(moved.get(module, module))
    for step in qualname.split("."):
        found = getattr(found, step, None)
    return found
