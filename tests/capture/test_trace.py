"""The decorator on every kind of callable: the record, and that the function behaves as before."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest

import llm_trace
from llm_trace import trace
from llm_trace.capture import failures
from llm_trace.errors import ConfigurationError
from tests.conftest import Recorded


def test_a_function_is_recorded_with_its_arguments_by_name_and_what_it_returned(store: Recorded) -> None:
    @trace(kind="llm", model="m-1", tags=["prod"], metadata={"team": "refunds"})
    def ask(question: str, /, *rest: str, temperature: float = 0.2, **more: Any) -> str:
        return question.upper()

    began = time.perf_counter_ns()
    assert ask("hi", "there", top_k=3) == "HI"
    call = store.one()
    assert (call.name, call.kind, call.status, call.model) == ("ask", "llm", "ok", "m-1")
    assert call.input == {"question": "hi", "rest": ["there"], "temperature": 0.2, "more": {"top_k": 3}}
    assert (call.output, call.tags, call.metadata) == ("HI", ("prod",), {"team": "refunds"})
    assert call.code is not None
    assert call.code.function.endswith("ask")
    assert call.code.file == __file__
    assert call.duration_ns is not None
    assert 0 < call.duration_ns <= time.perf_counter_ns() - began


def test_a_later_change_to_the_messages_does_not_change_the_record(store: Recorded) -> None:
    @trace
    def ask(messages: list[dict[str, str]]) -> str:
        messages.append({"role": "assistant", "content": "inside"})
        return "hello"

    messages = [{"role": "user", "content": "hi"}]
    ask(messages)
    messages.append({"role": "user", "content": "oops"})
    assert store.one().input == {"messages": [{"role": "user", "content": "hi"}]}


def test_without_configure_a_traced_function_only_calls_through(recorded: Recorded) -> None:
    @trace
    def ask() -> object:
        return marker

    marker = object()
    assert ask() is marker
    with pytest.raises(llm_trace_not_found()):
        recorded.calls()


def llm_trace_not_found() -> type[Exception]:
    from llm_trace.errors import StoreNotFoundError

    return StoreNotFoundError


def test_the_wrapper_looks_like_the_function(store: Recorded) -> None:
    def plain(a: int, *, b: str = "x") -> str:
        """Doc."""
        return b

    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    for fn in (plain, coroutine, generator, async_generator):
        traced = trace(fn)
        assert inspect.signature(traced) == inspect.signature(fn)
        assert (traced.__doc__, traced.__name__, traced.__qualname__) == (
            fn.__doc__,
            fn.__name__,
            fn.__qualname__,
        )
        for predicate in (
            inspect.iscoroutinefunction,
            inspect.isgeneratorfunction,
            inspect.isasyncgenfunction,
        ):
            assert predicate(traced) == predicate(fn), (fn, predicate)
    assert inspect.isgenerator(trace(generator)())


def test_methods_classmethods_staticmethods_and_classes(store: Recorded) -> None:
    class Desk:
        @trace
        def method(self, a: int) -> int:
            return a

        @trace
        @classmethod
        def of(cls, a: int) -> type:
            return cls

        @staticmethod
        @trace
        def static(a: int) -> int:
            return a

    @trace(tags=["t"])
    class Other:
        def answer(self, b: int) -> int:
            return b

        def _private(self) -> None: ...

    class Sub(Desk): ...

    assert Desk().method(1) == 1
    assert Sub.of(2) is Sub
    assert Desk.static(3) == 3
    assert Other().answer(4) == 4
    assert isinstance(Other(), Other)
    Other()._private()
    recorded = {c.name: c.input for c in store.calls()}
    assert recorded == {
        "Desk.method": {"a": 1},
        "Desk.of": {"a": 2},
        "Desk.static": {"a": 3},
        "Other.answer": {"b": 4},
    }


def test_other_callables(store: Recorded) -> None:
    class Model:
        def __call__(self, x: int) -> int:
            return x

    class AsyncModel:
        async def __call__(self, x: int) -> int:
            return x

    assert trace(Model())(1) == 1
    assert asyncio.run(trace(AsyncModel())(2)) == 2
    assert trace(functools.partial(divmod, 7))(2) == (3, 1)
    assert trace(len)([1, 2]) == 2
    assert trace(max)(3, 4) == 4  # no signature
    assert [c.name for c in store.calls()][::-1] == ["Model", "AsyncModel", "divmod", "len", "max"]
    assert store.calls()[0].input == {"args": [3, 4]}


def test_decorating_twice_records_once_with_the_later_options(store: Recorded) -> None:
    @trace(name="second")
    @trace(name="first")
    def f() -> None: ...

    f()
    assert store.one().name == "second"


def test_wrong_arguments_raise_what_python_raises_and_are_recorded(store: Recorded) -> None:
    @trace
    def f(a: int) -> None: ...

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
        f()  # type: ignore[call-arg]
    call = store.one()
    assert call.status == "error"
    assert call.error is not None
    assert call.error.type == "TypeError"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_what_a_function_raises_is_recorded_and_raised(store: Recorded, error: BaseException) -> None:
    @trace
    def f() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        f()
    assert caught.value is error
    call = store.one()
    assert call.status == "error"
    assert call.error is not None
    assert (call.error.type, call.error.message) == (type(error).__name__, str(error))
    assert "raise error" in (call.error.traceback or "")


def test_calls_nest_and_the_context_is_left_clean(store: Recorded) -> None:
    @trace
    def inner() -> None: ...

    @trace
    async def middle() -> None:
        inner()

    @trace
    async def outer() -> None:
        await asyncio.gather(middle(), middle())

    asyncio.run(outer())
    inner()
    calls = store.calls()
    by_id = {c.span_id: c for c in calls}
    parents = sorted((c.name, by_id[c.parent_id].name if c.parent_id else "") for c in calls)
    assert parents == [
        ("inner", ""),
        ("inner", "middle"),
        ("inner", "middle"),
        ("middle", "outer"),
        ("middle", "outer"),
        ("outer", ""),
    ]
    assert len({c.trace_id for c in calls}) == 2


def test_cancellation_timeouts_and_task_groups(store: Recorded) -> None:
    @trace
    async def slow() -> None:
        await asyncio.sleep(10)

    @trace
    async def broken() -> None:
        raise ValueError("x")

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await slow()
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(slow())
                group.create_task(broken())

    asyncio.run(main())
    assert sorted(c.status for c in store.calls()) == ["cancelled", "cancelled", "error"]


def test_telemetry_that_breaks_does_not_break_the_function(
    store: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    @trace
    def f() -> int:
        return 1

    assert llm_trace.config.current is not None
    monkeypatch.setattr(llm_trace.config.current.recorder, "spool", object())
    assert [f(), f()] == [1, 1]
    report = llm_trace.flush()
    assert not report.ok
    assert sum(failures.counts.values()) == 2


def test_tokens_model_and_parameters_come_from_what_the_function_is_given_and_returns(
    store: Recorded,
) -> None:
    @trace(kind="llm")
    def ask(model: str, temperature: float) -> dict[str, Any]:
        return {
            "object": "chat.completion",
            "model": "gpt-x-2026",
            "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": 9,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 4},
            },
        }

    ask("gpt-x", 0.5)
    call = store.one()
    assert (call.model, call.params) == ("gpt-x-2026", {"temperature": 0.5})
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.cache_read_tokens) == (9, 2, 4)
    assert call.usage.reasoning_tokens is None
    assert [m.text for m in call.messages_out] == ["hi"]


def test_update_current_call_and_span(store: Recorded) -> None:
    @trace(tags=["a"])
    def f() -> str:
        with llm_trace.span("look", kind="retriever", input={"q": 1}, tags=["r"]) as s:
            s.set(output=["doc"], metadata={"k": 2})
        llm_trace.update_current_call(
            model="m", usage={"prompt_tokens": 3}, tags=["b"], metadata={"x": 1}, cost_usd=0.5
        )
        llm_trace.update_current_call(metadata={"y": 2}, nonsense=1)
        return "out"

    f()
    outer, inner = sorted(store.calls(), key=lambda c: c.start_ns)
    assert (outer.model, outer.tags, outer.metadata, outer.cost_usd) == (
        "m",
        ("a", "b"),
        {"x": 1, "y": 2},
        0.5,
    )
    assert outer.usage is not None
    assert outer.usage.input_tokens == 3
    assert (inner.name, inner.kind, inner.input, inner.output) == ("look", "retriever", {"q": 1}, ["doc"])
    assert (inner.tags, inner.metadata, inner.parent_id) == (("r",), {"k": 2}, outer.span_id)
    assert any("nonsense" in place for place in failures.counts)


def test_a_span_works_in_async_code_and_records_errors(store: Recorded) -> None:
    async def main() -> None:
        async with llm_trace.span("step"):
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        asyncio.run(main())
    assert store.one().status == "error"


def test_sessions_reach_every_call_inside(store: Recorded) -> None:
    @trace(tags=["own"])
    def f() -> None: ...

    with llm_trace.using_session("s1", user="ann", tags=["web"], metadata={"k": 1}):
        f()
        with llm_trace.using_session("s2"):
            f()
    f()
    last, second, first = store.calls()
    assert (first.session, first.user, first.tags, first.metadata) == ("s1", "ann", ("own", "web"), {"k": 1})
    assert (second.session, second.user) == ("s2", "ann")
    assert (last.session, last.user, last.tags) == (None, None, ("own",))


def test_scores_refer_to_the_running_call_or_to_a_given_one(store: Recorded) -> None:
    @trace
    def f() -> None:
        llm_trace.log_score("quality", 0.5, comment="fair")

    f()
    call = store.one()
    llm_trace.log_score("human", True, call=call, source="human")
    scores = {s.name: s for s in store.scores(call.span_id)}
    assert (scores["quality"].value, scores["quality"].comment, scores["quality"].source) == (
        0.5,
        "fair",
        "code",
    )
    assert (scores["human"].value, scores["human"].source) == (True, "human")


@pytest.mark.parametrize("option", ["prompt", "output_reducer", "attribution"])
def test_an_option_that_would_fail_at_every_call_is_refused_at_decoration(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{option}='x'"):

        @trace(**{option: "x"})  # type: ignore[call-overload, untyped-decorator]
        def ask(question: str) -> str:
            return question


WRONG = {
    "usage": 5,
    "cost_usd": "much",
    "first_token_ns": "now",
    "model": ["m"],
    "provider": object(),
    "params": "hot",
    "prompt": "p",
    "session": {},
    "user": object(),
    "tags": 5,
    "metadata": "x",
    "error": 5,
    "messages_out": "hello",
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_field_of_a_wrong_kind_is_counted_and_the_rest_of_the_call_stays(
    store: Recorded, name: str
) -> None:
    with llm_trace.span("look") as step:
        step.set(**{"replay_of": "ab", name: WRONG[name], "output": "kept"})
    report = llm_trace.flush()
    assert [reason.partition(":")[0] for reason in report.reasons] == [f"update of {name}"]
    call = store.one()
    assert (call.output, call.replay_of, call.status) == ("kept", "ab", "ok")
    assert not getattr(call, name)


def test_fields_are_taken_in_every_form_that_has_one_meaning(store: Recorded) -> None:
    prompt = llm_trace.Prompt("greet", "Hello {name}")
    with llm_trace.span("look", prompt=prompt.format(name="Ann"), error=ValueError("odd")) as step:
        step.set(usage=None, cost_usd=Decimal("0.5"), user=17)
    call = store.one()
    assert llm_trace.flush().reasons == {}
    assert (call.cost_usd, call.user, call.status) == (0.5, "17", "error")
    assert call.error is not None
    assert (call.error.type, call.error.message) == ("ValueError", "odd")
    assert call.prompt is not None
    assert (call.prompt.name, call.prompt.version, call.prompt.variables) == (
        "greet",
        prompt.version,
        {"name": "Ann"},
    )


@pytest.mark.parametrize("redact", [None, ["email"]], ids=["plain", "redacted"])
def test_messages_that_a_function_says_it_answered_are_in_the_store(
    recorded: Recorded, redact: list[str] | None
) -> None:
    llm_trace.configure(recorded.path, redact=redact)

    @trace(kind="llm")
    def ask(question: str) -> list[str]:
        answer = {"role": "assistant", "content": "to a@example.com", "finish_reason": "stop"}
        llm_trace.update_current_call(messages_out=[answer])
        return ["raw"]

    assert ask("who?") == ["raw"]
    call = recorded.one()
    (message,) = call.messages_out
    assert (message.role, message.finish_reason, call.output) == ("assistant", "stop", ["raw"])
    assert message.text == ("to a@example.com" if redact is None else "to [redacted]")


def test_a_traced_cache_keeps_its_methods_and_signature(store: Recorded) -> None:
    asked = []

    @functools.lru_cache(maxsize=8)
    def look_up(word: str, *, lower: bool = False) -> str:
        asked.append(word)
        return word

    traced = trace(look_up)
    assert [traced("a"), traced("a")] == ["a", "a"]
    assert (traced.cache_info(), traced.cache_parameters()) == (
        functools._CacheInfo(1, 1, 8, 1),
        {"maxsize": 8, "typed": False},
    )
    traced.cache_clear()
    traced("a")
    assert asked == ["a", "a"]
    assert list(inspect.signature(traced).parameters) == ["word", "lower"]
    assert inspect.unwrap(traced) is look_up.__wrapped__
    assert [call.output for call in store.calls()] == ["a", "a", "a"]


def test_a_traced_object_keeps_its_methods_and_runs_no_property(store: Recorded) -> None:
    class Task:
        retries = 3

        def __call__(self, n: int) -> int:
            return n + 1

        def delay(self, n: int) -> str:
            return f"queued {n}"

        @property
        def secret(self) -> str:
            raise RuntimeError("read")

    traced = trace(Task())
    assert (traced(1), traced.delay(2), hasattr(traced, "secret")) == (2, "queued 2", False)


def test_a_traced_generic_function_still_dispatches_and_registers(store: Recorded) -> None:
    @trace
    @functools.singledispatch
    def show(value: object) -> str:
        return "object"

    @show.register
    def _(value: int) -> str:
        return "int"

    assert (show("a"), show(1), show.dispatch(int)(1)) == ("object", "int", "int")


def test_a_traced_partial_keeps_its_function_and_arguments(store: Recorded) -> None:
    traced = trace(functools.partial(int, base=2))
    assert (traced("11"), traced.func, traced.args, traced.keywords) == (3, int, (), {"base": 2})
