"""Run something when the program imports a module, or at once where it has."""

from __future__ import annotations

import importlib
import sys
import threading
import weakref
from collections.abc import Callable
from importlib import util
from importlib.machinery import ModuleSpec
from types import ModuleType

import wrapt

from llm_trace.capture import failures

_lock = threading.Lock()


class ImportHook:
    """Calls a function once a module is imported, unless it was cancelled before.

    What is imported already is looked at by `settle`, and never before its import has ended.

    Args:
        again: call it also where the program takes the module out of `sys.modules` and imports it once more.
    """

    def __init__(self, module: str, run: Callable[[], None], *, again: bool = False) -> None:
        self.module = module
        self._again = again
        self._run: Callable[[], None] | None = run
        self._fired_for: Callable[[], object] = lambda: None
        """Gives the module as it was when the function was called last."""
        if module not in sys.modules:
            wrapt.register_post_import_hook(self.fire, module)

    def settle(self) -> None:
        """Call the function where the module is there; wait for an import that another thread is at.

        One that this very thread is at is waited for behind it. Whoever calls this holds no lock that the end
        of an import may take.
        """
        if self._run is None or self.module not in sys.modules:
            return
        if _is_importing(self.module):
            _join_import(self.module)
        if _is_importing(self.module):
            name = f"{self.module} (wait for an import)"
            threading.Thread(target=self._wait_behind, name=name, daemon=True).start()
        else:
            self._end_wait()

    def cancel(self) -> None:
        """Do nothing when the module is imported; a hook itself cannot be taken out again."""
        self._run = None
        with _lock:
            if self in (hooks := _fired.get(self.module, [])):
                hooks.remove(self)

    def _wait_behind(self) -> None:
        _join_import(self.module)
        self._end_wait()

    def _end_wait(self) -> None:
        if self.module in sys.modules:
            self.fire(None)
        else:  # its import failed, and may be tried again
            wrapt.register_post_import_hook(self.fire, self.module)

    def fire(self, _: object) -> None:
        """Call the function, unless it was called for this very module."""
        module, run = sys.modules.get(self.module), self._run
        with _lock:
            if run is None or (module is not None and module is self._fired_for()):
                return
            self._fired_for = weakref.ref(module) if isinstance(module, ModuleType) else lambda: module
            if self._again:
                _await_reimport(self)
            else:
                self._run = None
        try:
            run()
        except Exception as exc:  # the program's import goes on
            failures.note(f"the instrumentation of {self.module}", exc)


_fired: dict[str, list[ImportHook]] = {}
"""Hooks whose module was imported, and may be once more."""


class _ReimportFinder:
    """Finds no module, but lets hooks wait again for one that is no longer in `sys.modules`."""

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Return what the other finders find, where hooks were waiting for the module to come again."""
        with _lock:
            hooks = [] if name in sys.modules else _fired.pop(name, [])
        for hook in hooks:
            wrapt.register_post_import_hook(hook.fire, name)
        return util.find_spec(name) if hooks else None  # as wrapt finds it, now that there are hooks


_finder = _ReimportFinder()


def _await_reimport(hook: ImportHook) -> None:
    _fired.setdefault(hook.module, []).append(hook)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def _is_importing(module: str) -> bool:
    """Return whether a module's code has not run to its end, as the import system itself looks at it."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _join_import(module: str) -> None:
    """Wait until no other thread imports a module; returns at once where this thread does."""
    try:
        __import__(module)
    except Exception as exc:  # the thread that imports it sees the same
        failures.note(f"the import of {module}", exc)


def load_name(path: str) -> object:
    """Return what a module defines: `package.module:Name`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
