"""Values of libraries and calls that ended in unusual ways, replayed."""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import time
import uuid
from collections.abc import AsyncIterator, Generator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

import llm_trace
from llm_trace.errors import ReplayError
from llm_trace.replays.revive import rebuild
from tests.conftest import Recorded

RAN: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


def openai_response() -> Any:
    chat = pytest.importorskip("openai.types.chat")
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"x": 1}'}}
    choice = {
        "index": 0,
        "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": None, "tool_calls": [call]},
    }
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    return chat.ChatCompletion.model_validate(
        {
            "id": "r1",
            "object": "chat.completion",
            "created": 1,
            "model": "toy",
            "choices": [choice],
            "usage": usage,
        }
    )


def openai_chunks() -> list[Any]:
    chat = pytest.importorskip("openai.types.chat")
    base = {"id": "r1", "object": "chat.completion.chunk", "created": 1, "model": "toy"}
    deltas: tuple[dict[str, str], ...] = ({"role": "assistant", "content": "Hel"}, {"content": "lo"}, {})
    return [
        chat.ChatCompletionChunk.model_validate(
            base | {"choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}]}
        )
        for delta in deltas
    ]


def anthropic_response() -> Any:
    types = pytest.importorskip("anthropic.types")
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ]
    return types.Message.model_validate(
        {
            "id": "m1", "type": "message", "role": "assistant", "model": "toy", "content": blocks,
            "stop_reason": "tool_use", "stop_sequence": None,
            "usage": {"input_tokens": 9, "output_tokens": 2},
        }
    )  # fmt: skip


@pytest.mark.parametrize("make", [openai_response, anthropic_response])
def test_responses_of_clients_come_back_as_their_objects(store: Recorded, make: Any) -> None:
    got: list[Any] = []

    @llm_trace.trace(kind="llm")
    def ask() -> Any:
        RAN.append("ask")
        return make()

    @llm_trace.trace
    def run() -> None:
        got.append(ask())

    with llm_trace.start_run("nightly"):
        run()
    llm_trace.replay("nightly", functions=run)
    assert RAN == ["ask"]
    assert got[0] == got[1]
    assert repr(got[0]) == repr(got[1])


def test_a_clients_stream_comes_back_as_its_chunks(store: Recorded) -> None:
    got: list[Any] = []

    @llm_trace.trace(kind="llm")
    async def ask() -> AsyncIterator[Any]:
        RAN.append("ask")
        for chunk in openai_chunks():
            yield chunk

    @llm_trace.trace
    async def run() -> None:
        got.append([chunk async for chunk in ask()])

    with llm_trace.start_run("nightly"):
        asyncio.run(run())
    llm_trace.replay("nightly", functions=run)
    assert RAN == ["ask"]
    assert got[0] == got[1] == openai_chunks()


class Point(NamedTuple):
    x: int
    when: dt.date


@pytest.mark.parametrize(
    "value",
    [
        Point(1, dt.date(2026, 1, 2)),
        dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        uuid.UUID(int=7),
        {"a": [Point(1, dt.date(2026, 1, 2)), {"b/~c": (1,)}]},
        complex(1, 2),
        collections.OrderedDict(b=1, a=2),
    ],
    ids=str,
)
def test_standard_values_come_back(store: Recorded, value: Any) -> None:
    got: list[Any] = []

    @llm_trace.trace(kind="tool")
    def give() -> Any:
        RAN.append("give")
        return value

    @llm_trace.trace
    def run() -> None:
        got.append(give())

    with llm_trace.start_run("nightly"):
        run()
    llm_trace.replay("nightly", functions=run)
    assert RAN == ["give"]
    assert repr(got[1]) == repr(value)


@pytest.mark.parametrize(
    "value", [{1: "a"}, object(), {(1, 2)}, {"x": [object()]}, "x" * 2_000_000], ids=type
)
def test_values_that_json_loses_are_named_and_not_guessed(store: Recorded, value: Any) -> None:
    @llm_trace.trace(kind="tool")
    def give() -> Any:
        RAN.append("give")
        return value

    @llm_trace.trace
    def run() -> None:
        give()

    with llm_trace.start_run("nightly"):
        run()
    with pytest.raises(
        ReplayError, match=r"give \(\w{16}\) cannot be replayed: .*; let it run: live=\['give'\]"
    ):
        llm_trace.replay("nightly", functions=run)
    assert RAN == ["give"]
    done = llm_trace.replay("nightly", functions=run, mode="mixed").config["replay"]
    assert (RAN, done["live"]) == (["give", "give"], 1)
    assert done["not_replayable"][0].startswith("give (")


def test_a_call_that_was_cancelled_is_cancelled_again(store: Recorded) -> None:
    @llm_trace.trace(kind="tool")
    async def slow() -> None:
        RAN.append("slow")
        await asyncio.sleep(60)

    @llm_trace.trace
    async def run() -> str:
        try:
            async with asyncio.timeout(0.05):
                await slow()
        except TimeoutError:
            return "late"
        return "in time"

    with llm_trace.start_run("nightly"):
        asyncio.run(run())
    done = llm_trace.replay("nightly", functions=run).config["replay"]
    assert (RAN, done["served"], done["equal"]) == (["slow"], 1, 1)


def test_a_stream_takes_its_time_when_asked_to(store: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    @llm_trace.trace(kind="llm")
    def ask() -> Generator[str, None, str]:
        RAN.append("ask")
        yield "a"
        time.sleep(0.1)
        yield "b"
        return "done"

    @llm_trace.trace
    def run() -> str:
        words = ask()
        try:
            while True:
                next(words)
        except StopIteration as stop:
            return str(stop.value)

    with llm_trace.start_run("nightly"):
        run()
    waits: list[float] = []
    monkeypatch.setattr("llm_trace.replays.answers.time", SimpleNamespace(sleep=waits.append))
    assert llm_trace.replay("nightly", functions=run).config["replay"]["equal"] == 1
    assert waits == []
    assert llm_trace.replay("nightly", functions=run, pace=True).config["replay"]["equal"] == 1
    assert RAN == ["ask"]
    assert max(waits) >= 0.1


def test_a_stream_that_fails_gives_its_chunks_and_fails(store: Recorded) -> None:
    got: list[str] = []

    @llm_trace.trace(kind="llm")
    def ask() -> Generator[str, None, None]:
        RAN.append("ask")
        yield "a"
        raise ConnectionError("cut off")

    @llm_trace.trace
    def run() -> None:
        got.extend(iter(ask()))

    with llm_trace.start_run("nightly"), pytest.raises(ConnectionError):
        run()
    assert llm_trace.replay("nightly", functions=run).config["replay"]["equal"] == 1
    assert (RAN, got) == (["ask"], ["a", "a"])


def test_a_forged_record_makes_no_other_class() -> None:
    with pytest.raises(ReplayError):
        rebuild({"__type__": "os.system", "name": "x"}, {"os:system": [""]})
    with pytest.raises(ReplayError, match="was kept as its description only"):
        rebuild({"__type__": "subprocess.Popen", "path": "true"}, {"subprocess:Popen": [""]})


async def drain(stream: AsyncIterator[Any]) -> list[Any]:
    return [chunk async for chunk in stream]


class Stream:
    """As an SDK's: a class of its own that is stepped through."""

    def __init__(self) -> None:
        self.left = ["a", "b"]

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> str:
        if not self.left:
            raise StopIteration
        return self.left.pop(0)


def numbers() -> Generator[Any]:
    yield from (1, {"two": (2,)})


async def later() -> AsyncIterator[str]:
    yield "a"
    yield "b"


async def value() -> str:
    return "now"


async def promised() -> Any:
    return later()


async def drain_promised(stream: Any) -> list[Any]:
    return await drain(await stream)


RETURNS: dict[str, tuple[Any, Any]] = {
    "generator": (numbers, list),
    "empty generator": (lambda: (str(each) for each in range(0)), list),
    "text": (lambda: (each for each in ("He", "y")), list),
    "iterator": (lambda: iter(["a", "b"]), list),
    "map": (lambda: map(str, [1, 2]), list),
    "async generator": (later, lambda stream: asyncio.run(drain(stream))),
    "coroutine": (value, asyncio.run),
    "coroutine of an async generator": (promised, lambda stream: asyncio.run(drain_promised(stream))),
}


@pytest.mark.parametrize("form", list(RETURNS))
def test_a_function_that_returns_a_stream_gives_it_again(store: Recorded, form: str) -> None:
    make, consume = RETURNS[form]
    got: list[Any] = []

    @llm_trace.trace(kind="llm")
    def ask() -> Any:
        RAN.append("ask")
        return make()

    @llm_trace.trace
    def run() -> None:
        got.append(consume(ask()))

    with llm_trace.start_run("nightly"):
        run()
    assert llm_trace.replay("nightly", functions=run).config["replay"]["served"] == 1
    assert (RAN, got) == (["ask"], [got[0], got[0]])


def test_a_stream_of_a_class_of_its_own_is_named_as_not_replayable(store: Recorded) -> None:
    @llm_trace.trace(kind="llm")
    def ask() -> Any:
        return Stream()

    @llm_trace.trace
    def run() -> list[str]:
        return list(ask())

    with llm_trace.start_run("nightly"):
        run()
    with pytest.raises(ReplayError, match=r"it returned a tests.replays.test_values.Stream"):
        llm_trace.replay("nightly", functions=run)
