"""The pytest plugin: marked tests are recorded to a cassette and answered from it."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb  # noqa: F401
import pytest
import scipy.stats  # noqa: F401

import llm_trace.config
import llm_trace.replays.session
import llm_trace.stores.duckdb  # noqa: F401

# What is imported above stays: pytester unloads what a run inside this process imports, and some libraries
# load only once.
pytest_plugins = ["pytester"]

APP = """
import asyncio, itertools, os
import llm_trace

COUNTER = itertools.count()

@llm_trace.trace(kind="llm", model="toy")
def ask(prompt):
    assert os.environ.get("KEY"), "the network was asked without a key"
    return f"{prompt}! {next(COUNTER)}"

@llm_trace.trace(kind="llm")
def stream(prompt):
    assert os.environ.get("KEY")
    yield from (prompt, " and", "\\nmore")

@llm_trace.trace(kind="tool")
async def look_up(word):
    assert os.environ.get("KEY")
    await asyncio.sleep(0.001 * len(word))
    return (word, len(word))

@llm_trace.trace
def answer(question):
    return ask(f"Be kind.\\n{question}")
"""
TESTS = """
import asyncio
import pytest
from app import answer, ask, look_up, stream

@pytest.fixture
def greeting():
    return ask("hello")

@pytest.mark.llm_trace
def test_answer(greeting):
    assert answer("why?").startswith("Be kind.\\nwhy?!")
    assert greeting.startswith("hello!")

@pytest.mark.llm_trace
@pytest.mark.parametrize("word", ["a/b", "a?b"])
def test_other_kinds(word):
    assert "".join(stream(word)) == f"{word} and\\nmore"
    async def both():
        return await asyncio.gather(look_up("long word"), look_up("x"))
    assert asyncio.run(both()) == [("long word", 9), ("x", 1)]
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with tests of an app that needs a key to reach its model."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("KEY", "secret")
    monkeypatch.syspath_prepend(pytester.path)
    pytester.makepyfile(app=APP, test_app=TESTS)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "llm_trace.pytest_plugin", "-p", "no:cacheprovider", *arguments)


def cassette(project: pytest.Pytester, name: str = "test_answer") -> Path:
    return project.path / "cassettes" / "test_app" / f"{name}.json"


def test_a_test_is_recorded_once_and_then_needs_no_key(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(project, "--llm-trace=record").assert_outcomes(passed=3)
    monkeypatch.delenv("KEY")
    run(project).assert_outcomes(passed=3)
    assert len(list((project.path / "cassettes").rglob("*.json"))) == 3


def test_live_tests_need_no_cassette_and_write_none(project: pytest.Pytester) -> None:
    run(project, "--llm-trace=live").assert_outcomes(passed=3)
    assert not (project.path / "cassettes").exists()


def test_a_cassette_is_readable_and_the_same_each_time_it_is_recorded(project: pytest.Pytester) -> None:
    run(project, "--llm-trace=record", "-k", "test_answer")
    data = json.loads(cassette(project).read_text())
    assert data == {
        "format": 1,
        "calls": [
            {
                "id": 1,
                "name": "ask",
                "kind": "llm",
                "input": {"prompt": "hello"},
                "output": "hello! 0",
                "model": "toy",
            },
            {"id": 2, "name": "answer", "kind": "chain", "input": {"question": "why?"}},
            {
                "id": 3,
                "inside": 2,
                "name": "ask",
                "kind": "llm",
                "input": {"prompt": {"$lines": ["Be kind.", "why?"]}},
                "output": {"$lines": ["Be kind.", "why?! 1"]},
                "model": "toy",
            },
        ],
    }
    before = cassette(project).read_bytes()
    import sys

    for name in ("app", "test_app"):
        sys.modules.pop(name, None)
    run(project, "--llm-trace=record", "-k", "test_answer")
    assert cassette(project).read_bytes() == before


def test_a_test_without_a_cassette_fails_and_says_how_to_record_one(project: pytest.Pytester) -> None:
    result = run(project, "-k", "test_answer")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*there is no cassette *test_answer.json': record it again: pytest --llm-trace=record*"]
    )


def test_a_test_that_asks_something_else_fails_with_the_difference(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(project, "--llm-trace=record")
    monkeypatch.delenv("KEY")
    project.makepyfile(app=APP.replace("Be kind.", "Be brief."))
    import sys

    sys.modules.pop("app", None)
    result = run(project, "-k", "test_answer")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "ask, inside answer (2), asks something that is not in the record*",
            '- "prompt": "Be kind.\\n',
            '+ "prompt": "Be brief.\\n',
            "If that is meant, record it again: pytest --llm-trace=record*test_answer*",
        ]
    )


def test_a_test_that_does_not_ask_any_more_fails(project: pytest.Pytester) -> None:
    run(project, "--llm-trace=record", "-k", "test_answer")
    project.makepyfile(test_app=TESTS.replace('assert answer("why?").startswith("Be kind.\\nwhy?!")', "pass"))
    result = run(project, "-k", "test_answer")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["on the cassette *test_answer.json and not asked for: ask"])


def test_a_failing_test_leaves_the_cassette_as_it_was(project: pytest.Pytester) -> None:
    run(project, "--llm-trace=record", "-k", "test_answer")
    before = cassette(project).read_bytes()
    project.makepyfile(test_app=TESTS.replace("assert greeting", 'ask("more"); assert not greeting'))
    run(project, "--llm-trace=record", "-k", "test_answer").assert_outcomes(failed=1)
    assert cassette(project).read_bytes() == before


def test_an_edited_answer_is_given(project: pytest.Pytester) -> None:
    run(project, "--llm-trace=record", "-k", "test_answer")
    cassette(project).write_text(cassette(project).read_text().replace("hello! 0", "goodbye"))
    result = run(project, "-k", "test_answer")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert False*"])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            '"format": 1',
            '"format": 0',
            r"test_answer.json:\d+: the cassette has format 0, this llm_trace reads 1",
        ),
        ('"id": 2,', '"id": 2', r"test_answer.json:\d+: this is no JSON (*): mend it, or record it again"),
        ('"name": "answer"', '"nome": "answer"', "test_answer.json:14: call 2 has no 'name' of type str"),
        ('"inside": 2', '"inside": 7', "test_answer.json:*: call 3 is inside 7, which is no call before it"),
    ],
)
def test_a_cassette_that_was_spoilt_is_named_with_its_line(
    project: pytest.Pytester, old: str, new: str, says: str
) -> None:
    run(project, "--llm-trace=record", "-k", "test_answer")
    text = cassette(project).read_text()
    assert text.count(old) == 1
    cassette(project).write_text(text.replace(old, new))
    result = run(project, "-k", "test_answer")
    result.assert_outcomes(errors=1)
    pattern = says.replace(r"\d+", "*").replace("(", "*").replace(")", "*")
    result.stdout.fnmatch_lines([f"*{pattern}*"])


def test_secrets_stay_out_of_cassettes_and_calls_are_found_all_the_same(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(
        test_app="""
        import pytest
        from app import ask

        @pytest.mark.llm_trace
        def test_mail():
            assert ask("to ann@example.org").startswith("to ")
        """
    )
    result = run(project, "--llm-trace=record")
    result.stdout.fnmatch_lines(["*the answer of ask holds secrets, which are masked on the cassette"])
    text = cassette(project, "test_mail").read_text()
    assert "ann@" not in text
    assert "to [redacted]! 0" in text
    monkeypatch.delenv("KEY")
    run(project).assert_outcomes(passed=1)


def test_workers_of_xdist_record_and_replay(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xdist")
    arguments = ("-p", "xdist", "-n", "2", "-p", "llm_trace.pytest_plugin", "-p", "no:cacheprovider")
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).resolve().parents[2]}:{project.path}")
    project.runpytest_subprocess(*arguments, "--llm-trace=record").assert_outcomes(passed=3)
    monkeypatch.delenv("KEY")
    project.runpytest_subprocess(*arguments).assert_outcomes(passed=3)


def test_a_score_is_asserted_over_repeats(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    project.makepyfile(
        test_app="""
        import pytest
        from app import ask

        @pytest.mark.llm_trace
        def test_score(llm_trace_repeat):
            right = llm_trace_repeat(lambda: ask("q")[-1] != "3", times=10)
            assert (right.mean, right.values.count(0.0)) == (0.9, 1)
            assert 0.55 < right.low < 0.9 < right.high < 1, str(right)
            length = llm_trace_repeat(lambda: len(ask("q")), times=5)
            assert length.low <= length.mean == 5 <= length.high
        """
    )
    run(project, "--llm-trace=record").assert_outcomes(passed=1)
    monkeypatch.delenv("KEY")
    run(project).assert_outcomes(passed=1)


def test_what_was_recorded_to_before_is_recorded_to_again(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_app="""
        import llm_trace, pytest
        from llm_trace.capture import slots
        from app import ask

        llm_trace.configure("own.duckdb")
        own = slots.recorder

        @pytest.mark.llm_trace
        def test_marked():
            ask("a")
            assert slots.recorder is not own

        def test_unmarked():
            ask("b")
            assert slots.recorder is own
            assert slots.interceptor is None
            with llm_trace.open_store("own.duckdb") as store:
                assert [call.input for call in store.calls()] == [{"prompt": "b"}]
        """
    )
    run(project, "--llm-trace=record").assert_outcomes(passed=2)


def test_a_test_that_is_skipped_needs_no_cassette(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_app="""
        import pytest
        from app import ask

        @pytest.fixture
        def gpu():
            pytest.skip("no GPU")

        @pytest.mark.llm_trace
        @pytest.mark.skipif(True, reason="no GPU")
        def test_by_condition():
            ask("a")

        @pytest.mark.llm_trace
        @pytest.mark.xfail(run=False)
        def test_not_run():
            ask("a")
        """
    )
    run(project).assert_outcomes(skipped=1, xfailed=1)
    assert not (project.path / "cassettes").exists()


def test_tests_that_fail_as_expected_or_skip_on_the_way_are_recorded_and_replayed(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(
        test_app="""
        import os
        import pytest
        from app import ask

        @pytest.mark.llm_trace
        @pytest.mark.xfail(raises=AssertionError, strict=True)
        def test_fails():
            assert ask(os.environ.get("ASK", "a")) == "not this"

        @pytest.mark.llm_trace
        def test_skips_on_the_way():
            if ask("b"):
                pytest.skip("enough")

        @pytest.fixture
        def absent():
            pytest.skip(ask("c"))

        @pytest.mark.llm_trace
        def test_whose_fixture_skips(absent):
            pass
        """
    )
    run(project, "--llm-trace=record").assert_outcomes(skipped=2, xfailed=1)
    monkeypatch.delenv("KEY")
    run(project).assert_outcomes(skipped=2, xfailed=1)
    monkeypatch.setenv("ASK", "another question")
    result = run(project, "-k", "test_fails")
    result.stdout.fnmatch_lines(["*ask asks something that is not in the record*"])
    assert result.ret == 1


def test_a_test_that_is_skipped_while_recording_leaves_its_cassette_as_it_was(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(
        test_app="""
        import os, pytest
        from app import ask

        @pytest.mark.llm_trace
        def test_answer():
            if os.environ.get("SKIP"):
                pytest.skip()
            ask("a")
        """
    )
    run(project, "--llm-trace=record").assert_outcomes(passed=1)
    before = cassette(project).read_bytes()
    monkeypatch.setenv("SKIP", "1")
    run(project, "--llm-trace=record").assert_outcomes(skipped=1)
    assert cassette(project).read_bytes() == before


def test_calls_at_the_end_of_a_fixture_are_on_the_cassette(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = """
        import pytest
        from app import ask

        @pytest.fixture
        def desk():
            yield ask("open")
            ask("close")

        @pytest.mark.llm_trace
        def test_answer(desk):
            assert ask("a")
        """
    project.makepyfile(test_app=source)
    run(project, "--llm-trace=record").assert_outcomes(passed=1)
    calls = json.loads(cassette(project).read_text())["calls"]
    assert [(c["input"]["prompt"], c.get("phase")) for c in calls] == [
        ("open", None),
        ("a", None),
        ("close", "teardown"),
    ]
    monkeypatch.delenv("KEY")
    run(project).assert_outcomes(passed=1)
    project.makepyfile(test_app=source.replace('ask("close")', "pass"))
    result = run(project)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["on the cassette *test_answer.json and not asked for: ask"])


SHARED = """
import pytest
from app import ask

@pytest.fixture(scope="module")
def desk():
    yield ask("open")
    ask("close")

@pytest.fixture(scope="session", params=["x", "y"])
def word(request):
    return ask(request.param)

class TestDesk:
    @classmethod
    def setup_class(cls):
        cls.kept = ask("class")

    @pytest.mark.llm_trace
    def test_first(self, desk):
        assert desk.startswith("open!") and self.kept.startswith("class!")

@pytest.mark.llm_trace
def test_second(desk):
    assert desk.startswith("open!") and ask("second")

@pytest.mark.llm_trace
def test_third(word):
    assert word[0] in "xy"

def test_unmarked(desk):
    assert desk.startswith("open!")
"""


@pytest.mark.parametrize(
    "chosen", ["test_first", "test_second", "test_third", "test_unmarked or test_second", "test"]
)
def test_fixtures_that_tests_share_are_replayed_whichever_test_comes_first(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    project.makepyfile(test_app=SHARED)
    run(project, "--llm-trace=record").assert_outcomes(passed=5)
    names = sorted(path.name for path in (project.path / "cassettes").rglob("fixture.*"))
    assert len(names) == 4
    assert "fixture.desk.json" in names
    monkeypatch.delenv("KEY")
    result = run(project, "-k", chosen)
    assert result.ret == 0
    assert "error" not in result.parseoutcomes()


def test_a_shared_fixture_that_was_not_recorded_says_how_to_record_it(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(test_app=SHARED)
    run(project, "--llm-trace=record", "-k", "test_third").assert_outcomes(passed=2)
    (project.path / "cassettes" / "test_app").mkdir(exist_ok=True)
    cassette(project, "test_second").write_text('{"format": 1, "calls": []}')
    monkeypatch.delenv("KEY")
    result = run(project, "-k", "test_second")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "fixture 'desk': ask asks something that is not in the record*",
            "*pytest --llm-trace=record 'test_app.py'*",
        ]
    )
