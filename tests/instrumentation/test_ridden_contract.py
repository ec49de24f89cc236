"""The contract of SDKs that are ridden, on recorded exchanges: programs go on as without it, one call each.

Everything of one library and kind of client shares a server, its clients and a store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.capture import failures
from llm_trace.record import Call
from tests.rig.clients import Clients, NotSupportedError
from tests.rig.drivers import Request, build_request, send
from tests.rig.exchanges import Exchange, list_exchanges
from tests.rig.measure import login
from tests.rig.oracle import is_conversation, read_facts
from tests.rig.server import Provider

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LIBRARIES = {
    "groq": "groq", "mistralai": "mistral", "google-genai": "google", "cohere": "cohere", "ollama": "ollama",
    "bedrock": "bedrock",
}  # fmt: skip
"""The provider whose exchanges go through each library."""
NOT_LOCKED = {
    "cohere": "openinference.instrumentation.cohere", "bedrock": "openinference.instrumentation.bedrock",
}  # fmt: skip
"""What instruments a library, where it is not in requirements.lock."""
_ENDPOINTS = {"google": "/v1beta/models", "cohere": "/v2", "ollama": "/api"}
"""Those that the watched client asks, where a provider has others too."""
LEFT_EARLY = {"groq": "cancelled"}
"""How a stream that is left early ends; others' instrumentations do not tell it from a whole one."""
Program = Callable[[Clients, Request], Any]


def leave(clients: Clients, request: Request) -> Any:
    """Return the first chunk of a stream, and read no more."""

    async def leave_async() -> Any:
        async for chunk in request.chunks_async():
            return chunk
        return None

    if clients.asynchronous:
        return clients.run(leave_async())
    chunks = request.chunks()
    first = next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    return first


def list_programs(provider: str) -> Iterator[tuple[str, Exchange, Program]]:
    """Yield name, exchange and program: whole and streamed answers, a stream left early, a refusal."""
    every = [each for each in list_exchanges(provider) if is_conversation(each) and not each.failed]
    asked = [each for each in every if each.endpoint.startswith(_ENDPOINTS.get(provider, "/"))]
    whole = next((each for each in asked if not each.streams and read_facts(each).usage), None)
    streamed = next((each for each in asked if each.streams and read_facts(each).usage), None)
    if whole is not None:
        yield "ask", whole, send
        yield "fail", replace(whole, status=400, body=b'{"message": "no such model"}'), send
    if streamed is not None:
        yield "stream", streamed, send
        yield "leave", streamed, leave


def describe(value: Any) -> Any:
    """Return what a program was given, with its type and less what differs from answer to answer."""
    if isinstance(value, list):
        return [describe(each) for each in value]
    if isinstance(value, dict):
        return {name: describe(each) for name, each in value.items() if name != "ResponseMetadata"}
    if hasattr(value, "model_dump"):
        return type(value), value.model_dump(mode="json", exclude={"sdk_http_response"})
    return type(value), str(value)


def run(server: Provider, clients: Clients, exchange: Exchange, program: Program) -> Any:
    try:
        return describe(program(clients, build_request(server, clients, exchange)))
    except NotSupportedError:
        raise
    except Exception as exc:
        return type(exc), re.sub(r"\d\d:\d\d:\d\d GMT", "", str(exc))


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "awaited"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_programs_of_a_ridden_library_get_what_they_got_and_each_request_is_one_call(
    library: str, asynchronous: bool, path: Path
) -> None:
    if library in NOT_LOCKED:
        pytest.importorskip(NOT_LOCKED[library], reason=f"{NOT_LOCKED[library]} is not in requirements.lock")
    programs = list(list_programs(LIBRARIES[library]))
    with login(), Provider() as server:

        def run_all() -> list[Any]:
            answers = []
            with Clients(server.url, asynchronous=asynchronous) as clients:
                for name, exchange, program in programs:
                    with llm_trace.span(name):
                        answers.append(run(server, clients, exchange, program))
            return answers

        try:
            plain = run_all()
        except NotSupportedError:
            pytest.skip(f"{library} has no client that is awaited")
        llm_trace.configure(path)
        with llm_trace.instrument(library), llm_trace.instrument(library):  # twice
            traced = run_all()
        llm_trace.shutdown()
        with llm_trace.open_store(path) as store:
            calls = store.calls(limit=100)
        undone = run_all()
        assert (traced, undone) == (plain, plain)
    for name, exchange, _ in programs:
        check_call(
            [call for call in calls if call.trace_id == find_trace(calls, name)], name, exchange, library
        )
    assert failures.counts == {}


def find_trace(calls: list[Call], name: str) -> str:
    return next(call.trace_id for call in calls if call.name == name)


def check_call(calls: list[Call], name: str, exchange: Exchange, library: str) -> None:
    """Check that a program's request is one call that ended as it did, with the provider's counts."""
    (call,) = (call for call in calls if call.kind == "llm")
    expected = {"fail": "error", "leave": LEFT_EARLY.get(library, "ok")}.get(name, "ok")
    assert (name, call.status) == (name, expected)
    if name in ("ask", "stream"):
        facts = read_facts(exchange).usage
        assert call.usage is not None
        assert (call.usage.input_tokens, call.usage.output_tokens) == (
            facts["input_tokens"],
            facts["output_tokens"],
        )
