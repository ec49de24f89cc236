"""Fields of a call as users set them, in the one form that is recorded."""

from __future__ import annotations

import enum
import math
import operator
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from llm_trace import semconv
from llm_trace.capture.json_forms import read_error_message
from llm_trace.capture.labels import to_mapping, to_tags


def read_field(name: str, value: Any) -> Any:
    """Return the value of a field as it is recorded; `None` stays `None`.

    Raises:
        TypeError, ValueError: it is of another kind than the field.
    """
    read = _READERS[name]
    return value if read is None or value is None else read(name, value)


def _read_text(name: str, value: Any) -> Any:
    if isinstance(value, str | uuid.UUID | enum.Enum):
        return value
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r} is no text") from None


def _read_number(name: str, value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name}={value!r} is no finite number")
    return number


def _read_time(_: str, value: Any) -> int:
    return int(value)


def _read_usage(name: str, value: Any) -> dict[str, int] | None:
    tokens = semconv.usage(value)
    if tokens is None and (
        not isinstance(value, Mapping) or any(each is not None for each in value.values())
    ):
        raise TypeError(f"{name}={value!r} has no counts of tokens: write usage={{'input_tokens': 9}}")
    return tokens


def _read_prompt(name: str, value: Any) -> Any:
    """Return which prompt is meant by a `Prompt`, a text rendered from one, or its name and version."""
    source = value.prompt if hasattr(value, "prompt") else value
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return value
    if not hasattr(source, "template"):
        raise TypeError(f"{name}={value!r} is no Prompt")
    variables = value.variables if hasattr(value, "variables") else {}
    return {"name": source.name, "version": source.version, "variables": variables}


def _read_error(name: str, value: Any) -> dict[str, Any]:
    """Return an error of an exception, of its message, or of its type and message."""
    if isinstance(value, BaseException):
        return {"type": type(value).__qualname__, "message": read_error_message(value)}
    if isinstance(value, str):
        return {"type": "error", "message": value}
    return {"type": "error", **to_mapping(name, value)}


def _read_messages(name: str, value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name}={value!r} is no list of messages")
    return value


_READERS: dict[str, Callable[[str, Any], Any] | None] = {
    "input": None,
    "output": None,
    "error": _read_error,
    "model": _read_text,
    "provider": _read_text,
    "params": to_mapping,
    "usage": _read_usage,
    "cost_usd": _read_number,
    "first_token_ns": _read_time,
    "prompt": _read_prompt,
    "session": _read_text,
    "user": _read_text,
    "tags": lambda _, value: to_tags(value),
    "metadata": to_mapping,
    "replay_of": _read_text,
    "messages_out": _read_messages,
}
FIELDS = frozenset(_READERS)
"""What `update_current_call` and `handle.set` may set."""
