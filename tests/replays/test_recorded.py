"""Recorded replay: model and tool calls answered from the store, everything else run for real."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

import llm_trace
from llm_trace.errors import DivergenceError, NotFoundError, ReplayError
from tests.conftest import Recorded

NETWORK: list[str] = []
"""What functions that stand for remote services were really called with."""


@pytest.fixture(autouse=True)
def _quiet_network() -> None:
    NETWORK.clear()


@llm_trace.trace(kind="llm", model="toy")
def ask(prompt: str) -> str:
    NETWORK.append(prompt)
    return f"{prompt}: {random.random()}"


@llm_trace.trace(kind="tool")
async def look_up(word: str) -> dict[str, Any]:
    NETWORK.append(word)
    await asyncio.sleep(random.random() / 1000)
    return {"word": word, "found": random.random()}


@llm_trace.trace
def answer(question: str) -> str:
    return ask(f"think {question}") + ask(f"say {question}")


@llm_trace.trace
async def research(topic: str) -> list[float]:
    found = await asyncio.gather(look_up(topic), look_up("x"), section(topic + "1"), section(topic + "2"))
    return [found[0]["found"], found[1]["found"], *found[2], *found[3]]


@llm_trace.trace
async def section(name: str) -> list[float]:
    same = await asyncio.gather(look_up("x"), look_up(name))
    return [item["found"] for item in same]


def report(run: llm_trace.record.Run) -> dict[str, Any]:
    found = run.config["replay"]
    assert isinstance(found, dict)
    return found


def test_a_run_is_replayed_without_a_call_to_the_network_and_answers_the_same(store: Recorded) -> None:
    with llm_trace.start_run("nightly"):
        said = [answer("a"), answer("b"), answer("a")]
    asked = list(NETWORK)
    run = llm_trace.replay("nightly", functions=answer)
    assert asked == NETWORK
    assert report(run) == {"mode": "recorded", "served": 6, "live": 0, "roots": 3, "equal": 3}
    again = sorted(store.calls(run=run, name="answer"), key=lambda call: call.start_ns)
    assert [call.output for call in again] == said
    originals = {call.span_id: call for call in store.calls(run="nightly")}
    assert all(originals[call.replay_of].output == call.output for call in store.calls(run=run))


def test_the_new_run_says_what_it_replays(store: Recorded) -> None:
    with llm_trace.start_run("nightly") as original:
        answer("a")
    run = llm_trace.replay(original, functions=answer)
    assert run.replay_of == original.id
    kept = next(r for r in store.runs() if r.id == run.id)
    assert (kept.name, kept.replay_of, kept.config["replay"]["served"]) == (
        "replay of nightly",
        original.id,
        2,
    )


def test_calls_in_gathered_tasks_are_answered_by_parent_and_input(store: Recorded) -> None:
    with llm_trace.start_run("nightly"):
        said = asyncio.run(research("t"))
    asked = len(NETWORK)
    for seed in range(5):
        random.seed(seed)
        run = llm_trace.replay("nightly", functions=research)
        assert [call.output for call in store.calls(run=run, name="research")] == [said]
    assert len(NETWORK) == asked


def test_calls_in_threads_are_answered(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, propagate_threads=True)
    said: list[str] = []

    @llm_trace.trace
    def fan_out() -> list[str]:
        got: dict[str, str] = {}
        threads = [threading.Thread(target=lambda n=n: got.update({n: ask(n)})) for n in "abcdef"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [got[n] for n in "abcdef"]

    with llm_trace.start_run("nightly"):
        said = fan_out()
    run = llm_trace.replay("nightly", functions=fan_out)
    assert [call.output for call in recorded.calls(run=run, name="fan_out")] == [said]
    assert len(NETWORK) == 6


def test_a_divergence_shows_what_was_asked_now_and_then(store: Recorded) -> None:
    word = "think"

    @llm_trace.trace
    def plan(question: str) -> str:
        return ask(f"{word} {question}")

    with llm_trace.start_run("nightly"):
        plan("a")
    word = "ponder"
    with pytest.raises(DivergenceError) as caught:
        llm_trace.replay("nightly", functions=plan)
    span = store.calls(run="nightly", name="plan")[0].span_id
    assert f"ask, inside plan ({span}), asks something that is not in the record" in str(caught.value)
    diff = ' {\n- "prompt": "think a"\n+ "prompt": "ponder a"\n }'
    assert diff in str(caught.value)
    assert NETWORK == ["think a"]


def test_a_divergence_that_the_program_swallows_is_raised_in_the_end(store: Recorded) -> None:
    word = "think"

    @llm_trace.trace
    def plan(question: str) -> str:
        try:
            return ask(f"{word} {question}")
        except Exception:
            return "sorry"

    with llm_trace.start_run("nightly"):
        plan("a")
    word = "ponder"
    with pytest.raises(DivergenceError, match="asks something that is not in the record"):
        llm_trace.replay("nightly", functions=plan)


def test_mixed_mode_runs_what_is_not_recorded(store: Recorded) -> None:
    words = ["think", "say"]

    @llm_trace.trace
    def plan(question: str) -> str:
        return "|".join(ask(f"{word} {question}") for word in words)

    with llm_trace.start_run("nightly"):
        plan("a")
    NETWORK.clear()
    words[1:] = ["shout"]
    run = llm_trace.replay("nightly", functions=plan, mode="mixed")
    assert NETWORK == ["shout a"]
    assert (report(run)["served"], report(run)["live"], report(run)["not_asked"]) == (1, 1, ["ask"])


def test_named_functions_run_live(store: Recorded) -> None:
    with llm_trace.start_run("nightly"):
        answer("a")
    NETWORK.clear()
    run = llm_trace.replay("nightly", functions=answer, live=["ask"])
    assert NETWORK == ["think a", "say a"]
    assert report(run)["live"] == 2


@llm_trace.trace(kind="llm")
def stream(prompt: str) -> Generator[str, None, None]:
    NETWORK.append(prompt)
    yield from ("one ", "", "two ", "three")


@llm_trace.trace(kind="llm")
async def stream_dicts(prompt: str) -> AsyncIterator[dict[str, Any]]:
    NETWORK.append(prompt)
    for n in range(3):
        yield {"n": n, "pair": (n, n)}


def test_streams_come_back_as_streams_with_their_chunks(store: Recorded) -> None:
    seen: list[Any] = []

    @llm_trace.trace
    async def consume() -> None:
        seen.append((list(stream("a")), [chunk async for chunk in stream_dicts("b")]))

    with llm_trace.start_run("nightly"):
        asyncio.run(consume())
    llm_trace.replay("nightly", functions=consume)
    assert NETWORK == ["a", "b"]
    assert seen[0] == seen[1] == (["one ", "", "two ", "three"], [{"n": n, "pair": (n, n)} for n in range(3)])


def test_a_stream_that_was_left_early_gives_what_it_gave(store: Recorded) -> None:
    seen: list[str] = []

    @llm_trace.trace
    def first_word() -> str:
        words = stream("a")
        seen.append(next(words))
        words.close()
        return seen[-1]

    with llm_trace.start_run("nightly"):
        first_word()
    run = llm_trace.replay("nightly", functions=first_word)
    assert (seen, NETWORK, report(run)["equal"]) == (["one ", "one "], ["a"], 1)


class Weather(BaseModel):
    city: str
    celsius: float


@dataclass
class Place:
    name: str
    where: tuple[int, int]


class OddError(Exception):
    def __init__(self, code: int, *, detail: str) -> None:
        super().__init__(f"{code}: {detail}")


@llm_trace.trace(kind="tool")
def give(what: str) -> Any:
    NETWORK.append(what)
    return {
        "model": Weather(city="Oslo", celsius=-3.5),
        "dataclass": Place("Oslo", (59, 10)),
        "tuple": ("a", [1, (2,)], {"x": None}),
        "set": {1, 2},
        "bytes": b"\x00\xff",
        "none": None,
        "literal": {"__type__": "mine", "x": 1},
        "nested": [Weather(city="Rome", celsius=20), {"p": Place("Rome", (41, 12))}],
    }[what]


@pytest.mark.parametrize("what", ["model", "dataclass", "tuple", "set", "bytes", "none", "literal", "nested"])
def test_values_come_back_with_their_types(store: Recorded, what: str) -> None:
    got: list[Any] = []

    @llm_trace.trace
    def run() -> None:
        got.append(give(what))

    with llm_trace.start_run("nightly"):
        run()
    llm_trace.replay("nightly", functions=run)
    assert [what] == NETWORK
    assert got[0] == got[1]
    assert type(got[0]) is type(got[1])
    assert repr(got[0]) == repr(got[1])


def test_a_value_that_the_record_does_not_hold_is_named(store: Recorded) -> None:
    class Handle:
        pass

    @llm_trace.trace(kind="tool")
    def connect() -> Handle:
        NETWORK.append("connect")
        return Handle()

    @llm_trace.trace
    def run() -> None:
        connect()

    with llm_trace.start_run("nightly"):
        run()
    with pytest.raises(
        ReplayError, match=r"connect \(\w{16}\) cannot be replayed: its type .*Handle is not imported"
    ):
        llm_trace.replay("nightly", functions=run)
    assert NETWORK == ["connect"]


@llm_trace.trace(kind="tool")
def fail(how: str) -> None:
    NETWORK.append(how)
    if how == "key":
        raise KeyError("missing")
    if how == "odd":
        raise OddError(7, detail="no")

    class LocalError(Exception):
        pass

    raise LocalError("gone")


@pytest.mark.parametrize(("how", "raised"), [("key", KeyError), ("odd", OddError)])
def test_recorded_exceptions_are_raised_again(store: Recorded, how: str, raised: type[Exception]) -> None:
    caught: list[Exception] = []

    @llm_trace.trace
    def run() -> str:
        try:
            fail(how)
        except Exception as exc:
            caught.append(exc)
        return "went on"

    with llm_trace.start_run("nightly"):
        run()
    llm_trace.replay("nightly", functions=run)
    assert [how] == NETWORK
    assert type(caught[1]) is raised
    assert str(caught[0]) == str(caught[1])
    with llm_trace.start_run("local"), pytest.raises(Exception, match="gone"):
        fail("local")
    with (
        pytest.raises(ReplayError, match=r"cannot be replayed: its exception .*LocalError is not imported"),
        llm_trace.replaying("local"),
    ):
        fail("local")


def test_a_root_that_failed_fails_again(store: Recorded) -> None:
    @llm_trace.trace
    def run() -> None:
        fail("key")

    with llm_trace.start_run("nightly"), pytest.raises(KeyError):
        run()
    assert report(llm_trace.replay("nightly", functions=run))["equal"] == 1


def test_calls_that_nothing_tells_apart_are_reported_as_a_race(store: Recorded) -> None:
    @llm_trace.trace
    async def vote() -> list[float]:
        return [found["found"] for found in await asyncio.gather(*(look_up("same") for _ in range(3)))]

    with llm_trace.start_run("nightly"):
        said = asyncio.run(vote())
    run = llm_trace.replay("nightly", functions=vote)
    (race,) = report(run)["races"]
    assert race.startswith("3 calls of look_up with the same input ran at once and answered differently")
    assert [call.output for call in store.calls(run=run, name="vote")] == [said]


def test_a_prompt_made_in_the_order_in_which_calls_end_says_so(store: Recorded) -> None:
    order = ["a", "b"]

    @llm_trace.trace(kind="tool")
    async def look_up_slowly(word: str) -> str:
        await asyncio.sleep(0.05)  # longer than a wall clock is set back or forward by
        return word

    @llm_trace.trace
    async def first_come() -> str:
        await asyncio.wait([asyncio.create_task(look_up_slowly(word)) for word in order])
        return ask(" then ".join(order))

    with llm_trace.start_run("nightly"):
        asyncio.run(first_come())
    order.reverse()
    with pytest.raises(
        DivergenceError, match=r"the order in which they end \(as_completed\) is another each time"
    ):
        llm_trace.replay("nightly", functions=first_come)


def test_masked_inputs_are_matched_and_masked_answers_are_named(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, redact=True)

    @llm_trace.trace
    def run(echo: bool) -> list[str]:
        return [say("ann@example.org", echo), say("bob@example.org", echo)]

    @llm_trace.trace(kind="llm")
    def say(to: str, echo: bool) -> str:
        NETWORK.append(to)
        return f"hello {to if echo else to[:3]}"

    with llm_trace.start_run("clean"):
        said = run(False)
    with llm_trace.start_run("secret"):
        run(True)
    again = llm_trace.replay("clean", functions=run)
    assert [call.output for call in recorded.calls(run=again, name="run")] == [said]
    with pytest.raises(ReplayError, match="its answer was masked when it was recorded"):
        llm_trace.replay("secret", functions=run)
    assert len(NETWORK) == 4
    key = recorded.path.with_name(recorded.path.name + ".key")
    assert key.stat().st_mode & 0o777 == 0o600
    assert b"ann@" not in b"".join(p.read_bytes() for p in recorded.path.parent.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    "redact", [lambda text: text.replace("ask", "***"), True], ids=["function", "built-in"]
)
def test_functions_whose_names_are_masked_are_answered_and_left_to_run(
    recorded: Recorded, redact: Any
) -> None:
    llm_trace.configure(recorded.path, redact=redact)

    @llm_trace.trace(kind="llm", name="ask ann@example.org")
    def ask_ann(prompt: str) -> str:
        NETWORK.append(prompt)
        return "yes"

    @llm_trace.trace(kind="chain", name="ask bob@example.org")
    def ask_bob(prompt: str) -> str:
        NETWORK.append(prompt)
        return "no"

    @llm_trace.trace
    def run() -> list[str]:
        return [ask_ann("a"), ask_bob("b")]

    with llm_trace.start_run("nightly"):
        run()
    served = llm_trace.replay("nightly", functions=run, serve=["llm", "ask bob@example.org"])
    assert report(served) == {"mode": "recorded", "served": 2, "live": 0, "roots": 1, "equal": 1}
    assert NETWORK == ["a", "b"]
    live = llm_trace.replay("nightly", functions=run, live=["ask ann@example.org"])
    assert report(live) == {"mode": "recorded", "served": 0, "live": 1, "roots": 1, "equal": 1}
    assert NETWORK == ["a", "b", "a", "b"]


def test_replaying_answers_whatever_is_called_in_the_block(store: Recorded) -> None:
    with llm_trace.start_run("nightly"):
        said = answer("a")
    with llm_trace.replaying("nightly") as replay:
        assert answer("a") == said
    assert (replay.report.served, replay.report.live, replay.run.end_ns is None) == (2, 0, False)
    assert len(NETWORK) == 2


def test_it_records_to_the_store_it_reads_where_nothing_is_configured(store: Recorded) -> None:
    with llm_trace.start_run("nightly"):
        answer("a")
    llm_trace.shutdown()
    run = llm_trace.replay("nightly", store=store.path, functions=answer)
    assert len(store.calls(run=run)) == 3
    assert llm_trace.config.current is None


def test_calls_are_the_programs_own_after_a_replay(store: Recorded) -> None:
    with llm_trace.start_run("nightly"):
        answer("a")
    llm_trace.replay("nightly", functions=answer)
    NETWORK.clear()
    answer("a")
    assert NETWORK == ["think a", "say a"]


def test_what_is_not_there_is_said(store: Recorded) -> None:
    with llm_trace.start_run("nightly"):
        answer("a")
    with pytest.raises(NotFoundError, match="no run and no call 'daily'"):
        llm_trace.replay("daily", functions=answer)
    with pytest.raises(
        ReplayError,
        match=r"began with tests.replays.test_recorded:answer at .*\(1 calls\), "
        r"and functions are only called when named",
    ):
        llm_trace.replay("nightly")
    with pytest.raises(ReplayError, match="none of the functions given is that"):
        llm_trace.replay("nightly", functions=[ask, research])
