"""Read what stands in an object without running its code: no property, descriptor or `__getattr__`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, TypeVar

from llm_trace.bounded_dict import BoundedDict

_bases = type.__dict__["__mro__"].__get__
_namespace = type.__dict__["__dict__"].__get__
_ABSENT = object()
_MOST_CLASSES = 2048
T = TypeVar("T")
UNREAD = "__unread__"
"""Key under which a record names the fields of an object that could not be read without running its code."""


def identify(*classes: type) -> frozenset[int]:
    """Return classes as the numbers that `id` gives: to look for a class itself would ask its metaclass for
    its hash and whether it is the same.
    """
    return frozenset(map(id, classes))


_NATIVE = identify(MemberDescriptorType, GetSetDescriptorType)


def remember_by_class(compute: Callable[[Any], T]) -> Callable[[Any], T]:
    """Return a function of a class that computes its answer once for each of those that came last."""
    known: BoundedDict[int, tuple[type, T]] = BoundedDict(_MOST_CLASSES)

    @functools.wraps(compute)
    def remembered(cls: Any) -> T:
        entry = known.get(id(cls))
        if entry is None:  # a class that is remembered stays, so that no other can get its number
            entry = known[id(cls)] = (cls, compute(cls))
        return entry[1]

    return remembered


def list_bases(cls: type) -> tuple[type, ...]:
    """Return the classes in which an attribute is looked for, in order."""
    return tuple(_bases(cls))


def get_class_attribute(cls: type, name: str, default: Any = None) -> Any:
    """Return what a class or its bases define under a name, as it stands there (a property as a property)."""
    for base in _bases(cls):
        if (attribute := _namespace(base).get(name, _ABSENT)) is not _ABSENT:
            return attribute
    return default


def get_instance_dict(value: Any) -> dict[str, Any]:
    """Return an object's own `__dict__`, empty where it has none."""
    cls: Any = type(value)
    read = _build_dict_reader(cls)
    return read(value) if read is not None else {}


@remember_by_class
def _build_dict_reader(cls: Any) -> Callable[[Any], dict[str, Any]] | None:
    for base in _bases(cls):
        holder = _namespace(base).get("__dict__")
        if id(type(holder)) in _NATIVE:
            return holder.__get__  # type: ignore[no-any-return]
    return None


def read_slot(value: Any, name: str, default: Any = None) -> Any:
    """Return what stands in a slot, or in a field of a compiled class."""
    return build_slot_reader(type(value), name, default)(value)


def build_slot_reader(cls: type, name: str, default: Any = None) -> Callable[[Any], Any]:
    """Return what reads one slot of any object of a class; an empty or missing one gives `default`."""
    slot = get_class_attribute(cls, name)
    if id(type(slot)) not in _NATIVE:
        return lambda _: default

    def read(value: Any) -> Any:
        try:
            return slot.__get__(value)
        except AttributeError:  # empty
            return default

    return read


def read_fields(value: Any, names: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of declared fields, and the names of those that only the object's code could give."""
    fields: dict[str, Any] = {}
    unread: list[str] = []
    stored = get_instance_dict(value)
    for name in names:
        field = stored.get(name, _ABSENT)
        if field is _ABSENT:
            field = read_slot(value, name, _ABSENT)
        if field is _ABSENT:  # the default of a field that `__init__` left alone
            field = get_class_attribute(type(value), name, _ABSENT)
            if get_class_attribute(type(field), "__get__") is not None:
                field = _ABSENT
        if field is _ABSENT:
            unread.append(name)
        else:
            fields[name] = field
    return fields, unread


def read_public_state(value: Any) -> dict[str, Any]:
    """Return what stands in an object's `__dict__` and slots under names without a leading underscore."""
    state = {name: item for name, item in list(get_instance_dict(value).items()) if _is_public(name)}
    for base in _bases(type(value)):
        slots = _namespace(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            if _is_public(name) and (content := read_slot(value, name, _ABSENT)) is not _ABSENT:
                state.setdefault(name, content)
    return state


def _is_public(name: Any) -> bool:
    return type(name) is str and not name.startswith("_")
