"""What JSON cannot give back of a value: where tuples, objects and other types stood, so that a replay can rebuild them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llm_trace.capture.objects import declared_names, is_model
from llm_trace.capture.state import class_attribute, read_fields

PLAIN = frozenset([str, int, float, bool, type(None)])
"""Types that JSON gives back as they are."""
_TEXT, _DICT = frozenset([str]), frozenset([dict])
UNKNOWN = "?"
"""The type of a place that cannot be described: a cycle, keys that are no text, a set of objects."""

Types = dict[str, list[str]]
"""Type (`module:qualname`) -> the places where it stood, as JSON pointers into the recorded value."""


def lost_types(value: Any) -> Types:
    """Return the types in a value that its JSON does not tell, empty for plain data; never raises.

    A dict is named only where its JSON could be taken for something else: it has a key `__type__`. The inside of an object that
    dumps itself (pydantic) is left to its class, that of messages to the provider's JSON.
    """
    found: Types = {}
    try:
        _walk(value, "", found)
    except Exception:  # the user's own object, or a cycle
        return {UNKNOWN: [""]}
    return found


def are_plain(values: Iterable[Any]) -> bool:
    """Return whether all values are scalars or messages, which come back from JSON as they are."""
    for value in values:  # quicker than `all` for the few arguments of a call
        if type(value) not in PLAIN and not (type(value) is list and _are_messages(value)):
            return False
    return True


def type_name(cls: type) -> str:
    """Return `module:qualname`, of builtins the bare name."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}:{cls.__qualname__}"


def _walk(value: Any, at: str, found: Types) -> None:
    cls = type(value)
    if cls in PLAIN:
        return
    if cls is list or cls is tuple:
        if cls is tuple:
            found.setdefault("tuple", []).append(at)
        if not _are_messages(value):
            _items(enumerate(value), at, found, value)
    elif cls is dict:
        if not _TEXT.issuperset(map(type, value)):
            found.setdefault(UNKNOWN, []).append(at)
            return
        if "__type__" in value:
            found.setdefault("dict", []).append(at)
        _items(value.items(), at, found, value.values())
    else:
        _object(value, cls, at, found)


def _are_messages(value: Any) -> bool:
    """Return whether these are messages for a provider: JSON by their nature, and many."""
    return bool(
        value
        and type(value[0]) is dict
        and type(value[0].get("role")) is str
        and _DICT.issuperset(map(type, value))
    )


def _items(pairs: Any, at: str, found: Types, values: Any) -> None:
    if PLAIN.issuperset(map(type, values)):
        return
    for key, item in pairs:
        if type(item) not in PLAIN:
            _walk(item, f"{at}/{_escaped(key)}", found)


def _escaped(key: str | int) -> str | int:
    return key.replace("~", "~0").replace("/", "~1") if type(key) is str else key


def _object(value: Any, cls: type, at: str, found: Types) -> None:
    if issubclass(cls, (set, frozenset, dict, list)):
        base: Any = next(b for b in (set, frozenset, dict, list) if issubclass(cls, b))
        items = dict.values(value) if base is dict else base.__iter__(value)
        if not PLAIN.issuperset(map(type, items)):
            found.setdefault(UNKNOWN, []).append(at)
            return
    found.setdefault(type_name(cls), []).append(at)
    if is_model(cls):
        return
    if issubclass(cls, tuple):
        names = class_attribute(cls, "_fields", ())
        fields = dict(zip(names, tuple.__iter__(value), strict=False))
    else:
        fields, _ = read_fields(value, declared_names(cls) or ())
    for name, item in fields.items():
        _walk(item, f"{at}/{name}", found)
