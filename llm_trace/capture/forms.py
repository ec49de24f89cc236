"""What is said of values that are no JSON: one short form for each kind, `{"__type__": …}` with what matters of it."""

from __future__ import annotations

import base64
import enum
import math
import os
import types
from collections.abc import Mapping
from typing import Any

_SMALL_ARRAY = 64
SMALL_BYTES = 4096
"""Bytes that are kept of a binary value."""


def describe(value: Any) -> Any:
    """Return a non-JSON value as JSON types, one level deep (what is inside may need `describe` again).

    Raises:
        Exception: the value's own methods failed; `plain` and `encode` turn that into a stated failure.
    """
    cls = type(value)
    name = f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")
    for wanted, form in _FORMS:
        if isinstance(value, wanted):
            return form(name, value)
    if callable(dump := getattr(cls, "model_dump", None)):  # pydantic 2
        return {"__type__": name, **dump(value, warnings=False)}
    if (fields := getattr(cls, "__dataclass_fields__", None)) or (fields := _attrs_names(cls)):
        return {"__type__": name, **{f: getattr(value, f) for f in fields}}
    if hasattr(cls, "shape") and hasattr(cls, "dtype"):
        return _array(name, value)
    if cls.__module__.startswith("PIL."):
        return {"__type__": name, "size": list(value.size), "mode": value.mode, "truncated": True}
    return {"__type__": name, "repr": shorten(repr(value), 500)}


def _attrs_names(cls: type) -> list[str]:
    return [a.name for a in getattr(cls, "__attrs_attrs__", ())]


def _mapping(name: str, value: Mapping[Any, Any]) -> Any:
    return dict(value.items())


def _named_or_plain_tuple(name: str, value: tuple[Any, ...]) -> Any:
    fields = getattr(value, "_fields", None)
    return {"__type__": name, **dict(zip(fields, value, strict=False))} if fields else list(value)


def _set(name: str, value: set[Any] | frozenset[Any]) -> Any:
    try:
        items = sorted(value)
    except TypeError:
        items = sorted(value, key=repr)
    return {"__type__": name, "items": items}


def _bytes(name: str, value: bytes | bytearray | memoryview) -> Any:
    data = bytes(value[:SMALL_BYTES])
    form: dict[str, Any] = {"__type__": name, "length": len(value), "base64": base64.b64encode(data).decode()}
    return form if len(data) == len(value) else form | {"truncated": True}


def _array(name: str, value: Any) -> Any:
    if not value.shape:
        return value.item()
    form: dict[str, Any] = {
        "__type__": name,
        "shape": [int(n) for n in value.shape],
        "dtype": str(value.dtype),
    }
    if (device := str(getattr(value, "device", "cpu"))) != "cpu":
        form["device"] = device
    if math.prod(form["shape"]) <= _SMALL_ARRAY:
        return form | {"values": value.tolist()}
    return form | {"truncated": True}


def _enum(name: str, value: Any) -> Any:
    return value.value


def _forms() -> list[tuple[Any, Any]]:
    functions = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)
    return [
        (enum.Enum, _enum),
        (str, lambda _, v: str.__str__(v)),
        (int, lambda _, v: int(v)),
        (float, lambda _, v: float(v)),
        (Mapping, _mapping),
        (tuple, _named_or_plain_tuple),
        (list, lambda _, v: list(v)),
        ((set, frozenset), _set),
        ((bytes, bytearray, memoryview), _bytes),
        (os.PathLike, lambda n, v: {"__type__": n, "path": os.fspath(v)}),
        (BaseException, lambda n, v: {"__type__": n, "message": str(v)}),
        (complex, lambda n, v: {"__type__": n, "value": [v.real, v.imag]}),
        (functions, lambda n, v: {"__type__": n, "name": f"{v.__module__}:{v.__qualname__}"}),
    ]


_FORMS = _forms()


def shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"
