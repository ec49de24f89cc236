"""Raw responses of SDKs made by Stainless that are still to be read: recorded as the program reads them.

Nothing is read for the record. What the program has of a response stays the SDK's own object: the ways of
reading its HTTP response are watched until the call ends, and the stream that `parse` makes notes its events.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.capture import failures
from llm_trace.capture.chunks import Steps
from llm_trace.capture.endings import fail_call, finish_call
from llm_trace.capture.objects import get_qualified_name
from llm_trace.capture.response_bodies import join_body
from llm_trace.capture.response_ends import watch_close
from llm_trace.capture.state import get_instance_dict

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan

_WAYS = ("iter_lines", "iter_text", "iter_bytes", "aiter_lines", "aiter_text", "aiter_bytes")
"""Ways of reading a response of httpx; each draws from the next, and so do all others."""


def watch_response(call: CallSpan, response: Any) -> Any | None:
    """Return an SDK's raw response, whose call ends when it is read or closed; `None` where it is read."""
    http = get_instance_dict(response).get("http_response")
    own = get_instance_dict(response)
    streams = own.get("_is_sse_stream") or own.get("_stream")
    content = get_instance_dict(http).get("_content")
    if http is None or (content is not None and not streams):
        return None
    reading = _Reading(call, get_qualified_name(type(response)), content)
    for name in _WAYS:
        setattr(http, name, reading.watch(getattr(http, name), name))
    reading.stop_watching = watch_close(http, reading.leave, reading.leave_async, also=_WAYS)
    if streams:
        options: Any = own["_options"]
        options.post_parser = reading.follow_parser(options.post_parser)
    weakref.finalize(http, reading.leave).atexit = False
    return response


class _Listener(NamedTuple):
    """Is told what comes out of one way of reading."""

    add: Callable[[Any], None]
    finish: Callable[[], None]
    fail: Callable[[BaseException], None]


def _ignore(*_: Any) -> None:
    """Do nothing."""


class _Reading:
    """What is read of one response."""

    def __init__(self, call: CallSpan, name: str, content: bytes | None) -> None:
        self._call = call
        self._name = name
        self._content = content
        """The whole body, where it was there before anybody read it."""
        self._pieces: dict[str, list[Any]] = {}
        self._times: list[int] = []
        self._steps: Steps | None = None
        """The events that were taken, where `parse` made a stream of the body."""
        self._running = 0
        """Ways of reading that wait for what comes next."""
        self.stop_watching: Callable[[], None] = lambda: None

    def leave(self) -> None:
        """End the call with what was read, unless somebody is still at it."""
        if self._running or not self._call.open:
            return
        if self._steps is not None:
            self._end(self._steps.fail, GeneratorExit())
        elif not self._pieces and self._content is not None:
            self._pieces["iter_bytes"] = [self._content]
            self._finish()
        else:
            self._fail(GeneratorExit())

    async def leave_async(self) -> None:
        """Do the same."""
        self.leave()

    def _end(self, end: Callable[..., None], *args: Any) -> None:
        self.stop_watching()
        if self._call.open:
            end(*args)

    def _finish(self) -> None:
        self._end(lambda: finish_call(self._call, self._join(reversed(_WAYS))))

    def _fail(self, error: BaseException) -> None:
        self._end(lambda: fail_call(self._call, error, self._join(_WAYS)))

    def _join(self, ways: Any) -> Any:
        """Return what was read in the first of some ways that was gone."""
        pieces = next((self._pieces[name] for name in ways if self._pieces.get(name)), [])
        try:
            return join_body(self._call, pieces, self._times, self._name)
        except Exception as exc:
            failures.note("the body of a response", exc)
            return None

    # The body, in whatever way it is read

    def watch(self, method: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return a way of reading that notes what it gives."""
        draw: Any = self._draw_async if name.startswith("a") else self._draw
        return lambda *args, **kwargs: draw(method(*args, **kwargs), lambda: self._listen(name))

    def _listen(self, name: str) -> _Listener:
        def add(piece: Any) -> None:
            if self._steps is None and self._call.open:
                self._add(name, piece)

        def finish() -> None:
            if self._steps is None and name.endswith("bytes"):
                self._finish()

        def fail(error: BaseException) -> None:
            if self._steps is None and not isinstance(error, GeneratorExit):  # another way may be taken
                self._fail(error)

        return _Listener(add, finish, fail)

    def _add(self, name: str, piece: Any) -> None:
        if not self._pieces:
            self._call.first_chunk()
        if name.endswith("bytes"):
            self._times.append(perf_counter_ns())
        self._pieces.setdefault(name, []).append(piece + "\n" if name.endswith("lines") else piece)

    # The events of the stream that `parse` makes

    def follow_parser(self, parser: Any) -> Callable[[Any], Any]:
        """Return what is called with the stream that `parse` has made, after what was called before."""

        def follow(stream: Any) -> Any:
            stream = parser(stream) if callable(parser) else stream
            own, source = get_instance_dict(stream), getattr(stream, "_iterator", None)
            if type(source) is types.GeneratorType:
                own["_iterator"] = self._draw(source, self._listen_to_events)
            elif type(source) is types.AsyncGeneratorType:
                own["_iterator"] = self._draw_async(source, self._listen_to_events)
            return stream

        return follow

    def _listen_to_events(self) -> _Listener:
        if not self._call.open or self._steps is not None:  # events of another stream are kept
            return _Listener(_ignore, _ignore, _ignore)
        self._call.streaming = True
        self._steps = steps = Steps(self._call)
        return _Listener(
            steps.add, lambda: self._end(steps.finish), lambda error: self._end(steps.fail, error)
        )

    def _draw(
        self, source: Generator[Any, None, None], listen: Callable[[], _Listener]
    ) -> Generator[Any, None, None]:
        listener = listen()
        try:
            while True:
                self._running += 1
                try:
                    piece = next(source)
                finally:
                    self._running -= 1
                listener.add(piece)
                yield piece
        except StopIteration:
            listener.finish()
        except BaseException as exc:
            listener.fail(exc)
            raise
        finally:
            source.close()

    async def _draw_async(
        self, source: AsyncGenerator[Any, None], listen: Callable[[], _Listener]
    ) -> AsyncGenerator[Any, None]:
        listener = listen()
        try:
            while True:
                self._running += 1
                try:
                    piece = await anext(source)
                finally:
                    self._running -= 1
                listener.add(piece)
                yield piece
        except StopAsyncIteration:
            listener.finish()
        except BaseException as exc:
            listener.fail(exc)
            raise
        finally:
            await source.aclose()
