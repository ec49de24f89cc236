"""What JSON cannot give back: where tuples, objects and other types stood, for a replay to rebuild."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Container, Iterable
from typing import Any

import orjson

from llm_trace.capture.objects import is_model, list_declared_names
from llm_trace.capture.state import (
    get_class_attribute,
    get_instance_dict,
    identify,
    read_fields,
    read_slot,
    remember_by_class,
)

PLAIN = identify(str, int, float, bool, type(None))
"""Types that JSON gives back as they are."""
_SLOTS = ("extra", "private", "fields_set")
_TEXT, _DICT = identify(str), identify(dict)
UNKNOWN = "?"
"""The type of a place that cannot be described: a cycle, keys that are no text, a set of objects …"""
UNSET = "unset"
"""Stands for a type at the fields of a pydantic object that were not given to it."""
PRIVATE = "private"
"""A type at pydantic's private attributes; with JSON for places: `["/place", name, value]`."""
RENDERED = "llm_trace.capture.prompts:Rendered"

Types = dict[str, list[str]]
"""Type (`module:qualname`) -> the places where it stood, as JSON pointers into the recorded value."""


def find_lost_types(value: Any, *, messages: bool = False) -> Types:
    """Return the types in a value that its JSON does not tell, empty for plain data; never raises.

    A dict is named only where its JSON could be taken for something else: it has a key `__type__`.

    Args:
        messages: look into lists of messages too; else they are left to the provider's JSON.
    """
    walk = _Walk(messages)
    try:
        walk.value(value, "")
    except Exception:  # the user's own object, or a cycle
        return {UNKNOWN: [""]}
    return walk.found


def check_plain(values: Iterable[Any]) -> bool:
    """Return whether all values are scalars or messages, which come back from JSON as they are."""
    for value in values:  # quicker than `all` for the few arguments of a call
        if id(type(value)) not in PLAIN and not (type(value) is list and _check_messages(value)):
            return False
    return True


def get_type_name(cls: Any) -> str:
    """Return `module:qualname`, of builtins the bare name."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}:{cls.__qualname__}"


def escape(key: str | int) -> str:
    """Return a key or an index as a step of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1") if type(key) is str else str(key)


def _check_messages(value: Any) -> bool:
    """Return whether these are messages for a provider: JSON by their nature, and many."""
    return bool(
        value
        and type(value[0]) is dict
        and type(value[0].get("role")) is str
        and _DICT.issuperset(map(id, map(type, value)))
    )


class _Walk:
    """One pass over a value."""

    def __init__(self, messages: bool) -> None:
        self.found: Types = {}
        self._messages = messages

    def note(self, name: str, at: str) -> None:
        self.found.setdefault(name, []).append(at)

    def value(self, value: Any, at: str) -> None:
        cls = type(value)
        if id(cls) in PLAIN:
            return
        if cls is list or cls is tuple:
            if cls is tuple:
                self.note("tuple", at)
            if self._messages or not _check_messages(value):
                self.items(enumerate(value), at, value)
        elif cls is dict:
            self.mapping(value, at)
        else:
            self.note(get_type_name(cls), at)
            self.object(value, cls, at)

    def mapping(self, value: dict[Any, Any], at: str) -> None:
        if not _TEXT.issuperset(map(id, map(type, dict.keys(value)))) or not _is_utf8(
            "".join(dict.keys(value))
        ):
            self.note(UNKNOWN, at)
            return
        if dict.__contains__(value, "__type__"):
            self.note("dict", at)
        self.items(dict.items(value), at, dict.values(value))

    def items(self, pairs: Iterable[tuple[Any, Any]], at: str, values: Iterable[Any]) -> None:
        if PLAIN.issuperset(map(id, map(type, values))):
            return
        for key, item in pairs:
            if id(type(item)) not in PLAIN:
                self.value(item, f"{at}/{escape(key)}")

    def object(self, value: Any, cls: Any, at: str) -> None:
        kind = _classify_type(cls)
        if kind == "model":
            self.model(value, cls, at)
        elif kind == "dataclass":
            names = list_declared_names(cls) or []
            held, unread = read_fields(value, names)
            if unread:
                self.note(UNKNOWN, at)
            self.items(held.items(), at, held.values())
            self.beside(value, names, at)
        elif kind == "namedtuple":
            items = list(tuple.__iter__(value))
            self.items(zip(get_class_attribute(cls, "_fields"), items, strict=True), at, items)
            self.beside(value, (), at)
        elif kind == "collection":
            self.collection(value, cls, at)
            self.beside(value, (), at)
        elif kind == "scalar":
            self.beside(value, (), at)
        elif kind and not _is_whole(kind, value):
            self.note(UNKNOWN, at)

    def collection(self, value: Any, cls: type, at: str) -> None:
        if issubclass(cls, dict):
            self.mapping(value, at)
        elif issubclass(cls, (set, frozenset)):
            base: Any = set if issubclass(cls, set) else frozenset
            if not PLAIN.issuperset(map(id, map(type, base.__iter__(value)))):
                self.note(UNKNOWN, at)
        else:
            items = list(list.__iter__(value) if issubclass(cls, list) else tuple.__iter__(value))
            self.items(enumerate(items), at, items)

    def beside(self, value: Any, fields: Container[str], at: str) -> None:
        """Note state that stands beside what the record holds, as attributes that a method sets."""
        state = get_instance_dict(value)
        if state and not all(name in fields or _is_cached(type(value), name) for name in state):
            self.note(UNKNOWN, at)

    def model(self, value: Any, cls: Any, at: str) -> None:
        """Note the types inside a pydantic object, and what its fields do not say."""
        state, fields = get_instance_dict(value), get_class_attribute(cls, "__pydantic_fields__")
        extra, private, fields_set = (read_slot(value, f"__pydantic_{name}__") for name in _SLOTS)
        if not state.keys() <= fields.keys():
            self.beside(value, fields, at)
        for name, item in state.items():
            if id(type(item)) not in PLAIN:
                self.value(item, f"{at}/{escape(name)}")
        if extra:
            self.items(extra.items(), at, extra.values())
        if len(fields_set) < len(fields):
            self.found.setdefault(UNSET, []).extend(
                [f"{at}/{name}" for name in fields if name not in fields_set]
            )
        for name, item in (private or {}).items():
            if id(type(item)) in PLAIN:
                self.note(PRIVATE, orjson.dumps([at, name, item]).decode())
            elif item is not getattr(
                get_class_attribute(cls, "__private_attributes__").get(name), "default", UNKNOWN
            ):
                self.note(UNKNOWN, at)


@remember_by_class
def _classify_type(cls: Any) -> str:
    """Return how objects of a class are looked into."""
    if type(get_class_attribute(cls, "__dataclass_fields__")) is dict:
        return "dataclass"
    if is_model(cls):
        return "model"
    if issubclass(cls, tuple) and type(get_class_attribute(cls, "_fields")) is tuple:
        return "namedtuple"
    if issubclass(cls, (dict, list, tuple, set, frozenset)):
        return "collection"
    if get_type_name(cls) == RENDERED:
        return "rendered"
    for kind, base in (("enum", enum.Enum), ("time", datetime.datetime), ("time", datetime.time)):
        if issubclass(cls, base):
            return kind
    return "scalar" if issubclass(cls, (str, int, float, bytes, bytearray)) else ""


def _is_whole(kind: str, value: Any) -> bool:
    """Return whether the record of a value says all of it."""
    if kind == "enum":
        return id(type(get_instance_dict(value)["_value_"])) in PLAIN
    if kind == "rendered":
        return not find_lost_types(read_slot(value, "variables", {}))
    zone = value.tzinfo  # of a time: not which of two it is in autumn, nor the name of its zone
    return not value.fold and (
        zone is None or (type(zone) is datetime.timezone and zone.tzname(None)[:3] == "UTC")
    )


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        return bool(text.encode())
    except UnicodeEncodeError:  # lone surrogates
        return False


def _is_cached(cls: type, name: str) -> bool:
    """Return whether a class has a cached property of this name, which is worked out again."""
    return type(get_class_attribute(cls, name)).__name__ == "cached_property"
