"""Calls that a framework's callbacks begin and end, each under the id that the framework gives it.

A callback may run in another context than the code around it, so that the end of a call cannot take it out of
the context that it began in. Each call therefore says itself which code is outside of it (`has_left`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry.context.context import Context

from llm_trace.bounded_dict import BoundedDict
from llm_trace.capture import failures, slots
from llm_trace.capture.callspan import CallSpan, leave_ended
from llm_trace.capture.context import CALL_KEY, FRAMEWORK_KEY, restore, variable
from llm_trace.capture.endings import fail_call, finish_call

if TYPE_CHECKING:
    from llm_trace.capture.spec import FunctionSpec

_MOST = 10_000
"""Calls that are open at a time; the oldest beyond are forgotten, and stay open in the record."""


class FrameworkCalls:
    """The open calls of one framework; safe for threads, bounded in memory, never raises."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: BoundedDict[Hashable, CallSpan] = BoundedDict(_MOST)

    def begin(
        self,
        spec: FunctionSpec,
        key: Hashable,
        parent_key: Hashable,
        arguments: dict[str, Any],
        *,
        is_inside: Callable[[], bool] | None = None,
        siblings: bool = False,
    ) -> CallSpan | None:
        """Begin a call, inside the call of another key or else where the code runs, and make it current.

        Args:
            is_inside: says whether the code that asks is in the call; where not given it is to its end, or to
                its first chunk.
            siblings: several model calls begin one after the other before the first of them runs.
        """
        recorder = slots.recorder or slots.start_recorder()
        if recorder is None:
            return None
        try:
            place, here = self._find_place(self._open.get(parent_key), siblings=siblings)
            before = variable.get()
            call = recorder.begin_from(place, spec, (), arguments)
            if call is None:
                return None
            call.token, call.surroundings = None, here
            call.has_left = _build_exit(call, is_inside)
            call.context = Context({**call.context, FRAMEWORK_KEY: call})  # type: ignore[dict-item]
            first = before.get(CALL_KEY) if siblings else None
            waits = type(first) is CallSpan and first.open and first.surroundings is here
            variable.set(before if waits else call.context)
            with self._lock:
                self._open[key] = call
            return call
        except Exception as exc:
            failures.note("the start of a framework's call", exc)
            return None

    @contextmanager
    def enter(self, key: Hashable) -> Iterator[None]:
        """Make an open call current for the length of a block, where another is."""
        call = self._open.get(key)
        if call is None or call.context is None or leave_ended().get(CALL_KEY) is call:
            yield
            return
        token = variable.set(call.context)
        try:
            yield
        finally:
            restore(token)

    def note_chunk(self, key: Hashable) -> None:
        """Note that a call's first chunk came: from here on the code that runs is its consumer's."""
        call = self._open.get(key)
        if call is not None and "first_token_ns" not in (call.fields or {}):
            call.first_chunk()
            _leave(call)

    def set(self, key: Hashable, **fields: Any) -> None:
        """Set fields of an open call."""
        if (call := self._open.get(key)) is not None:
            call.set(**fields)

    def finish(self, key: Hashable, output: Any, **fields: Any) -> None:
        """End a call that returned."""
        if (call := self._take(key, fields)) is not None:
            finish_call(call, output)

    def fail(self, key: Hashable, error: BaseException, output: Any = None, **fields: Any) -> None:
        """End a call that raised, was cancelled or left early."""
        if (call := self._take(key, fields)) is not None:
            fail_call(call, error, output)

    def _take(self, key: Hashable, fields: dict[str, Any]) -> CallSpan | None:
        with self._lock:
            call = self._open.pop(key, None)
        if call is not None:
            if fields:
                call.set(**fields)
            _leave(call)
        return call

    def _find_place(self, parent: CallSpan | None, *, siblings: bool) -> tuple[Context, Context]:
        """Return where a call belongs, and what is current around it.

        A call that is current and inside the parent is nearer than the parent, and so is the program's own
        code inside either.
        """
        here = leave_ended()
        around: CallSpan | None = here.get(FRAMEWORK_KEY)  # type: ignore[assignment]
        while siblings and around is not None and around is here.get(CALL_KEY):
            here = around.surroundings if around.surroundings is not None else here
            around = here.get(FRAMEWORK_KEY)  # type: ignore[assignment]
        if parent is None or around is parent or _is_in(around, parent):
            return here, here
        return parent.context or here, here


def _is_in(call: CallSpan | None, parent: CallSpan) -> bool:
    return call is not None and (call.surroundings or Context()).get(FRAMEWORK_KEY) is parent


def _build_exit(call: CallSpan, is_inside: Callable[[], bool] | None) -> Callable[[], bool]:
    if is_inside is not None:
        return lambda: not (_is_running(call) and is_inside())
    return lambda: not _is_running(call) or "first_token_ns" in (call.fields or {})


def _is_running(call: CallSpan) -> bool:
    return call.open and call.recorder is slots.recorder


def _leave(call: CallSpan) -> None:
    """Make current what was around a call, if this is the context that it is current in."""
    if call.surroundings is not None and variable.get().get(CALL_KEY) is call:
        variable.set(call.surroundings)
