"""Ask for exchanges while instrumentations are on, and judge the calls that the store has of them."""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import llm_trace
from llm_trace.errors import StoreNotFoundError
from llm_trace.record import Call, Kind
from tests.pricing.oracle import compute_list_cost, read_body, read_model
from tests.rig.clients import CREDENTIALS, Clients, NotSupportedError
from tests.rig.drivers import Request, Way, build_request, send
from tests.rig.exchanges import Exchange
from tests.rig.instrumentations import Instrumentation
from tests.rig.judge import FieldResult, judge, list_faults
from tests.rig.oracle import read_facts
from tests.rig.server import Provider
from tests.rig.telemetry import Telemetry

_OWN_SCOPE, _ROW_SCOPE = "llm_trace", "llm_trace.rig"
MODEL_KINDS = ("llm", "embedding", "reranker")
_COUNTS = ("input_tokens", "output_tokens")


@dataclass
class Measurement:
    """What became of exchanges."""

    asked: dict[str, Exchange] = field(default_factory=dict)
    """Exchanges by the trace that they were asked for in."""
    raised: dict[str, Exception] = field(default_factory=dict)
    """What the client raised, by exchange."""
    left_out: list[str] = field(default_factory=list)
    """Exchanges for which the client has no method."""
    spans: dict[str, list[ReadableSpan]] = field(default_factory=lambda: defaultdict(list))
    calls: dict[str, list[Call]] = field(default_factory=lambda: defaultdict(list))
    """By trace."""

    @property
    def unexpected(self) -> dict[str, str]:
        """What the client raised though the provider had answered, by exchange."""
        exchanges = {exchange.id: exchange for exchange in self.asked.values()}
        return {name: repr(exc) for name, exc in self.raised.items() if not exchanges[name].failed}

    def list_miscounted(self) -> dict[str, str]:
        """Return each exchange that is not one model call with the provider's tokens and what the price list
        says of its payload, and what it is. A cost that somebody reported is not the list's.
        """
        wrong = {}
        for trace, exchange in self.asked.items():
            models = [call for call in self.calls[trace] if call.kind in MODEL_KINDS]
            usage = read_facts(exchange).usage
            counts = [call.usage.model_dump() if call.usage else {} for call in models]
            totals = {name: sum(each.get(name) or 0 for each in counts) for name in _COUNTS}
            expected = {name: usage.get(name) or 0 for name in _COUNTS}
            costs = [call.cost_usd for call in self.calls[trace] if call.cost_usd is not None]
            price = read_cost(exchange)
            reported = any(c.cost_basis is not None and c.cost_basis.source == "reported" for c in models)
            right = (len(costs) == 1 and reported) or costs == (
                [] if price is None else [pytest.approx(price)]
            )
            if (len(models), totals, right) != (1, expected, True):
                wrong[exchange.id] = f"{len(models)} calls, {totals}, ${costs}, not 1, {expected}, ${price}"
        return wrong

    def list_faults(self, *, rides: bool = False) -> dict[str, list[str]]:
        """Return what is wrong or missing in each exchange's call; nothing where all is as it must be."""
        faults = {name: list_faults(results) for name, results in self.judge(rides=rides).items()}
        return {name: lines for name, lines in faults.items() if lines}

    def judge(self, *, rides: bool = False) -> dict[str, list[FieldResult]]:
        """Return the verdicts on each exchange's call, by the exchange's id.

        Args:
            rides: what the spans do not have is `not sent`, instead of `missing`.
        """
        return {
            exchange.id: judge(
                read_facts(exchange),
                [call for call in self.calls[trace] if call.kind in MODEL_KINDS],
                Telemetry(self.spans[trace]) if rides else None,
            )
            for trace, exchange in self.asked.items()
        }


def measure(
    exchanges: Iterable[Exchange],
    instrumentations: Sequence[Instrumentation],
    path: Path,
    *,
    asynchronous: bool = False,
    way: Way = "client",
    decorated: bool = False,
) -> Measurement:
    """Ask for exchanges, each in a trace of its own, and return what was recorded.

    Args:
        exchanges: what to ask for.
        instrumentations: all that is on meanwhile.
        path: the store to record to.
        asynchronous: ask through clients that are awaited.
        way: ask through the provider's client, or through a framework.
        decorated: put `@llm_trace.trace` around the function that asks.
    """
    provider, exporter, measurement = TracerProvider(), InMemorySpanExporter(), Measurement()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    llm_trace.configure(path, tracer_provider=provider)
    tracer = provider.get_tracer(_ROW_SCOPE)
    with ExitStack() as stack:
        server = stack.enter_context(Provider())
        stack.enter_context(login())
        clients = stack.enter_context(Clients(server.url, asynchronous=asynchronous))
        for instrumentation in instrumentations:
            instrumentation.start(provider)
            stack.callback(instrumentation.undo)
        for exchange in exchanges:
            try:
                request = build_request(server, clients, exchange, way)
            except NotSupportedError:
                measurement.left_out.append(exchange.id)
                continue
            with tracer.start_as_current_span(exchange.id) as span:
                measurement.asked[f"{span.get_span_context().trace_id:032x}"] = exchange
                _ask(measurement, exchange, clients, request, decorated=decorated)
    llm_trace.shutdown()
    _collect(measurement, exporter, path)
    return measurement


def _ask(
    measurement: Measurement, exchange: Exchange, clients: Clients, request: Request, *, decorated: bool
) -> None:
    kind = read_facts(exchange).operation
    try:
        if not decorated:
            send(clients, request)
        elif clients.asynchronous:
            clients.run(_ask_decorated_async(request, kind))
        else:
            _ask_decorated(request, kind)
    except Exception as exc:
        measurement.raised[exchange.id] = exc


def _ask_decorated(request: Request, kind: Kind) -> None:
    """Ask as a program does that traces the function around its client."""

    @llm_trace.trace(kind=kind)
    def ask(**arguments: Any) -> Any:
        return request.send()

    @llm_trace.trace(kind=kind)
    def stream(**arguments: Any) -> Iterator[Any]:
        yield from request.chunks()

    if request.stream:
        list(stream(**request.arguments))
    else:
        ask(**request.arguments)


async def _ask_decorated_async(request: Request, kind: Kind) -> None:
    @llm_trace.trace(kind=kind)
    async def ask(**arguments: Any) -> Any:
        return await request.send_async()

    @llm_trace.trace(kind=kind)
    async def stream(**arguments: Any) -> Any:
        async for chunk in request.chunks_async():
            yield chunk

    if request.stream:
        async for _ in stream(**request.arguments):
            pass
    else:
        await ask(**request.arguments)


def read_cost(exchange: Exchange) -> float | None:
    """Return what genai-prices makes of an exchange's payload; `None` without price or counts."""
    body = read_body(exchange)
    model = read_model(exchange, body)
    return None if model is None else compute_list_cost(exchange, body, model)


@contextmanager
def login() -> Iterator[None]:
    """Let clients start without a look at the world."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        # Each client loads the certificates of the world, a quarter of a second; none here speaks TLS.
        patch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_, **__: None)
        yield


def _collect(measurement: Measurement, exporter: InMemorySpanExporter, path: Path) -> None:
    for span in exporter.get_finished_spans():
        scope = span.instrumentation_scope.name if span.instrumentation_scope else ""
        if scope not in (_ROW_SCOPE, _OWN_SCOPE) and span.context is not None:
            measurement.spans[f"{span.context.trace_id:032x}"].append(span)
    try:
        with llm_trace.open_store(path) as store:
            for call in store.calls(limit=1_000_000):
                measurement.calls[call.trace_id].append(call)
    except StoreNotFoundError:  # nothing was recorded
        pass
