"""What an exception holds beside its message, noted so that a replay can raise it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.capture.type_hints import find_lost_types, get_type_name

if TYPE_CHECKING:
    from llm_trace.capture.values import ValueEncoder

_MAX_DEPTH = 5
_MAX_ERRORS = 100
VALIDATION_ERROR = "pydantic_core._pydantic_core:ValidationError"
_ASIDE: tuple[tuple[type[BaseException], tuple[str, ...]], ...] = (
    (AttributeError, ("name", "obj")),
    (NameError, ("name",)),
    (ImportError, ("name", "path")),
)
"""Attributes of built-in exceptions that stand neither in `args` nor in `__dict__`."""
_LEFT_OUT = frozenset(["content-encoding", "content-length", "transfer-encoding", "set-cookie"])
"""Headers that belong to the bytes on the wire, or that nobody needs to raise an error again."""


def record_error(error: BaseException, encoder: ValueEncoder, depth: int = 0) -> dict[str, Any]:
    """Return what raises an exception again (docs/spool-format.md), as orjson takes it; run no code of it."""
    cls = type(error)
    record: dict[str, Any] = {"type": get_type_name(cls)}
    if record["type"] == VALIDATION_ERROR:
        return record | _encode_held({"args": [], "state": _describe_validation(error)}, encoder)
    held: dict[str, Any] = {"args": list(_get_arguments(error)), "state": _get_state(error)}
    if isinstance(error, BaseExceptionGroup):
        held["args"] = [error.message]
        members = error.exceptions[:_MAX_ERRORS] if depth < _MAX_DEPTH else ()
        record |= {
            "errors": [record_error(e, encoder, depth + 1) for e in members],
            "count": len(error.exceptions),
        }
    inner, responses = _extract_inner(held)
    if depth < _MAX_DEPTH:
        record["inner"] = {at: record_error(e, encoder, depth + 1) for at, e in inner.items()}
        if error.__cause__ is not None:
            record["cause"] = record_error(error.__cause__, encoder, depth + 1)
    if responses:
        record["responses"] = orjson.Fragment(encoder.encode(responses))
    return {name: value for name, value in record.items() if value} | _encode_held(held, encoder)


def find_builtin_base(cls: type) -> Any:
    """Return the nearest exception class of Python's own that a class derives from."""
    return next(base for base in cls.__mro__ if base.__module__ == "builtins")


def list_base_attributes(cls: type) -> tuple[str, ...]:
    """Return the attributes of a class's built-in base that are kept by themselves."""
    return next((names for base, names in _ASIDE if issubclass(cls, base)), ())


def _encode_held(held: dict[str, Any], encoder: ValueEncoder) -> dict[str, Any]:
    types = find_lost_types(held, messages=True)
    state = {"held": orjson.Fragment(encoder.encode(held))}
    return state | ({"types": encoder.to_masked_json(types)} if types else {})


def _get_arguments(error: BaseException) -> tuple[Any, ...]:
    """Return what the built-in base is made with; of an `OSError` with its file names."""
    reduced = find_builtin_base(type(error)).__reduce__(error)
    return reduced[1] if isinstance(reduced, tuple) else ()


def _get_state(error: BaseException) -> dict[str, Any]:
    state = dict(object.__getattribute__(error, "__dict__"))
    for name in list_base_attributes(type(error)):
        if (value := getattr(error, name, None)) is not None:
            state[name] = value
    for base in type(error).__mro__:
        if base.__module__ != "builtins" and base.__dict__.get("__slots__"):
            state["__slots__"] = object()  # not read: such an exception cannot be raised again
    return state


def _extract_inner(held: dict[str, Any]) -> tuple[dict[str, BaseException], dict[str, Any]]:
    """Take httpx's exceptions and responses out of what an exception holds; return them by their place."""
    inner: dict[str, BaseException] = {}
    responses: dict[str, Any] = {}
    for part, values in held.items():
        for key, value in enumerate(values) if isinstance(values, list) else list(values.items()):
            at = f"{part}/{key}"
            if isinstance(value, BaseException):
                inner[at], values[key] = value, None
            elif get_type_name(type(value)) == "httpx:Response" and "_content" in value.__dict__:
                responses[at], values[key] = _describe_response(value), None
    return inner, responses


def _describe_response(response: Any) -> dict[str, Any]:
    """Return status, headers and body of a response that was read; its request, with the key, is left."""
    headers = [[k, v] for k, v in response.headers.multi_items() if k.lower() not in _LEFT_OUT]
    return {
        "status": response.status_code,
        "headers": headers,
        "body": response.__dict__["_content"].decode("latin-1"),
    }


def _describe_validation(error: Any) -> dict[str, Any]:
    """Return what pydantic's error is made of, which keeps it out of Python's sight."""
    errors = error.errors(include_url=False)
    for one in errors:
        context = one.get("ctx", {})
        one["ctx"] = {name: v for name, v in context.items() if not isinstance(v, BaseException)}
    return {"title": error.title, "errors": errors}
