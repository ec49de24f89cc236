"""`instrument`: the one line that turns the libraries of a program into traced calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any, Self

from llm_trace.capture import failures, otel_providers
from llm_trace.errors import ConfigurationError, MissingExtraError
from llm_trace.instrumentation.import_hooks import ImportHook, load_name
from llm_trace.instrumentation.rides import RIDES, Ride, find_version

if TYPE_CHECKING:
    from llm_trace.instrumentation.integration import Integration, TracedMethod

_lock = threading.RLock()


class Undo:
    """Takes instrumentation out again when it is called, or at the end of a `with` block.

    `libraries` says of each library what became of it: `waiting` until the program imports it, by what it is
    instrumented, or why it is not.
    """

    def __init__(self) -> None:
        self.libraries: dict[str, str] = {}
        self._steps: list[Callable[[], None]] = []

    def add(self, step: Callable[[], None]) -> None:
        """Do something more when the instrumentation is taken out."""
        self._steps.append(step)

    def __call__(self) -> None:
        """Give every library back as it was; safe to call twice."""
        with _lock:
            steps, self._steps = self._steps, []
            for step in reversed(steps):
                try:
                    step()
                except Exception as exc:
                    failures.note("the end of an instrumentation", exc)
            self.libraries = dict.fromkeys(self.libraries, "undone")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self()


def instrument(*names: str) -> Undo:
    """Record the calls of LLM libraries that the program uses, without decorators.

    A library is instrumented when the program imports it, before or after this; none is imported for it.
    Calls are recorded once `configure` was called. Where a library has no integration of ours, a well-kept
    instrumentation of OpenTelemetry or OpenInference is switched on, if it is installed.

    Args:
        names: libraries, such as `openai`; with no name every one that is known.

    Returns:
        what undoes it.

    Raises:
        ConfigurationError: no library of this name is known.
        MissingExtraError: a library that was named, or what instruments it, is not installed.
    """
    integrations = load_integrations()
    rides = group_rides()
    known = sorted({*integrations, *rides})
    if unknown := [name for name in names if name not in known]:
        raise ConfigurationError(
            f"instrument({unknown[0]!r}): no such library is known; choose of {', '.join(known)}"
        )
    for name in names:
        _check_installed(name, integrations.get(name), rides.get(name, ()))
    undo = Undo()
    otel_providers.merge_inner_calls()
    for name in names or known:
        undo.libraries[name] = "waiting"
        if (integration := integrations.get(name)) is not None:
            _await_integration(undo, integration)
        else:
            _await_ride(undo, rides[name])
    return undo


def load_integrations() -> dict[str, Integration]:
    """Return the integrations that are installed, by library; one that cannot be loaded is counted."""
    integrations: dict[str, Integration] = {}
    for entry in metadata.entry_points(group="llm_trace.integrations"):
        try:
            integrations.setdefault(entry.name, entry.load())
        except Exception as exc:  # somebody else's package
            failures.note(f"the integration {entry.name}", exc)
    return integrations


def group_rides() -> dict[str, tuple[Ride, ...]]:
    """Return the instrumentations of others, the best first, by library."""
    return {ride.library: tuple(r for r in RIDES if r.library == ride.library) for ride in RIDES}


def _check_installed(name: str, integration: Integration | None, rides: tuple[Ride, ...]) -> None:
    distribution = integration.distribution if integration else rides[0].distribution
    if find_version(distribution) is None:
        raise MissingExtraError(f"instrument({name!r}): pip install {distribution}")
    if integration is None and all(find_version(ride.instrumentation) is None for ride in rides):
        raise MissingExtraError(f"instrument({name!r}): pip install {rides[0].instrumentation}")


def _await_integration(undo: Undo, integration: Integration) -> None:
    for method in integration.methods:
        module = method.path.partition(":")[0]
        undo.add(ImportHook(module, partial(_patch, undo, integration, method)).cancel)
    for module, start in integration.starts.items():
        undo.add(ImportHook(module, partial(_start, undo, integration, start)).cancel)


def _patch(undo: Undo, integration: Integration, method: TracedMethod) -> None:
    from llm_trace.instrumentation.patches import patch

    with _lock:
        try:
            patches = patch(integration, method)
        except AttributeError as exc:
            if method.since:
                version = find_version(integration.distribution)
                failures.note(f"{method.name}, which {integration.distribution} {version} lacks", exc)
            return
        for each in patches:
            undo.add(each.undo)
        undo.libraries[integration.library] = _describe(integration)


def _start(undo: Undo, integration: Integration, start: Callable[[], Callable[[], None]]) -> None:
    with _lock:
        undo.add(start())
        undo.libraries[integration.library] = _describe(integration)


def _describe(integration: Integration) -> str:
    return f"llm_trace's integration of {integration.distribution} {find_version(integration.distribution)}"


def _await_ride(undo: Undo, rides: tuple[Ride, ...]) -> None:
    undo.add(ImportHook(rides[0].module, lambda: _ride(undo, rides)).cancel)


def _ride(undo: Undo, rides: tuple[Ride, ...]) -> None:
    ride = next((r for r in rides if find_version(r.instrumentation) is not None), None)
    if ride is None:
        undo.libraries[rides[0].library] = f"not instrumented: pip install {rides[0].instrumentation}"
        return
    instrumentor: Any = load_name(ride.instrumentor)
    with _lock:
        instance = instrumentor()
        if instance.is_instrumented_by_opentelemetry:
            undo.libraries[ride.library] = f"{ride.instrumentation}, switched on by the program"
            return
        instance.instrument(tracer_provider=otel_providers.get_own_provider())
        if not instance.is_instrumented_by_opentelemetry:
            versions = f"{ride.distribution} {find_version(ride.distribution)}"
            undo.libraries[ride.library] = (
                f"not instrumented: {ride.instrumentation} {find_version(ride.instrumentation)} does not "
                f"support {versions}"
            )
            failures.note(f"the instrumentation of {versions}", ConfigurationError(ride.instrumentation))
            return
        undo.add(instance.uninstrument)
        undo.libraries[ride.library] = f"{ride.instrumentation} {find_version(ride.instrumentation)}"


__all__ = ["Undo", "instrument"]
