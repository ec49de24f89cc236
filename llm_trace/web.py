"""Calls made in a web request belong to the caller's trace: `traceparent` in and out, in one line each.

W3C Trace Context and Baggage, by OpenTelemetry's propagators (`OTEL_PROPAGATORS` chooses others). Of the
frameworks nothing is imported; whoever uses OpenTelemetry's own instrumentation of them needs none of this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping, MutableMapping
from contextvars import Context as Variables
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from opentelemetry import context

if TYPE_CHECKING:
    from opentelemetry.context import Context

_REQUESTS = ("http", "websocket")
Application = Callable[..., Any]


class ASGITraceContext:
    """Middleware of FastAPI, Starlette, Django and other ASGI applications.

        app.add_middleware(ASGITraceContext)        # FastAPI, Starlette
        application = ASGITraceContext(application)  # any other

    Args:
        app: the application.
    """

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(
        self, scope: MutableMapping[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        """Handle a request with the caller's span as the current one."""
        if scope["type"] not in _REQUESTS:
            await self.app(scope, receive, send)
            return
        token = context.attach(_extract(_join_headers(scope.get("headers", ()))))
        try:
            await self.app(scope, receive, send)
        finally:
            context.detach(token)


class WSGITraceContext:
    """Middleware of Flask, Django and other WSGI applications.

        app.wsgi_app = WSGITraceContext(app.wsgi_app)  # Flask
        application = WSGITraceContext(application)    # any other

    Args:
        app: the application.
    """

    def __init__(self, app: Application) -> None:
        self.app = app

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Handle a request, its streamed answer too, with the caller's span as the current one."""
        headers = {
            name[5:].replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        # A copy of the server's: nothing is left behind in there, whatever ends the request.
        variables = copy_context()
        variables.run(context.attach, _extract(headers))
        answer: Iterable[bytes] = variables.run(self.app, environ, start_response)
        files = environ.get("wsgi.file_wrapper")
        is_file = isinstance(files, type) and isinstance(answer, files)
        if isinstance(answer, (list, tuple)) or is_file:
            return answer  # servers look at these themselves
        return _Answer(answer, variables)


class _Answer:
    """A streamed answer whose pieces are made within a request's context."""

    def __init__(self, answer: Iterable[bytes], variables: Variables) -> None:
        self._answer = answer
        self._variables = variables
        self._pieces: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._pieces is None:
            self._pieces = self._variables.run(iter, self._answer)
        return self._variables.run(next, self._pieces)

    def close(self) -> None:
        close = getattr(self._answer, "close", None)
        if close is not None:
            self._variables.run(close)


def send_trace_context(request: Any) -> Awaitable[None]:
    """Give a request `traceparent`; an event hook for clients of httpx, both kinds.

        httpx.Client(event_hooks={"request": [send_trace_context]})

    For other clients, `opentelemetry.propagate.inject(headers)` fills a mapping of headers.

    Args:
        request: has `headers`, a mutable mapping.
    """
    from opentelemetry import propagate

    propagate.inject(request.headers)
    return _Done()


class _Done:
    """What an `AsyncClient` awaits and a `Client` leaves alone."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


def _extract(headers: Mapping[str, str]) -> Context:
    from opentelemetry import propagate

    return propagate.extract(headers)


def _join_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by their names in lower case; of one that came several times all values."""
    headers: dict[str, str] = {}
    for raw, value in pairs:
        name = raw.decode("latin-1").lower()
        headers[name] = ",".join([*([headers[name]] if name in headers else []), value.decode("latin-1")])
    return headers
