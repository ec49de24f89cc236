"""What belongs to a call by where it runs: rendered prompts, scores, sessions; and users' labels."""

from __future__ import annotations

import argparse
import asyncio
import threading
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, get_current_span

import llm_trace
from llm_trace import Prompt, trace
from llm_trace.errors import ConfigurationError, LLMTraceError, NotFoundError
from tests.conftest import Recorded


@trace(kind="llm")
def ask(prompt: str) -> str:
    return "yes"


def prompts_of(store: Recorded) -> dict[str, tuple[str, dict[str, Any]] | None]:
    """Return by input which prompt each call was made with, and its variables."""
    return {
        call.input["prompt"]: (call.prompt.name, dict(call.prompt.variables)) if call.prompt else None
        for call in store.calls(name="ask")
    }


def test_a_prompt_that_stands_in_a_text_by_chance_is_not_its_prompt(store: Recorded) -> None:
    Prompt("context", "{docs}").format(docs="")
    Prompt("user", "{question}").format(question="hi", card="4111")
    Prompt("kind", "You are helpful and kind").format()
    ask("Is this thing on?")
    ask("You are helpful and kindly waiting")
    assert prompts_of(store) == {"Is this thing on?": None, "You are helpful and kindly waiting": None}


def test_of_several_prompts_in_a_text_the_longest_is_its_prompt(store: Recorded) -> None:
    whole = Prompt("whole", "You are kind to people. Be brief about {topic}.")
    part = Prompt("part", "You are kind to people.")
    text, _ = whole.format(topic="rain", secret="4111"), part.format()
    ask(f"System: {text} Go!")
    assert prompts_of(store) == {f"System: {text} Go!": ("whole", {"topic": "rain"})}


def test_a_prompt_of_another_thread_session_or_trace_is_not_taken(store: Recorded) -> None:
    prompt = Prompt("letter", "Dear {name}, how are you today?")

    @trace
    def render_inside() -> str:
        return f"({prompt.format(name='Bea')})"

    with llm_trace.using_session("s", user="ann"):
        of_ann = f"({prompt.format(name='Ann')})"
    elsewhere: list[str] = []
    thread = threading.Thread(target=lambda: elsewhere.append(f"({prompt.format(name='Cleo')})"))
    thread.start()
    thread.join()
    for text in (of_ann, render_inside(), *elsewhere):
        ask(text)
    assert set(prompts_of(store).values()) == {None}


def test_a_prompt_rendered_in_a_helper_is_known_in_its_trace(store: Recorded) -> None:
    prompt = Prompt("letter", "Dear {name}, how are you today?")

    @trace
    def build(name: str) -> str:
        return f"({prompt.format(name=name)})"

    @trace
    def pipeline(name: str) -> str:
        return ask(build(name))

    pipeline("Ann")
    (call,) = store.calls(name="ask")
    assert (call.prompt.name, call.prompt.variables) == ("letter", {"name": "Ann"})


def test_variables_are_erased_with_their_user(store: Recorded) -> None:
    prompt = Prompt("support", "{greeting}")
    with llm_trace.using_session("s1", user="ann"):
        ask(prompt.format(greeting="Hello", iban="DE89370400440532013000"))
    with llm_trace.using_session("s2", user="bob"):
        ask("Hello there, I am Bob")
    llm_trace.shutdown()
    store.calls()
    llm_trace.purge(store.path, user="ann")
    assert prompts_of(store) == {"Hello there, I am Bob": None}
    files = [path for path in store.path.parent.rglob("*") if path.is_file()]
    assert not [path for path in files if b"DE8937" in path.read_bytes()]


@pytest.mark.parametrize("template", ['Return {"a": 1}', '{ "json": true }', "{} {0}", "{-}"])
def test_a_template_with_braces_that_are_no_variables_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="without a name"):
        Prompt("p", template)


def test_a_score_after_the_call_goes_to_the_call_as_the_readme_has_it(store: Recorded) -> None:
    with llm_trace.start_run("prompt v2"), llm_trace.using_session("s-17", user="ann"):
        answer = ask("first")
        llm_trace.log_score("correct", answer == "yes")
    (score,) = store.scores(store.one().span_id)
    assert (score.name, score.value) == ("correct", True)


def test_a_score_after_an_awaited_call_goes_to_the_task_that_awaited_it(store: Recorded) -> None:
    @trace(kind="llm")
    async def answer(prompt: str) -> str:
        await asyncio.sleep(0)
        return prompt

    async def work(prompt: str) -> None:
        llm_trace.log_score("said", await answer(prompt))

    async def both() -> None:
        await asyncio.gather(work("a"), work("b"))

    asyncio.run(both())
    for call in store.calls():
        assert [score.value for score in store.scores(call.span_id)] == [call.output]


def test_a_score_inside_a_call_goes_to_the_call_that_is_running(store: Recorded) -> None:
    @trace
    def pipeline() -> None:
        ask("x")
        llm_trace.log_score("good", 1)

    pipeline()
    (outer,) = store.calls(name="pipeline")
    assert [score.name for score in store.scores(outer.span_id)] == ["good"]


def test_a_score_without_a_call_is_an_error_and_names_the_remedy(store: Recorded, tmp_path: Path) -> None:
    def score_elsewhere() -> None:
        with pytest.raises(NotFoundError, match="pass call="):
            llm_trace.log_score("good", 1)

    ask("x")
    thread = threading.Thread(target=score_elsewhere)
    thread.start()
    thread.join()
    with pytest.raises(NotFoundError, match="pass a Call, a span or a span id"):
        llm_trace.log_score("good", 1, call=object())  # type: ignore[arg-type]
    llm_trace.configure(tmp_path / "other.duckdb")
    score_elsewhere()


@pytest.mark.parametrize(
    ("name", "value", "more", "error"),
    [
        ("v", None, {}, "finite number"),
        ("v", float("nan"), {}, "finite number"),
        ("v", [1], {}, "finite number"),
        (None, 1, {}, "name of a score"),
        (" ", 1, {}, "name of a score"),
        ("v", 1, {"source": "bot"}, "human, code, model"),
        ("v", 1, {"call": "nonsense"}, "16 hex digits"),
    ],
    ids=["no value", "nan", "list", "no name", "empty name", "source", "call"],
)
def test_what_is_no_score_is_refused_at_once(
    store: Recorded, name: Any, value: Any, more: dict[str, Any], error: str
) -> None:
    ask("x")
    with pytest.raises(LLMTraceError, match=error):
        llm_trace.log_score(name, value, **more)
    assert store.scores(store.one().span_id) == []


def test_scores_of_every_kind_of_number_are_kept(store: Recorded) -> None:
    values = {"int": 2, "bool": True, "label": "good", "numpy": np.float32(0.5), "decimal": Decimal("0.25")}
    ask("x")
    for name, value in values.items():
        llm_trace.log_score(name, value, call=store.one().span_id.upper())  # type: ignore[arg-type]
    scores = {score.name: score.value for score in store.scores(store.one().span_id)}
    assert scores == {"int": 2, "bool": True, "label": "good", "numpy": 0.5, "decimal": 0.25}


def test_an_object_with_nothing_but_a_span_id_can_be_scored(store: Recorded) -> None:
    ask("x")
    call = store.one()
    whole = SimpleNamespace(span_id=call.span_id, trace_id=call.trace_id, start_ns=call.start_ns)
    for name, target in (("row", SimpleNamespace(span_id=call.span_id)), ("whole", whole)):
        llm_trace.log_score(name, 1, call=target)  # type: ignore[arg-type]
    assert [score.name for score in store.scores(call.span_id)] == ["row", "whole"]


def test_a_score_goes_to_the_call_that_a_span_context_of_opentelemetry_names(store: Recorded) -> None:
    @trace
    def answer() -> SpanContext:
        return get_current_span().get_span_context()

    context = answer()
    call = store.one()
    llm_trace.log_score("good", 1, call=context)  # type: ignore[arg-type]
    shouted = SimpleNamespace(span_id=call.span_id.upper())
    llm_trace.log_score("loud", 1, call=shouted)  # type: ignore[arg-type]
    assert [score.name for score in store.scores(call.span_id)] == ["good", "loud"]


@pytest.mark.parametrize(
    "target",
    [INVALID_SPAN_CONTEXT, SimpleNamespace(span_id="nonsense"), SimpleNamespace(span_id=1 << 64)],
    ids=["no span", "no hex", "too long"],
)
def test_a_score_of_an_id_that_is_none_is_refused_instead_of_lost(store: Recorded, target: Any) -> None:
    with pytest.raises(NotFoundError, match="16 hex digits"):
        llm_trace.log_score("good", 1, call=target)


def test_a_score_of_a_call_that_sampling_left_out_goes_to_no_other(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, sample=lambda start: start.name == "ask")

    @trace
    def left_out() -> None: ...

    ask("x")
    left_out()
    llm_trace.log_score("good", 1)
    assert recorded.scores(recorded.one().span_id) == []


def test_labels_are_taken_in_every_form_that_has_one_meaning(store: Recorded) -> None:
    with llm_trace.using_session(None, tags="prod", metadata={1: "a"}):  # type: ignore[dict-item]
        ask("x")
    with (
        llm_trace.using_session("s", tags=None),
        llm_trace.using_session(None, tags=[7]),  # type: ignore[list-item]
        llm_trace.span("b", tags=None),
    ):
        pass
    trace(tags=None, metadata=[("a", 1)])(ask)("y")  # type: ignore[call-overload]
    calls = {(call.name, call.input["prompt"] if call.input else None): call for call in store.calls()}
    assert {(c.session, c.tags, tuple(c.metadata.items())) for c in calls.values()} == {
        (None, ("prod",), (("1", "a"),)),
        ("s", ("7",), ()),
        (None, (), (("a", 1),)),
    }
    with llm_trace.start_run(7, config=argparse.Namespace(k=1), tags="try") as run:  # type: ignore[arg-type]
        assert (run.name, run.config, run.tags) == ("7", {"k": 1}, ("try",))
    with llm_trace.start_run("b", config={1: 2}, tags=None) as run:  # type: ignore[dict-item]
        assert (run.config, run.tags) == ({"1": 2}, ())


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(lambda: llm_trace.using_session("s", metadata=[1]), id="session-metadata"),  # type: ignore[arg-type]
        pytest.param(lambda: llm_trace.using_session("s", tags=7), id="session-tags"),  # type: ignore[arg-type]
        pytest.param(lambda: llm_trace.span("s", metadata="x"), id="span-metadata"),
        pytest.param(lambda: llm_trace.start_run("s", config="x"), id="run-config"),  # type: ignore[arg-type]
        pytest.param(lambda: llm_trace.start_run(None), id="run-name"),  # type: ignore[arg-type]
        pytest.param(lambda: trace(tags={1: "a"})(ask), id="decorator-tags"),  # type: ignore[dict-item]
    ],
)
def test_a_label_without_a_meaning_is_said_at_once(store: Recorded, label: Any) -> None:
    with pytest.raises(TypeError, match=r"write|needs a name"):
        label()


def test_bad_settings_are_named(tmp_path: Path) -> None:
    for setting, named in (
        ({"sample": "lots"}, "neither a share"),
        ({"redact": "("}, "no regular expression"),
        ({"store": None}, "is no path"),
        ({"exporters": "otlp://host"}, "write exporters="),
    ):
        with pytest.raises(ConfigurationError, match=named):
            llm_trace.configure(**{"store": tmp_path / "t.duckdb", **setting})  # type: ignore[arg-type]


def test_looking_for_a_prompt_runs_no_code_of_the_arguments(store: Recorded) -> None:
    class Lazy:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    class Told(str):
        __slots__ = ()

        def find(self, *_: Any) -> int:
            raise RuntimeError

    class Loaded(dict[str, str]):
        def values(self) -> Any:
            raise RuntimeError

    class Kind(type):
        def __eq__(cls, other: object) -> bool:
            raise RuntimeError

        __hash__ = type.__hash__

    class Odd(metaclass=Kind):
        pass

    @llm_trace.trace
    def ask(lazy: Any, text: str, data: Any, odd: Any) -> str:
        return "yes"

    text = Prompt("greet", "Good morning to you, {name}.").format(name="Ann")
    ask([Lazy()], Told(f"Say: {text}"), Loaded(a="b"), [Odd()])
    assert store.one().prompt is not None
    assert store.one().input["text"] == "Say: Good morning to you, Ann."
    assert not llm_trace.flush().reasons
