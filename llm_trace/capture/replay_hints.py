"""What a replay needs beside input and output, noted while a call is recorded (docs/spool-format.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.capture import failures
from llm_trace.capture.input_key import compute_identity
from llm_trace.capture.pieces import mask_lengths
from llm_trace.capture.raised import record_error
from llm_trace.capture.type_hints import UNKNOWN, find_lost_types
from llm_trace.capture.values import ValueEncoder

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.input_key import InputKey
    from llm_trace.capture.type_hints import Types


def note_input(call: CallSpan, key: InputKey | None, arguments: dict[str, Any]) -> None:
    """Note the hash of an input that may be masked, and types that its JSON does not tell."""
    types = find_lost_types(arguments)
    if key is not None:
        _note(call, "key", key(compute_identity(call.recorder.encoder.canonical(arguments), types)))
    _note(call, "input", _mask_types(call, types))


def note_output(call: CallSpan, output: Any, data: bytes) -> None:
    """Note the types of an output, and whether redaction changed it.

    Args:
        data: the output as it is recorded.
    """
    encoder = call.recorder.encoder
    if call.spec.replay is None:
        _note(call, "output", _mask_types(call, find_lost_types(output, messages=True)))
    if b"\\\\ud" in data and encoder.loses_text(output):
        _note(call, "output", {UNKNOWN: [""]})
    if encoder.redact is not None:
        _note(call, "masked", data != encoder.dump(encoder.to_unmasked_json(output)))
        _mask_lengths(call, output, data)


def _mask_lengths(call: CallSpan, output: Any, data: bytes) -> None:
    """Let the lengths of a text's chunks be those of the text that is recorded."""
    stream = (call.rebuild or {}).get("stream", {})
    if "lengths" not in stream or type(output) is not str or sum(stream["lengths"]) != len(output):
        return
    masked = orjson.loads(data)
    if type(masked) is str and masked != output:
        _note(call, "stream", {**stream, "lengths": mask_lengths(stream["lengths"], output, masked)})


def note_stream(
    call: CallSpan, chunks: list[Any], times: list[int], output: Any, value: Any, *, as_text: bool
) -> None:
    """Note the chunks of a generator, as shortly as its output allows, when they came, and what it returned.

    Args:
        as_text: an output that is a text is the chunks joined.
    """
    stream: dict[str, Any] = {"ns": [call.clock, *times]}
    encoder = call.recorder.encoder
    if as_text and type(output) is str:
        stream["lengths"] = list(map(str.__len__, chunks))
    elif output is not chunks:
        data = encoder.encode(chunks)
        stream["chunks"] = orjson.Fragment(data)
        if call.spec.replay is None:
            stream["types"] = _mask_types(call, find_lost_types(chunks, messages=True))
        if encoder.redact is not None:
            _note(call, "masked", data != encoder.dump(encoder.to_unmasked_json(chunks)))
    if value is not None:
        stream["value"] = orjson.Fragment(encoder.encode(value))
        if types := find_lost_types(value, messages=True):
            stream["value_types"] = _mask_types(call, types)
    _note(call, "stream", stream)


def note_returned(call: CallSpan, form: str) -> None:
    """Note what the function returned that ends the call later, and after a coroutine what that returned."""
    _note(call, "returned", [*(call.rebuild or {}).get("returned", ()), form])


def note_error(call: CallSpan, error: BaseException) -> None:
    """Note what an exception holds beside its message, and whether redaction changed that; never raises."""
    encoder = call.recorder.encoder
    try:
        record = record_error(error, encoder)
        if encoder.redact is not None:
            plain = orjson.dumps(record_error(error, ValueEncoder(limits=encoder.limits)))
            _note(call, "masked", orjson.dumps(record) != plain)
        _note(call, "error", record)
    except Exception as exc:
        failures.note("an exception's state", exc)


def _mask_types(call: CallSpan, types: Types) -> Any:
    """Return types with their pointers masked: those hold keys of the user's data."""
    masked = call.recorder.encoder.mask_text
    return {masked(name): list(map(masked, pointers)) for name, pointers in types.items()}


def _note(call: CallSpan, name: str, said: Any) -> None:
    if said:
        call.rebuild = {**(call.rebuild or {}), name: said}
