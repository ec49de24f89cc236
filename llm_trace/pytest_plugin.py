"""The pytest plugin: a test marked `llm_trace` records its calls to a cassette, then is answered from it.

    @pytest.mark.llm_trace
    def test_refund(): assert "approved" in answer("late and broken")

    pytest --llm-trace=record    # once, with keys; commit tests/cassettes/
    pytest                       # in CI, without

Loaded with every pytest, so everything else of llm_trace is imported when a marked test runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from llm_trace.replays.repeats import Repeated
    from llm_trace.replays.session import ReplaySession

_session: pytest.StashKey[ReplaySession] = pytest.StashKey()
_outcomes: pytest.StashKey[list[str]] = pytest.StashKey()
_notes: pytest.StashKey[list[str]] = pytest.StashKey()
_MARK = (
    "llm_trace(redact=True, serve=…, live=…): answer the test's model and tool calls from its cassette; "
    "redact masks what is recorded "
    "(as in configure), serve names kinds and functions that are answered, live those that run all the same"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--llm-trace`."""
    parser.getgroup("llm_trace").addoption(
        "--llm-trace",
        choices=("record", "replay", "live"),
        default="replay",
        help=(
            "marked tests: record their calls to cassettes, replay them (the default), or run live without "
            "cassettes"
        ),
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", _MARK)
    config.stash[_notes] = []


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin before the fixtures of a marked test, so that their calls count, and after marks that skip it."""
    mark = item.get_closest_marker("llm_trace")
    mode = item.config.getoption("--llm-trace")
    item.stash[_outcomes] = []
    if mark is not None and mode != "live":
        session = _begin(item.nodeid, mode, get_cassette(item), mark.kwargs)
        item.stash[_session] = session


def _begin(name: str, mode: Any, path: Path, options: Mapping[str, Any]) -> ReplaySession:
    """Begin, or fail and say why that cannot be."""
    from llm_trace.errors import LLMTraceError
    from llm_trace.replays.session import ReplaySession

    try:
        return ReplaySession.begin(mode, path, **options)
    except LLMTraceError as exc:
        pytest.fail(f"{name}: {exc}", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a marked test that went another way than its cassette."""
    session = item.stash.get(_session, None)
    try:
        result = yield
    except Exception:
        if session is not None and (why := session.divergence()):
            _fail(item, why)
        raise
    if session is not None and (why := session.divergence() or session.not_asked("test")):
        _fail(item, why)
    return result


def _fail(item: pytest.Item | pytest.Collector, why: str) -> NoReturn:
    pytest.fail(
        f"{why}\nIf that is meant, record it again: pytest --llm-trace=record {item.nodeid or '.'!r}",
        pytrace=False,
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note how the phases of a test ended."""
    report = yield
    if _outcomes in item.stash:
        item.stash[_outcomes].append("xfailed" if hasattr(report, "wasxfail") else report.outcome)
    return report


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """End after the fixtures of a marked test, and write its cassette where nothing failed."""
    session = item.stash.get(_session, None)
    if session is None:
        return (yield)
    session.collector.phase = "teardown"
    try:
        result = yield
    finally:
        session.leave()
        del item.stash[_session]
    if "failed" not in (outcomes := item.stash[_outcomes]):
        why = session.divergence()  # of a test that was expected to fail, or of its fixtures' ends
        if why or ("skipped" not in outcomes and (why := session.not_asked("teardown"))):
            _fail(item, why)
        # One that is skipped on this machine may have been recorded on another.
        _note(item, session.keep(over="skipped" not in outcomes))
    return result


def _note(item: pytest.Item | pytest.Collector, notes: list[str]) -> None:
    item.config.stash[_notes] += [f"{item.nodeid}: {note}" for note in notes]


# A fixture that several tests share has a cassette of its own, whichever of them comes first


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Generator[None, object, object]:
    """Record or replay a fixture that is wider than a test, where a marked test uses it."""
    session = None if fixturedef.scope == "function" else _begin_shared(fixturedef, request)
    if session is None:
        return (yield)
    try:
        result = yield
    except Exception:
        if why := session.divergence():
            _fail(request.node, f"fixture {fixturedef.argname!r}: {why}")
        raise
    finally:
        session.leave()
    if why := session.divergence() or session.not_asked("test"):
        _fail(request.node, f"fixture {fixturedef.argname!r}: {why}")
    session.collector.phase = "teardown"
    fixturedef.addfinalizer(session.enter)  # the last one added is called first
    setattr(fixturedef, _SHARED, session)
    return result


_SHARED = "_llm_trace_session"


def _begin_shared(fixturedef: Any, request: Any) -> ReplaySession | None:
    """Begin for a fixture; `None` where no marked test uses it."""
    mode = request.config.getoption("--llm-trace")
    users = (
        item for item in request.session.items if fixturedef.argname in getattr(item, "fixturenames", ())
    )
    marks = (item.get_closest_marker("llm_trace") for item in users)
    mark = None if mode == "live" else next(filter(None, marks), None)
    if mark is None:
        return None
    options = {**mark.kwargs, "optional": True}
    return _begin(request.node.nodeid, mode, get_fixture_cassette(fixturedef, request), options)


def pytest_fixture_post_finalizer(fixturedef: Any, request: Any) -> None:
    """Write the cassette of a shared fixture when it is over."""
    if (session := getattr(fixturedef, _SHARED, None)) is None:
        return
    delattr(fixturedef, _SHARED)
    session.leave()
    _note(request.node, [f"fixture {fixturedef.argname!r}: {note}" for note in session.keep(empty=False)])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what recorders should know."""
    for note in config.stash[_notes]:
        terminalreporter.write_line(f"llm_trace: {note}")


def get_cassette(item: pytest.Item) -> Path:
    """Return `cassettes/<module>/<test>.json` beside the test's file."""
    from llm_trace.replays.cassette import build_path

    return build_path(item.path, item.nodeid.partition("::")[2].replace("::", "."))


def get_fixture_cassette(fixturedef: Any, request: Any) -> Path:
    """Return `fixture.<name>.json` among the cassettes of the module or package that shares the fixture."""
    inside = request.node.nodeid.partition("::")[2].replace("::", ".")
    parameter = f"[{request.param_index}]" if hasattr(request, "param") else ""
    from llm_trace.replays.cassette import build_path

    return build_path(
        request.node.path, ".".join(filter(None, ("fixture", inside, fixturedef.argname))) + parameter
    )


@pytest.fixture
def llm_trace_repeat() -> Callable[..., Repeated]:
    """Take a measure several times: `llm_trace_repeat(measure, times=10)` has `mean`, `low` and `high`."""
    from llm_trace.replays.repeats import repeat

    return repeat
