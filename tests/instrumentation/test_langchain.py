"""LangChain and LangGraph: every run is a call in its place, and each request is counted once."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langchain_core.tracers import context as hooks
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt

import llm_trace
from llm_trace.capture import failures
from llm_trace.record import Call, Usage
from tests.conftest import Recorded
from tests.helpers.loopback import Loopback
from tests.helpers.model_server import open_server
from tests.helpers.one_loop import make_run_async

run_async = make_run_async()
SECRET: Any = "secret-key"
TOKENS = Usage(input_tokens=13, output_tokens=2, cache_read_tokens=4)


class Documents(BaseRetriever):
    """Gives the same two documents to every question."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document("gold", metadata={"source": "a", "score": 0.7}, id="d1"), Document("silver")]


@tool
def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city}"


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with open_server() as server:
        yield server


@pytest.fixture(params=["alone", "with SDKs"])
def undo(store: Recorded, request: pytest.FixtureRequest) -> Iterator[llm_trace.instrumentation.api.Undo]:
    """LangChain is instrumented alone, or with the SDKs that it calls."""
    names = ["langchain"] if request.param == "alone" else ["langchain", "openai", "anthropic"]
    with llm_trace.instrument(*names) as undo:
        yield undo


def make_openai(server: Loopback, model: str = "gpt-4o", **more: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model=model,
        base_url=server.url + "/v1",
        api_key=SECRET,
        max_retries=0,
        stream_usage=True,
        **more,
    )


def make_anthropic(server: Loopback, model: str = "claude-4") -> ChatAnthropic:
    fields: dict[str, Any] = {"model": model, "api_key": SECRET, "max_retries": 0, "max_tokens": 9}
    return ChatAnthropic(base_url=server.url, **fields)


def make_chain(model: Runnable[Any, Any]) -> Runnable[Any, str]:
    return (
        ChatPromptTemplate.from_messages([("system", "short"), ("user", "{q}")]) | model | StrOutputParser()
    )


def list_calls(store: Recorded) -> list[Call]:
    """Return the calls in the order in which they began."""
    return sorted(store.calls(), key=lambda call: call.start_ns)


def draw(calls: list[Call]) -> list[str]:
    """Return the tree of calls, a line each."""
    by_id = {call.span_id: call for call in calls}

    def depth(call: Call) -> int:
        return 0 if call.parent_id not in by_id else 1 + depth(by_id[call.parent_id])

    return [f"{'  ' * depth(call)}{call.name} {call.kind} {call.status}" for call in calls]


def texts(call: Call) -> list[Any]:
    return [part.content for message in call.messages_out for part in message.parts]


CHAIN = [
    "RunnableSequence chain ok",
    "  ChatPromptTemplate chain ok",
    "  ChatOpenAI llm ok",
    "  StrOutputParser chain ok",
]
Drive = Callable[[Runnable[Any, Any], Any], Any]


def drive_ainvoke(runnable: Runnable[Any, Any], value: Any) -> Any:
    return run_async(runnable.ainvoke(value))


def drive_stream(runnable: Runnable[Any, Any], value: Any) -> Any:
    return "".join(runnable.stream(value))


def drive_astream(runnable: Runnable[Any, Any], value: Any) -> Any:
    async def consume() -> str:
        return "".join([chunk async for chunk in runnable.astream(value)])

    return run_async(consume())


DRIVES: dict[str, Drive] = {
    "invoke": lambda runnable, value: runnable.invoke(value),
    "ainvoke": drive_ainvoke,
    "stream": drive_stream,
    "astream": drive_astream,
    "batch": lambda runnable, value: runnable.batch([value])[0],
    "abatch": lambda runnable, value: run_async(runnable.abatch([value]))[0],
}


@pytest.mark.usefixtures("undo")
@pytest.mark.parametrize("drive", DRIVES.values(), ids=DRIVES)
def test_a_chain_is_a_tree_of_calls_that_counts_each_request_once(
    store: Recorded, server: Loopback, drive: Drive
) -> None:
    assert drive(make_chain(make_openai(server, temperature=0.2)), {"q": "why?"}) == "hello"
    calls = list_calls(store)
    assert draw(calls) == CHAIN
    model = calls[2]
    assert [call.usage for call in calls] == [None, None, TOKENS, None]
    assert (model.model, texts(model), model.messages_out[0].finish_reason) == ("gpt-4o-1", ["hello"], "stop")
    assert [(m.role, m.parts[0].content) for m in model.messages_in] == [
        ("system", "short"),
        ("user", "why?"),
    ]
    assert model.params["temperature"] == 0.2
    assert (model.first_token_ns is not None) == ("stream" in drive.__name__)
    assert (calls[0].input, calls[0].output) == ({"q": "why?"}, "hello")
    assert "secret-key" not in str(calls)
    assert not failures.counts


@pytest.mark.usefixtures("undo")
@pytest.mark.parametrize("drive", [list(DRIVES.values())[i] for i in (0, 1)], ids=["invoke", "ainvoke"])
def test_anthropic_in_langchain_counts_its_cached_tokens(
    store: Recorded, server: Loopback, drive: Drive
) -> None:
    drive(make_anthropic(server), "hi")
    call = store.one()
    assert (call.name, call.provider, call.model, call.usage) == (
        "ChatAnthropic",
        "anthropic",
        "claude-4",
        TOKENS,
    )


def test_the_call_of_an_sdk_is_kept_as_a_detail_of_langchains(store: Recorded, server: Loopback) -> None:
    with llm_trace.instrument("langchain", "openai"):
        make_openai(server).invoke("hi")
    call = store.one()
    (detail,) = call.metadata["same"]
    assert detail["name"] == "openai.chat.completions.create"
    assert detail["input"]["messages"] == [{"role": "user", "content": "hi"}]
    assert call.provider == "openai"  # what the SDK's own call says, so that a cost is found for it


def test_an_sdks_span_of_another_instrumentation_is_one_with_langchains(
    store: Recorded, server: Loopback
) -> None:
    with llm_trace.instrument("langchain"):
        from openinference.instrumentation.openai import OpenAIInstrumentor

        from llm_trace.capture import otel_providers

        theirs = OpenAIInstrumentor()
        theirs.instrument(tracer_provider=otel_providers.get_own_provider())
        try:
            make_openai(server).invoke("hi")
            run_async(make_openai(server).ainvoke("hi"))
        finally:
            theirs.uninstrument()
    calls = store.calls()
    assert [(call.name, call.usage, len(call.metadata["same"])) for call in calls] == [
        ("ChatOpenAI", TOKENS, 1)
    ] * 2


@pytest.mark.parametrize("make", [make_openai, make_anthropic], ids=["openai", "anthropic"])
def test_a_stream_that_is_left_early_is_recorded_to_where_it_was_left(
    store: Recorded,
    server: Loopback,
    make: Callable[[Loopback], Any],
    undo: llm_trace.instrumentation.api.Undo,
    request: pytest.FixtureRequest,
) -> None:
    def leave() -> None:
        stream = make(server).stream("hi")
        assert next(chunk for chunk in stream if chunk.content)
        stream.close()

    async def leave_async() -> None:
        stream = make(server).astream("hi")
        async for chunk in stream:
            if chunk.content:
                break
        await stream.aclose()

    leave()
    run_async(leave_async())
    gc.collect()
    run_async(asyncio.sleep(0.01))
    calls, with_sdks = store.calls(), request.node.callspec.params["undo"] == "with SDKs"
    assert [(call.status, texts(call)) for call in calls] == [("cancelled", ["hel"])] * 2
    assert [len(call.metadata.get("same", ())) for call in calls] == [with_sdks] * 2
    read = [call.usage.input_tokens for call in calls if call.usage is not None]
    assert read == ([13, 13] if make is make_anthropic and with_sdks else [])  # told at the beginning


@pytest.mark.usefixtures("undo")
def test_the_consumer_of_a_stream_is_not_inside_it(store: Recorded, server: Loopback) -> None:
    chain = make_chain(make_openai(server))

    @llm_trace.trace
    def consume(chunk: str) -> None: ...

    async def stream() -> None:
        async for chunk in chain.astream({"q": "why?"}):
            consume(chunk)

    for chunk in chain.stream({"q": "why?"}):
        consume(chunk)
    run_async(stream())
    outside = [call.parent_id for call in store.calls() if call.name.endswith("consume")]
    assert set(outside) == {None}
    assert len(outside) >= 4


@pytest.mark.usefixtures("undo")
def test_what_comes_after_a_run_is_not_inside_it(store: Recorded, server: Loopback) -> None:
    chain = make_chain(make_openai(server))

    @llm_trace.trace
    async def work() -> None:
        await chain.ainvoke({"q": "1"})
        await chain.ainvoke({"q": "2"})
        await make_openai(server).ainvoke("3")
        await chain.ainvoke({"q": "4"})
        chain.invoke({"q": "5"})
        llm_trace.update_current_call(tags=["mine"])

    run_async(work())
    calls = list_calls(store)
    tree = ["  " + line for line in CHAIN]
    assert draw(calls)[1:] == [*tree, *tree, "  ChatOpenAI llm ok", *tree, *tree]
    assert calls[0].tags == ("mine",)


@pytest.mark.usefixtures("undo")
def test_code_of_the_program_inside_a_run_is_in_its_place(store: Recorded, server: Loopback) -> None:
    model = make_openai(server)

    @llm_trace.trace
    def ask(question: str) -> Any:
        return model.invoke(question)

    @llm_trace.trace
    async def ask_async(question: str) -> Any:
        return await model.ainvoke(question)

    RunnableLambda(ask, name="step").invoke("why?")
    run_async(RunnableLambda(ask_async, name="step").ainvoke("why?"))
    tree = [
        line.replace("test_code_of_the_program_inside_a_run_is_in_its_place.<locals>.", "")
        for line in draw(list_calls(store))
    ]
    lines = ["step chain ok", "  ask chain ok", "    ChatOpenAI llm ok"]
    assert tree == [*lines, lines[0], "  ask_async chain ok", lines[2]]


@pytest.mark.usefixtures("undo")
def test_errors_at_the_start_and_in_the_middle_are_errors(store: Recorded, server: Loopback) -> None:
    for name, drive in DRIVES.items():
        with pytest.raises(Exception, match="broken"):
            drive(make_chain(make_openai(server, "broken")), {"q": name})
    assert {draw([call])[0] for call in store.calls()} == {
        "RunnableSequence chain error", "ChatPromptTemplate chain ok", "ChatOpenAI llm error",
    }  # fmt: skip
    with pytest.raises(Exception, match="it broke"):
        list(make_openai(server, "breaks").stream("hi"))
    call = list_calls(store)[-1]
    assert (call.status, texts(call)) == ("error", ["hel"])
    assert call.error is not None
    assert call.error.message == "it broke"


@pytest.mark.usefixtures("undo")
def test_a_cancelled_task_is_cancelled_in_every_run_of_it(store: Recorded) -> None:
    async def cancel() -> None:
        begun = asyncio.Event()

        async def wait(_: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future((RunnableLambda(wait) | StrOutputParser()).ainvoke("x"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_async(cancel())
    assert draw(list_calls(store)) == ["RunnableSequence chain cancelled", "  wait chain cancelled"]


@pytest.mark.usefixtures("undo")
def test_retrieved_documents_tags_and_metadata_are_recorded(store: Recorded, server: Loopback) -> None:
    rag = (
        RunnableParallel(docs=Documents(), q=RunnableLambda(lambda x: x))
        | RunnableLambda(lambda found: {"q": found["q"] + found["docs"][0].page_content})
        | make_chain(make_openai(server))
    )
    config: RunnableConfig = {"tags": ["mine"], "metadata": {"team": "a", "session_id": "s1"}}
    assert rag.invoke("what? ", config) == "hello"
    calls = list_calls(store)
    (retriever,) = [call for call in calls if call.kind == "retriever"]
    assert retriever.input == {"query": "what? "}
    assert retriever.output == [
        {"page_content": "gold", "metadata": {"source": "a", "score": 0.7}, "id": "d1", "score": 0.7},
        {"page_content": "silver", "metadata": {}},
    ]
    assert {(call.tags, call.session, call.metadata["team"]) for call in calls} == {(("mine",), "s1", "a")}
    assert next(call for call in calls if call.kind == "llm").messages_in[1].parts[0].content == "what? gold"


def make_agent(model: Any) -> Any:
    """Return a graph that asks a model, and the tool that it calls."""

    def agent(state: MessagesState) -> Any:
        return {"messages": [model.bind_tools([weather]).invoke(state["messages"])]}

    async def agent_async(state: MessagesState) -> Any:
        return {"messages": [await model.bind_tools([weather]).ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", RunnableLambda(agent, agent_async, name="ask"))
    graph.add_node("tools", ToolNode([weather]))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", tools_condition)
    graph.add_edge("tools", "agent")
    return graph.compile()


@pytest.mark.usefixtures("undo")
@pytest.mark.parametrize("make", [make_openai, make_anthropic], ids=["openai", "anthropic"])
@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_a_graph_that_calls_tools_is_a_tree_of_calls(
    store: Recorded, server: Loopback, make: Callable[[Loopback], Any], how: str
) -> None:
    agent = make_agent(make(server))
    asked = {"messages": [HumanMessage("weather?")]}
    answer = DRIVES[how](agent, asked)
    assert answer["messages"][-1].content == "hello"
    calls = list_calls(store)
    name = type(make(server)).__name__
    turn = ["  agent agent ok", "    ask chain ok", f"      {name} llm ok", "    tools_condition chain ok"]
    tools = ["  tools chain ok", "    weather tool ok"]
    assert draw(calls) == ["LangGraph chain ok", *turn, *tools, *turn]
    models = [call for call in calls if call.kind == "llm"]
    assert [call.usage for call in models] == [TOKENS, TOKENS]
    (asked_for,) = [p.model_dump() for p in models[0].messages_out[0].parts if p.type == "tool_call"]
    (answered,) = [p.model_dump() for p in models[1].messages_in[-1].parts if p.type == "tool_call_response"]
    assert (asked_for["name"], asked_for["arguments"]) == ("weather", {"city": "Rome"})
    assert (asked_for["id"], answered["response"]) == (answered["id"], "sunny in Rome")
    (called,) = [call for call in calls if call.kind == "tool"]
    assert called.input == {"city": "Rome"}


@pytest.mark.usefixtures("undo")
def test_a_graph_that_waits_for_a_human_has_not_failed(store: Recorded) -> None:
    graph = StateGraph(MessagesState)
    graph.add_node("ask", lambda state: {"messages": [HumanMessage(interrupt("sure?"))]})
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    app = graph.compile(checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "t1"}}
    with warnings.catch_warnings(record=True) as seen:
        app.invoke({"messages": []}, config)
        app.invoke(Command(resume="yes"), config)
    assert not seen
    assert draw(list_calls(store)) == ["LangGraph chain ok", "  ask chain ok"] * 2
    assert {call.session for call in store.calls()} == {"t1"}


@pytest.mark.usefixtures("undo")
def test_other_models_and_several_prompts_at_once_are_recorded(store: Recorded, server: Loopback) -> None:
    llm = OpenAI(model="instruct", base_url=server.url + "/v1", api_key=SECRET, max_retries=0)
    assert llm.batch(["one", "two"]) == ["hello", "hello"]
    first, second = list_calls(store)
    assert (first.usage, second.usage) == (first.usage, None)
    assert first.usage is not None
    assert (first.usage.input_tokens, first.input["prompt"], second.input["prompt"]) == (13, "one", "two")
    assert texts(second) == ["hello"]
    assert FakeListChatModel(responses=["a"]).invoke("hi").content == "a"
    assert texts(list_calls(store)[-1]) == ["a"]


TWO: list[list[BaseMessage]] = [[HumanMessage("one")], [HumanMessage("two")]]
AT_ONCE: dict[str, Callable[[Any], Any]] = {
    "generate": lambda model: model.generate(TWO),
    "agenerate": lambda model: run_async(model.agenerate(TWO)),
    "batch": lambda model: model.batch(["one", "two"]),
    "abatch": lambda model: run_async(model.abatch(["one", "two"])),
}


@pytest.mark.usefixtures("undo")
@pytest.mark.parametrize("make", [make_openai, make_anthropic], ids=["openai", "anthropic"])
@pytest.mark.parametrize("ask", AT_ONCE.values(), ids=AT_ONCE)
@pytest.mark.filterwarnings("ignore:Unexpected type for token usage")  # where LangChain sums them
def test_each_of_several_prompts_at_once_is_one_call_with_its_own_answer(
    store: Recorded,
    server: Loopback,
    request: pytest.FixtureRequest,
    make: Callable[[Loopback], Any],
    ask: Callable[[Any], Any],
) -> None:
    @llm_trace.trace(name="step")
    def step() -> None:
        ask(make(server))

    step()
    calls = [call for call in store.calls() if call.name != "step"]
    assert [call.name for call in calls] == [type(make(server)).__name__] * 2
    assert [call.usage for call in calls] == [TOKENS, TOKENS]
    assert sorted(call.messages_in[0].text for call in calls) == ["one", "two"]
    assert len({call.parent_id for call in calls}) == 1
    if "with SDKs" in request.node.name:
        details = [call.metadata["same"][0]["input"]["messages"][-1]["content"] for call in calls]
        assert details == [call.messages_in[0].text for call in calls]
    costs = {call.cost_usd for call in calls}
    assert len(costs) == 1


def test_embeddings_are_recorded_by_the_sdks_integration(store: Recorded, server: Loopback) -> None:
    with llm_trace.instrument("langchain", "openai"):
        OpenAIEmbeddings(
            model="e", base_url=server.url + "/v1", api_key=SECRET, check_embedding_ctx_length=False
        ).embed_query("hi")
    assert store.one().kind == "embedding"


def test_undoing_takes_the_handler_out_of_langchain(store: Recorded) -> None:
    before = list(hooks._configure_hooks)
    model = FakeListChatModel(responses=["a"])
    undo = llm_trace.instrument("langchain")
    again = llm_trace.instrument("langchain")
    assert len(hooks._configure_hooks) == len(before) + 1
    model.invoke("hi")
    assert len(store.calls()) == 1
    again()
    undo()
    undo()
    assert hooks._configure_hooks == before
    model.invoke("hi")
    assert len(store.calls()) == 1


def test_the_program_gets_what_it_gets_without(store: Recorded) -> None:
    model = FakeListChatModel(responses=["a"])
    plain = [type(chunk) for chunk in model.stream("hi")]
    with llm_trace.instrument("langchain"):
        assert [type(chunk) for chunk in model.stream("hi")] == plain
        assert set(plain) == {AIMessageChunk}
        with pytest.raises(ZeroDivisionError) as raised:
            RunnableLambda[int, float](lambda x: 1 / x).invoke(0)
    assert raised.traceback[-1].name == "<lambda>"


@pytest.mark.usefixtures("undo")
def test_a_trace_that_sampling_leaves_out_has_no_calls(recorded: Recorded, server: Loopback) -> None:
    llm_trace.configure(recorded.path, sample=lambda trace: trace.name != "RunnableSequence")
    FakeListChatModel(responses=["a"]).invoke("hi")
    make_chain(make_openai(server)).invoke({"q": "why?"})
    run_async(make_chain(make_openai(server)).ainvoke({"q": "why?"}))
    assert draw(recorded.calls()) == ["FakeListChatModel llm ok"]


def test_runs_that_never_end_do_not_pile_up(store: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    from llm_trace.capture import framework_calls
    from llm_trace_integrations.langchain import Handler

    monkeypatch.setattr(framework_calls, "_MOST", 3)
    handler = Handler()
    for number in range(9):
        contextvars.copy_context().run(handler.on_retriever_start, {"name": "r"}, "q", run_id=number)
    handler.on_retriever_end([], run_id=0)
    handler.on_retriever_end([], run_id=8)
    assert len(handler._calls._open) == 2
    assert sorted(call.status for call in store.calls()) == ["ok", *["open"] * 8]
    assert not failures.counts


def test_a_handler_that_is_told_nonsense_never_raises(store: Recorded) -> None:
    from llm_trace_integrations.langchain import Handler

    handler = Handler()
    handler.on_chain_end("x", run_id="unknown")
    handler.on_llm_new_token("x", run_id="unknown")
    handler.on_chain_start(None, {1: 2}, run_id="r", parent_run_id="gone", tags=None, metadata=None)
    handler.on_chain_error(ValueError("x"), run_id="r")
    assert draw(store.calls()) == ["Runnable chain error"]
