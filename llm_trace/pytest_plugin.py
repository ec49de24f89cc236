"""The pytest plugin: a test marked `llm_trace` records its calls to a cassette and is answered from it ever after.

    @pytest.mark.llm_trace
    def test_refund(): assert "approved" in answer("late and broken")

    pytest --llm-trace=record    # once, with keys; commit tests/cassettes/
    pytest                       # in CI, without

Loaded with every pytest, so everything else of llm_trace is imported when a marked test runs.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from llm_trace.replays.repeats import Repeated
    from llm_trace.replays.session import Session

_session: pytest.StashKey[Session] = pytest.StashKey()
_notes: pytest.StashKey[list[str]] = pytest.StashKey()
_MARK = (
    "llm_trace(redact=True, serve=…, live=…): answer the test's model and tool calls from its cassette; redact masks what is recorded "
    "(as in configure), serve names kinds and functions that are answered, live those that run all the same"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--llm-trace`."""
    parser.getgroup("llm_trace").addoption(
        "--llm-trace",
        choices=("record", "replay", "live"),
        default="replay",
        help="marked tests: record their calls to cassettes, replay them (the default), or run live without cassettes",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", _MARK)
    config.stash[_notes] = []


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Begin before the fixtures of a marked test, so that their calls count."""
    mark = item.get_closest_marker("llm_trace")
    mode = item.config.getoption("--llm-trace")
    if mark is not None and mode != "live" and (why := _begun(item, mode, mark.kwargs)):
        pytest.fail(f"{item.nodeid}: {why}", pytrace=False)
    return (yield)


def _begun(item: pytest.Item, mode: Any, options: Mapping[str, Any]) -> str | None:
    """Begin; return why that cannot be."""
    from llm_trace.errors import LLMTraceError
    from llm_trace.replays.session import Session

    try:
        item.stash[_session] = Session.begin(mode, cassette_of(item), **options)
    except LLMTraceError as exc:
        return str(exc)
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """After a marked test write its cassette, or fail it where it went another way."""
    session = item.stash.get(_session, None)
    try:
        result = yield
    except Exception:
        if session is not None and (why := session.divergence()):
            _fail(item, why)
        raise
    if session is not None:
        if why := session.divergence() or session.not_asked():
            _fail(item, why)
        item.config.stash[_notes] += [f"{item.nodeid}: {note}" for note in session.keep()]
    return result


def _fail(item: pytest.Item, why: str) -> NoReturn:
    pytest.fail(
        f"{why}\nIf that is meant, record it again: pytest --llm-trace=record {item.nodeid!r}", pytrace=False
    )


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """End after the fixtures of a marked test."""
    try:
        return (yield)
    finally:
        if (session := item.stash.get(_session, None)) is not None:
            session.end()
            del item.stash[_session]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what recorders should know."""
    for note in config.stash[_notes]:
        terminalreporter.write_line(f"llm_trace: {note}")


def cassette_of(item: pytest.Item) -> Path:
    """Return `cassettes/<module>/<test>.json` beside the test's file."""
    module = item.path
    test = item.nodeid.partition("::")[2].replace("::", ".")
    name = re.sub(r"[^\w.\-]+", "-", test).strip("-")[:150]
    if name != test:  # different parameters must not meet in one file
        name += f"-{zlib.crc32(test.encode('utf-8', 'surrogatepass')):08x}"
    return module.parent / "cassettes" / module.stem / f"{name}.json"


@pytest.fixture
def llm_trace_repeat() -> Callable[..., Repeated]:
    """Take a measure several times: `llm_trace_repeat(measure, times=10, confidence=0.95)` has `mean`, `low` and `high`."""
    from llm_trace.replays.repeats import repeat

    return repeat
