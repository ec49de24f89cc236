"""Notices that a response of httpx is closed: streams of SDKs, and helpers around them, are left by that."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from llm_trace.capture.state import get_class_attribute, get_instance_dict


def watch_close(
    response: Any,
    leave: Callable[[], None],
    leave_async: Callable[[], Awaitable[None]],
    also: tuple[str, ...] = (),
) -> Callable[[], None]:
    """Call something when a response is closed for the first time; return what stops to watch it.

    Args:
        also: further methods that stand in the response's own `__dict__` and are taken out with it.
    """
    if get_class_attribute(type(response), "aclose") is None:  # none of httpx's
        return lambda: None
    own, methods = get_instance_dict(response), (response.close, response.aclose)
    forget = functools.partial(_forget, weakref.ref(response), ("close", "aclose", *also))

    def close() -> None:
        forget()
        methods[0]()
        leave()

    async def aclose() -> None:
        forget()
        await methods[1]()
        await leave_async()

    own["close"], own["aclose"] = close, aclose
    return forget


def _forget(reference: Callable[[], Any], names: tuple[str, ...]) -> None:
    own = get_instance_dict(reference())
    for name in names:
        own.pop(name, None)
