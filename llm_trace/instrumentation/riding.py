"""Switch an instrumentation of others on, and off again so that the library is as it was before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from llm_trace.capture import failures, otel_providers
from llm_trace.errors import ConfigurationError
from llm_trace.instrumentation.import_hooks import load_name
from llm_trace.instrumentation.rides import Ride, find_version


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
    return RideOutcome(package, partial(_stop_ride, instance, _list_changes(ride.module, places)))


def _fail(ride: Ride, reason: str, exc: Exception) -> RideOutcome:
    failures.note(f"the instrumentation of {_name_library(ride)}", exc)
    instrumentation, library, _ = ride.tried
    works = f"{ride.instrumentation}=={instrumentation} with {ride.distribution}=={library}"
    return RideOutcome(f"not instrumented: {reason}; what works is {works}")


def _name_library(ride: Ride) -> str:
    return f"{ride.distribution} {find_version(ride.distribution)}"


def _stop_ride(instance: Any, changes: list[_Change]) -> None:
    """Switch an instrumentation off; what it does not put back as it was (DSPy's loses the library's own
    decorators) is put back here, except where somebody else has patched since.
    """
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
