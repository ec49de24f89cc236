"""Switch an instrumentation of others on, and off again so that the library is as it was before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any, NamedTuple

from opentelemetry import trace

from llm_trace.capture import failures, otel_providers
from llm_trace.errors import ConfigurationError
from llm_trace.instrumentation.import_hooks import load_name
from llm_trace.instrumentation.integration import replace_attribute
from llm_trace.instrumentation.rides import Ride, find_version
from llm_trace.semconv import names
from llm_trace.semconv.export import build_counts
from llm_trace.semconv.tokens import usage
from llm_trace.semconv.values import get_field


class RideOutcome(NamedTuple):
    """What became of a library that is to be ridden."""

    state: str
    """By what it is instrumented, or why it is not."""
    undo: Callable[[], None] | None = None


def start_ride(rides: tuple[Ride, ...]) -> RideOutcome:
    """Switch on the first of a library's instrumentations that is installed; never raises."""
    ride = next((r for r in rides if find_version(r.instrumentation) is not None), None)
    if ride is None:
        return RideOutcome(f"not instrumented: pip install {rides[0].instrumentation}")
    package = f"{ride.instrumentation} {find_version(ride.instrumentation)}"
    places: dict[tuple[int, str], _Place] = {}
    try:
        instance: Any = load_name(ride.instrumentor)()  # type: ignore[operator]
        if instance.is_instrumented_by_opentelemetry:
            return RideOutcome(f"{ride.instrumentation}, switched on by the program")
        places = _list_places(ride.module)
        instance.instrument(tracer_provider=otel_providers.get_own_provider())
    except Exception as exc:
        for change in _list_changes(ride.module, places):
            change.put_back()
        return _fail(ride, f"{package} fails with {_name_library(ride)}: {exc!r}", exc)
    if not instance.is_instrumented_by_opentelemetry:
        reason = f"{package} does not support {_name_library(ride)}"
        return _fail(ride, reason, ConfigurationError(reason))
    changes = _list_changes(ride.module, places)
    leave = _watch_answers(ride) if ride.answers else _do_nothing
    return RideOutcome(package, partial(_stop_ride, instance, changes, leave))


def _do_nothing() -> None:
    pass


def _watch_answers(ride: Ride) -> Callable[[], None]:
    """Let what a library is told of an answer be on the instrumentation's span; return what undoes it."""
    path, _, name = ride.answers.rpartition(".")
    try:
        owner: Any = load_name(path)
        original = getattr(owner, name)
    except Exception as exc:
        failures.note(f"{ride.answers} of {_name_library(ride)}", exc)
        return _do_nothing

    @wraps(original)
    def note_and_call(self: Any, answer: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            _set_counts(ride.instrumentor.partition(":")[0], answer)
        except Exception as exc:  # the program's call goes on
            failures.note(f"an answer of {ride.library}", exc)
        return original(self, answer, *args, **kwargs)

    return replace_attribute(owner, name, note_and_call)


def _set_counts(scope: str, answer: Any) -> None:
    span = trace.get_current_span()
    if not span.is_recording() or getattr(getattr(span, "instrumentation_scope", None), "name", "") != scope:
        return
    attributes = build_counts({"usage": usage(get_field(answer, "usage"))})
    attributes[names.RESPONSE_MODEL] = get_field(answer, "response_model")
    span.set_attributes({name: value for name, value in attributes.items() if value is not None})


def _fail(ride: Ride, reason: str, exc: Exception) -> RideOutcome:
    failures.note(f"the instrumentation of {_name_library(ride)}", exc)
    instrumentation, library, _ = ride.tried
    works = f"{ride.instrumentation}=={instrumentation} with {ride.distribution}=={library}"
    return RideOutcome(f"not instrumented: {reason}; what works is {works}")


def _name_library(ride: Ride) -> str:
    return f"{ride.distribution} {find_version(ride.distribution)}"


def _stop_ride(instance: Any, changes: list[_Change], leave: Callable[[], None]) -> None:
    """Switch an instrumentation off; what it does not put back as it was (DSPy's loses the library's own
    decorators) is put back here, except where somebody else has patched since.
    """
    leave()
    ours = [change for change in changes if change.is_in_place()]
    instance.uninstrument()
    for change in ours:
        change.put_back()


class _Place(NamedTuple):
    """A name in a module or class, and what stands there."""

    owner: Any
    name: str
    value: Any


class _Change(NamedTuple):
    """What an instrumentation has put into a place."""

    place: _Place
    value: Any

    def is_in_place(self) -> bool:
        return vars(self.place.owner).get(self.place.name) is self.value

    def put_back(self) -> None:
        owner, name, value = self.place
        if value is _ABSENT:
            if name in vars(owner):
                delattr(owner, name)
        elif vars(owner).get(name) is not value:
            setattr(owner, name, value)


_ABSENT = object()


def _list_places(module: str) -> dict[tuple[int, str], _Place]:
    """Return everything callable in a library's modules and in their classes, by owner and name; an owner
    without any has its place under the empty name.
    """
    places: dict[tuple[int, str], _Place] = {}
    for owner in _iter_owners(module.partition(".")[0]):
        if (id(owner), "") not in places:
            places[id(owner), ""] = _Place(owner, "", None)
            for name, value in list(vars(owner).items()):
                if callable(value) or isinstance(value, (staticmethod, classmethod)):
                    places[id(owner), name] = _Place(owner, name, value)
    return places


def _iter_owners(package: str) -> Iterator[Any]:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == package and hasattr(module, "__dict__"):
            yield module
            for value in list(vars(module).values()):
                if isinstance(value, type) and str(value.__module__).partition(".")[0] == package:
                    yield value


def _list_changes(module: str, places: dict[tuple[int, str], _Place]) -> list[_Change]:
    """Return what is other than it was, among the modules and classes that were there."""
    changes = []
    for (owner_id, name), (owner, _, value) in _list_places(module).items():
        before = places.get((owner_id, name))
        if name and (owner_id, "") in places and (before is None or before.value is not value):
            changes.append(_Change(before or _Place(owner, name, _ABSENT), value))
    return changes
