"""One event loop for all tests of a module, for libraries that keep clients, which belong to one."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any


def make_run_async() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Return what awaits a coroutine in the current context; a runner's own is that of its first use."""
    runner = asyncio.Runner()
    return lambda work: runner.run(work, context=contextvars.copy_context())
