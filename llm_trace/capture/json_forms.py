"""What is said of values that are no JSON: a short form for each kind, `{"__type__": …}` and what matters.

A value's own code never runs: built-in types are read through their own methods, whatever a subclass
overrides, objects as `objects` says, and the libraries in `_KNOWN` by their methods.
"""

from __future__ import annotations

import base64
import collections
import datetime
import enum
import functools
import gc
import math
import pathlib
import sys
import types
from collections.abc import Mapping
from typing import Any

import orjson

from llm_trace.capture.content import HASH, MOST_BYTES, content_hash, hash_bytes, is_frame, read_device
from llm_trace.capture.objects import Form, choose_object_form, get_qualified_name, read_plain_object
from llm_trace.capture.state import (
    get_class_attribute,
    get_instance_dict,
    identify,
    list_bases,
    read_public_state,
    remember_by_class,
)
from llm_trace.semconv.values import get_raw_body, is_subclass

_SMALL_ARRAY = 64
_MAX_REPR = 500
SMALL_BYTES = 4096
"""Bytes that are kept of a binary value."""
_KNOWN = frozenset(
    [
        "httpx",
        "jax",
        "jaxlib",
        "numpy",
        "pandas",
        "PIL",
        "polars",
        "pyarrow",
        "pydantic",
        "pydantic_core",
        "requests",
        "starlette",
        "tensorflow",
        "torch",
    ]
)
"""Libraries whose `repr`, arrays and mappings are known to read memory only."""
_RAW_RESPONSES = frozenset(["BaseAPIResponse", "LegacyAPIResponse"])
"""What `with_raw_response` gives in SDKs made by Stainless (OpenAI, Anthropic, Groq and others)."""
_TENSORS = frozenset(["jax", "jaxlib", "numpy", "pandas", "polars", "tensorflow", "torch"])


def describe(value: Any) -> Any:
    """Return a non-JSON value as JSON types, one level deep (what is inside may need `describe` again).

    Raises:
        Exception: a library's methods failed; `plain` and `encode` turn that into a stated failure.
    """
    cls: Any = type(value)
    return _choose_form(cls)(get_qualified_name(cls), value)


@remember_by_class
def _choose_form(cls: type) -> Form:
    """Return what makes a record of values of a class."""
    for wanted, form in _FORMS:
        if is_subclass(cls, wanted):
            return form
    if (declared := choose_object_form(cls)) is not None:
        return declared
    roots = {base.__module__.partition(".")[0] for base in list_bases(cls)}
    if roots & _TENSORS and get_class_attribute(cls, "shape") and get_class_attribute(cls, "dtype"):
        return _convert_array
    if "PIL" in roots and get_class_attribute(cls, "size"):
        return _convert_image
    if is_raw_response(cls):
        return _read_raw_response
    if is_subclass(cls, Mapping) and _is_known(cls, "__iter__") and _is_known(cls, "__getitem__"):
        return _convert_mapping
    if get_class_attribute(cls, "__repr__") is not object.__repr__ and _is_known(cls, "__repr__"):
        return (
            _convert_future
            if any(base.__module__ == "_asyncio" for base in list_bases(cls))
            else _convert_repr
        )
    return _convert_time if issubclass(cls, _TIMES) else read_plain_object


def _is_known(cls: type, method: str) -> bool:
    """Return whether a method is compiled, or of the standard library or a library in `_KNOWN`."""
    function = get_class_attribute(cls, method)
    if type(function) is not types.FunctionType:
        return function is not None
    root = str(function.__module__).partition(".")[0]
    return root in _KNOWN or root in sys.stdlib_module_names


def _convert_repr(name: str, value: Any) -> dict[str, Any]:
    text = repr(value)
    form = {"__type__": name, "repr": shorten(text, _MAX_REPR)}
    if is_frame(value):  # shows a few of its rows, with few digits
        return form | {"truncated": True} | content_hash(value)
    if len(text) <= _MAX_REPR:
        return form
    return form | {"truncated": True, HASH: hash_bytes(text.encode("utf-8", "surrogatepass"))}


def _convert_mapping(name: str, value: Mapping[Any, Any]) -> Any:
    return dict(value.items())


def _convert_chain_map(name: str, value: Any) -> Any:
    merged: dict[Any, Any] = {}
    for one in reversed(get_instance_dict(value)["maps"]):
        merged |= describe(one) if type(one) is not dict else one
    return merged


def _convert_proxy(name: str, value: Any) -> Any:
    (inside,) = gc.get_referents(value)
    return inside if type(inside) is dict else describe(inside)


def _convert_tuple(name: str, value: tuple[Any, ...]) -> Any:
    fields = get_class_attribute(type(value), "_fields")
    items = list(tuple.__iter__(value))
    return {"__type__": name, **dict(zip(fields, items, strict=False))} if type(fields) is tuple else items


_ORDERED = identify(str, int, float, bytes)


def _set(name: str, value: set[Any] | frozenset[Any]) -> Any:
    base: Any = set if isinstance(value, set) else frozenset
    items = list(base.__iter__(value))
    if len(kinds := set(map(id, map(type, items)))) == 1 and kinds <= _ORDERED:
        return {"__type__": name, "items": sorted(items)}
    return {"__type__": name, "items": sorted(items, key=_order)}


def _order(item: Any) -> bytes:
    """Return by what items of a set are ordered, as their own `<` would be their code."""
    try:
        return orjson.dumps(item, describe, orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_SORT_KEYS)
    except (TypeError, RecursionError):
        return type(item).__qualname__.encode()


def _convert_bytes(name: str, value: bytes | bytearray | memoryview) -> Any:
    with memoryview(value) as view:
        data, length = view[:SMALL_BYTES].tobytes()[:SMALL_BYTES], view.nbytes
        whole = (
            {HASH: hash_bytes(view.cast("B"))} if len(data) < length <= MOST_BYTES and view.contiguous else {}
        )
    form: dict[str, Any] = {"__type__": name, "length": length, "base64": base64.b64encode(data).decode()}
    return form if len(data) == length else form | {"truncated": True} | whole


def _convert_array(name: str, value: Any) -> Any:
    if not value.shape:
        return value.item()
    form: dict[str, Any] = {
        "__type__": name,
        "shape": [int(n) for n in value.shape],
        "dtype": str(value.dtype),
    }
    if (device := read_device(value)) != "cpu":
        form["device"] = device
    if math.prod(form["shape"]) <= _SMALL_ARRAY:
        try:
            return form | {"values": value.to_list() if hasattr(value, "to_list") else value.tolist()}
        except (RuntimeError, NotImplementedError, TypeError):  # sparse, on no device
            pass
    return form | {"truncated": True} | content_hash(value)


def _convert_image(name: str, value: Any) -> Any:
    return {"__type__": name, "size": list(value.size), "mode": value.mode, "truncated": True}


def _convert_error(name: str, value: BaseException) -> dict[str, Any]:
    return {"__type__": name, "message": read_error_message(value)}


_SHOWN = identify(str, int, float)


def read_error_message(error: BaseException) -> str:
    """Return what an exception says, or, where its `__str__` fails, that it did and its arguments."""
    try:
        return str(error)
    except Exception as exc:  # the user's own class, of which a traceback too says no more
        args = [arg for arg in _read_args(error) if id(type(arg)) in _SHOWN]
        shown = f": {', '.join(map(str, args))}" if args else ""
        return f"<the message could not be read, {type(exc).__name__}>{shown}"


def _read_args(error: BaseException) -> tuple[Any, ...]:
    """Return what an exception was raised with, whatever its class makes of `args`."""
    args: tuple[Any, ...] = BaseException.args.__get__(error)  # type: ignore[attr-defined]
    return args


def _convert_code(name: str, value: Any) -> dict[str, Any]:
    return {"__type__": name, "name": f"{value.__module__}:{value.__qualname__}"}


def _convert_partial(name: str, value: functools.partial[Any]) -> dict[str, Any]:
    return {"__type__": name, "func": value.func, "args": list(value.args), "keywords": value.keywords}


def is_raw_response(cls: type) -> bool:
    """Return whether a class is what SDKs made by Stainless give for `with_raw_response`."""
    return not _RAW_RESPONSES.isdisjoint(base.__name__ for base in list_bases(cls))


def _read_raw_response(name: str, value: Any) -> dict[str, Any]:
    body = get_raw_body(value)
    return read_plain_object(name, value) if body is None else {"__type__": name, **body}


def _convert_future(name: str, value: Any) -> dict[str, Any]:
    return {"__type__": name}  # its `repr` shows its result's


def _convert_time(name: str, value: Any) -> dict[str, Any]:
    base: Any = next(wanted for wanted in _TIMES if isinstance(value, wanted))
    return {"__type__": name, "value": base.isoformat(value)}


_TIMES = (datetime.datetime, datetime.date, datetime.time)


def _list_forms() -> list[tuple[Any, Form]]:
    functions = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)
    views: tuple[Any, ...] = (type({}.keys()), type({}.values()), type({}.items()), collections.deque)
    user = (collections.UserDict, collections.UserList, collections.UserString)
    return [
        (enum.Enum, lambda _, v: get_instance_dict(v)["_value_"]),
        (str, lambda _, v: str.__str__(v)),
        (int, lambda _, v: int.__int__(v)),
        (float, lambda _, v: float.__float__(v)),
        (dict, lambda _, v: dict(dict.items(v))),
        (tuple, _convert_tuple),
        (list, lambda _, v: list(list.__iter__(v))),
        ((set, frozenset), _set),
        ((bytes, bytearray, memoryview), _convert_bytes),
        (pathlib.PurePath, lambda n, v: {"__type__": n, "path": str(v)}),
        (BaseException, _convert_error),
        (complex, lambda n, v: {"__type__": n, "value": [complex.real.__get__(v), complex.imag.__get__(v)]}),
        (functions, _convert_code),
        (types.MappingProxyType, _convert_proxy),
        (collections.ChainMap, _convert_chain_map),
        (user, lambda _, v: get_instance_dict(v)["data"]),
        (views, lambda _, v: list(v)),
        (types.SimpleNamespace, lambda n, v: {"__type__": n, **read_public_state(v)}),
        (functools.partial, _convert_partial),
    ]


_FORMS = _list_forms()


def shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + "…"
