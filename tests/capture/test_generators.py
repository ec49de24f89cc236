"""Generators and async generators: the whole protocol, early ends, context."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
from opentelemetry import trace as otel

import llm_trace
from llm_trace import trace
from llm_trace.capture.callspan import current_call
from tests.conftest import Recorded


@trace
def count(n: int) -> Generator[Any, Any, str]:
    try:
        for i in range(n):
            sent = yield f"{i} "
            if sent:
                yield f"got {sent} "
    except KeyError as exc:
        yield f"caught {exc.args[0]} "
    return "returned"


def test_a_generator_is_recorded_when_it_ends_with_its_text_joined(store: Recorded) -> None:
    chunks = [object(), object()]

    @trace
    def objects() -> Generator[object, None, None]:
        yield from chunks

    assert list(count(3)) == ["0 ", "1 ", "2 "]
    assert [a is b for a, b in zip(objects(), chunks, strict=True)] == [True, True]
    second, first = store.calls()
    assert (first.name, first.output, first.status) == ("count", "0 1 2 ", "ok")
    assert len(second.output) == 2
    assert first.first_token_ns is not None
    assert first.end_ns is not None
    assert first.start_ns < first.first_token_ns <= first.end_ns


def test_send_throw_and_return_values_pass_through(store: Recorded) -> None:
    generator = count(5)
    assert next(generator) == "0 "
    assert generator.send("x") == "got x "
    assert generator.throw(KeyError("k")) == "caught k "
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "returned"
    assert store.one().output == "0 got x caught k "


def test_an_early_break_keeps_the_partial_output_and_closes_the_generator(store: Recorded) -> None:
    closed = []

    @trace
    def f() -> Generator[str, None, None]:
        try:
            yield "a"
            yield "b"
        finally:
            closed.append(True)

    for _ in f():
        break
    gc.collect()
    assert closed == [True]
    call = store.one()
    assert (call.output, call.status, call.error) == ("a", "cancelled", None)


def test_an_unstarted_generator_leaves_no_call(store: Recorded) -> None:
    generator = count(3)
    del generator
    started = count(3)
    next(started)
    del started
    gc.collect()
    assert [c.status for c in store.calls()] == ["cancelled"]
    assert current_call() is None


def test_the_call_is_current_inside_the_generator_and_never_in_its_consumer(store: Recorded) -> None:
    inside: list[Any] = []

    @trace
    def f() -> Generator[int, None, None]:
        with otel.use_span(otel.NonRecordingSpan(otel.SpanContext(1, 2, is_remote=False))):
            inside.append((current_call(), otel.get_current_span().get_span_context().span_id))
            yield 1
            inside.append((current_call(), otel.get_current_span().get_span_context().span_id))
        inside.append((current_call(), None))

    for _ in f():
        assert current_call() is None
        assert not otel.get_current_span().get_span_context().is_valid
    assert [call.spec.name for call, _ in inside if call] == ["f", "f", "f"]
    assert [span for _, span in inside] == [2, 2, None]
    assert current_call() is None


def test_interleaved_generators_have_the_right_children(store: Recorded) -> None:
    @trace
    def child(name: str) -> None: ...

    @trace
    def parent(name: str) -> Generator[None, None, None]:
        for _ in range(2):
            child(name)
            yield

    for _ in zip(parent("a"), parent("b"), strict=True):
        pass
    calls = {c.span_id: c for c in store.calls()}
    pairs = [(c.input["name"], calls[c.parent_id].input["name"]) for c in calls.values() if c.parent_id]
    assert sorted(pairs) == [("a", "a"), ("a", "a"), ("b", "b"), ("b", "b")]


def test_errors_inside_a_generator_keep_what_came_before(store: Recorded) -> None:
    @trace
    def f() -> Generator[str, None, None]:
        yield "a"
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        list(f())
    call = store.one()
    assert (call.output, call.status) == ("a", "error")


def test_an_output_reducer_makes_the_output_and_may_fail(store: Recorded) -> None:
    @trace(output_reducer=sum)
    def numbers() -> Generator[int, None, None]:
        yield 1
        yield 2

    @trace(output_reducer=lambda chunks: 1 / 0)
    def broken() -> Generator[int, None, None]:
        yield 1

    assert list(numbers()) == [1, 2]
    assert list(broken()) == [1]
    second, first = store.calls()
    assert (first.output, second.output) == (3, [1])


def test_provider_chunks_become_the_whole_response(store: Recorded) -> None:
    @trace(kind="llm")
    def stream() -> Generator[dict[str, Any], None, None]:
        for text in ("Hel", "lo"):
            yield {
                "object": "chat.completion.chunk",
                "model": "m",
                "choices": [{"index": 0, "delta": {"content": text}}],
            }
        yield {
            "object": "chat.completion.chunk",
            "model": "m",
            "choices": [],
            "usage": {"prompt_tokens": 2, "completion_tokens": 2},
        }

    assert len(list(stream())) == 3
    call = store.one()
    assert [m.text for m in call.messages_out] == ["Hello"]
    assert call.model == "m"
    assert call.usage is not None
    assert call.usage.input_tokens == 2


@trace
async def acount(n: int) -> AsyncGenerator[str, Any]:
    try:
        for i in range(n):
            await asyncio.sleep(0)
            sent = yield f"{i} "
            if sent:
                yield f"got {sent} "
    except KeyError as exc:
        yield f"caught {exc.args[0]} "


def test_async_generators_pass_the_whole_protocol_through(store: Recorded) -> None:
    async def main() -> list[str]:
        generator = acount(5)
        got = [await anext(generator), await generator.asend("x"), await generator.athrow(KeyError("k"))]
        with pytest.raises(StopAsyncIteration):
            await anext(generator)
        return got

    assert asyncio.run(main()) == ["0 ", "got x ", "caught k "]
    call = store.one()
    assert (call.output, call.status) == ("0 got x caught k ", "ok")


def test_async_generators_pass_through_without_configure(recorded: Recorded) -> None:
    async def main() -> list[str]:
        generator = acount(5)
        return [await anext(generator), await generator.asend("x"), await generator.athrow(KeyError("k"))]

    assert asyncio.run(main()) == ["0 ", "got x ", "caught k "]


def test_an_async_generator_that_is_left_early_closes_and_keeps_its_part(store: Recorded) -> None:
    async def main() -> None:
        async for _ in acount(5):
            assert current_call() is None
            break
        generator = acount(5)
        await anext(generator)
        await generator.aclose()

    asyncio.run(main())
    assert [(c.output, c.status) for c in store.calls()] == [("0 ", "cancelled")] * 2


def test_a_timeout_reaches_into_an_async_generator(store: Recorded) -> None:
    @trace
    async def slow() -> AsyncGenerator[str, None]:
        yield "a"
        await asyncio.sleep(10)
        yield "b"

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                async for _ in slow():
                    pass

    asyncio.run(main())
    call = store.one()
    assert (call.output, call.status) == ("a", "cancelled")


def test_children_of_an_async_generator_and_no_task_of_ours(store: Recorded) -> None:
    @trace
    async def child() -> None: ...

    tasks = []

    @trace
    async def parent() -> AsyncGenerator[int, None]:
        tasks.append(asyncio.current_task())
        await child()
        yield 1
        tasks.append(asyncio.current_task())
        await child()

    async def main() -> None:
        async for _ in parent():
            pass
        tasks.append(asyncio.current_task())

    asyncio.run(main())
    assert len(set(tasks)) == 1
    calls = {c.span_id: c for c in store.calls()}
    assert [calls[c.parent_id].name for c in calls.values() if c.parent_id] == ["parent", "parent"]


def test_streams_that_are_consumed_in_another_context_leak_nothing(store: Recorded) -> None:
    async def main() -> None:
        generator = acount(3)
        first = asyncio.create_task(anext(generator))
        await first
        second = asyncio.create_task(anext(generator))
        await second
        await generator.aclose()
        assert current_call() is None

    asyncio.run(main())
    assert store.one().output == "0 1 "
    assert llm_trace.flush().ok
