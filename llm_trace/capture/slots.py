"""What capture is given from above: `config` fills these, capture only reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from llm_trace.capture.protocols import CallRecorder, Template

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context.context import Context

    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.spec import FunctionSpec

    Begin = Callable[[FunctionSpec, tuple[Any, ...], dict[str, Any]], CallSpan | None]


class CallStarter(CallRecorder, Protocol):
    """A recorder as traced functions see it: it begins their calls."""

    def begin(self, spec: FunctionSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallSpan | None:
        """Begin a call here; `None` where nothing is to be recorded."""

    def begin_from(
        self, origin: Context | None, spec: FunctionSpec, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallSpan | None:
        """Begin a call as `begin` does, with the parent, session, user, tags and run of another context."""


class Interceptor(Protocol):
    """Stands between traced functions and their calls while a replay is on."""

    def begin(
        self,
        recorder: CallRecorder,
        begin: Begin,
        spec: FunctionSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> CallSpan | None:
        """Begin a call by `begin`, the recorder's own; its `run` is called instead of the traced function.

        Raises nothing: the traced function would then run unguarded.
        """

    def prompt(self, prompt: Template) -> Template:
        """Return the prompt that is rendered in this one's place."""


recorder: CallStarter | None = None
"""Where calls are recorded; `None` until `configure`: traced functions then only call through."""

interceptor: Interceptor | None = None
"""Set by `replays` for the length of a replay."""

bootstrap: Callable[[], None] | None = None
"""Configures from the environment at the first call, in workers of a traced process; called once."""


def undo_instrumentation() -> None:
    """Take out what the environment had instrumented before the first call; replaced where it has."""


def start_recorder() -> CallStarter | None:
    """Run `bootstrap` if there is one and return the recorder it made."""
    global bootstrap
    if bootstrap is not None:
        start, bootstrap = bootstrap, None
        start()
    return recorder
