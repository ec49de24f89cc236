"""Anthropic's clients for clouds: their beta resource is a class with copies of the first party's methods."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest
from anthropic.lib.bedrock import _beta_messages as bedrock_beta
from anthropic.lib.vertex import _beta_messages as vertex_beta

import llm_trace
from llm_trace.record import Usage
from tests.conftest import Recorded

ASK: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
BODY = {
    "id": "m1", "type": "message", "role": "assistant", "model": "m-1", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "hello"}], "usage": {"input_tokens": 3, "output_tokens": 2},
}  # fmt: skip


@pytest.fixture
def web() -> Iterator[httpx.Client]:
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=BODY))) as client:
        yield client


def make_bedrock(web: httpx.Client) -> Any:
    return anthropic.AnthropicBedrock(
        aws_access_key="a", aws_secret_key="s", aws_region="us-east-1", http_client=web
    )


def make_vertex(web: httpx.Client) -> Any:
    return anthropic.AnthropicVertex(region="r", project_id="p", access_token="t", http_client=web)


@pytest.mark.parametrize(
    ("make", "provider"),
    [(make_bedrock, "aws.bedrock"), (make_vertex, "gcp.vertex_ai")],
    ids=["bedrock", "vertex"],
)
@pytest.mark.parametrize("resource", ["messages", "beta.messages"])
def test_a_clouds_client_is_recorded_once_where_the_sdk_was_imported_before(
    store: Recorded, web: httpx.Client, make: Callable[[httpx.Client], Any], provider: str, resource: str
) -> None:
    client = make(web)
    messages = client.beta.messages if resource == "beta.messages" else client.messages
    with llm_trace.instrument("anthropic"):
        assert messages.create(**ASK).content[0].text == "hello"
    messages.create(**ASK)
    call = store.one()
    assert (call.name, call.provider, call.model, call.usage, call.input) == (
        f"anthropic.{resource}.create", provider, "m-1", Usage(input_tokens=3, output_tokens=2), ASK,
    )  # fmt: skip


def test_who_is_asked_is_known_by_the_address_and_not_guessed_from_the_model(store: Recorded) -> None:
    body: dict[str, Any] = {
        "id": "c",
        "model": "gpt-4o",
        "object": "chat.completion",
        "choices": [],
        "usage": None,
    }
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=body))
    with llm_trace.instrument("openai"), httpx.Client(transport=transport) as web:
        for address in ("https://openrouter.ai/api/v1", "http://127.0.0.1:8000/v1"):
            client = openai.OpenAI(api_key="k", base_url=address, http_client=web)
            client.chat.completions.create(model="gpt-4o", messages=ASK["messages"])
    assert [call.provider for call in store.calls()] == ["openai", "openrouter"]  # a proxy passes on


AFTER = """
import sys, llm_trace
llm_trace.configure(sys.argv[1])
undo = llm_trace.instrument("anthropic")
from tests.instrumentation.test_clouds import ASK, BODY, bedrock_beta, httpx, make_bedrock, make_vertex
from tests.instrumentation.test_clouds import vertex_beta

web = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=BODY)))
make_bedrock(web).beta.messages.create(**ASK)
make_vertex(web).beta.messages.create(**ASK)
undo()
for module in (bedrock_beta, vertex_beta):
    for name in ("Messages", "AsyncMessages"):
        for method in vars(getattr(module, name)).values():
            assert not hasattr(method, "__llm_trace__"), (module, name, method)
"""


def test_a_clouds_client_is_recorded_once_and_undone_where_the_sdk_is_imported_after(store: Recorded) -> None:
    subprocess.run([sys.executable, "-c", AFTER, str(store.path)], check=True)
    assert [(call.name, call.provider, call.usage) for call in store.calls()] == [
        ("anthropic.beta.messages.create", "gcp.vertex_ai", Usage(input_tokens=3, output_tokens=2)),
        ("anthropic.beta.messages.create", "aws.bedrock", Usage(input_tokens=3, output_tokens=2)),
    ]


def test_copies_of_methods_are_given_back_however_often_they_were_instrumented() -> None:
    before = [dict(vars(module.Messages)) for module in (bedrock_beta, vertex_beta)]
    undos = [llm_trace.instrument("anthropic"), llm_trace.instrument("anthropic")]
    assert hasattr(bedrock_beta.Messages.create, "__llm_trace__")
    for undo in undos:
        undo()
    assert [dict(vars(module.Messages)) for module in (bedrock_beta, vertex_beta)] == before
