"""`metadata["retries"]`: how often a request was sent again, by whatever sent it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import groq
import openai
import pytest
import tenacity
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI

import llm_trace
from llm_trace.record import Call
from tests.conftest import Recorded
from tests.helpers.loopback import Loopback, Reply
from tests.helpers.model_server import open_server
from tests.helpers.one_loop import make_run_async

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else importing it asks the network for prices
litellm = pytest.importorskip("litellm")

pytestmark = pytest.mark.filterwarnings("ignore")  # LiteLLM's own
HI: list[Any] = [{"role": "user", "content": "hi"}]
KEY: Any = "secret-key"
BUSY = Reply(500, b'{"error": {"message": "busy"}}', {"connection": "close", "retry-after-ms": "1"})
run_async = make_run_async()


@pytest.fixture
def server() -> Iterator[Loopback]:
    with open_server() as server:
        yield server


def ask_openai(server: Loopback) -> None:
    client = openai.OpenAI(base_url=server.url + "/v1", api_key=KEY)
    client.chat.completions.create(model="m", messages=HI)


def ask_openai_async(server: Loopback) -> None:
    async def ask() -> None:
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key=KEY) as client:
            await client.chat.completions.create(model="m", messages=HI)

    run_async(ask())


def stream_openai(server: Loopback) -> None:
    client = openai.OpenAI(base_url=server.url + "/v1", api_key=KEY)
    list(client.chat.completions.create(model="m", messages=HI, stream=True))


def ask_anthropic(server: Loopback) -> None:
    anthropic.Anthropic(base_url=server.url, api_key=KEY).messages.create(
        model="m", messages=HI, max_tokens=9
    )


def ask_groq(server: Loopback) -> None:
    groq.Groq(base_url=server.url, api_key=KEY).chat.completions.create(model="m", messages=HI)


def ask_langchain(server: Loopback) -> None:
    ChatOpenAI(model="m", base_url=server.url + "/v1", api_key=KEY, max_retries=2).invoke("hi")


def ask_decorated(server: Loopback) -> None:
    @llm_trace.trace(kind="llm")
    def ask() -> None:
        ask_openai(server)

    ask()


def ask_litellm(server: Loopback) -> None:
    litellm.completion("openai/m", HI, api_base=server.url + "/v1", api_key=KEY, max_retries=2)


def ask_litellm_for_anthropic(server: Loopback) -> None:
    litellm.completion("anthropic/m", HI, api_base=server.url, api_key=KEY, num_retries=2)


ASKING = (
    ask_openai, ask_openai_async, stream_openai, ask_anthropic, ask_groq, ask_langchain, ask_decorated,
    ask_litellm, ask_litellm_for_anthropic,
)  # fmt: skip


def ask_after_failures(store: Recorded, server: Loopback, ask: Callable[[Loopback], None], n: int) -> Call:
    server.next.extend([BUSY] * n)
    with llm_trace.instrument("openai", "anthropic", "groq", "litellm", "langchain"):
        ask(server)
    return store.one()


@pytest.mark.parametrize("ask", ASKING, ids=[ask.__name__ for ask in ASKING])
def test_a_request_that_was_sent_again_is_one_call_that_says_how_often(
    store: Recorded, server: Loopback, ask: Callable[[Loopback], None]
) -> None:
    call = ask_after_failures(store, server, ask, 1)
    assert (call.status, len(server.received), len(server.refused)) == ("ok", 1, 1)
    assert (call.metadata["retries"], "attempts" in json.dumps(call.metadata)) == (1, False)


@pytest.mark.parametrize("ask", [ask_openai, ask_langchain, ask_decorated], ids=lambda ask: ask.__name__)
def test_every_time_counts_and_none_says_nothing(
    store: Recorded, server: Loopback, ask: Callable[[Loopback], None]
) -> None:
    assert ask_after_failures(store, server, ask, 2).metadata["retries"] == 2
    with llm_trace.instrument("openai", "langchain"):
        ask(server)
    assert "retries" not in store.calls()[0].metadata


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "awaited"])
def test_a_retry_of_litellms_router_is_a_call_of_the_deployment_that_it_goes_to(
    store: Recorded, server: Loopback, awaited: bool
) -> None:
    deployment = {"model": "openai/m", "api_base": server.url + "/v1", "api_key": KEY, "max_retries": 0}
    router = litellm.Router(
        model_list=[{"model_name": "m", "litellm_params": deployment} for _ in range(2)],
        num_retries=1, retry_after=0, disable_cooldowns=True,
    )  # fmt: skip
    server.next.append(BUSY)
    with llm_trace.instrument("litellm", "openai"):
        run_async(router.acompletion("m", HI)) if awaited else router.completion("m", HI)
    calls = sorted(store.calls(), key=lambda call: call.start_ns)
    assert [(call.status, call.usage is None, call.metadata.get("retries")) for call in calls] == [
        ("error", True, None), ("ok", False, None),
    ]  # fmt: skip


def test_litellm_alone_says_how_often_the_sdk_inside_it_asked_again(
    store: Recorded, server: Loopback
) -> None:
    server.next.extend([BUSY] * 2)
    with llm_trace.instrument("litellm"), llm_trace.using_session("s", metadata={"team": "a"}):
        ask_litellm(server)
    assert store.one().metadata == {"team": "a", "retries": 2}


class Stubborn(BaseChatModel):
    """Fails twice, and asks itself again as LangChain's models do."""

    @property
    def _llm_type(self) -> str:
        return "stubborn"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        failures = [ValueError(), ValueError()]

        @tenacity.retry(before_sleep=run_manager.on_retry)
        def ask() -> str:
            if failures:
                raise failures.pop()
            return "hello"

        return ChatResult(generations=[ChatGeneration(message=AIMessage(ask()))])


def test_a_model_of_langchain_that_asks_again_says_how_often(store: Recorded) -> None:
    with llm_trace.instrument("langchain"):
        assert Stubborn().invoke("hi").content == "hello"
    assert store.one().metadata["retries"] == 2


@pytest.mark.parametrize("first", ["openai", "litellm"])
def test_the_sdk_is_given_back_whichever_integration_ends_first(store: Recorded, first: str) -> None:
    from openai._base_client import BaseClient

    before = BaseClient._build_request
    undo = {name: llm_trace.instrument(name) for name in ("openai", "litellm")}
    assert BaseClient._build_request is not before
    undo.pop(first)()
    assert BaseClient._build_request is not before
    undo.popitem()[1]()
    assert BaseClient._build_request is before
