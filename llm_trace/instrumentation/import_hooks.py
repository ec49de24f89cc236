"""Run something when the program imports a module, or at once where it has."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

import wrapt

from llm_trace.capture import failures


class ImportHook:
    """Calls a function once a module is imported, unless it was cancelled before."""

    def __init__(self, module: str, run: Callable[[], None]) -> None:
        self.module = module
        self._run: Callable[[], None] | None = run
        if module in sys.modules:
            self._fire(None)
        else:
            wrapt.register_post_import_hook(self._fire, module)

    def cancel(self) -> None:
        """Do nothing when the module is imported; a hook itself cannot be taken out again."""
        self._run = None

    def _fire(self, _: object) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        try:
            run()
        except Exception as exc:  # the program's import goes on
            failures.note(f"the instrumentation of {self.module}", exc)


def load_name(path: str) -> object:
    """Return what a module defines: `package.module:Name`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
