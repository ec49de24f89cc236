"""What is current: one OpenTelemetry context holds the span, our call, the session and the run.

OpenTelemetry keeps its context in one `ContextVar`; we read and set that variable directly where it is the
standard one, as attach and detach cost more than the rest of a small call. Another runtime context is used
through its own interface.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry.context.context import Context
from opentelemetry.trace import propagation

from llm_trace.capture.labels import to_mapping, to_tags

SPAN_KEY: str = propagation._SPAN_KEY
CALL_KEY = otel_context.create_key("llm_trace.call")
SCOPE_KEY = otel_context.create_key("llm_trace.scope")
RUN_KEY = otel_context.create_key("llm_trace.run")
FRAMEWORK_KEY = otel_context.create_key("llm_trace.framework")
"""Under which stands the nearest call that a framework's callbacks began."""
PLACE = (SPAN_KEY, CALL_KEY, SCOPE_KEY, RUN_KEY)
"""What of a context says where a call belongs."""


class _ForeignVariable:
    """A `ContextVar`'s interface over a runtime context that is not the standard one."""

    def get(self) -> Context:
        return otel_context.get_current()

    def set(self, value: Context) -> Any:
        return otel_context.attach(value)

    def reset(self, token: Any) -> None:
        otel_context.detach(token)


def _get_current_variable() -> Any:
    otel_context.get_current()  # makes sure that the runtime context is loaded
    variable = getattr(otel_context._RUNTIME_CONTEXT, "_current_context", None)
    return variable if isinstance(variable, contextvars.ContextVar) else _ForeignVariable()


variable: contextvars.ContextVar[Context] = _get_current_variable()
"""Holds the current OpenTelemetry context."""


@dataclass(frozen=True)
class Scope:
    """What `using_session` adds to every call inside."""

    session: str | None = None
    user: str | None = None
    tags: tuple[str, ...] = ()
    metadata: tuple[tuple[str, Any], ...] = ()


class FinishedCall(NamedTuple):
    """An outermost call that has returned, for scores that come after it."""

    recorder: Any
    span_id: str
    """Empty where sampling left the call out."""
    trace_id: str
    start_ns: int


finished_call: contextvars.ContextVar[FinishedCall | None] = contextvars.ContextVar(
    "llm_trace_finished_call", default=None
)
"""The outermost call that returned last in this context."""


@contextlib.contextmanager
def attach_values(**values: Any) -> Iterator[None]:
    """Add values to the current context for the length of a block."""
    token = variable.set(Context({**variable.get(), **values}))
    try:
        yield
    finally:
        restore(token)


def restore(token: Any) -> None:
    """Undo a `variable.set`; with a token of another context (a generator closed elsewhere) do nothing."""
    try:
        variable.reset(token)
    except (ValueError, RuntimeError):
        pass


def using_session(
    id: str | None,  # noqa: A002
    user: str | None = None,
    tags: str | Iterable[str] | None = (),
    metadata: Mapping[str, Any] | None = None,
) -> contextlib.AbstractContextManager[None]:
    """Mark every call inside the block with a session, and with a user, tags and metadata where given.

    Blocks nest: the inner session and user win, tags add up, metadata merges; `None` leaves what is outside.

    Raises:
        TypeError: tags are no list of texts, or metadata is no mapping.
    """
    return _attach_scope(id, user, to_tags(tags), to_mapping("metadata", metadata))


@contextlib.contextmanager
def _attach_scope(session: Any, user: Any, tags: tuple[str, ...], metadata: dict[str, Any]) -> Iterator[None]:
    outer = variable.get().get(SCOPE_KEY)
    outer = outer if isinstance(outer, Scope) else Scope()
    scope = Scope(
        session=str(session) if session is not None else outer.session,
        user=str(user) if user is not None else outer.user,
        tags=tuple(dict.fromkeys((*outer.tags, *tags))),
        metadata=tuple({**dict(outer.metadata), **metadata}.items()),
    )
    with attach_values(**{SCOPE_KEY: scope}):
        yield
