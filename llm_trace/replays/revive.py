"""Give recorded JSON back as the values it was made of, or say why that cannot be done."""

from __future__ import annotations

import ast
import base64
import datetime
import decimal
import enum
import fractions
import json
import sys
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import PurePath
from typing import Any

import orjson
from pydantic import BaseModel

from llm_trace.capture.input_key import compute_identity
from llm_trace.capture.prompts import Rendered
from llm_trace.capture.state import UNREAD
from llm_trace.capture.type_hints import (
    PRIVATE,
    RENDERED,
    UNKNOWN,
    UNSET,
    Types,
    escape,
    find_lost_types,
    get_type_name,
)
from llm_trace.capture.values import ValueEncoder
from llm_trace.errors import ReplayError
from llm_trace.replays.classes import Moved, find_class

_encoder = ValueEncoder()
_SAID = ("__type__", UNREAD)
"""Keys of an object's record that are no fields."""
_NUMBERS = {"float": float, "int": int}
"""Numbers that are no JSON, by the name that their record has."""
_BARE = (tuple, list, str, int, float, enum.Enum, uuid.UUID)
"""Classes that are made of what JSON has for them."""
_WRITTEN = (decimal.Decimal, datetime.timedelta, fractions.Fraction, range)
"""Classes whose `repr` is all there is to say."""


def rebuild(data: Any, types: Types, moved: Moved | None = None, rendered: Sequence[Rendered] = ()) -> Any:
    """Return the value that was recorded as `data`, with objects built anew.

    Args:
        data: JSON; not changed.
        types: what `data` does not tell (`llm_trace.capture.type_hints`).
        rendered: the prompts that a text which was made by one may be.

    Raises:
        ReplayError: the record does not say enough for the same value.
    """
    value = revive(json.loads(json.dumps(data)), types, moved or {}, rendered)
    again = find_lost_types(value, messages=True)
    if not _have_same_types(types, again, moved or {}) or _compute_key(value, again) != _compute_key(
        data, again
    ):
        raise ReplayError(f"the record does not hold {_name_types(types)} whole")
    return value


def extract_part(data: Any, types: Types, way: Sequence[str | int]) -> tuple[Any, Types]:
    """Return what stands at a place inside recorded JSON, and its types."""
    at = "".join(f"/{escape(step)}" for step in way)
    for step in way:
        data = data[step]
    inside: Types = {}
    for name, pointers in types.items():
        if name == PRIVATE:
            below = [
                orjson.dumps([p[len(at) :], key, value]).decode()
                for p, key, value in map(orjson.loads, pointers)
                if p == at or p.startswith(at + "/")
            ]
        else:
            below = [p[len(at) :] for p in pointers if p == at or p.startswith(at + "/")]
        if below:
            inside[name] = below
    return data, inside


def is_plain(data: Any, types: Types) -> bool:
    """Return whether recorded JSON is its value already, but for tuples."""
    return types.keys() <= {"tuple"} and '"__type__"' not in json.dumps(data)


def _compute_key(value: Any, types: Types) -> bytes:
    return compute_identity(_encoder.canonical(value), types)


def _have_same_types(then: Types, now: Types, moved: Moved) -> bool:
    """Return whether two values have the same types at the same places, wherever their classes are now."""
    counts: Counter[tuple[str, str]] = Counter()
    for name, pointers in then.items():
        cls = find_class(name, moved)
        counts.update(
            (get_type_name(cls) if isinstance(cls, type) else name, pointer) for pointer in pointers
        )
    return counts == Counter((name, pointer) for name, pointers in now.items() for pointer in pointers)


def _name_types(types: Types) -> str:
    names = [name.replace(":", ".") for name in types if name not in (UNKNOWN, UNSET, PRIVATE, "dict")]
    return " and ".join(f"the {name}" for name in names[:3]) or "the value"


def revive(data: Any, types: Types, moved: Moved, rendered: Sequence[Rendered] = ()) -> Any:
    """Return the value recorded as `data` (which is used up), unchecked: one that `rebuild` could give."""
    if '"__type__"' in json.dumps(data):
        data = _with_numbers(data, "", set(types.get("dict", ())))
    private = [orjson.loads(entry) for entry in types.get(PRIVATE, ())]
    beside = _Beside(frozenset(types.get(UNSET, ())), [(at, name, value) for at, name, value in private])
    kinds = {name: pointers for name, pointers in types.items() if name not in (UNSET, PRIVATE)}
    places = [(pointer, name) for name, pointers in kinds.items() for pointer in pointers]
    for pointer, name in sorted(places, key=lambda place: -place[0].count("/")):  # what is inside comes first
        data = _replace_node(data, pointer, _Builder(name, pointer, beside, moved, rendered))
    return data


def _with_numbers(data: Any, at: str, dicts: set[str]) -> Any:
    """Return JSON with the numbers in it that JSON has no form for: infinities, NaN, long integers."""
    if isinstance(data, list):
        return [_with_numbers(item, f"{at}/{n}", dicts) for n, item in enumerate(data)]
    if not isinstance(data, dict):
        return data
    number = _NUMBERS.get(data.get("__type__", "")) if data.keys() == {"__type__", "value"} else None
    if number is not None and at not in dicts and isinstance(data["value"], str):
        try:
            return number(data["value"])
        except ValueError as exc:
            raise ReplayError(f"a number of {len(data['value'])} digits was cut") from exc
    return {key: _with_numbers(item, f"{at}/{escape(key)}", dicts) for key, item in data.items()}


def _replace_node(data: Any, pointer: str, build: _Builder) -> Any:
    """Return `data` with the node at a JSON pointer built."""
    if not pointer:
        return build(data)
    *way, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    node = data
    try:
        for step in way:
            node = node[int(step) if isinstance(node, list) else step]
        key: Any = int(last) if isinstance(node, list) else last
        node[key] = build(node[key])
    except (LookupError, TypeError, ValueError) as exc:
        raise ReplayError(f"the record lacks what stood at {pointer!r}") from exc
    return data


@dataclass(frozen=True)
class _Beside:
    """What a record says of pydantic objects beside their fields."""

    unset: frozenset[str]
    private: list[tuple[str, str, Any]]


@dataclass(frozen=True)
class _Builder:
    """Builds the node at one place of a record."""

    name: str
    pointer: str
    beside: _Beside
    moved: Moved
    rendered: Sequence[Rendered]

    def __call__(self, node: Any) -> Any:
        name = self.name
        if name == "dict":
            return node
        if name == UNKNOWN:
            raise ReplayError(
                "it holds what JSON cannot tell: keys that are no text, a set of objects, a cycle, a time "
                "zone by name, "
                "or state beside its fields"
            )
        if name == RENDERED:
            return self._find_rendered(node)
        cls = find_class(name, self.moved)
        if not isinstance(cls, type):
            raise ReplayError(f"its type {name.replace(':', '.')} is not imported")
        try:
            return self._build_object(cls, node)
        except ReplayError:
            raise
        except Exception as exc:  # a class of the user's
            raise ReplayError(f"a {name.replace(':', '.')} cannot be made from its record: {exc}") from exc

    def _find_rendered(self, node: Any) -> Rendered:
        if (rendered := next((text for text in self.rendered if text == node), None)) is None:
            raise ReplayError(
                "it was rendered from a prompt whose template or variables are not in the record"
            )
        return rendered

    def _build_object(self, cls: Any, node: Any) -> Any:
        """Return an object of a class that makes plain data: no other is called, whatever a record says."""
        inside = {k: v for k, v in node.items() if k not in _SAID} if isinstance(node, dict) else {}
        if issubclass(cls, BaseModel):
            return self._model(cls, inside)
        if is_dataclass(cls):
            return _build_dataclass(cls, inside)
        if issubclass(cls, dict):
            return cls(node)
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            return tuple.__new__(cls, [inside[name] for name in cls._fields])
        if issubclass(cls, (set, frozenset)):
            return cls(inside["items"])
        if issubclass(cls, (bytes, bytearray)) and "truncated" not in inside:
            return cls(base64.b64decode(inside["base64"]))
        if issubclass(cls, complex):
            return cls(*inside["value"])
        if issubclass(cls, PurePath):
            return cls(inside["path"])
        if issubclass(cls, (datetime.date, datetime.time)):
            return cls.fromisoformat(inside["value"] if inside else node)
        if issubclass(cls, _WRITTEN) and inside.keys() == {"repr"}:
            return _parse_repr(cls, inside["repr"])
        if not inside and (issubclass(cls, _BARE) or _is_number(cls)):
            return cls(node)
        raise ReplayError(f"a {cls.__module__}.{cls.__qualname__} was kept as its description only")

    def _model(self, cls: type[BaseModel], inside: Mapping[str, Any]) -> BaseModel:
        """Return a pydantic object in its state, without what its validators do once more."""
        declared = cls.model_fields
        if missing := [name for name in declared if name not in inside]:
            raise ReplayError(f"the record of a {cls.__qualname__} lacks {', '.join(missing[:3])}")
        extra = {name: v for name, v in inside.items() if name not in declared}
        fields_set = {*declared, *extra} - {n for n in declared if f"{self.pointer}/{n}" in self.beside.unset}
        private = {name: value for at, name, value in self.beside.private if at == self.pointer}
        begun = {
            name: a.get_default() for name, a in cls.__private_attributes__.items() if name not in private
        }
        state = {
            "__dict__": {name: inside[name] for name in declared},
            "__pydantic_fields_set__": fields_set,
            "__pydantic_extra__": extra if cls.model_config.get("extra") == "allow" else None,
            "__pydantic_private__": {**begun, **private} if cls.__private_attributes__ else None,
        }
        instance = cls.__new__(cls)
        for name, value in state.items():
            object.__setattr__(instance, name, value)
        return instance


def _is_number(cls: type) -> bool:
    """Return whether a class is one of numpy's numbers that a number of Python's makes exactly."""
    numpy: Any = sys.modules.get("numpy")
    return numpy is not None and issubclass(cls, (numpy.bool_, numpy.integer, numpy.float32, numpy.float16))


def _build_dataclass(cls: Any, inside: dict[str, Any]) -> Any:
    """Return a dataclass's instance as it was, without what its `__post_init__` does once more."""
    instance: Any = object.__new__(cls)
    for field in fields(cls):
        object.__setattr__(instance, field.name, inside[field.name])
    return instance


def _parse_repr(cls: Any, text: str) -> Any:
    """Return what a `repr` says: a call of the class with literals."""
    call = ast.parse(text, mode="eval").body
    if not isinstance(call, ast.Call):
        raise ReplayError(f"{text!r} is no {cls.__qualname__}")
    args = [ast.literal_eval(arg) for arg in call.args]
    return cls(*args, **{str(word.arg): ast.literal_eval(word.value) for word in call.keywords})
