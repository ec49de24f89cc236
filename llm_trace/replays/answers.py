"""What a recorded call answers, and functions that give it in the traced function's place."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any

from llm_trace.errors import ReplayError
from llm_trace.instrumentation.integration import RecordedAnswer
from llm_trace.replays.classes import Moved
from llm_trace.replays.revive import is_plain, rebuild, revive
from llm_trace.replays.revive_error import revive_error

if TYPE_CHECKING:
    from llm_trace.capture.spec import Shape
    from llm_trace.capture.type_hints import Types
    from llm_trace.replays.tape import Taped

_GRACE_S = 1.0
"""How much longer than then a call waits that was cancelled then."""


@dataclass(frozen=True)
class Recorded:
    """A recorded value, built anew each time it is asked for: nobody sees another's changes."""

    text: str | None
    """JSON; `None` for a text, a number or nothing, which cannot be changed."""
    plain: Any = None
    types: Types = field(default_factory=dict)
    moved: Moved = field(default_factory=dict)

    @classmethod
    def of(cls, data: Any, types: Types, moved: Moved) -> Recorded:
        """Return a value that can be rebuilt.

        Raises:
            ReplayError: it cannot.
        """
        if not types and not isinstance(data, dict | list):
            return cls(None, data)
        if not is_plain(data, types):
            rebuild(data, types, moved)
        return cls(json.dumps(data), None, types, moved)

    def __call__(self) -> Any:
        if self.text is None:
            return self.plain
        data = json.loads(self.text)
        return revive(data, self.types, self.moved)


@dataclass(frozen=True)
class PlayedAnswer:
    """What a call gives in a replay."""

    value: Recorded = Recorded(None)
    """What it returns."""
    chunks: Recorded = Recorded(None, ())
    """What it yields before."""
    gaps: tuple[float, ...] = ()
    """Seconds before each chunk."""
    error: Callable[[], BaseException] | None = None
    """Makes what it raises in the end."""
    wait_s: float = 0.0
    """How long a coroutine waits to be cancelled, as it was, before it raises."""
    returned: tuple[Shape, ...] = ()
    """What the function returns, in place of the value, that gives the rest: a generator, a coroutine …"""

    def finish(self) -> Any:
        """Return or raise what the call did.

        Raises:
            BaseException: what was recorded.
        """
        if self.error is not None:
            raise self.error()
        return self.value()


def build_refusal(error: BaseException) -> PlayedAnswer:
    """Return an answer that raises."""
    return PlayedAnswer(error=lambda: error)


def build_played_answer(taped: Taped, shape: Shape, home: str | None) -> PlayedAnswer:
    """Return what a recorded call answers.

    Args:
        home: module that the function is in now.

    Raises:
        ReplayError: it cannot be replayed; the message says why.
    """
    if (reason := _find_obstacle(taped)) is not None:
        raise ReplayError(reason)
    moved = {taped.module: home} if taped.module and home else {}
    returned = _rebuild_returned(taped, shape)
    error, streams = _build_error(taped, moved), (shape, *returned)[-1] in ("generator", "async_generator")
    if streams != ("stream" in taped.rebuild) and error is None and taped.output not in (None, []):
        raise ReplayError(
            "its chunks were not kept" if streams else "it was a generator when it was recorded"
        )
    wait_s = _get_duration(taped) + _GRACE_S if taped.status == "cancelled" else 0.0
    if streams:
        chunks, value = _stream(taped, moved)
        ns = taped.rebuild.get("stream", {}).get("ns", [])
        gaps = tuple((b - a) / 1e9 for a, b in pairwise(ns))
        return PlayedAnswer(value, chunks, gaps, error, wait_s, returned)
    if error is not None:
        return PlayedAnswer(error=error, wait_s=wait_s, returned=returned)
    value = Recorded.of(taped.output, taped.rebuild.get("output", {}), moved)
    return PlayedAnswer(value, returned=returned)


def build_recorded_answer(taped: Taped, *, pace: bool = False) -> RecordedAnswer | None:
    """Return what the server of an instrumented library answered; `None` where the call raised at once.

    Raises:
        ReplayError: it cannot be replayed; the message says why.
    """
    if (reason := _find_obstacle(taped)) is not None:
        raise ReplayError(reason)
    stream, error = taped.rebuild.get("stream"), _build_error(taped, {})
    if stream is None:
        if isinstance(taped.output, dict) and "http_response" in taped.output:
            raise ReplayError("its response was not read when it was recorded")
        return None if error is not None else RecordedAnswer(_without_types(taped.output))
    gaps = tuple((b - a) / 1e9 for a, b in pairwise(stream.get("ns", []))) if pace else ()
    return RecordedAnswer(None, _without_types(stream.get("chunks", taped.output or [])), gaps, error)


def _without_types(data: Any) -> Any:
    """Return recorded JSON without the names of the classes that it was made of."""
    if isinstance(data, list):
        return [_without_types(item) for item in data]
    if isinstance(data, dict):
        return {key: _without_types(item) for key, item in data.items() if key != "__type__"}
    return data


def _rebuild_returned(taped: Taped, shape: Shape) -> tuple[Shape, ...]:
    """Return what a function returned that gave the rest; nothing where it is a generator function now."""
    if shape in ("generator", "async_generator"):
        return ()
    returned = taped.rebuild.get("returned", [])
    for form in returned:
        if form not in _PLAYS:
            raise ReplayError(
                f"it returned a {form.replace(':', '.')}, an object that its chunks cannot be made into again"
            )
    return tuple(returned)


def _build_error(taped: Taped, moved: Moved) -> Callable[[], BaseException] | None:
    """Return what makes the exception that ended a call; an `error` that the program only noted ends none."""
    if taped.status == "cancelled":
        return lambda: ReplayError(
            f"{taped.name} was cancelled when it was recorded, and nothing cancels it now"
        )
    error = taped.error or {}
    if taped.status != "error" or (taped.output is not None and not error.get("traceback")):
        return None
    make = partial(revive_error, error, taped.rebuild.get("error"), moved)
    make()  # says now what cannot be raised again
    return make


def _find_obstacle(taped: Taped) -> str | None:
    if taped.status in ("open", "interrupted"):
        return "it never ended when it was recorded"
    if taped.rebuild.get("masked"):
        return "its answer was masked when it was recorded"
    if taped.input is None:
        return "its input was not kept"
    if taped.cut:
        return "its input was cut when it was recorded"
    return None


def _stream(taped: Taped, moved: Moved) -> tuple[Recorded, Recorded]:
    """Return the chunks of a generator and what it returned."""
    stream, output = taped.rebuild.get("stream", {}), taped.output
    if "lengths" in stream and isinstance(output, str):
        chunks = Recorded.of(_cut(output, stream["lengths"]), {}, moved)
    elif "chunks" in stream:
        chunks = Recorded.of(stream["chunks"], stream.get("types", {}), moved)
    else:
        chunks = Recorded.of(output or [], taped.rebuild.get("output", {}), moved)
    return chunks, Recorded.of(stream.get("value"), stream.get("value_types", {}), moved)


def _cut(text: str, lengths: list[int]) -> list[str]:
    if sum(lengths) != len(text):
        raise ReplayError("its text is not as long as its chunks were")
    pieces, at = [], 0
    for length in lengths:
        pieces.append(text[at : at + length])
        at += length
    return pieces


def play_answer(answer: PlayedAnswer, shape: Shape, *, pace: bool = False) -> Callable[..., Any]:
    """Return a function of the given shape that gives the answer, whatever it is called with.

    Args:
        pace: let chunks of streams come as slowly as they did.
    """
    *outer, last = (shape, *answer.returned)
    play = partial(_PLAYS[last], answer, answer.gaps if pace else ())
    for each in reversed(outer):
        play = partial(_return_later if each == "coroutine" else _return, play)
    return play


def _return(play: Callable[[], Any], *_: Any, **__: Any) -> Any:
    return play()


async def _return_later(play: Callable[[], Any], *_: Any, **__: Any) -> Any:
    await asyncio.sleep(0)  # a program that polls must let others run
    return play()


def _play_function(answer: PlayedAnswer, _gaps: tuple[float, ...], *_: Any, **__: Any) -> Any:
    return answer.finish()


async def _play_coroutine(answer: PlayedAnswer, _gaps: tuple[float, ...], *_: Any, **__: Any) -> Any:
    await asyncio.sleep(answer.wait_s)  # at least once: a program that polls must let others run
    return answer.finish()


def _play_generator(
    answer: PlayedAnswer, gaps: tuple[float, ...], *_: Any, **__: Any
) -> Generator[Any, Any, Any]:
    for chunk, gap in zip_longest(answer.chunks(), gaps):
        if gap:
            time.sleep(gap)
        yield chunk
    return answer.finish()


async def _play_async_generator(
    answer: PlayedAnswer, gaps: tuple[float, ...], *_: Any, **__: Any
) -> AsyncGenerator[Any, Any]:
    for chunk, gap in zip_longest(answer.chunks(), gaps):
        await asyncio.sleep(gap or 0)
        yield chunk
    answer.finish()


_PLAYS: dict[str, Callable[..., Any]] = {
    "function": _play_function,
    "coroutine": _play_coroutine,
    "generator": _play_generator,
    "async_generator": _play_async_generator,
}


def _get_duration(taped: Taped) -> float:
    return ((taped.end_ns or taped.start_ns) - taped.start_ns) / 1e9
