"""Write calls that are over already, as their two events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_trace.spool.writer import SpoolLine

if TYPE_CHECKING:
    from llm_trace.capture.protocols import Sink
    from llm_trace.capture.values import ValueEncoder

_IDS = ("span_id", "trace_id")
_START = ("parent_id", "start_ns", "name", "kind", "run")
_TALK = ("input", "messages_in", "output", "messages_out")
_EARLY = (*_IDS, *_START, "input", "messages_in")
_ENDS = ("ok", "error", "cancelled")


def write_finished(sink: Sink, encoder: ValueEncoder, call: Mapping[str, Any]) -> bool:
    """Append the start and the end of a call that is over; return whether both are in the file."""
    start, end = encode_finished_call(encoder, call)
    return sink.write(*start[:2], field=start.field) and sink.write(*end[:2], field=end.field, sync=True)


def encode_stored_call(encoder: ValueEncoder, call: Mapping[str, Any]) -> list[SpoolLine]:
    """Return the events of a call that was in a store, of which its row comes out the same.

    Args:
        encoder: bounds and masks what is written.
        call: fields by the names of `llm_trace.record.Call`, `rebuild` and `same`; messages as they were
            logged, and their places in `input` and `output`. Without `trace_id` its start was never seen;
            without an end's `status` its end was not.
    """
    present = {name: value for name, value in call.items() if value is not None}
    if "trace_id" not in present:
        events = {"end": present}
    elif present.get("status") not in _ENDS:
        events = {"start": {name: value for name, value in present.items() if name != "status"}}
    else:
        early = {name: value for name, value in present.items() if name in _EARLY}
        late = {name: value for name, value in present.items() if name in _IDS or name not in _EARLY}
        events = {"start": early, "end": late}
    return [_encode_again(encoder, event, fields) for event, fields in events.items()]


def _encode_again(encoder: ValueEncoder, event: str, fields: Mapping[str, Any]) -> SpoolLine:
    """Return an event of a call whose messages are cut out of its values already."""
    rest = {name: value for name, value in fields.items() if name not in _TALK}
    line = encoder.encode_event({"event": event, **rest})[:-1]
    for name in ("input", "output"):
        if name in fields:
            line += b',"%b":%b' % (name.encode(), encoder.encode(fields[name]))
    list_name = "messages_in" if "messages_in" in fields else "messages_out"
    messages = fields.get(list_name)
    if messages and encoder.redact is not None:
        messages = encoder.to_masked_json(messages)
    return SpoolLine(line, messages, list_name.encode())


def encode_finished_call(encoder: ValueEncoder, call: Mapping[str, Any]) -> tuple[SpoolLine, SpoolLine]:
    """Return the start and the end of a call that is over.

    Args:
        encoder: bounds and masks what is written.
        call: fields by the names of `llm_trace.record.Call`, as JSON values.
    """
    ids = {name: call[name] for name in _IDS}
    start = {"event": "start", **ids, **{name: call[name] for name in _START if call.get(name) is not None}}
    rest = {
        name: value
        for name, value in call.items()
        if value is not None and name not in start and name not in _TALK
    }
    return (
        _encode_line(encoder, start, call, "input", "messages_in"),
        _encode_line(encoder, {"event": "end", **ids, **rest}, call, "output", "messages_out"),
    )


def encode_open_call(encoder: ValueEncoder, call: Mapping[str, Any]) -> SpoolLine:
    """Return the start of a call that is not over, with all that is known of it."""
    known = {
        name: value
        for name, value in call.items()
        if value is not None and name not in ("status", "end_ns", *_TALK)
    }
    return _encode_line(encoder, {"event": "start", **known}, call, "input", "messages_in")


def _encode_line(
    encoder: ValueEncoder, event: dict[str, Any], call: Mapping[str, Any], value: str, list_name: str
) -> SpoolLine:
    data, messages = _encode_talk(encoder, call.get(value), call.get(list_name))
    line = encoder.encode_event(event)[:-1]
    if data:
        line += b',"%b":%b' % (value.encode(), data)
    return SpoolLine(line, messages, list_name.encode())


def _encode_talk(encoder: ValueEncoder, value: Any, messages: Any) -> tuple[bytes, list[Any] | None]:
    """Return a call's input or output as JSON, and its messages; what repeats these is cut out of it."""
    if isinstance(value, dict) and (not messages or value == {"messages": messages}):
        return encoder.encode_arguments(value)
    data = b"" if value is None else encoder.encode(value)
    if not messages or b'"$messages"' in data:  # the user's own data has such a key
        return data, None
    return data, messages if encoder.redact is None else encoder.to_masked_json(messages)
