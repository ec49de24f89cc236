"""Middleware that makes the span of whoever asks the current one for the length of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from opentelemetry import trace

from llm_trace.web import ASGITraceContext, WSGITraceContext, send_trace_context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def get_current() -> str:
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}-{span.span_id:016x}" if span.is_valid else "none"


def call_wsgi(app: Any, environ: dict[str, Any]) -> Any:
    return WSGITraceContext(app)(environ, lambda *_: None)


def test_a_streamed_answer_is_made_in_the_callers_trace_and_closed_in_it() -> None:
    seen = []

    class Answer:
        def __iter__(self) -> Iterator[bytes]:
            for _ in range(2):
                yield get_current().encode()

        def close(self) -> None:
            seen.append(get_current())

    answer = call_wsgi(lambda *_: Answer(), {"HTTP_TRACEPARENT": PARENT})
    assert next(answer) == f"{TRACE}-{SPAN}".encode()
    assert get_current() == "none"  # between the pieces the server is on its own
    assert list(answer) == [f"{TRACE}-{SPAN}".encode()]
    answer.close()
    assert seen == [f"{TRACE}-{SPAN}"]


def test_lists_and_files_are_given_to_the_server_as_they_are() -> None:
    class Wrapper:
        pass

    pieces, file = [b"whole"], Wrapper()
    assert call_wsgi(lambda *_: pieces, {}) is pieces
    assert call_wsgi(lambda *_: file, {"wsgi.file_wrapper": Wrapper}) is file


def test_an_application_that_raises_raises_and_leaves_no_trace_behind() -> None:
    def fail(*_: Any) -> Any:
        raise LookupError(get_current())

    async def fail_later(*_: Any) -> None:
        raise LookupError(get_current())

    with pytest.raises(LookupError, match=SPAN):
        call_wsgi(fail, {"HTTP_TRACEPARENT": PARENT})
    scope = {"type": "http", "headers": [(b"traceparent", PARENT.encode())]}
    with pytest.raises(LookupError, match=SPAN):
        asyncio.run(ASGITraceContext(fail_later)(scope, lambda: None, lambda _: None))
    assert get_current() == "none"


@pytest.mark.parametrize(
    "headers",
    [[], [(b"traceparent", b"no such thing")], [(b"\xff", b"\xff")], [(b"traceparent", PARENT.encode())] * 2],
    ids=["none", "malformed", "bytes", "twice"],
)
def test_requests_without_a_trace_that_is_valid_begin_their_own(headers: list[tuple[bytes, bytes]]) -> None:
    seen = []

    async def app(*_: Any) -> None:
        seen.append(get_current())

    for kind in ("http", "websocket", "lifespan"):
        asyncio.run(ASGITraceContext(app)({"type": kind, "headers": headers}, lambda: None, lambda _: None))
    assert seen == ["none"] * 3


def test_concurrent_requests_have_a_trace_each() -> None:
    seen = {}

    async def app(scope: Any, *_: Any) -> None:
        await asyncio.sleep(0)
        seen[scope["path"]] = get_current()

    async def ask() -> None:
        scopes = [
            {
                "type": "http", "path": str(i),
                "headers": [(b"Traceparent", f"00-{i:032x}-{i:016x}-01".encode())],
            }
            for i in range(1, 9)
        ]  # fmt: skip
        served = ASGITraceContext(app)
        await asyncio.gather(*(served(scope, lambda: None, lambda _: None) for scope in scopes))

    asyncio.run(ask())
    assert seen == {str(i): f"{i:032x}-{i:016x}" for i in range(1, 9)}


def test_the_hook_serves_both_kinds_of_httpx_clients() -> None:
    sent: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("traceparent"))
        return httpx.Response(200)

    hooks = {"request": [send_trace_context]}

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), event_hooks=hooks) as client:
            await client.get("http://here")

    span = trace.NonRecordingSpan(trace.SpanContext(int(TRACE, 16), int(SPAN, 16), True, trace.TraceFlags(1)))
    with (
        trace.use_span(span),
        httpx.Client(transport=httpx.MockTransport(answer), event_hooks=hooks) as client,
    ):
        client.get("http://here")
        asyncio.run(ask())
    assert sent == [PARENT, PARENT]
