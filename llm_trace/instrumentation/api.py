"""`instrument`: the one line that turns the libraries of a program into traced calls."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

from llm_trace.capture import failures, otel_providers
from llm_trace.errors import ConfigurationError, MissingExtraError
from llm_trace.instrumentation.import_hooks import ImportHook
from llm_trace.instrumentation.rides import RIDES, Ride, find_version
from llm_trace.instrumentation.riding import start_ride
from llm_trace.plugin_points import list_entry_points

if TYPE_CHECKING:
    from llm_trace.instrumentation.integration import Integration, TracedMethod

_lock = threading.RLock()


@dataclass
class Instrumented:
    """One library, for as long as somebody has it instrumented."""

    state: str = "waiting"
    holders: int = 0
    steps: list[Callable[[], None]] = field(default_factory=list)
    """What undoes it."""
    hooks: list[ImportHook] = field(default_factory=list)
    """What may have to be done at once."""

    def await_import(self, module: str, run: Callable[[], None], *, again: bool = True) -> None:
        """Do something whenever a module is imported; where it is, when the hooks are settled."""
        hook = ImportHook(module, run, again=again)
        self.hooks.append(hook)
        self.steps.append(hook.cancel)

    def settle(self) -> None:
        """Do what is due."""
        with _lock:
            hooks, self.hooks = self.hooks, []
        for hook in hooks:
            hook.settle()

    def release(self) -> None:
        """Give the library back as it was when its last holder lets go of it."""
        self.holders -= 1
        if self.holders:
            return
        steps, self.steps = self.steps, []
        for step in reversed(steps):
            try:
                step()
            except Exception as exc:
                failures.note("the end of an instrumentation", exc)


_instrumented: dict[str, Instrumented] = {}


class Undo:
    """Takes instrumentation out again when it is called, or at the end of a `with` block; a library that
    was instrumented several times stays so until all of them are undone.

    `libraries` says of each library what became of it: `waiting` until the program imports it, by what it is
    instrumented, or why it is not.
    """

    def __init__(self, instrumented: dict[str, Instrumented]) -> None:
        self._instrumented = instrumented
        self._on = True
        self._stop_merging = otel_providers.merge_inner_calls()

    @property
    def libraries(self) -> dict[str, str]:
        """What became of each library."""
        return {name: each.state if self._on else "undone" for name, each in self._instrumented.items()}

    def __call__(self) -> None:
        """Give every library back as it was; safe to call twice."""
        with _lock:
            if self._on:
                self._on = False
                self._stop_merging()
                for name, each in self._instrumented.items():
                    each.release()
                    if not each.holders and _instrumented.get(name) is each:
                        del _instrumented[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self()


def instrument(*names: str) -> Undo:
    """Record the calls of LLM libraries that the program uses, without decorators.

    A library is instrumented when the program imports it, before or after this; none is imported for it.
    Calls are recorded once `configure` was called. Where a library has no integration of ours, a well-kept
    instrumentation of OpenTelemetry or OpenInference is switched on, if it is installed; where that one
    counts no tokens, the clients that the library asks models through are instrumented with it.

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
    with _lock:
        held = {
            name: _hold(name, integrations.get(name), rides.get(name, ()))
            for name in dict.fromkeys((*names, *_list_clients(names, integrations, rides)) or known)
        }
        undo = Undo(held)
    for each in held.values():  # without the lock, for which an import in another thread may wait
        each.settle()
    return undo


def _hold(name: str, integration: Integration | None, rides: tuple[Ride, ...]) -> Instrumented:
    """Instrument a library, or what of it is not instrumented by somebody else's call already."""
    instrumented = _instrumented.setdefault(name, Instrumented())
    instrumented.holders += 1
    if integration is not None:
        _await_methods(instrumented, integration)
    if instrumented.holders == 1:
        if integration is None:
            instrumented.await_import(rides[0].module, lambda: _ride(instrumented, rides), again=False)
        else:
            _await_starts(instrumented, integration)
    return instrumented


def load_integrations() -> dict[str, Integration]:
    """Return the integrations that are installed, by library; one that cannot be loaded is counted."""
    integrations: dict[str, Integration] = {}
    for entry in list_entry_points("llm_trace.integrations"):
        try:
            integrations.setdefault(entry.name, entry.load())
        except Exception as exc:  # somebody else's package
            failures.note(f"the integration {entry.name}", exc)
    return integrations


def group_rides() -> dict[str, tuple[Ride, ...]]:
    """Return the instrumentations of others, the best first, by library."""
    return {ride.library: tuple(r for r in RIDES if r.library == ride.library) for ride in RIDES}


def _list_clients(
    names: tuple[str, ...], integrations: dict[str, Integration], rides: dict[str, tuple[Ride, ...]]
) -> list[str]:
    """Return the installed clients of libraries that are ridden and count no tokens themselves."""
    ridden = [ride for name in names if name not in integrations for ride in rides[name][:1]]
    clients = [client for ride in ridden for client in ride.clients if client in integrations]
    return [name for name in clients if find_version(integrations[name].distribution) is not None]


def _check_installed(name: str, integration: Integration | None, rides: tuple[Ride, ...]) -> None:
    distribution = integration.distribution if integration else rides[0].distribution
    if find_version(distribution) is None:
        raise MissingExtraError(f"instrument({name!r}): pip install {distribution}")
    if integration is None and all(find_version(ride.instrumentation) is None for ride in rides):
        raise MissingExtraError(f"instrument({name!r}): pip install {rides[0].instrumentation}")


def _await_methods(instrumented: Instrumented, integration: Integration) -> None:
    methods: defaultdict[str, list[TracedMethod]] = defaultdict(list)
    for method in integration.methods:
        methods[method.path.partition(":")[0]].append(method)
    for module, theirs in methods.items():
        instrumented.await_import(module, partial(_patch, instrumented, integration, theirs))


def _await_starts(instrumented: Instrumented, integration: Integration) -> None:
    for module, start in integration.starts.items():
        instrumented.await_import(module, partial(_start, instrumented, integration, start))


def _patch(instrumented: Instrumented, integration: Integration, methods: Sequence[TracedMethod]) -> None:
    """Trace what an integration names of a module; functions all at once, for each look at a program's
    modules takes 20 ms.
    """
    from llm_trace.instrumentation import patches

    with _lock:
        if not instrumented.holders:  # undone meanwhile
            return
        places: list[patches.Patch | None] = []
        for method in methods:
            try:
                places.append(patches.make_patch(integration, method))
            except AttributeError as exc:
                if method.since:
                    version = find_version(integration.distribution)
                    failures.note(f"{method.name}, which {integration.distribution} {version} lacks", exc)
        if places:
            ours = [place for place in places if place is not None]
            patches.put_in_place(ours)
            instrumented.steps.append(partial(patches.undo_patches, ours))
            instrumented.state = _describe(integration)


def _start(
    instrumented: Instrumented, integration: Integration, start: Callable[[], Callable[[], None]]
) -> None:
    with _lock:
        if instrumented.holders:
            instrumented.steps.append(start())
            instrumented.state = _describe(integration)


def _describe(integration: Integration) -> str:
    return f"llm_trace's integration of {integration.distribution} {find_version(integration.distribution)}"


def _ride(instrumented: Instrumented, rides: tuple[Ride, ...]) -> None:
    outcome = start_ride(rides)  # without the lock: it imports
    with _lock:
        wanted = instrumented.holders > 0
        if wanted:
            instrumented.state = outcome.state
            instrumented.steps += [outcome.undo] if outcome.undo is not None else []
    if not wanted and outcome.undo is not None:
        outcome.undo()


__all__ = ["Undo", "instrument"]
