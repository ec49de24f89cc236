"""OpenTelemetry providers: the program's is joined when it is there, or when it is set later; one of ours
serves the instrumentations that we switch on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import finalize

from opentelemetry import trace as otel

from llm_trace.capture import failures, slots
from llm_trace.capture.merger import Merger
from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from llm_trace.capture.otel_processor import ForeignSpans
    from llm_trace.capture.recorder import Recorder

_own: TracerProvider | None = None
_instrumenting = 0
"""How many times `instrument` was called and not undone."""
_processors: dict[int, ForeignSpans] = {}
"""Our processor by the `id` of its provider (some have no hash); it can never be taken out again."""


def check(provider: Any) -> None:
    """Refuse a provider that calls cannot be mirrored into.

    Raises:
        ConfigurationError: the provider that was given takes no span processors.
    """
    if provider is not None and not _takes_processors(provider):
        raise ConfigurationError(
            f"tracer_provider={provider!r} takes no span processors: pass the SDK's, "
            "opentelemetry.sdk.trace.TracerProvider()"
        )


def join(recorder: Recorder, provider: Any = None) -> Callable[[], None]:
    """Mirror calls into a provider and take other libraries' GenAI spans from it; return what undoes it.

    Args:
        provider: the program's own where it is not given: the global one, now or when it is set.
    """
    if _instrumenting:
        recorder.merger = Merger(time.time_ns)
        if _own is not None:
            _listen(recorder, _own)
    provider = provider if provider is not None else _find_global()
    leave = _wait_for(recorder) if provider is None else _attach(recorder, provider)

    def undo() -> None:
        leave()
        if _own is not None:
            _processors[id(_own)].shutdown()

    return undo


def merge_inner_calls() -> Callable[[], None]:
    """Let calls of instrumented libraries be one with the traced model call around them, in what is recorded
    now and in what is configured until this is undone; return what undoes it.
    """
    global _instrumenting
    _instrumenting += 1
    if (recorder := slots.recorder) is not None and recorder.merger is None:
        recorder.merger = Merger(time.time_ns)

    def undo() -> None:
        global _instrumenting
        _instrumenting -= 1

    return undo


def get_own_provider() -> TracerProvider:
    """Return the provider for instrumentations that we switch on: the program's own gets nothing by it, and
    one that it sets later is not in the way.
    """
    global _own
    if _own is None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        _own = TracerProvider(ALWAYS_ON, Resource.get_empty(), shutdown_on_exit=False)
    _listen(slots.recorder or slots.start_recorder(), _own)
    return _own


def find_unheard() -> list[str]:
    """Return the instrumentations that are switched on while no provider takes spans for us, by module."""
    module = sys.modules.get("opentelemetry.instrumentation.instrumentor")
    if module is None or _find_global() is not None or any(p.recorder for p in _processors.values()):
        return []
    classes, names = list(module.BaseInstrumentor.__subclasses__()), []
    while classes:
        cls = classes.pop()
        classes += cls.__subclasses__()
        if getattr(cls.__dict__.get("_instance"), "is_instrumented_by_opentelemetry", False):
            names.append(cls.__module__)
    return sorted(names)


def _find_global() -> Any:
    """Return the program's provider, `None` where it has set none that takes span processors."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        return None  # without the SDK loaded nobody can have set an SDK provider
    provider = otel.get_tracer_provider()
    return provider if _takes_processors(provider) else None


def _takes_processors(provider: Any) -> bool:
    """Return whether a provider is an SDK's: the interface itself knows no span processors."""
    return hasattr(provider, "add_span_processor") and callable(provider.add_span_processor)


def _get_setter() -> Any:
    """Return the function that every way of setting a provider goes through, where OpenTelemetry has it."""
    return getattr(otel, "_set_tracer_provider", None)


def _attach(recorder: Recorder, provider: Any) -> Callable[[], None]:
    from llm_trace.capture.otel_mirror import Mirror

    processor = _listen(recorder, provider)
    recorder.mirror = Mirror(provider)
    return processor.shutdown


def _listen(recorder: Any, provider: Any) -> ForeignSpans:
    """Let a provider's spans of other libraries become calls of a recorder."""
    from llm_trace.capture.otel_processor import ForeignSpans

    processor = _processors.get(id(provider))
    if processor is None:
        processor = _processors[id(provider)] = ForeignSpans()
        provider.add_span_processor(processor)
        finalize(provider, _processors.pop, id(provider), None).atexit = False
    if recorder is not None:
        processor.record_to(recorder)
    return processor


def _wait_for(recorder: Recorder) -> Callable[[], None]:
    """Join the global provider when the program sets it."""
    leave: list[Callable[[], None]] = []
    before = _get_setter()

    def set_and_join(*args: Any, **kwargs: Any) -> None:
        assert before is not None
        before(*args, **kwargs)
        try:
            if not leave and (provider := _find_global()) is not None:
                leave.append(_attach(recorder, provider))
        except Exception as exc:
            failures.note("the program's tracer provider", exc)

    def undo() -> None:
        if _get_setter() is set_and_join:
            otel._set_tracer_provider = before
        for each in leave:
            each()

    if before is not None:
        otel._set_tracer_provider = set_and_join
    return undo
