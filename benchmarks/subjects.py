"""What is measured: ways of recording the calls of a function, each behind one public decorator.

Runs in the environments of other libraries, so before a subject is made it imports only the standard library.
"""

from __future__ import annotations

import inspect
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

SINK = "BENCH_SINK"
"""Environment variable with the address of the loopback sink, for subjects that send what they record."""


def _nothing() -> None:
    """Have nothing to do."""


@dataclass(frozen=True)
class Subject:
    """One way of recording calls."""

    decorate: Decorator
    """Decorates a function, coroutine function or generator of one argument: a prompt or messages."""
    flush: Callable[[], object] = _nothing
    """Returns when what was recorded has left the process, as far as the library can tell."""
    close: Callable[[], object] = _nothing
    """Lets go of the folder."""


def bare(folder: Path) -> Subject:
    """Return the function as it is."""
    return Subject(lambda fn: fn)


def floor(folder: Path) -> Subject:
    """Return the least that keeps a call: orjson and one `os.write` at its end; no ids, nesting or guards."""
    import orjson

    fd = os.open(folder / "floor.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def keep(name: str, start_ns: int, asked: Any, answer: Any) -> None:
        event = {
            "name": name,
            "start_ns": start_ns,
            "end_ns": time.time_ns(),
            "input": asked,
            "output": answer,
        }
        os.write(fd, orjson.dumps(event) + b"\n")

    return Subject(_keeping(keep), close=lambda: os.close(fd))


def _keeping(keep: Callable[[str, int, Any, Any], None]) -> Decorator:
    """Return a decorator that hands each call to `keep` when it has ended."""

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        name = fn.__qualname__

        def plain(asked: Any) -> Any:
            start_ns = time.time_ns()
            answer = fn(asked)
            keep(name, start_ns, asked, answer)
            return answer

        async def awaited(asked: Any) -> Any:
            start_ns = time.time_ns()
            answer = await fn(asked)
            keep(name, start_ns, asked, answer)
            return answer

        def streamed(asked: Any) -> Iterator[Any]:
            start_ns, chunks = time.time_ns(), []
            for chunk in fn(asked):
                chunks.append(chunk)
                yield chunk
            keep(name, start_ns, asked, "".join(chunks))

        return _fitting(fn, plain, awaited, streamed)

    return decorate


def _fitting(fn: Any, plain: Any, awaited: Any, streamed: Any) -> Callable[..., Any]:
    """Return the wrapper for the kind of function that `fn` is."""
    if inspect.iscoroutinefunction(fn):
        return awaited  # type: ignore[no-any-return]
    return streamed if inspect.isgeneratorfunction(fn) else plain  # type: ignore[no-any-return]


def raw_otel(folder: Path) -> Subject:
    """Return R: a span of opentelemetry-sdk with 8 attributes, batched, to an exporter that does nothing.

    Written by hand as its manual shows; setting the attributes one by one takes as long.
    """
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return Subject(_spanning(provider.get_tracer("bench")), provider.force_flush)


def _spanning(tracer: Any) -> Decorator:
    """Return a decorator that makes a span of each call."""

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        name = fn.__qualname__

        def plain(asked: Any) -> Any:
            with tracer.start_as_current_span(name, attributes=_build_request(asked)) as span:
                answer = fn(asked)
                span.set_attributes(_build_reply(answer))
                return answer

        async def awaited(asked: Any) -> Any:
            with tracer.start_as_current_span(name, attributes=_build_request(asked)) as span:
                answer = await fn(asked)
                span.set_attributes(_build_reply(answer))
                return answer

        def streamed(asked: Any) -> Iterator[Any]:
            with tracer.start_as_current_span(name, attributes=_build_request(asked)) as span:
                chunks = []
                for chunk in fn(asked):
                    chunks.append(chunk)
                    yield chunk
                span.set_attributes(_build_reply("".join(chunks)))

        return _fitting(fn, plain, awaited, streamed)

    return decorate


def _build_request(asked: Any) -> dict[str, Any]:
    messages = asked if isinstance(asked, list) else [{"role": "user", "content": asked}]
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5-mini",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.input.messages": json.dumps(messages),
    }


def _build_reply(answer: Any) -> dict[str, Any]:
    return {
        "gen_ai.usage.input_tokens": 250,
        "gen_ai.usage.output_tokens": 250,
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "content": answer}]),
    }


def llm_trace(folder: Path) -> Subject:
    """Return this package with everything on, recording to a store in `folder`."""
    import llm_trace

    llm_trace.configure(folder / "traces.duckdb", run="bench")
    return Subject(llm_trace.trace(kind="llm", model="gpt-5-mini"), llm_trace.flush, llm_trace.shutdown)


def redacting(folder: Path) -> Subject:
    """Return this package with every built-in secret masked."""
    import llm_trace

    llm_trace.configure(folder / "traces.duckdb", run="bench", redact=True)
    return Subject(llm_trace.trace(kind="llm", model="gpt-5-mini"), llm_trace.flush, llm_trace.shutdown)


def exporting(folder: Path) -> Subject:
    """Return this package with three destinations behind the loopback sink."""
    import llm_trace

    host = os.environ[SINK].removeprefix("http://")
    addresses = [f"otlp://{host}/{name}" for name in ("first", "second", "third")]
    llm_trace.configure(folder / "traces.duckdb", run="bench", exporters=addresses)
    # a process of its own delivers: nothing here waits for it
    return Subject(llm_trace.trace(kind="llm", model="gpt-5-mini"))


def opik(folder: Path) -> Subject:
    """Return Comet's Opik with its defaults."""
    from opik import flush_tracker, track  # type: ignore[import-not-found]

    return Subject(track(type="llm"), flush_tracker)


def langfuse(folder: Path) -> Subject:
    """Return Langfuse with its defaults."""
    from langfuse import get_client, observe  # type: ignore[import-not-found]

    return Subject(observe(as_type="generation"), get_client().flush)


def traceloop(folder: Path) -> Subject:
    """Return Traceloop's OpenLLMetry with its defaults."""
    from traceloop.sdk import Traceloop  # type: ignore[import-not-found]
    from traceloop.sdk.decorators import task  # type: ignore[import-not-found]
    from traceloop.sdk.tracing.tracing import TracerWrapper  # type: ignore[import-not-found]

    Traceloop.init(app_name="bench", telemetry_enabled=False)
    return Subject(task(name="answer"), TracerWrapper().flush)


def phoenix(folder: Path) -> Subject:
    """Return Arize Phoenix's client, batching (its default sends each call before it returns)."""
    from phoenix.otel import register  # type: ignore[import-not-found]

    endpoint = os.environ[SINK] + "/v1/traces"
    provider = register(endpoint=endpoint, protocol="http/protobuf", batch=True, verbose=False)
    return Subject(provider.get_tracer("bench").llm, provider.force_flush)


OURS = {
    "bare": bare,
    "floor": floor,
    "raw_otel": raw_otel,
    "llm_trace": llm_trace,
    "redacting": redacting,
    "exporting": exporting,
}
PEERS = {"opik": opik, "langfuse": langfuse, "traceloop": traceloop, "phoenix": phoenix}
SUBJECTS: dict[str, Callable[[Path], Subject]] = {**OURS, **PEERS}
