"""Recorded exchanges by real clients under real instrumentations, with a traced function and without."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

import llm_trace
from llm_trace.record import Call
from tests.conftest import Recorded
from tests.traffic import sdks
from tests.traffic.exchanges import Exchange, exchanges, needs_exchanges
from tests.traffic.judge import differences
from tests.traffic.oracle import facts_of, is_conversation
from tests.traffic.server import Provider

pytestmark = [needs_exchanges, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

INSTRUMENTATIONS = {
    "openinference-anthropic": ("openinference.instrumentation.anthropic:AnthropicInstrumentor", "anthropic"),
    "opentelemetry-anthropic": (
        "opentelemetry.instrumentation.genai.anthropic:AnthropicInstrumentor",
        "anthropic",
    ),
    "openinference-openai": ("openinference.instrumentation.openai:OpenAIInstrumentor", "openai"),
    "opentelemetry-openai": ("opentelemetry.instrumentation.genai.openai:OpenAIInstrumentor", "openai"),
    "openinference-groq": ("openinference.instrumentation.groq:GroqInstrumentor", "groq"),
}
SILENT: dict[str, Callable[[Exchange], bool]] = {
    "opentelemetry-openai": lambda exchange: exchange.endpoint == "/v1/completions",
    "openinference-groq": lambda exchange: bool(exchange.request.get("stream")),
}
"""Requests of which an instrumentation tells nothing."""
COUNTS = ("input_tokens", "output_tokens")


@pytest.fixture
def instrumented(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], TracerProvider]]:
    """Record what an instrumentation tells, for as long as the test runs."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")
    provider = TracerProvider()
    made: list[Any] = []

    def begin(target: str) -> TracerProvider:
        module, _, name = target.partition(":")
        pytest.importorskip(module)
        llm_trace.configure(recorded.path, tracer_provider=provider)
        made.append(getattr(importlib.import_module(module), name)())
        made[0].instrument(tracer_provider=provider, skip_dep_check=True)
        return provider

    yield begin
    for instrumentation in made:
        instrumentation.uninstrument()


def list_told(name: str, owner: str) -> list[Exchange]:
    """Return the conversations with a provider of which an instrumentation tells."""
    silent = SILENT.get(name)
    known = [x for x in exchanges().values() if x.provider == owner and is_conversation(x)]
    return [exchange for exchange in known if silent is None or not silent(exchange)]


def ask(exchange: Exchange, send: Callable[[], Any]) -> None:
    try:
        send()
    except Exception:
        if not exchange.failed:
            raise


@pytest.mark.parametrize("name", INSTRUMENTATIONS)
def test_an_exchange_is_one_call_with_the_providers_counts_and_its_messages(
    name: str, instrumented: Callable[[str], TracerProvider], recorded: Recorded
) -> None:
    target, owner = INSTRUMENTATIONS[name]
    tracer = instrumented(target).get_tracer("test")
    known = {exchange.id: exchange for exchange in list_told(name, owner)}
    traces: dict[str, str] = {}
    with Provider() as server, sdks.Clients(server) as clients:
        for exchange in known.values():
            with tracer.start_as_current_span(exchange.id) as span:
                traces[f"{span.get_span_context().trace_id:032x}"] = exchange.id
                ask(exchange, clients.request(exchange).send)
    calls: dict[str, list[Call]] = defaultdict(list)
    for call in recorded.calls(limit=10_000):
        calls[traces[call.trace_id]].append(call)
    assert {key: len(found) for key, found in calls.items()} == dict.fromkeys(known, 1)
    wrong = {key: compare_counts(known[key], found[0]) for key, found in calls.items()}
    assert {key: told for key, told in wrong.items() if told} == {}


def compare_counts(exchange: Exchange, call: Call) -> dict[str, str]:
    """Return where tokens and texts differ; not every instrumentation tells of the rest."""
    told = differences(facts_of(exchange), call, failed=exchange.failed)
    return {
        name: text for name, text in told.items() if name in (*COUNTS, "model", "asked text", "answered text")
    }


@pytest.mark.parametrize("name", INSTRUMENTATIONS)
def test_a_traced_function_around_an_instrumented_client_counts_as_the_provider_does(
    name: str, instrumented: Callable[[str], TracerProvider], recorded: Recorded
) -> None:
    target, owner = INSTRUMENTATIONS[name]
    instrumented(target)
    known = [exchange for exchange in list_told(name, owner) if not exchange.failed]

    @llm_trace.trace(kind="llm")
    def ask(request: sdks.Request) -> Any:
        answer = request.send()
        return None if request.stream else answer

    with Provider() as server, sdks.Clients(server) as clients:
        for exchange in known:
            ask(clients.request(exchange))
    truth = [facts_of(exchange).usage for exchange in known]
    query = "SELECT count(*) FILTER (kind = 'llm'), sum(input_tokens), sum(output_tokens) FROM calls"
    (row,) = recorded.sql(query).fetchall()
    assert row == (len(known), *(sum(usage.get(name) or 0 for usage in truth) for name in COUNTS))
