"""The list of chat messages in what a call was asked, at any depth: read, and changed on a copy."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llm_trace.capture.objects import is_model, list_declared_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ITEMS = ("function_call", "function_call_output", "reasoning")
"""Types of what stands between messages without a role of its own, in requests of OpenAI's Responses."""


def find_messages(value: Any) -> Sequence[Any]:
    """Return the first list of messages in a value of dicts and objects with fields; empty where there is
    none.
    """
    if _are_messages(value):
        return value  # type: ignore[no-any-return]
    return next((messages for _, item in iter_fields(value) if (messages := find_messages(item))), ())


def edit_messages(value: Any, edit: Callable[[Sequence[Any]], list[Any]]) -> Any:
    """Return a copy of a value in which the first list of messages is another; `None` where there is none."""
    if _are_messages(value):
        return edit(value)
    for name, item in iter_fields(value):
        if (edited := edit_messages(item, edit)) is not None:
            return put_field(value, name, edited)
    return None


def read_message_field(message: Any, name: str) -> Any:
    """Return a field of a message that is a dict or an object; `None` where it has none."""
    return message.get(name) if isinstance(message, Mapping) else getattr(message, name, None)


def put_field(value: Any, name: str, item: Any) -> Any:
    """Return a copy of a dict, or of an object, with another field."""
    if isinstance(value, Mapping):
        return {**value, name: item}
    other = copy.copy(value)
    object.__setattr__(other, name, item)  # frozen ones too
    return other


def find_messages_holder(value: Any) -> Any:
    """Return the dict or object that has the first list of messages as a field; `None` if none has."""
    for _, item in iter_fields(value):
        if _are_messages(item):
            return value
        if (holder := find_messages_holder(item)) is not None:
            return holder
    return None


def iter_fields(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a dict, or of an object whose class declares them."""
    if isinstance(value, Mapping):
        yield from value.items()
        return
    cls = type(value)
    names = list(cls.model_fields) if is_model(cls) else list_declared_names(cls) or ()
    yield from ((name, getattr(value, name, None)) for name in names)


def _are_messages(value: Any) -> bool:
    if not isinstance(value, list | tuple) or not value:
        return False
    roles = [isinstance(read_message_field(item, "role"), str) for item in value]
    return any(roles) and all(
        role or read_message_field(item, "type") in _ITEMS for role, item in zip(roles, value, strict=True)
    )
