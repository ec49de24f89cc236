"""What capture is given from above: `config` fills these, capture only reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.prompts import Prompt
    from llm_trace.capture.recorder import Recorder
    from llm_trace.capture.spec import FunctionSpec

    Begin = Callable[[FunctionSpec, tuple[Any, ...], dict[str, Any]], CallSpan | None]


class Interceptor(Protocol):
    """Stands between traced functions and their calls while a replay is on."""

    def begin(
        self,
        recorder: Recorder,
        begin: Begin,
        spec: FunctionSpec,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> CallSpan | None:
        """Begin a call by `begin`, the recorder's own; the call's `run` is called instead of the traced
        function.

        Raises nothing: the traced function would then run unguarded.
        """

    def prompt(self, prompt: Prompt) -> Prompt:
        """Return the prompt that is rendered in this one's place."""


recorder: Recorder | None = None
"""Where calls are recorded; `None` until `configure`: traced functions then only call through."""

interceptor: Interceptor | None = None
"""Set by `replays` for the length of a replay."""

bootstrap: Callable[[], None] | None = None
"""Configures from the environment at the first call, in workers of a traced process; set once, called
once.
"""


def start_recorder() -> Recorder | None:
    """Run `bootstrap` if there is one and return the recorder it made."""
    global bootstrap
    if bootstrap is not None:
        start, bootstrap = bootstrap, None
        start()
    return recorder
