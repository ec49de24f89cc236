"""`instrument`: which libraries it finds, when it touches them, and how it leaves them."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import anthropic
import groq
import httpx as httpx_plain
import httpx2 as httpx
import openai
import pytest

import llm_trace
from llm_trace.capture import failures
from llm_trace.errors import ConfigurationError, MissingExtraError
from llm_trace.instrumentation import api
from llm_trace.instrumentation.integration import Integration, TracedMethod
from llm_trace.record import Usage
from tests.conftest import Recorded
from tests.helpers.loopback import Loopback, Reply
from tests.instrumentation import made_up

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
ANSWER = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "m-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip
CHUNKS = [
    {**ANSWER, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}
    for text in ("hel", "lo")
]
EVENTS = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS)
create = openai.resources.chat.completions.Completions.create


def answer(request: httpx.Request) -> httpx.Response:
    if json.loads(request.content).get("stream"):
        return httpx.Response(200, text=EVENTS, headers={"content-type": "text/event-stream"})
    return httpx.Response(200, json=ANSWER)


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    with httpx.Client(transport=httpx.MockTransport(answer)) as web:
        yield openai.OpenAI(api_key="secret-key", http_client=web)


@pytest.fixture
def undo(store: Recorded) -> Iterator[llm_trace.instrumentation.api.Undo]:
    with llm_trace.instrument("openai") as undo:
        yield undo


@pytest.mark.usefixtures("undo")
def test_a_call_of_an_instrumented_library_is_recorded(store: Recorded, client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(**CHAT, extra_headers={"x-key": "secret-header"})
    assert type(completion) is openai.types.chat.ChatCompletion
    call = store.one()
    assert (call.name, call.kind, call.status) == ("openai.chat.completions.create", "llm", "ok")
    assert (call.provider, call.model, call.usage) == (
        "openai", "m-1", Usage(input_tokens=3, output_tokens=2),
    )  # fmt: skip
    assert call.input == CHAT
    assert [part.content for message in call.messages_out for part in message.parts] == ["hello"]


def test_keys_of_servers_that_the_provider_is_to_ask_are_left_out(
    store: Recorded, client: openai.OpenAI
) -> None:
    tool: Any = {
        "type": "mcp",
        "server_url": "https://a.example",
        "authorization": "s1",
        "headers": {"k": "s2"},
    }
    server = {"type": "url", "url": "https://a.example", "authorization_token": "s3"}
    with llm_trace.instrument("openai"):
        client.chat.completions.create(**CHAT, tools=[tool], extra_body={"mcp_servers": [server]})
    assert store.one().input == {
        **CHAT,
        "tools": [{"type": "mcp", "server_url": "https://a.example"}],
        "extra_body": {"mcp_servers": [{"type": "url", "url": "https://a.example"}]},
    }
    assert tool["authorization"] == "s1"


@pytest.mark.usefixtures("undo")
def test_a_stream_is_recorded_to_where_it_was_left(store: Recorded, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(**CHAT, stream=True)
    assert isinstance(stream, openai.Stream)
    assert next(iter(stream)).choices[0].delta.content == "hel"
    stream.close()
    call = store.one()
    assert call.status == "cancelled"
    assert [part.content for message in call.messages_out for part in message.parts] == ["hel"]


def test_undoing_gives_the_library_back_as_it_was(store: Recorded, client: openai.OpenAI) -> None:
    undo = llm_trace.instrument("openai")
    assert openai.resources.chat.completions.Completions.create is not create
    again = llm_trace.instrument("openai")
    client.chat.completions.create(**CHAT)
    again()
    client.chat.completions.create(**CHAT)
    assert len(store.calls()) == 2
    undo()
    undo()
    assert openai.resources.chat.completions.Completions.create is create
    client.chat.completions.create(**CHAT)
    assert len(store.calls()) == 2


def test_a_patch_of_somebody_else_over_ours_stays_and_ours_only_calls_through(
    store: Recorded, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    undo = llm_trace.instrument("openai")
    ours = openai.resources.chat.completions.Completions.create
    seen = []

    def theirs(self: Any, **arguments: Any) -> Any:
        seen.append(arguments["model"])
        return ours(self, **arguments)

    monkeypatch.setattr(openai.resources.chat.completions.Completions, "create", theirs)
    client.chat.completions.create(**CHAT)
    undo()
    assert openai.resources.chat.completions.Completions.create is theirs
    client.chat.completions.create(**CHAT)
    assert seen == ["m", "m"]
    assert len(store.calls()) == 1
    monkeypatch.undo()
    openai.resources.chat.completions.Completions.create = create  # type: ignore[method-assign]


@pytest.mark.usefixtures("undo")
def test_a_traced_model_call_around_an_instrumented_one_is_one_call(
    store: Recorded, client: openai.OpenAI
) -> None:
    @llm_trace.trace(kind="llm")
    def ask(question: str) -> str | None:
        messages: Any = [{"role": "system", "content": "short"}, {"role": "user", "content": question}]
        return client.chat.completions.create(model="m", messages=messages).choices[0].message.content

    @llm_trace.trace(kind="llm")
    def stream(question: str) -> Any:
        return client.chat.completions.create(**CHAT, stream=True)

    assert ask("why?") == "hello"
    assert len(list(stream("why?"))) == 2
    asked, streamed = sorted(store.calls(), key=lambda call: call.start_ns)
    for call in (asked, streamed):
        assert (call.provider, call.model) == ("openai", "m-1")
        assert call.usage == Usage(input_tokens=3, output_tokens=2)
    assert asked.input == {"question": "why?"}
    (detail,) = asked.metadata["same"]
    assert detail["name"] == "openai.chat.completions.create"
    assert detail["input"]["messages"][1] == {"role": "user", "content": "why?"}
    assert detail["output"]["id"] == "c1"


@pytest.mark.usefixtures("undo")
def test_a_step_around_instrumented_calls_keeps_them_as_calls(store: Recorded, client: openai.OpenAI) -> None:
    @llm_trace.trace
    def run() -> None:
        client.chat.completions.create(**CHAT)
        client.chat.completions.create(**CHAT)

    run()
    assert sorted(call.kind for call in store.calls()) == ["chain", "llm", "llm"]


def test_configure_instruments_until_shutdown(recorded: Recorded, client: openai.OpenAI) -> None:
    llm_trace.configure(recorded.path, instrument=["openai"])
    client.chat.completions.create(**CHAT)
    llm_trace.shutdown()
    assert openai.resources.chat.completions.Completions.create is create
    assert len(recorded.calls()) == 1


def test_a_library_that_is_unknown_or_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"instrument\('nothing'\): no such library is known"):
        llm_trace.instrument("nothing")
    monkeypatch.setattr(api, "find_version", lambda _: None)
    with pytest.raises(MissingExtraError, match="pip install openai"):
        llm_trace.instrument("openai")
    with pytest.raises(ConfigurationError, match="is neither True nor a list of libraries"):
        llm_trace.configure(instrument="openai")


def test_a_method_that_a_version_lacks_is_counted_and_the_rest_is_instrumented(
    store: Recorded, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(openai.resources.embeddings.Embeddings, "create")
    with llm_trace.instrument("openai"):
        client.chat.completions.create(**CHAT)
    assert len(store.calls()) == 1
    (key,) = failures.counts
    assert key.startswith("openai.embeddings.create, which openai ")


def test_nothing_is_imported_for_it_and_what_is_imported_later_is_instrumented() -> None:
    code = """
import sys, llm_trace
before = set(sys.modules)
undo = llm_trace.instrument()
known = {"openai", "anthropic", "mistralai", "google.genai", "ollama", "groq", "cohere", "botocore", "torch"}
print(sorted(known & set(sys.modules)))
print(undo.libraries["openai"])
import openai
openai.resources.chat.completions
print(undo.libraries["openai"][:24])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "waiting", "llm_trace's integration "]


def test_a_library_is_ridden_without_touching_the_global_provider(store: Recorded) -> None:
    pytest.importorskip("openinference.instrumentation.ollama")
    import ollama
    from opentelemetry import trace as otel

    reply = {
        "model": "m-1", "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop",
        "message": {"role": "assistant", "content": "hello"}, "prompt_eval_count": 3, "eval_count": 2,
    }  # fmt: skip
    before = otel.get_tracer_provider()
    with llm_trace.instrument("ollama") as undo:
        assert undo.libraries["ollama"].startswith("openinference-instrumentation-ollama")
        with Loopback(lambda _: Reply(body=json.dumps(reply).encode())) as server:
            client = ollama.Client(host=server.url)
            client.chat(**CHAT)
            client._client.close()
    assert otel.get_tracer_provider() is before
    call = store.one()
    assert (call.kind, call.usage) == ("llm", Usage(input_tokens=3, output_tokens=2))
    assert [part.content for message in call.messages_out for part in message.parts] == ["hello"]


def test_groq_is_recorded_streams_and_errors_included(store: Recorded) -> None:
    def reply(request: httpx_plain.Request) -> httpx_plain.Response:
        body = json.loads(request.content)
        if body["model"] == "unknown":
            return httpx_plain.Response(400, json={"error": {"message": "no such model"}})
        if body.get("stream"):
            return httpx_plain.Response(200, text=EVENTS, headers={"content-type": "text/event-stream"})
        return httpx_plain.Response(200, json=ANSWER)

    transport = httpx_plain.MockTransport(reply)
    with llm_trace.instrument("groq"), httpx_plain.Client(transport=transport) as web:
        completions = groq.Groq(api_key="k", http_client=web).chat.completions
        completions.create(**CHAT)
        assert len(list(completions.create(**CHAT, stream=True))) == 2
        with pytest.raises(groq.BadRequestError):
            completions.create(model="unknown", messages=[])
    failed, streamed, whole = store.calls()
    assert (whole.provider, failed.status) == ("groq", "error")
    for call in (whole, streamed):
        assert call.usage == Usage(input_tokens=3, output_tokens=2)
        assert [part.content for message in call.messages_out for part in message.parts] == ["hello"]


def test_a_made_up_provider_is_instrumented_by_forty_lines(
    store: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "load_integrations", lambda: {"made-up": made_up.INTEGRATION})
    monkeypatch.setattr(api, "find_version", lambda _: "1.0")
    say = made_up.say
    with llm_trace.instrument("made-up"):
        assert made_up.say("hi") == {"text": "HI", "spent": [1, 2]}
        assert list(made_up.Client().stream("hi")) == ["H", "I"]
    assert made_up.say is say
    streamed, said = store.calls()
    assert (said.name, said.provider, said.usage) == (
        "made_up.say",
        "made-up",
        Usage(input_tokens=1, output_tokens=2),
    )
    assert (streamed.name, streamed.input, streamed.output) == ("made_up.stream", {"prompt": "hi"}, "HI")


def test_a_reader_that_fails_loses_only_what_it_reads(
    store: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> dict[str, Any]:
        raise KeyError("text")

    broken = Integration(
        "broken", made_up.__name__, "broken", "", "",
        (TracedMethod(f"{made_up.__name__}:say", "broken.say"),),
        read_request=fail, read_response=fail,
    )  # fmt: skip
    monkeypatch.setattr(api, "load_integrations", lambda: {"broken": broken})
    monkeypatch.setattr(api, "find_version", lambda _: "1.0")
    with llm_trace.instrument("broken"):
        assert made_up.say("hi")["text"] == "HI"
    assert store.one().output == {"text": "HI", "spent": [1, 2]}
    assert failures.counts == {"the integration of broken: KeyError": 2}


def test_metadata_of_request_answer_session_and_program_add_up(
    store: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling = Integration(
        "telling", made_up.__name__, "telling", "", "",
        (TracedMethod(f"{made_up.__name__}:say", "telling.say"),),
        read_request=lambda *_: {"metadata": {"revision": "r1"}},
        read_response=lambda _: {"metadata": {"region": "eu"}},
    )  # fmt: skip
    monkeypatch.setattr(api, "load_integrations", lambda: {"telling": telling})
    monkeypatch.setattr(api, "find_version", lambda _: "1.0")

    def shout(prompt: str) -> dict[str, Any]:
        llm_trace.update_current_call(metadata={"loud": True})
        return {"text": prompt, "spent": [1, 2]}

    monkeypatch.setattr(made_up, "say", shout)
    with llm_trace.instrument("telling"), llm_trace.using_session("s", metadata={"team": "a"}):
        made_up.say("hi")
    assert store.one().metadata == {"team": "a", "revision": "r1", "loud": True, "region": "eu"}


def test_anthropic_is_recorded_with_its_provider(store: Recorded) -> None:
    body = {
        "id": "m1", "type": "message", "role": "assistant", "model": "m-1", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "hello"}], "usage": {"input_tokens": 3, "output_tokens": 2},
    }  # fmt: skip
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=body))
    with llm_trace.instrument("anthropic"), httpx.Client(transport=transport) as web:
        anthropic.Anthropic(api_key="k", http_client=web).messages.create(max_tokens=5, **CHAT)
    call = store.one()
    assert (call.provider, call.usage) == ("anthropic", Usage(input_tokens=3, output_tokens=2))


@pytest.mark.parametrize("order", ["first in, first out", "last in, first out"])
def test_a_library_stays_instrumented_until_all_who_asked_for_it_have_undone_it(
    store: Recorded, client: openai.OpenAI, order: str
) -> None:
    build = openai._base_client.BaseClient._build_request
    undos = [llm_trace.instrument("openai", "openai"), llm_trace.instrument()]
    first, last = undos if order == "first in, first out" else reversed(undos)
    first()
    first()
    assert first.libraries["openai"] == "undone"
    assert last.libraries["openai"].startswith("llm_trace's integration")
    client.chat.completions.create(**CHAT)
    assert len(store.calls()) == 1
    last()
    assert openai.resources.chat.completions.Completions.create is create
    assert openai._base_client.BaseClient._build_request is build


def test_a_library_is_instrumented_again_where_a_patch_of_somebody_else_lies_over_one_that_was_undone(
    store: Recorded, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    completions = openai.resources.chat.completions.Completions
    undo = llm_trace.instrument("openai")
    ours = completions.create

    @functools.wraps(ours)
    def theirs(*args: Any, **arguments: Any) -> Any:
        return ours(*args, **arguments)

    monkeypatch.setattr(completions, "create", theirs)
    undo()
    with llm_trace.instrument("openai"):
        client.chat.completions.create(**CHAT)
    assert completions.create is theirs
    client.chat.completions.create(**CHAT)
    assert len(store.calls()) == 1
    monkeypatch.undo()
    completions.create = create  # type: ignore[method-assign]


WORKER = """
import sys, llm_trace
import httpx2 as httpx
import openai

reply = httpx.Response(200, json={"id": "c", "model": "m-1", "object": "chat.completion", "choices": []})
web = httpx.Client(transport=httpx.MockTransport(lambda request: reply))
client = openai.OpenAI(api_key="k", http_client=web)
client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
if "configure" in sys.argv:
    llm_trace.configure(instrument=False)
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
"""


@pytest.mark.parametrize("more", [[], ["configure"]], ids=["untouched", "configured otherwise"])
def test_a_worker_without_a_traced_function_inherits_the_instrumentation(
    store: Recorded, more: list[str]
) -> None:
    llm_trace.configure(store.path, instrument=["openai"])
    subprocess.run([sys.executable, "-c", WORKER, *more], check=True)
    assert [call.name for call in store.calls()] == ["openai.chat.completions.create"]
