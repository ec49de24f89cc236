"""What SDKs made by Stainless (OpenAI's, Anthropic's and others) have in common: an object per resource, a
client behind it, and an HTTP client behind that.
"""

from __future__ import annotations

import asyncio
import copy
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache, wraps
from types import MethodType
from typing import Any

from llm_trace.capture.callspan import current_call
from llm_trace.instrumentation.integration import RecordedAnswer, Start, replace_attribute

_MADE_BY_HELPERS = frozenset(["text", "thinking", "signature", "citation", "input_json"])
"""Types of the events that Anthropic's stream helper adds to those of the wire."""


@cache
def note_retries(module: str) -> Start:
    """Return what notes on a call how often the SDK has asked again; several integrations may start it.

    Args:
        module: where the SDK has its `BaseClient`.
    """
    steps: list[Callable[[], None]] = []
    holders: list[None] = []

    def start() -> Callable[[], None]:
        if not holders:
            steps.append(_patch_builder(sys.modules[module].BaseClient))
        holders.append(None)
        return undo

    def undo() -> None:
        holders.pop()
        if not holders:
            steps.pop()()

    return start


def _patch_builder(base: Any) -> Callable[[], None]:
    """Let what builds the requests of an SDK note those that are sent again; return what undoes it."""
    build = base._build_request

    @wraps(build)
    def build_and_note(*args: Any, **kwargs: Any) -> Any:
        call = current_call()
        if kwargs.get("retries_taken") and call is not None and call.spec.library is not None:
            call.set(metadata={"retries": call.metadata.get("retries", 0) + 1})
        return build(*args, **kwargs)

    return replace_attribute(base, "_build_request", build_and_note)


def replay(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], answer: RecordedAnswer
) -> Any:
    """Run an SDK's own method against a recorded answer instead of its server: everything above HTTP is the
    SDK's own, streams and helpers included.
    """
    resource, *rest = args
    return fn(_connect(resource, answer), *rest, **kwargs)


def _connect(resource: Any, answer: RecordedAnswer) -> Any:
    """Return a copy of a resource whose requests are answered from the record."""
    client = resource._client
    served = copy.copy(client)
    served._client = _build_http_client(client._client, answer)
    _leave_out_credentials(served)
    copied = copy.copy(resource)
    for name, value in list(vars(copied).items()):
        if value is client:
            setattr(copied, name, served)
        elif isinstance(value, MethodType) and value.__self__ is client:
            setattr(copied, name, MethodType(value.__func__, served))
    return copied


def _build_http_client(http: Any, answer: RecordedAnswer) -> Any:
    """Return an HTTP client of the class that the SDK uses (httpx, or its fork) that gives the answer."""
    cls = next(c for c in type(http).__mro__ if c.__name__ in ("Client", "AsyncClient"))
    library = importlib.import_module(cls.__module__.partition(".")[0])

    def respond(_: Any) -> Any:
        if answer.events is None:
            return library.Response(200, json=answer.body)
        write = _write_events_async if cls.__name__ == "AsyncClient" else _write_events
        return library.Response(200, headers={"content-type": "text/event-stream"}, content=write(answer))

    return cls(transport=library.MockTransport(respond), base_url=http.base_url)


def _leave_out_credentials(client: Any) -> None:
    """Let a client that is not to reach a server sign nothing, and read plain events."""
    base = next(c for c in type(client).__mro__ if c.__name__ in ("SyncAPIClient", "AsyncAPIClient"))
    for name in ("_prepare_options", "_prepare_request", "_make_sse_decoder"):
        if (method := getattr(base, name, None)) is not None:
            setattr(client, name, MethodType(method, client))


def _write_events(answer: RecordedAnswer) -> Iterator[bytes]:
    for event, gap in answer.iterate():
        time.sleep(gap)
        yield _write_event(event)
    yield b"data: [DONE]\n\n"


async def _write_events_async(answer: RecordedAnswer) -> AsyncIterator[bytes]:
    for event, gap in answer.iterate():
        await asyncio.sleep(gap)
        yield _write_event(event)
    yield b"data: [DONE]\n\n"


def _write_event(event: Any) -> bytes:
    kind = event.get("type") if isinstance(event, dict) else None
    if kind in _MADE_BY_HELPERS:
        return b""
    name = f"event: {kind}\n" if isinstance(kind, str) else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()
