"""What a generator has yielded, made into one output; and the steps of an async generator.

`generators` keeps the chunks of a plain generator itself, as `Steps` does those of an async one.
"""

from __future__ import annotations

import weakref
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from llm_trace.capture import failures
from llm_trace.capture.endings import fail_call, finish_call
from llm_trace.capture.pieces import check_growing
from llm_trace.capture.replay_hints import note_stream
from llm_trace.capture.state import get_class_attribute, identify

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan

_TEXT = identify(str)
MAX_CHUNKS = 50_000
"""Chunks kept of one generator; the record says when there were more."""


def join_chunks(chunks: list[Any], call: CallSpan, times: list[int], value: Any = None) -> Any:
    """Return the one output that a generator's chunks amount to; never raises.

    Args:
        times: when each chunk came, `perf_counter_ns`; empty where a replay will not ask.
        value: what the generator returned.
    """
    try:
        reducer = call.spec.output_reducer
        output = _join_guarded(chunks, call) if reducer is None else reducer(chunks)
        if times and call.spec.capture_output and call.recorder.capture_content and len(chunks) < MAX_CHUNKS:
            note_stream(call, chunks, times, output, value, as_text=reducer is None)
        return output
    except Exception as exc:
        failures.note("an output_reducer", exc)
        return chunks


def _join_guarded(chunks: list[Any], call: CallSpan) -> Any:
    cut = len(chunks) >= MAX_CHUNKS
    if set(map(id, map(type, chunks))) == _TEXT:
        if call.recorder.encoder.redact is not None and check_growing(chunks):
            return chunks  # one after the other they would show half a secret
        text = "".join(chunks)
        return {"__type__": "str", "value": text, "truncated": True} if cut else text
    if cut:
        return [*chunks, {"__type__": "list", "truncated": True}]
    if chunks and (issubclass(cls := type(chunks[0]), dict) or get_class_attribute(cls, "model_dump")):
        from llm_trace.semconv.providers import find_sdk_provider
        from llm_trace.semconv.streams import open_chunk, reduce_stream

        plain = call.recorder.encoder.to_unmasked_json(
            list(map(open_chunk, chunks))
        )  # bytes are JSON in there
        if (whole := reduce_stream(plain)) is not None:
            if (provider := find_sdk_provider(chunks[0])) is not None:  # a chunk's class is lost in the whole
                call.fields = {"provider": provider, **(call.fields or {})}
            return whole
    return chunks


class Steps:
    """The record of an async generator, current during its steps; does nothing where `call` is `None`."""

    def __init__(self, call: CallSpan | None) -> None:
        self._call = call
        self._chunks: list[Any] = []
        self._times: list[int] = []
        self._token: Any = None
        if call is not None:
            call.leave()
            if call.around is not None:
                call.around.inner = weakref.ref(self)

    def enter(self) -> None:
        """The generator's code is about to run."""
        if self._call is not None:
            self._token = self._call.recorder.variable.set(self._call.context)  # type: ignore[arg-type]

    def leave(self) -> None:
        """The generator's code has yielded, ended or raised."""
        if (call := self._call) is not None:
            call.context = call.recorder.variable.get()
            call.token, self._token = self._token, None
            call.leave()

    def add(self, chunk: Any) -> None:
        """Keep a chunk."""
        if (call := self._call) is not None:
            if not self._chunks:
                call.first_chunk()
            if len(self._chunks) < MAX_CHUNKS:
                self._chunks.append(chunk)
                if call.spec.served:
                    self._times.append(perf_counter_ns())

    def finish(self) -> None:
        """The generator is exhausted."""
        if (call := self._call) is not None:
            finish_call(call, join_chunks(self._chunks, call, self._times))

    def abandon(self) -> None:
        """The call around this one was left: asyncio closes the generator some time later."""
        call = self._call
        if call is not None and call.open and self._token is None:  # no step of it is under way
            self._call = None
            fail_call(call, GeneratorExit(), join_chunks(self._chunks, call, self._times))

    def fail(self, error: BaseException) -> None:
        """The generator raised, was cancelled or closed."""
        if (call := self._call) is not None:
            fail_call(call, error, join_chunks(self._chunks, call, self._times))
