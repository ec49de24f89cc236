"""The body of an HTTP response, or what was read of it, as the output of a call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llm_trace.capture.chunks import join_chunks
from llm_trace.semconv.values import load_container

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan


def join_body(call: CallSpan, pieces: list[Any], times: list[int], name: str) -> Any:
    """Return what a body says: the one output that its events amount to, its JSON, else its text or bytes.

    Args:
        pieces: lines or text, or bytes, as they were read.
        times: when each came, `perf_counter_ns`.
        name: of the class that the response has in the record.
    """
    text = _join_text(pieces)
    if not text:
        return None
    if isinstance(text, bytes):
        return text
    if (body := load_container(text)) is not text:
        return {"__type__": name, **body} if type(body) is dict else body
    if events := parse_events(text):
        return join_chunks(events, call, times[:1] * len(events) if call.spec.served else [])
    return text


def _join_text(pieces: list[Any]) -> str | bytes:
    if not pieces or isinstance(pieces[0], str):
        return "".join(pieces)
    body: bytes = b"".join(pieces)
    try:
        return body.decode()
    except UnicodeDecodeError as exc:  # in the middle of a letter, or no text
        return body[: exc.start].decode() if exc.start > len(body) - 4 else body


def parse_events(text: str) -> list[Any]:
    """Return the JSON values of server-sent events; one that was read in part only is left out."""
    events = []
    for lines in text.replace("\r\n", "\n").split("\n\n"):
        data = "\n".join(line[5:].strip() for line in lines.split("\n") if line.startswith("data:"))
        try:
            events.append(json.loads(data))
        except ValueError:  # `[DONE]`, a comment, the part of an event
            continue
    return events
