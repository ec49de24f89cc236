"""Give a recorded exception back as it was raised, or say why that cannot be done."""

from __future__ import annotations

import ast
import contextlib
import sys
from typing import TYPE_CHECKING, Any, get_args

from llm_trace.capture.raised import VALIDATION_ERROR, find_builtin_base, list_base_attributes
from llm_trace.errors import ReplayError
from llm_trace.replays.classes import find_class
from llm_trace.replays.revive import extract_part, rebuild

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_trace.replays.classes import Moved

_BY_STATE = (OSError, UnicodeError, SyntaxError, ImportError, SystemExit, StopIteration, BaseExceptionGroup)
"""Built-in exceptions that a message does not make."""


class AbsentPart:
    """Stands for what an exception held and the record does not; any use of it raises `ReplayError`."""

    __slots__ = ("_why",)

    def __init__(self, why: str) -> None:
        self._why = why

    def __repr__(self) -> str:
        return f"<{self._why}>"

    def _refuse(self, *_: Any) -> Any:
        raise ReplayError(f"{self._why}: let the call run (live=[…]), or do without it")

    __getattr__ = __getitem__ = __iter__ = __bool__ = __len__ = __contains__ = __call__ = _refuse
    __eq__ = __ne__ = __lt__ = __gt__ = _refuse
    __hash__ = None  # type: ignore[assignment]


def revive_error(error: Mapping[str, Any], record: Mapping[str, Any] | None, moved: Moved) -> BaseException:
    """Return the exception that a call was recorded to raise: its class and state, without its `__init__`.

    Args:
        error: `type` and `message`.
        record: what else it held; `None` where that was not recorded.

    Raises:
        ReplayError: its class is not imported, or the record does not hold it whole.
    """
    name, message = str(error.get("type", "error")), error.get("message")
    exception = _revive_by_message(name, message, moved) if record is None else _revive_held(record, moved)
    with contextlib.suppress(Exception):  # the user's own `__str__`
        if str(exception) == (message or ""):
            return exception
    raise ReplayError(f"the record does not hold the exception {name} whole")


def _revive_by_message(name: str, message: Any, moved: Moved) -> BaseException:
    cls = _find_error_class(name, moved)
    texts = [message, _parse_literal(message)] if isinstance(message, str) and message else []
    if type(cls.__init__) is type(Exception.__init__) and not issubclass(cls, _BY_STATE):
        for args in [[text] for text in texts] or [[]]:
            exception: BaseException = _make_bare(cls, tuple(args))
            if str(exception) == (message or ""):
                return exception
    raise ReplayError(f"the record does not hold the exception {name} whole")


def _find_error_class(name: str, moved: Moved) -> Any:
    cls = find_class(name, moved)
    if not (isinstance(cls, type) and issubclass(cls, BaseException)):
        raise ReplayError(f"its exception {name.replace(':', '.')} is not imported")
    return cls


def _parse_literal(text: str) -> Any:
    """Return what a `KeyError`, whose text is the `repr` of its key, was raised with."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _revive_held(record: Mapping[str, Any], moved: Moved) -> BaseException:
    cls = _find_error_class(record["type"], moved)
    held = record["held"]
    if record["type"] == VALIDATION_ERROR:
        return _revive_validation(
            cls, rebuild(*extract_part(held, record.get("types", {}), ("state",)), moved)
        )
    if "__slots__" in held["state"]:
        raise ReplayError(f"a {record['type'].replace(':', '.')} keeps its state in __slots__")
    args = [_revive_part(record, ("args", n), moved) for n in range(len(held["args"]))]
    exception: BaseException
    if issubclass(cls, BaseExceptionGroup):
        if len(record.get("errors", ())) != record["count"]:
            raise ReplayError("the record does not hold all exceptions of the group")
        exception = BaseExceptionGroup.__new__(
            cls, args[0], [_revive_held(one, moved) for one in record["errors"]]
        )
    else:
        exception = _make_bare(cls, tuple(args))
    for name in held["state"]:
        value = _revive_part(record, ("state", name), moved)
        if name in list_base_attributes(cls):
            setattr(exception, name, value)
        else:
            exception.__dict__[name] = value
    if "cause" in record:
        exception.__cause__ = _revive_held(record["cause"], moved)
    return exception


def _make_bare(cls: Any, args: tuple[Any, ...]) -> Any:
    """Return an exception made by its built-in base alone."""
    base = find_builtin_base(cls)
    try:
        exception = base.__new__(cls, *args)
        base.__init__(exception, *args)
    except TypeError as exc:  # a compiled class
        raise ReplayError(
            f"a {cls.__module__}.{cls.__qualname__} cannot be made from its record: {exc}"
        ) from exc
    return exception


def _revive_part(record: Mapping[str, Any], way: tuple[str, str | int], moved: Moved) -> Any:
    """Return one argument or attribute; where the record does not hold it, what says so when it is used."""
    at = f"{way[0]}/{way[1]}"
    if at in record.get("inner", {}):
        return _revive_held(record["inner"][at], moved)
    try:
        if at in record.get("responses", {}):
            return _revive_response(record["responses"][at])
        return rebuild(*extract_part(record["held"], record.get("types", {}), way), moved)
    except ReplayError as exc:
        name = record["type"].rpartition(".")[2].rpartition(":")[2]
        return AbsentPart(
            f"{name}'s {way[1] if way[0] == 'state' else 'arguments'} cannot be replayed ({exc})"
        )


def _revive_response(recorded: Mapping[str, Any]) -> Any:
    httpx = sys.modules.get("httpx")
    if httpx is None or not isinstance(recorded.get("body"), str):
        raise ReplayError("the response was not kept whole")
    return httpx.Response(
        recorded["status"], headers=recorded["headers"], content=recorded["body"].encode("latin-1")
    )


def _revive_validation(cls: Any, state: Mapping[str, Any]) -> BaseException:
    from pydantic_core import PydanticCustomError, core_schema

    known = get_args(core_schema.ErrorType)
    details = []
    for one in state["errors"]:
        kind = one["type"]
        context = dict(one.get("ctx", {}))
        if kind in ("value_error", "assertion_error"):  # its text is the message's end
            context = {"error": one["msg"].partition(", ")[2]}
        detail = {"type": kind, "loc": tuple(one["loc"]), "input": one["input"], "ctx": context}
        if kind not in known:
            detail |= {"type": PydanticCustomError(kind, one["msg"].replace("{", "{{"), context or None)}
        details.append(detail)
    try:
        exception: BaseException = cls.from_exception_data(state["title"], details)
        exception.args = ()
    except (TypeError, ValueError, KeyError) as exc:
        raise ReplayError(f"a pydantic ValidationError cannot be made from its record: {exc}") from exc
    return exception
