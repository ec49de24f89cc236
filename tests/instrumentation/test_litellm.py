"""LiteLLM: every request is one call, with the provider and the cost that LiteLLM names."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else importing it asks the network for prices
litellm = pytest.importorskip("litellm")
completion: Any = litellm.completion

import llm_trace  # noqa: E402
from llm_trace.record import Call, Usage  # noqa: E402
from tests.conftest import Recorded  # noqa: E402
from tests.helpers.loopback import Loopback, Reply  # noqa: E402
from tests.helpers.model_server import open_server  # noqa: E402
from tests.helpers.one_loop import make_run_async  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # LiteLLM's own
TOKENS = Usage(input_tokens=13, output_tokens=2, cache_read_tokens=4)
HI = [{"role": "user", "content": "hi"}]
run_async = make_run_async()


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with open_server() as server:
        yield server


@pytest.fixture(params=["alone", "with SDKs"])
def asked(store: Recorded, server: Loopback, request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """What a request to OpenAI takes, with LiteLLM instrumented alone or with the SDKs that it calls."""
    names = ["litellm"] if request.param == "alone" else ["litellm", "openai", "anthropic"]
    with llm_trace.instrument(*names):
        yield {
            "model": "openai/gpt-4o",
            "api_base": server.url + "/v1",
            "api_key": "secret-key",
            "messages": HI,
        }


def test_each_request_is_one_call_with_its_provider_and_cost(store: Recorded, asked: dict[str, Any]) -> None:
    answers = [litellm.completion(**asked), completion(**asked), run_async(litellm.acompletion(**asked))]
    for call, answer in zip(sorted(store.calls(), key=lambda call: call.start_ns), answers, strict=True):
        assert (call.provider, call.model, call.usage) == ("openai", "gpt-4o-1", TOKENS)
        assert call.cost_usd == answer._hidden_params["response_cost"] > 0
        assert [part.content for message in call.messages_out for part in message.parts] == ["hello"]
        assert "secret-key" not in str(call)


def test_streams_are_recorded_to_where_they_end(store: Recorded, asked: dict[str, Any]) -> None:
    asked |= {"stream": True, "stream_options": {"include_usage": True}}

    async def consume() -> None:
        async for _ in await litellm.acompletion(**asked):
            pass

    list(litellm.completion(**asked))
    run_async(consume())
    stream = litellm.completion(**asked)
    next(stream)
    del stream
    gc.collect()
    calls = sorted((call for call in store.calls() if "litellm" in call.name), key=lambda call: call.start_ns)
    streamed = TOKENS.model_copy(update={"reasoning_tokens": 0})
    assert [(c.status, c.usage, c.messages_out[0].parts[0].content) for c in calls] == [
        ("ok", streamed, "hello"), ("ok", streamed, "hello"), ("cancelled", None, "hel"),
    ]  # fmt: skip
    assert None not in [call.first_token_ns for call in calls]


def test_errors_and_retries_of_litellm_are_one_call_each(
    store: Recorded, server: Loopback, asked: dict[str, Any]
) -> None:
    with pytest.raises(litellm.exceptions.BadRequestError):
        litellm.completion(**{**asked, "model": "openai/broken"})
    server.next.append(Reply(500, b'{"error": {"message": "again"}}', {"connection": "close"}))
    litellm.completion(**asked, num_retries=1, max_retries=0)
    calls = sorted((call for call in store.calls() if "litellm" in call.name), key=lambda call: call.start_ns)
    assert [(call.status, call.usage) for call in calls] == [("error", None), ("ok", TOKENS)]


RESPONSE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-4o-1",
    "output": [{
        "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "text": "hello", "annotations": []}],
    }],
    "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    "usage": {
        "input_tokens": 13, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15,
    },
}  # fmt: skip
BEGIN = {
    "type": "response.created",
    "response": {**RESPONSE, "status": "in_progress", "output": [], "usage": None},
}
DELTAS: list[dict[str, Any]] = [
    {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0,
     "delta": word, "logprobs": []}
    for word in ("hel", "lo")
]  # fmt: skip
BROKEN = {"type": "error", "code": "server_error", "message": "it broke", "param": None}


def stream_events(*events: dict[str, Any]) -> Reply:
    numbered = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in numbered]
    headers = {"content-type": "text/event-stream", "connection": "close"}
    return Reply(200, "".join(lines).encode(), headers)


def respond(asked: dict[str, Any], **more: Any) -> Any:
    return litellm.responses(**{**asked, **more}, input="hi")


def respond_awaited(asked: dict[str, Any], **more: Any) -> Any:
    async def ask() -> Any:
        answer = await litellm.aresponses(**{**asked, **more}, input="hi")
        return [event async for event in answer] if more else answer

    return run_async(ask())


RESPOND = {"sync": respond, "awaited": respond_awaited}


def read_text(call: Call) -> list[Any]:
    return [part.content for message in call.messages_out for part in message.parts]


@pytest.mark.parametrize("ask", RESPOND.values(), ids=RESPOND)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_response_is_one_call_with_the_tokens_of_the_provider(
    store: Recorded, server: Loopback, asked: dict[str, Any], ask: Any, stream: bool
) -> None:
    del asked["messages"]
    whole = Reply(200, json.dumps(RESPONSE).encode(), {"content-type": "application/json"})
    completed = {"type": "response.completed", "response": RESPONSE}
    server.next.append(stream_events(BEGIN, *DELTAS, completed) if stream else whole)
    answer = ask(asked, **({"stream": True} if stream else {}))
    list(answer)
    call = store.one()
    assert (call.provider, call.model, read_text(call)) == ("openai", "gpt-4o-1", ["hello"])
    assert call.usage == TOKENS.model_copy(update={"reasoning_tokens": 0})
    assert call.cost_usd is not None


@pytest.mark.parametrize("ask", RESPOND.values(), ids=RESPOND)
def test_a_response_that_breaks_in_the_middle_keeps_what_it_had_said(
    store: Recorded, server: Loopback, asked: dict[str, Any], ask: Any
) -> None:
    del asked["messages"]
    server.next.append(stream_events(BEGIN, DELTAS[0], BROKEN))
    with pytest.raises(Exception, match="it broke"):
        list(ask(asked, stream=True))
    call = store.one()
    assert (call.status, read_text(call), call.usage) == ("error", ["hel"], None)


@pytest.mark.parametrize("model", ["openai/breaks", "anthropic/breaks"], ids=["openai", "anthropic"])
@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "awaited"])
def test_a_stream_that_breaks_in_the_middle_keeps_what_it_had_said(
    store: Recorded, server: Loopback, asked: dict[str, Any], model: str, awaited: bool
) -> None:
    asked |= {"model": model, "stream": True, "max_retries": 0}
    asked |= {"api_base": server.url} if model.startswith("anthropic") else {}

    async def consume() -> None:
        async for _ in await litellm.acompletion(**asked):
            pass

    with pytest.raises(Exception, match="it broke"):
        run_async(consume()) if awaited else list(litellm.completion(**asked))
    call = store.one()
    assert (call.status, read_text(call)) == ("error", ["hel"])


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "awaited"])
def test_a_fallback_is_one_call_with_the_model_that_answered(
    store: Recorded, server: Loopback, asked: dict[str, Any], awaited: bool
) -> None:
    asked |= {"model": "openai/broken", "fallbacks": ["openai/gpt-4o-mini"], "max_retries": 0}
    run_async(litellm.acompletion(**asked)) if awaited else litellm.completion(**asked)
    call = store.one()
    assert (call.model, call.usage, call.metadata) == ("gpt-4o-mini-1", TOKENS, {"fallbacks": 1})


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "awaited"])
def test_the_routers_fallback_is_a_call_beside_the_one_that_failed(
    store: Recorded, asked: dict[str, Any], awaited: bool
) -> None:
    messages = asked.pop("messages")
    models = {"bad": "openai/broken", "good": "openai/gpt-4o-mini"}
    router = litellm.Router(
        model_list=[
            {"model_name": name, "litellm_params": {**asked, "model": model, "max_retries": 0}}
            for name, model in models.items()
        ],
        fallbacks=[{"bad": ["good"]}],
        num_retries=0,
    )
    run_async(router.acompletion("bad", messages)) if awaited else router.completion("bad", messages)
    calls = sorted(store.calls(), key=lambda call: call.start_ns)
    assert [(call.status, call.usage) for call in calls] == [("error", None), ("ok", TOKENS)]
    assert [call.cost_usd is None for call in calls] == [True, False]


def test_the_router_and_embeddings_are_one_call_each(store: Recorded, asked: dict[str, Any]) -> None:
    messages = asked.pop("messages")
    router = litellm.Router(model_list=[{"model_name": "m", "litellm_params": asked}])
    router.completion("m", messages)
    run_async(router.acompletion("m", messages))
    litellm.embedding(**{**asked, "model": "openai/text-embedding-3-small"}, input=["hi"])
    calls = sorted(store.calls(), key=lambda call: call.start_ns)
    assert [call.kind for call in calls] == ["llm", "llm", "embedding"]
    assert [call.provider for call in calls] == ["openai"] * 3


def test_what_a_module_has_imported_while_litellm_was_instrumented_is_given_back_too(
    store: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = litellm.main.completion
    module = ModuleType("meanwhile")
    monkeypatch.setitem(sys.modules, "meanwhile", module)
    with llm_trace.instrument("litellm"):
        vars(module)["completion"] = litellm.main.completion
    assert vars(module)["completion"] is before


def test_undoing_gives_litellm_back_as_it_was(store: Recorded) -> None:
    names = ("completion", "acompletion", "embedding", "aembedding")
    before = [getattr(litellm.main, name) for name in names]
    undo = llm_trace.instrument("litellm")
    again = llm_trace.instrument("litellm")
    assert not {*before} & {getattr(litellm.main, name) for name in names}
    again()
    undo()
    assert [getattr(litellm.main, name) for name in names] == before
