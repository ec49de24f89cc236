"""What is said of objects: declared fields, loaded columns of ORM models, else what they hold in plain sight.

Everything is read from where it is stored; no code of the object runs, so nothing is loaded, computed or
changed by it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import fields as dataclass_fields
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.capture.content import HASH, hash_bytes
from llm_trace.capture.state import (
    UNREAD,
    build_slot_reader,
    get_class_attribute,
    get_instance_dict,
    identify,
    list_bases,
    read_fields,
    read_public_state,
    read_slot,
    remember_by_class,
)

if TYPE_CHECKING:
    from llm_trace.capture.redaction import Redaction

Form = Callable[[str, Any], Any]
_SCALARS = identify(str, int, float, bool, type(None))
_COLLECTIONS = identify(list, tuple, dict)
_MAX_TEXT = 10_000
_MAX_ITEMS = 100
_MAX_DEPTH = 50
_ABSENT = frozenset(["Unset", "NotGiven", "Omit", "PydanticUndefinedType"])
"""Classes by which SDKs say that a field was not given; as a value they would look like data."""


def choose_object_form(cls: type) -> Form | None:
    """Return what makes a record of objects of a class that declares its fields; `None` for other classes."""
    if "_props" in get_instance_dict(get_class_attribute(cls, "__mapper__")):
        return _read_sqlalchemy
    if any(base.__module__ == "sqlalchemy.engine.row" for base in list_bases(cls)):
        return _read_sqlalchemy_row
    if "concrete_fields" in (meta := get_instance_dict(get_class_attribute(cls, "_meta"))):
        return _read_django
    if "fields_db_projection" in meta or "fields_db_projection" in _iter_slots(
        get_class_attribute(cls, "_meta")
    ):
        return _read_tortoise
    if is_model(cls):
        return _read_pydantic
    names = list_declared_names(cls)
    return None if names is None else lambda name, value: _read_declared(name, value, names)


def list_declared_names(cls: type) -> list[str] | None:
    """Return the fields a dataclass, attrs, msgspec or pydantic 1 class declares; `None` for others."""
    if type(get_class_attribute(cls, "__dataclass_fields__")) is dict:
        return [field.name for field in dataclass_fields(cls)]
    if (attributes := get_class_attribute(cls, "__attrs_attrs__")) is not None:
        return [attribute.name for attribute in attributes]
    for declared in ("__struct_fields__", "__fields__"):
        if id(type(names := get_class_attribute(cls, declared))) in _COLLECTIONS:
            return [*names]
    return None


def is_model(cls: type) -> bool:
    """Return whether a class is a pydantic 2 model."""
    return type(get_class_attribute(cls, "__pydantic_fields__")) is dict


def read_plain_object(name: str, value: Any) -> dict[str, Any]:
    """Return what an object of a class without declared fields holds in plain sight, shortly.

    Kept are public attributes that are short texts, numbers or small collections of those; of others the type
    is named. What an attribute's name says to be a secret is masked always: nobody passed it as data.
    """
    secrets = _load_secrets()
    state = read_public_state(value)
    shown = {
        key: secrets.mask if secrets.masks_value(key, state[key]) else _check_shown(state[key])
        for key in list(state)[:_MAX_ITEMS]
    }
    return {"__type__": name, **shown} | ({"truncated": True} if len(state) > _MAX_ITEMS else {})


@functools.cache
def _load_secrets() -> Redaction:
    from llm_trace.capture.redaction import Redaction

    return Redaction(values=())


def _check_shown(value: Any) -> Any:
    cls = type(value)
    if cls is str and len(value) > _MAX_TEXT:
        whole = hash_bytes(value.encode("utf-8", "surrogatepass"))
        return {"__type__": "str", "truncated": len(value), "value": value[:_MAX_TEXT], HASH: whole}
    if id(cls) in _SCALARS:
        return value
    if id(cls) in _COLLECTIONS and len(value) <= _MAX_ITEMS:
        items = value.values() if cls is dict else value
        if all(id(type(i)) in _SCALARS and (type(i) is not str or len(i) <= _MAX_TEXT) for i in list(items)):
            return value
    named = {"__type__": get_qualified_name(cls), "truncated": True}
    return {**named, "length": len(value)} if id(cls) in _COLLECTIONS else named


def get_qualified_name(cls: type) -> str:
    """Return `module.qualname` of a class, of builtins the bare name."""
    return f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")


def _with_unread(form: dict[str, Any], unread: Iterable[str]) -> dict[str, Any]:
    names = list(unread)
    return {**form, UNREAD: names} if names else form


def _read_declared(name: str, value: Any, names: list[str]) -> dict[str, Any]:
    fields, unread = read_fields(value, names)
    return _with_unread({"__type__": name, **fields}, unread)


# ORM: what is loaded stands in the object's `__dict__`; reading anything else would ask the database


def _read_sqlalchemy(name: str, value: Any) -> dict[str, Any]:
    """Return the loaded columns; columns that are not loaded, and relationships, are named."""
    properties = get_instance_dict(get_class_attribute(type(value), "__mapper__"))["_props"]
    stored = get_instance_dict(value)
    columns = [
        key
        for key, prop in list(properties.items())
        if get_class_attribute(type(prop), "strategy_wildcard_key") == "column"
    ]
    loaded = {key: stored[key] for key in columns if key in stored}
    return _with_unread({"__type__": name, **loaded}, (key for key in properties if key not in loaded))


def _read_sqlalchemy_row(name: str, value: Any) -> Any:
    data, places = read_slot(value, "_data"), read_slot(value, "_key_to_index")
    if type(data) is not tuple or type(places) is not dict:
        return read_plain_object(name, value)
    return {"__type__": name, **{key: data[at] for key, at in places.items() if type(key) is str}}


def _read_django(name: str, value: Any) -> dict[str, Any]:
    """Return the loaded columns and annotations; deferred columns are named."""
    fields = get_instance_dict(get_class_attribute(type(value), "_meta"))["concrete_fields"]
    loaded = read_public_state(value)
    columns = (get_instance_dict(field).get("attname") for field in fields)
    return _with_unread({"__type__": name, **loaded}, (c for c in columns if c and c not in loaded))


def _read_tortoise(name: str, value: Any) -> dict[str, Any]:
    """Return the loaded columns; columns that are not loaded are named."""
    meta = get_class_attribute(type(value), "_meta")
    columns = (
        get_instance_dict(meta).get("fields_db_projection") or read_slot(meta, "fields_db_projection") or {}
    )
    stored = get_instance_dict(value)
    loaded = {key: stored[key] for key in columns if key in stored}
    return _with_unread({"__type__": name, **loaded}, (key for key in columns if key not in loaded))


def _iter_slots(value: Any) -> tuple[str, ...]:
    slots = get_class_attribute(type(value), "__slots__", ())
    return slots if type(slots) is tuple else ()


# pydantic: its own dump runs serializers and computed fields


class _Layout(NamedTuple):
    """What a record keeps of a model's objects, worked out once a class."""

    names: frozenset[str]
    """Fields that are kept."""
    declared: frozenset[str]
    extra: Callable[[Any], dict[str, Any] | None]
    is_root: bool
    computed: list[str]


@remember_by_class
def _get_layout(cls: Any) -> _Layout | None:
    """Return how objects of a class are read; `None` where it is no pydantic model."""
    if not is_model(cls):
        return None
    declared = get_class_attribute(cls, "__pydantic_fields__")
    decorators = get_class_attribute(cls, "__pydantic_decorators__")
    computed = get_instance_dict(decorators).get("computed_fields") or read_slot(
        decorators, "computed_fields"
    )
    return _Layout(
        frozenset(name for name, field in declared.items() if not _is_excluded(field)),
        frozenset(declared),
        build_slot_reader(cls, "__pydantic_extra__"),
        get_class_attribute(cls, "__pydantic_root_model__") is True,
        list(computed or ()),
    )


def _is_excluded(field: Any) -> bool:
    return bool(field.exclude) or read_slot(field, "exclude_if") is not None  # a function, which is not run


def _read_pydantic(name: str, value: Any) -> dict[str, Any]:
    """Return a model's fields, those of models inside it too; excluded ones are left out, computed named."""
    cls: Any = type(value)
    layout: Any = _get_layout(cls)
    return _with_unread({"__type__": name, **_model_fields(value, layout, (id(value),), 0)}, layout.computed)


def _model_fields(value: Any, layout: _Layout, around: tuple[int, ...], depth: int) -> dict[str, Any]:
    stored, names = get_instance_dict(value), layout.names
    fields = dict(stored) if names.issuperset(stored) else {n: stored[n] for n in list(stored) if n in names}
    if extra := layout.extra(value):
        fields |= {name: item for name, item in extra.items() if name not in layout.declared}
    for name, item in list(fields.items()):
        if type(item).__name__ in _ABSENT:
            del fields[name]
        elif id(type(item)) not in _SCALARS:
            fields[name] = _read_inner(item, around, depth + 1)
    return fields


def _read_inner(value: Any, around: tuple[int, ...], depth: int) -> Any:
    """Return a model inside a model as its fields, without its type: the class of the outer one tells it."""
    cls: Any = type(value)
    if id(cls) in _SCALARS or depth > _MAX_DEPTH:
        return value
    if cls is list or cls is tuple:
        return cls([i if id(type(i)) in _SCALARS else _read_inner(i, around, depth + 1) for i in value])
    if cls is dict:
        return {key: _read_inner(item, around, depth + 1) for key, item in list(value.items())}
    if id(value) in around:
        return {"__type__": get_qualified_name(cls), "cycle": True}
    if (layout := _get_layout(cls)) is not None:
        fields = _model_fields(value, layout, (*around, id(value)), depth)
        return fields["root"] if layout.is_root else fields
    names = list_declared_names(cls)
    return (
        value if names is None else _read_inner(read_fields(value, names)[0], (*around, id(value)), depth + 1)
    )
