"""Run something when the program imports a module, or at once where it has."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable

import wrapt

from llm_trace.capture import failures


class ImportHook:
    """Calls a function once a module is imported, unless it was cancelled before.

    What is imported already is looked at by `settle`, and never before its import has ended.
    """

    def __init__(self, module: str, run: Callable[[], None]) -> None:
        self.module = module
        self._run: Callable[[], None] | None = run
        if module not in sys.modules:
            wrapt.register_post_import_hook(self._fire, module)

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

    def _wait_behind(self) -> None:
        _join_import(self.module)
        self._end_wait()

    def _end_wait(self) -> None:
        if self.module in sys.modules:
            self._fire(None)
        else:  # its import failed, and may be tried again
            wrapt.register_post_import_hook(self._fire, self.module)

    def _fire(self, _: object) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        try:
            run()
        except Exception as exc:  # the program's import goes on
            failures.note(f"the instrumentation of {self.module}", exc)


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
