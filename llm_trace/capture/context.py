"""What is current: one OpenTelemetry context holds the span, our call, the session and the run.

OpenTelemetry keeps its context in one `ContextVar`; we read and set that variable directly where it is the standard one, as
attach and detach cost more than the rest of a small call. Another runtime context is used through its own interface.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry.context.context import Context

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan

CALL_KEY = otel_context.create_key("llm_trace.call")
SCOPE_KEY = otel_context.create_key("llm_trace.scope")
RUN_KEY = otel_context.create_key("llm_trace.run")


class _ForeignVariable:
    """A `ContextVar`'s interface over a runtime context that is not the standard one."""

    def get(self) -> Context:
        return otel_context.get_current()

    def set(self, value: Context) -> Any:
        return otel_context.attach(value)

    def reset(self, token: Any) -> None:
        otel_context.detach(token)


def _current_variable() -> Any:
    otel_context.get_current()  # makes sure that the runtime context is loaded
    variable = getattr(otel_context._RUNTIME_CONTEXT, "_current_context", None)
    return variable if isinstance(variable, contextvars.ContextVar) else _ForeignVariable()


variable: contextvars.ContextVar[Context] = _current_variable()
"""Holds the current OpenTelemetry context."""


@dataclass(frozen=True)
class Scope:
    """What `using_session` adds to every call inside."""

    session: str | None = None
    user: str | None = None
    tags: tuple[str, ...] = ()
    metadata: tuple[tuple[str, Any], ...] = ()


def current_call() -> CallSpan | None:
    """Return the call that is running in this context, or `None`."""
    return variable.get().get(CALL_KEY)  # type: ignore[return-value]


@contextlib.contextmanager
def attached(**values: Any) -> Iterator[None]:
    """Add values to the current context for the length of a block."""
    token = variable.set(Context({**variable.get(), **values}))
    try:
        yield
    finally:
        restore(token)


def restore(token: Any) -> None:
    """Undo a `variable.set`; a token of another context (a generator closed elsewhere) has nothing left to undo."""
    try:
        variable.reset(token)
    except (ValueError, RuntimeError):
        pass


@contextlib.contextmanager
def using_session(
    id: str,  # noqa: A002
    user: str | None = None,
    tags: tuple[str, ...] | list[str] = (),
    metadata: dict[str, Any] | None = None,
) -> Iterator[None]:
    """Mark every call inside the block with a session, and with a user, tags and metadata where given.

    Blocks nest: the inner session and user win, tags add up, metadata keys are merged.
    """
    outer = variable.get().get(SCOPE_KEY)
    outer = outer if isinstance(outer, Scope) else Scope()
    scope = Scope(
        session=str(id),
        user=user if user is not None else outer.user,
        tags=tuple(dict.fromkeys((*outer.tags, *tags))),
        metadata=tuple({**dict(outer.metadata), **(metadata or {})}.items()),
    )
    with attached(**{SCOPE_KEY: scope}):
        yield
