"""Seeds as they were, and the program's clock set back."""

from __future__ import annotations

import contextlib
import random
import sys
from typing import TYPE_CHECKING, Any

from llm_trace.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def freeze_world(seed: int | None, start_ns: int | None) -> Iterator[None]:
    """Seed the random numbers of `random`, numpy and torch (where they are loaded), and let the clock begin
    at a time.

    The clock goes on from there; the generators of `random` and numpy are put back afterwards.

    Args:
        seed: `None` leaves them alone.
        start_ns: Unix epoch nanoseconds; `None` leaves the clock alone.

    Raises:
        MissingExtraError: time-machine, which sets the clock, is not installed.
    """
    with contextlib.ExitStack() as undo:
        if seed is not None:
            _set_seed(seed, undo)
        if start_ns is not None:
            undo.enter_context(_set_clock(start_ns))
        yield


def _set_seed(seed: int, undo: contextlib.ExitStack) -> None:
    undo.callback(random.setstate, random.getstate())
    random.seed(seed)
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        undo.callback(numpy.random.set_state, numpy.random.get_state())
        numpy.random.seed(seed % 2**32)
    if torch is not None:
        torch.manual_seed(seed)


def _set_clock(start_ns: int) -> contextlib.AbstractContextManager[Any]:
    try:
        import time_machine
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            "setting the clock needs time-machine: pip install 'llm-trace[replay]'"
        ) from exc
    return time_machine.travel(start_ns / 1e9, tick=True)
