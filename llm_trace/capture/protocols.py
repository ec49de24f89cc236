"""What the parts of capture need of one another: each is typed against these, not against the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from contextvars import ContextVar

    from opentelemetry.context.context import Context

    from llm_trace.capture.merger import Merger
    from llm_trace.capture.otel_mirror import Mirror
    from llm_trace.capture.values import ValueEncoder


class Sink(Protocol):
    """Takes events; the spool's writer, or a buffer while a trace's fate is open."""

    def write(
        self,
        event: bytes,
        messages: Sequence[Any] | None = None,
        *,
        field: bytes = b"messages_in",
        sync: bool = False,
    ) -> bool:
        """Take one event, a JSON object without its closing brace."""


class Protection(Protocol):
    """Stands between a traced function's call and its code; `causes.ToolGuard` is one."""

    def protect(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of the same kind that runs only where it is let through, else raises."""


class Template(Protocol):
    """The text of a prompt before its variables are filled in."""

    @property
    def name(self) -> str:
        """What the prompt is called in the store."""

    @property
    def template(self) -> str:
        """Text with `{variables}`."""

    @property
    def version(self) -> str:
        """Another for each text."""


class CallRecorder(Protocol):
    """What a running call needs of the recorder that began it, and what a run and a prompt need of it."""

    encoder: ValueEncoder
    capture_content: bool
    record_env: bool
    merger: Merger | None
    mirror: Mirror | None
    policy: Any
    announced: set[tuple[str, str]]
    variable: ContextVar[Context]

    @property
    def explain(self) -> Callable[[Any, Any, bytes], None] | None:
        """Called with the policy, a call that has one when it has ended, and its end event."""

    def event(self, fields: dict[str, Any]) -> bool:
        """Append an event that is not of a call."""

    def default_run(self, run: str) -> AbstractContextManager[None]:
        """Let calls in no run belong to this one while no other is open."""
