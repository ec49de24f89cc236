"""`bisect` of chats, models and parameters, and of programs and metrics that it can make nothing of."""

from __future__ import annotations

from typing import Any

import pytest

import llm_trace
from llm_trace.causes.bisect_hunks import mix_change
from llm_trace.errors import ConfigurationError, ReplayError
from tests.conftest import Recorded
from tests.helpers.explained import keep_attributions, make_attribution

MESSAGES = ("late parcel", "broken lamp", "wrong size", "lost parcel", "two lamps", "no lamp")
DESK = "You are {the desk}.\nBe kind.\nAsk for the order."
CHATS = {
    "v1": [{"role": "system", "content": DESK}],
    "line": [{"role": "system", "content": DESK.replace("kind.", "kind and brief.\nNever pay.\nSmile.")}],
    "message": [
        {"role": "system", "content": DESK.replace("kind.", "kind and brief.")},
        {"role": "user", "content": "May I?"},
        {"role": "assistant", "content": "No.\nNever pay.\nSorry."},
    ],
}
ASKED: list[list[dict[str, str]]] = []


@llm_trace.trace(kind="llm", model="toy-1")
def talk(messages: list[dict[str, str]]) -> str:
    ASKED.append(messages)
    return "no" if any("Never pay." in message["content"] for message in messages) else "yes"


@llm_trace.trace
def chat(message: str, version: str) -> str:
    return talk(messages=[*CHATS[version], {"role": "user", "content": message}])


@llm_trace.trace(kind="llm")
def ask(prompt: str, model: str, top_p: float | None = None) -> str:
    return "no" if model == "bad-1" else "yes"


@llm_trace.trace
def reply(message: str, template: str, model: str = "good-1", **settings: Any) -> str:
    return ask(llm_trace.Prompt("desk", template).format(message=message), model=model, **settings)


@llm_trace.trace
def fail_on_parcels(message: str, template: str) -> str:
    prompt = llm_trace.Prompt("desk", template).format(message=message)
    if "Hurry." in prompt and "parcel" in message:
        raise ValueError("no time")
    return ask(prompt, model="good-1")


def record(function: Any, run: str, *arguments: Any, **settings: Any) -> None:
    with llm_trace.start_run(run):
        for message in MESSAGES:
            try:
                function(message, *arguments, **settings)
            except ValueError:
                continue


@pytest.fixture
def chats(store: Recorded) -> Recorded:
    """A store with a run of each version of the chat."""
    for version in CHATS:
        record(chat, version, version)
    ASKED.clear()
    return store


def test_a_line_of_a_message_is_blamed_and_the_words_in_it(chats: Recorded) -> None:
    result = llm_trace.bisect("v1", "line", functions=chat, words=True)
    assert [hunk.describe() for hunk in result.change] == [
        "Be kind. -> Be kind and brief.", "+ Never pay.", "+ Smile.",
    ]  # fmt: skip
    (blamed,) = result.hunks
    assert (blamed.hunk.kind, blamed.hunk.name, blamed.hunk.after) == ("line", "talk", "Never pay.\n")
    assert [word.hunk.after for word in result.words] == ["Never", " pay.\n"]
    assert len(ASKED) == result.calls == len(chats.calls(run=result.run, name="talk", limit=None))
    assert all(asked[0]["content"].startswith("You are {the desk}.") for asked in ASKED)
    recorded = [call.input["messages"] for call in chats.calls(run=result.run, name="talk", order="oldest")]
    assert recorded == ASKED[: len(recorded)]


def test_a_message_that_b_has_more_is_blamed_and_the_line_in_it(chats: Recorded) -> None:
    result = llm_trace.bisect("v1", "message", functions=chat, words=True)
    assert [hunk.kind for hunk in result.change] == ["line", "message", "message"]
    assert [blamed.hunk.after for blamed in result.hunks] == ["No.\nNever pay.\nSorry."]
    assert [(word.hunk.kind, word.hunk.after) for word in result.words] == [("line", "Never pay.\n")]
    assert {asked[-1]["content"] for asked in ASKED} <= set(MESSAGES)


def test_chats_that_cannot_be_mixed_are_refused(chats: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHATS, "v1", [{"role": "system", "content": "Anew."}])
    with pytest.raises(ReplayError, match="talk is asked messages that begin otherwise than all recorded"):
        llm_trace.bisect("v1", "line", functions=chat)
    assert ASKED == []

    @llm_trace.trace
    def shout(message: str, version: str) -> str:
        question = message.upper() if version == "line" else message
        return talk(messages=[*CHATS[version], {"role": "user", "content": question}])

    for run, version in (("quiet", "v1"), ("loud", "line")):
        record(shout, run, version)
    with pytest.raises(ConfigurationError, match="talk is asked other messages by run quiet than by run"):
        llm_trace.bisect("quiet", "loud", functions=shout)


def test_any_messages_of_two_chats_make_a_mixture() -> None:
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.png"}}]}
    a, b = CHATS["v1"], [*CHATS["message"], picture]
    mixture = mix_change({}, {}, None, {"talk": (a, b)})
    assert [hunk.kind for hunk in mixture.hunks] == ["line", "message", "message", "message"]
    assert mixture.chats["talk"].mix(frozenset()) == a
    assert mixture.chats["talk"].mix(frozenset(range(4))) == b
    assert mixture.chats["talk"].mix(frozenset([3])) == [*a, picture]


def test_the_model_is_told_from_lines_and_from_a_parameter_that_a_lacks(store: Recorded) -> None:
    record(reply, "a", "Be kind.\n{message}\n")
    record(reply, "b", "Be kind.\nBe brief.\n{message}\n", model="bad-1", top_p=0.5)
    result = llm_trace.bisect("a", "b", functions=reply)
    assert [hunk.describe() for hunk in result.change] == [
        "+ Be brief.", "top_p: absent -> 0.5", "model: good-1 -> bad-1",
    ]  # fmt: skip
    assert [(blamed.hunk.kind, blamed.hunk.after) for blamed in result.hunks] == [("model", "bad-1")]
    with pytest.raises(ConfigurationError, match="the parameter 'top_p' of a is absent in b"):
        llm_trace.bisect("b", "a", functions=reply, metric=lambda output: output == "no")


def test_a_hunk_that_makes_the_program_fail_on_half_of_the_inputs_is_blamed(store: Recorded) -> None:
    record(fail_on_parcels, "a", "Be kind.\n{message}\n")
    record(fail_on_parcels, "b", "Be kind.\nBe brief.\nHurry.\n{message}\n")
    result = llm_trace.bisect("a", "b", functions=fail_on_parcels)
    assert (result.inputs, result.worse) == (6, 2)
    assert [blamed.hunk.after.strip() for blamed in result.hunks] == ["Hurry."]


def test_explained_answers_say_which_hunk_is_asked_about_first(store: Recorded) -> None:
    record(fail_on_parcels, "a", "{message}\n")
    record(fail_on_parcels, "b", "Be kind.\nHurry.\nBe brief.\nSmile.\n{message}\n")
    for call in store.calls(run="b", name="ask", limit=2):
        prompt = call.input["prompt"]
        weights = [float(word == "Hurry.") for word in prompt.split()]
        keep_attributions(store.path, call, make_attribution(prompt, weights))
    result = llm_trace.bisect("a", "b", functions=fail_on_parcels)
    first = store.calls(run=result.run, name="fail_on_parcels", order="oldest", limit=1)[0]
    assert result.explained == 2
    assert first.metadata["bisect"] in ("2", "1, 3, 4")
    assert [blamed.number for blamed in result.hunks] == [2]


def test_what_does_not_differ_is_refused_and_a_metric_that_is_constant_is_said(store: Recorded) -> None:
    for run in ("a", "again"):
        record(reply, run, "Be kind.\n{message}\n")
    runs = len(store.runs())
    grades = iter([1, 0] * len(MESSAGES))
    with pytest.raises(ConfigurationError, match="do not differ in prompts, messages, parameters or model"):
        llm_trace.bisect("a", "again", functions=reply, metric=lambda _: next(grades))
    result = llm_trace.bisect("a", "again", functions=reply, metric=lambda _: 0.5)
    assert (result.status, result.asked) == ("nothing", 0)
    (note,) = result.notes
    assert note.startswith("all 12 answers of a and b have the grade 0.5: if they are not all as good, the ")
    assert len(store.runs()) == runs
