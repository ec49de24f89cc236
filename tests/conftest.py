"""Fixtures: a place to record to, read through the public store."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import os
import ssl
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

import llm_trace
from llm_trace.capture import failures
from llm_trace.record import Call

if TYPE_CHECKING:
    from tests.helpers.spool_toys import HandWriter

# The same examples each time, and no clock: what a busy machine is slow at is no fault of the code.
SAME = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None)
settings.register_profile("same", SAME)
settings.register_profile("explore", SAME, derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
if settings.get_current_profile_name() == "same":
    # Hypothesis draws from the constants of loaded modules too, and these differ with the tests' order.
    vars(providers)["is_local_module_file"] = lambda _: False

_make_context = ssl.create_default_context


@functools.cache
def _trust_the_world() -> ssl.SSLContext:
    return _make_context(cafile=certifi.where())


def _share_context(*args: Any, **kwargs: Any) -> ssl.SSLContext:
    """Return the same for all who trust the world: its certificates take 40 ms, and each client of an SDK
    loads them.
    """
    is_common = not args and kwargs == {"cafile": certifi.where()}
    return _trust_the_world() if is_common else _make_context(*args, **kwargs)


vars(ssl)["create_default_context"] = _share_context

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import the tests without looking for garbage, of which imports make little, and leave what they have
    made out of each later `gc.collect()`: that takes a second, else.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


class Recorded:
    """What was recorded so far: every method opens the store anew, as another process would."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def method(*args: Any, **kwargs: Any) -> Any:
            with llm_trace.open_store(self.path) as store:
                return getattr(store, name)(*args, **kwargs)

        return method

    def one(self) -> Call:
        """Return the only call."""
        (call,) = self.calls()
        assert isinstance(call, Call)
        return call


@pytest.fixture(autouse=True, scope="module")
def _loop_of_its_own() -> Iterator[None]:
    """Close the event loop that a module has left, so that the next finds none, whatever ran before it."""
    yield
    left = getattr(getattr(vars(asyncio.events).get("_event_loop_policy"), "_local", None), "_loop", None)
    if left is not None and not left.is_running():
        left.close()
    with warnings.catch_warnings():  # loops that a library has dropped would fail whichever test runs later
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    vars(asyncio.events)["_event_loop_policy"] = None


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # asked for first, so that it is undone last
    failures.counts.clear()
    yield
    llm_trace.shutdown()
    logging.getLogger("llm_trace").setLevel(logging.NOTSET)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A place for a store: neither it nor its spool is there yet."""
    return tmp_path / "traces.duckdb"


@pytest.fixture
def writer(path: Path) -> HandWriter:
    """Write the spool of the store at `path` by hand."""
    from tests.helpers.spool_toys import HandWriter, spool_of

    return HandWriter(spool_of(path))


@pytest.fixture
def recorded(path: Path) -> Recorded:
    """A place that is not recorded to yet: tests that need other settings call `configure` themselves."""
    return Recorded(path)


@pytest.fixture
def store(recorded: Recorded) -> Recorded:
    """A place that is recorded to with the defaults."""
    llm_trace.configure(recorded.path)
    return recorded
