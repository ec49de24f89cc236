"""Whether a method's call is recorded does not depend on how it gives its answer."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import llm_trace
from llm_trace.instrumentation import api
from llm_trace.instrumentation.integration import Integration, TracedMethod
from tests.conftest import Recorded


class Client:
    """Methods of each shape, each of which may be called inside another of the library."""

    def answer(self, prompt: str) -> str:
        return prompt.upper()

    async def answer_async(self, prompt: str) -> str:
        return prompt.upper()

    def stream(self, prompt: str) -> Iterator[str]:
        yield from prompt.upper()

    async def stream_async(self, prompt: str) -> AsyncIterator[str]:
        for letter in prompt.upper():
            yield letter

    def call_inside(self, prompt: str, read: Callable[[Client, str], str]) -> str:
        return read(self, prompt)


async def join(stream: AsyncIterator[str]) -> str:
    return "".join([letter async for letter in stream])


READERS: dict[str, Callable[[Client, str], str]] = {
    "answer": lambda client, prompt: client.answer(prompt),
    "answer_async": lambda client, prompt: asyncio.run(client.answer_async(prompt)),
    "stream": lambda client, prompt: "".join(client.stream(prompt)),
    "stream_async": lambda client, prompt: asyncio.run(join(client.stream_async(prompt))),
}
INTEGRATION = Integration(
    "shapes", __name__, "shapes", "", "",
    tuple(TracedMethod(f"{__name__}:Client.{name}", f"shapes.{name}") for name in (*READERS, "call_inside")),
    read_request=lambda client, arguments: {"input": {"prompt": arguments["prompt"]}},
    join_chunks="".join,
)  # fmt: skip
by_shape = pytest.mark.parametrize("name", READERS)


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "load_integrations", lambda: {"shapes": INTEGRATION})
    monkeypatch.setattr(api, "find_version", lambda _: "1.0")


@by_shape
def test_a_method_keeps_its_shape_and_is_recorded(store: Recorded, name: str) -> None:
    def describe() -> list[bool]:
        method = vars(Client)[name]
        checks = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
        return [check(method) for check in checks]

    shape = describe()
    with llm_trace.instrument("shapes"):
        assert describe() == shape
        assert READERS[name](Client(), "hi") == "HI"
    call = store.one()
    assert (call.name, call.input, call.output) == (f"shapes.{name}", {"prompt": "hi"}, "HI")


@by_shape
def test_a_call_inside_one_of_the_same_library_is_not_recorded_again(store: Recorded, name: str) -> None:
    with llm_trace.instrument("shapes"):
        assert Client().call_inside("hi", READERS[name]) == "HI"
    assert store.one().name == "shapes.call_inside"


@by_shape
def test_a_method_under_a_patch_of_somebody_else_is_not_recorded_after_the_undoing(
    store: Recorded, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = vars(Client)[name]
    monkeypatch.setattr(Client, name, original)  # is put back in the end
    undo = llm_trace.instrument("shapes")
    ours = vars(Client)[name]

    @functools.wraps(ours)
    def theirs(*args: Any) -> Any:
        return ours(*args)

    setattr(Client, name, theirs)
    undo()
    assert llm_trace.trace(name="around")(READERS[name])(Client(), "hi") == "HI"
    assert store.one().name == "around"
