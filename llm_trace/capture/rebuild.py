"""What a replay needs beside input and output, noted while a call is recorded (docs/spool-format.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.capture.lost_types import UNKNOWN, lost_types
from llm_trace.capture.pieces import mask_lengths

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.input_key import InputKey


def note_input(call: CallSpan, key: InputKey | None, arguments: dict[str, Any]) -> None:
    """Note the hash of an input that may be masked, and types that its JSON does not tell."""
    if key is not None:
        _note(call, "key", key(call.recorder.encoder.canonical(arguments)))
    _note(call, "input", _types(call, arguments))


def note_output(call: CallSpan, output: Any, data: bytes) -> None:
    """Note the types of an output, and whether redaction changed it.

    Args:
        data: the output as it is recorded.
    """
    encoder = call.recorder.encoder
    _note(call, "output", _types(call, output))
    if b"\\\\ud" in data and encoder.loses_text(output):
        _note(call, "output", {UNKNOWN: [""]})
    if encoder.redact is not None:
        _note(call, "masked", data != encoder.dump(encoder.unmasked(output)))
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
        stream |= {"chunks": orjson.Fragment(data), "types": _types(call, chunks)}
        if encoder.redact is not None:
            _note(call, "masked", data != encoder.dump(encoder.unmasked(chunks)))
    if value is not None:
        stream["value"] = orjson.Fragment(encoder.encode(value))
    _note(call, "stream", stream)


def _types(call: CallSpan, value: Any) -> Any:
    """Return the types of a value; pointers hold keys of the user's data, so they are masked too."""
    masked = call.recorder.encoder.masked
    return {masked(name): list(map(masked, pointers)) for name, pointers in lost_types(value).items()}


def _note(call: CallSpan, name: str, said: Any) -> None:
    if said:
        call.rebuild = {**(call.rebuild or {}), name: said}
