"""Live and mixed replay: the same inputs through the real functions with something changed."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.errors import ReplayError
from tests.conftest import Recorded
from tests.helpers.cli_toys import answer as told
from tests.helpers.cli_toys import invoke

APP = """
import llm_trace

SEARCHED = []
QA = llm_trace.Prompt("qa", "Short. {question}")

@llm_trace.trace(kind="llm")
def ask(prompt, model="toy-1", temperature=1.0):
    return f"{model} at {temperature}: {prompt}"

@llm_trace.trace(kind="tool")
def search(text):
    SEARCHED.append(text)
    return f"found {text}"

@llm_trace.trace
def answer(question):
    return ask(QA.format(question=question)) + " | " + search(question)
"""


@pytest.fixture
def app(store: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module `app` in the working directory, with a run `first` of it recorded."""
    (tmp_path / "app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "app", raising=False)
    import app  # type: ignore[import-not-found]

    with llm_trace.start_run("first"):
        for question in ("why?", "how?"):
            app.answer(question)
    yield app
    sys.modules.pop("app", None)


def outputs(store: Recorded, run: llm_trace.record.Run | str) -> list[Any]:
    return [c.output for c in sorted(store.calls(run=run, name="answer"), key=lambda c: c.start_ns)]


def test_a_model_and_parameters_are_changed(store: Recorded, app: Any) -> None:
    changes = {"model": "toy-2", "params": {"temperature": 0}}
    run = llm_trace.replay("first", functions="app:answer", mode="live", overrides=changes)
    assert outputs(store, run)[0] == "toy-2 at 0: Short. why? | found why?"
    asked = store.calls(run=run, name="ask")
    assert {call.model for call in asked} == {"toy-2"}
    assert {call.input["temperature"] for call in asked} == {0}


def test_a_prompt_is_changed_where_it_is_rendered(store: Recorded, app: Any) -> None:
    new = llm_trace.Prompt("qa", "Long. {question}")
    run = llm_trace.replay("first", functions="app:answer", mode="live", overrides={"prompt": new})
    assert outputs(store, run)[0] == "toy-1 at 1.0: Long. why? | found why?"
    assert {call.prompt.version for call in store.calls(run=run, name="ask")} == {new.version}
    assert app.QA.format(question="x") == "Short. x"


def test_chosen_calls_are_replayed(store: Recorded, app: Any) -> None:
    chosen = [call.span_id for call in store.calls(run="first", name="answer")]
    run = llm_trace.replay(chosen[:1], functions="app:answer")
    assert run.replay_of == chosen[0]
    run = llm_trace.replay(chosen, functions="app:answer")
    (first,) = (r for r in store.runs() if r.name == "first")
    assert (run.name, run.replay_of, run.config["replay"]["equal"]) == (
        "replay of 2 calls of first",
        first.id,
        2,
    )


def test_code_is_changed(store: Recorded, app: Any) -> None:
    def shout(prompt: str, **_: Any) -> str:
        return prompt.upper()

    run = llm_trace.replay("first", functions="app:answer", mode="live", overrides={"code": {"ask": shout}})
    assert outputs(store, run)[0] == "SHORT. WHY? | found why?"


def test_a_changed_prompt_is_tried_with_the_tools_as_recorded(store: Recorded, app: Any) -> None:
    new = llm_trace.Prompt("qa", "Long. {question}")
    run = llm_trace.replay(
        "first", functions="app:answer", mode="mixed", live=["ask"], overrides={"prompt": new}
    )
    assert app.SEARCHED == ["why?", "how?"]  # when it was recorded
    assert (run.config["replay"]["served"], run.config["replay"]["live"]) == (2, 2)
    assert outputs(store, run)[1] == "toy-1 at 1.0: Long. how? | found how?"


def test_changes_that_cannot_be_made_are_said(store: Recorded, app: Any) -> None:
    with pytest.raises(
        ReplayError, match="override 'modell' is unknown; choose of model, params, prompt, variables, code"
    ):
        llm_trace.replay("first", functions="app:answer", overrides={"modell": "x"})
    with pytest.raises(ReplayError, match="ask takes no argument 'top_p', so it cannot be changed"):
        llm_trace.replay("first", functions="app:answer", mode="live", overrides={"params": {"top_p": 1}})


def test_a_function_that_moved_or_changed_its_signature_is_named_with_its_line(
    store: Recorded, app: Any
) -> None:
    with pytest.raises(ReplayError, match=r"'app' has no function 'reply': if it moved, name its new place"):
        llm_trace.replay("first", functions="app:reply")
    with pytest.raises(ReplayError, match="there is no module 'application' on the path"):
        llm_trace.replay("first", functions="application:answer")
    with pytest.raises(ReplayError, match="'app.answer' is no module:function; write it as app:answer"):
        llm_trace.replay("first", functions="app.answer")

    @llm_trace.trace
    def answer(query: str) -> None: ...

    here = rf"{__file__}:\d+"
    with pytest.raises(
        ReplayError, match=rf"answer at {here} does not take what it was called with in .*\(question\)"
    ):
        llm_trace.replay("first", functions=answer)
    assert llm_trace.replay("first", functions="app:answer").config["replay"]["equal"] == 2


def test_inputs_that_cannot_be_rebuilt_are_named_and_can_be_given(store: Recorded) -> None:
    class Client:
        pass

    @llm_trace.trace
    def run(client: Client, pair: tuple[int, int]) -> str:
        return f"{type(client).__name__} {pair!r}"

    with llm_trace.start_run("first"):
        said = run(Client(), (1, 2))
    with pytest.raises(ReplayError, match=r"does not hold 'client' \(its type .*Client is not imported"):
        llm_trace.replay("first", functions=run)
    again = llm_trace.replay("first", functions=run, overrides={"arguments": {"client": Client()}})
    assert [call.output for call in store.calls(run=again)] == [said] == ["Client (1, 2)"]


def test_masked_inputs_of_a_root_are_named(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, redact=True)

    @llm_trace.trace
    def run(to: str) -> int:
        return len(to)

    with llm_trace.start_run("first"):
        run("ann@example.org")
    with pytest.raises(ReplayError, match=r"does not hold 'to' \(it was masked\)"):
        llm_trace.replay("first", functions=run)


def test_methods_are_replayed_on_the_object_that_is_given(store: Recorded) -> None:
    class Desk:
        def __init__(self, greeting: str) -> None:
            self.greeting = greeting

        @llm_trace.trace
        def greet(self, name: str, *more: str, loud: bool = False, **rest: int) -> str:
            return f"{self.greeting} {name} {more} {loud} {rest}"

    with llm_trace.start_run("first"):
        Desk("hello").greet("ann", "bob", loud=True, x=1)
    run = llm_trace.replay("first", functions=Desk("bye").greet)
    assert [call.output for call in store.calls(run=run)] == ["bye ann ('bob',) True {'x': 1}"]


def test_seeds_are_set_again_and_the_clock_is_set_back(store: Recorded) -> None:
    time_machine = pytest.importorskip("time_machine")

    @llm_trace.trace
    def roll() -> float:
        return random.random()

    @llm_trace.trace
    def now() -> float:
        return time.time()

    with llm_trace.start_run("first", config={"seed": 7}):
        random.seed(7)
        roll()
    with time_machine.travel(1_600_000_000), llm_trace.start_run("then"):
        then = now()
    state = random.getstate()
    assert llm_trace.replay("first", functions=roll).config["replay"]["equal"] == 1
    assert random.getstate() == state
    run = llm_trace.replay("then", functions=now, clock=True)
    assert abs(store.calls(run=run)[0].output - then) < 3600  # it was years ago


def test_the_command_replays_a_run(store: Recorded, app: Any) -> None:
    llm_trace.shutdown()
    done = invoke(store.path, "replay", "first", "--function", "app:answer")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("4 calls from the record, 0 live; 2 of 2 ended as they did then")
    found = told(
        store.path, "replay", "first", "-f", "app:answer", "--model", "toy-2", "--param", "temperature=0"
    )
    assert found["config"]["replay"]["mode"] == "live"
    assert outputs(store, found["id"])[1] == "toy-2 at 0: Short. how? | found how?"
    assert invoke(store.path, "replay", "second").exit_code == 3
    assert invoke(store.path, "replay", "first").exit_code == 1


def test_the_command_asks_a_single_call_with_another_prompt(
    store: Recorded, app: Any, tmp_path: Path
) -> None:
    llm_trace.shutdown()
    span = store.calls(run="first", name="ask")[0].span_id
    (tmp_path / "new.txt").write_text("Polite. {question}")
    done = invoke(store.path, "replay", span, "-f", "app:ask", "--prompt", "new.txt")
    assert done.exit_code == 0, done.output
    assert '-"toy-1 at 1.0: Short. how?"\n+"toy-1 at 1.0: Polite. how?"' in done.stdout


def test_what_runs_live_beside_the_record_is_changed_too(store: Recorded, app: Any) -> None:
    run = llm_trace.replay("first", functions="app:answer", live=["ask"], overrides={"model": "toy-2"})
    assert outputs(store, run) == [
        "toy-2 at 1.0: Short. why? | found why?",
        "toy-2 at 1.0: Short. how? | found how?",
    ]
    assert (run.config["replay"]["served"], run.config["replay"]["live"]) == (2, 2)
    assert app.SEARCHED == ["why?", "how?"]  # when it was recorded
