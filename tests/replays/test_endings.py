"""Whether a replayed program ended as it did: roots of every shape, inside a running loop, and what the
command says and exits with.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.errors import NotFoundError, ReplayError
from tests.conftest import Recorded
from tests.helpers.cli_toys import answer as told
from tests.helpers.cli_toys import invoke

MOOD = ["calm"]


@llm_trace.trace(kind="tool")
async def look_up(word: str) -> str:
    await asyncio.sleep(0)
    return f"{word} found"


@llm_trace.trace
async def research(word: str) -> str:
    return f"{await look_up(word)}, {MOOD[0]}"


@llm_trace.trace
def script(word: str) -> str:
    return asyncio.run(research(word))


@llm_trace.trace(output_reducer=lambda chunks: {"sum": sum(chunks)})
def count(to: int) -> Iterator[int]:
    yield from range(to)


@llm_trace.trace
async def talk() -> AsyncIterator[dict[str, str]]:
    for word in ("a", "b"):
        yield {"word": word, "mood": MOOD[0]}


@llm_trace.trace
def fail(text: str) -> None:
    raise ValueError(text + MOOD[0])


async def _talk() -> None:
    _ = [word async for word in talk()]


@pytest.fixture
def recording(store: Recorded) -> Recorded:
    """A store with a run of five roots."""
    MOOD[:] = ["calm"]
    with llm_trace.start_run("nightly"):
        asyncio.run(research("a"))
        script("b")
        list(count(4))
        asyncio.run(_talk())
        with pytest.raises(ValueError, match="no"):
            fail("no")
    return store


FUNCTIONS: list[Any] = [research, script, count, talk, fail]


def test_roots_of_every_shape_are_compared_by_what_is_recorded_of_them(recording: Recorded) -> None:
    done = llm_trace.replay("nightly", functions=FUNCTIONS).config["replay"]
    assert done == {"mode": "recorded", "served": 2, "live": 0, "roots": 5, "equal": 5}
    MOOD[:] = ["cross"]
    done = llm_trace.replay("nightly", functions=FUNCTIONS).config["replay"]
    assert done["equal"] == 1
    first, *_, last = done["differences"]
    span = recording.calls(name="research", run="nightly")[-1].span_id
    assert first == (
        f"research ({span}) ended otherwise\n--- ended then\n+++ ended now\n@@ -1 +1 @@\n"
        '-"a found, calm"\n+"a found, cross"'
    )
    assert '- "error": "ValueError: nocalm",\n+ "error": "ValueError: nocross",' in last


def test_a_run_is_replayed_inside_a_running_loop(recording: Recorded) -> None:
    async def notebook() -> Any:
        return llm_trace.replay("nightly", functions=FUNCTIONS)

    run = asyncio.run(notebook())
    assert run.config["replay"]["equal"] == 5
    assert {call.run for call in recording.calls() if call.replay_of} == {run.id}


def test_an_answer_that_cannot_be_given_is_said_in_the_end_though_the_program_swallows_it(
    store: Recorded,
) -> None:
    @llm_trace.trace(kind="tool")
    def connect() -> object:
        return object()

    @llm_trace.trace
    def run() -> str:
        try:
            connect()
        except Exception:
            return "without"
        return "without"

    with llm_trace.start_run("nightly"):
        run()
    with pytest.raises(ReplayError, match=r"^connect \(\w{16}\) cannot be replayed"):
        llm_trace.replay("nightly", functions=run)


def test_masked_endings_are_compared_masked(recorded: Recorded) -> None:
    @llm_trace.trace
    def whom(name: str) -> str:
        return f"{name}@example.org"

    llm_trace.configure(recorded.path, redact=True)
    with llm_trace.start_run("nightly"):
        whom("ann")
    llm_trace.shutdown()
    done = llm_trace.replay("nightly", store=recorded.path, functions=whom).config["replay"]
    assert (done["roots"], done["equal"]) == (1, 1)


APP = """
import os, llm_trace

@llm_trace.trace(kind="tool")
def search(text):
    return f"found {text}"

@llm_trace.trace
def answer(question):
    return search(question) + os.environ.get("MORE", "")
"""


@pytest.fixture
def app(store: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module `app` in the working directory, with runs `first` and `second` of it recorded."""
    (tmp_path / "app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "app", raising=False)
    import app  # type: ignore[import-not-found]

    for run in ("first", "second"):
        with llm_trace.start_run(run):
            app.answer(run)
    llm_trace.shutdown()
    yield app
    sys.modules.pop("app", None)


def test_the_command_says_what_differed_and_fails(
    store: Recorded, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("replay", "first", "-f", "app:answer")
    assert invoke(store.path, *arguments).exit_code == 0
    monkeypatch.setenv("MORE", "!")
    done = invoke(store.path, *arguments)
    assert done.exit_code == 1
    assert '-"found first"\n+"found first!"' in done.stdout
    assert invoke(store.path, *arguments, "--json").exit_code == 1
    assert invoke(store.path, *arguments, "--mode", "live").exit_code == 0


def test_the_command_takes_last_and_beginnings_of_ids(store: Recorded, app: Any) -> None:
    runs = {run.name: run.id for run in store.runs()}
    span = store.calls(run="first", name="answer")[0].span_id
    for what, original in (("last", runs["second"]), (runs["first"][:9], runs["first"]), (span[:9], span)):
        found = told(store.path, "replay", what, "-f", "app:answer")
        assert (found["replay_of"], found["config"]["replay"]["equal"]) == (original, 1)


def test_a_beginning_of_several_ids_is_not_guessed(store: Recorded) -> None:
    from llm_trace.replays.load import find_id

    for _ in range(17):  # ids have 16 first digits
        script("a")
    spans = [call.span_id for call in store.calls()]
    first = next(digit for digit in "0123456789abcdef" if sum(span[0] == digit for span in spans) > 1)
    with llm_trace.open_store(store.path) as opened:
        assert find_id(opened, "nightly") == "nightly"
        with pytest.raises(NotFoundError, match=rf"'{first}' is the beginning of several ids"):
            find_id(opened, first)
