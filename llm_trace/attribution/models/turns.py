"""Several pieces of work in one process that take turns, so that what they ask is answered together.

One runs at a time, in a thread of its own, until it asks; when all wait, everything asked is answered at
once. So the order of events is the same each time, and nothing that runs here needs a lock.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")
AnswerFunction = Callable[[Sequence[Any]], Sequence[Any]]
"""From requests to their results; an exception among these is raised where it was asked."""


class _StoppedError(BaseException):
    """Nobody waits for the result any more."""


class Turn(Generic[T]):
    """A piece of work that runs when it is told to, until it asks or ends.

    Args:
        task: the work.
    """

    def __init__(self, task: Callable[[], T]) -> None:
        self.request: Any = None
        """What it asks."""
        self.ended = False
        self.seconds = 0.0
        """What it took itself, its share of answers included."""
        self._answer: Any = None
        self._outcome: T | None = None
        self._failure: BaseException | None = None
        self._resumed = time.monotonic()
        self._ours, self._theirs = threading.Semaphore(0), threading.Semaphore(0)
        context = contextvars.copy_context()
        target = (self._run, task)
        self._thread = threading.Thread(target=context.run, args=target, daemon=True, name="llm_trace-turn")
        self._thread.start()

    def get_result(self) -> T:
        """Return what the work returned, or raise what it raised."""
        if self._failure is not None:
            raise self._failure
        return self._outcome  # type: ignore[return-value]  # it has ended

    def go_on(self, answer: Any) -> None:
        """Give it its answer, at first none, and let it run until it asks again or ends."""
        self._answer, self._resumed = answer, time.monotonic()
        self._theirs.release()
        self._ours.acquire()
        if self.ended:
            self._thread.join()

    def stop(self) -> None:
        """End it where it waits."""
        while not self.ended:
            self.go_on(_StoppedError())

    def ask(self, request: Any) -> Any:
        """Return the answer to a request; called by the work itself."""
        self.request = request
        self.seconds += time.monotonic() - self._resumed
        self._ours.release()
        return self._pause()

    def read_clock(self) -> float:
        """Return the seconds that it took itself so far; called by the work itself."""
        return self.seconds + time.monotonic() - self._resumed

    def _pause(self) -> Any:
        self._theirs.acquire()
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def _run(self, task: Callable[[], T]) -> None:
        _current.set(self)
        try:
            self._pause()
            self._outcome = task()
        except BaseException as exc:  # noqa: BLE001  raised again by `get_result`
            self._failure = exc
        finally:
            self.ended = True
            self._ours.release()


_current: contextvars.ContextVar[Turn[Any] | None] = contextvars.ContextVar("llm_trace_turn", default=None)


def answer_in_turn(request: Any, answer: AnswerFunction) -> Any:
    """Return the answer to a request: together with those of others where they take turns, else at once."""
    turn = _current.get()
    if turn is not None:
        return turn.ask(request)
    (result,) = answer([request])
    if isinstance(result, Exception):
        raise result
    return result


def read_own_clock() -> float:
    """Return seconds that only run while the work of this turn does; outside of turns the monotonic clock."""
    turn = _current.get()
    return time.monotonic() if turn is None else turn.read_clock()


def take_turns(
    tasks: Iterable[Callable[[], T]],
    answer: AnswerFunction,
    *,
    may_begin: Callable[[int], bool],
    weigh: Callable[[Any], float],
) -> Iterator[T]:
    """Yield what each task returns, once it does; whatever they ask is answered together.

    Args:
        tasks: pieces of work that ask by `answer_in_turn`.
        answer: to all requests that wait.
        may_begin: whether another task may begin beside so many.
        weigh: how much of the time for an answer is a request's own, beside others.
    """
    waiting, active = iter(tasks), list[Turn[T]]()
    try:
        while True:
            while may_begin(len(active)) and (task := next(waiting, None)) is not None:
                active.append(Turn(task))
                active[-1].go_on(None)
            ended, active = [t for t in active if t.ended], [t for t in active if not t.ended]
            for turn in ended:
                yield turn.get_result()
            if active:
                _answer_all(active, answer, weigh)
            elif not ended:
                return
    finally:
        for turn in active:
            turn.stop()


def _answer_all(turns: Sequence[Turn[Any]], answer: AnswerFunction, weigh: Callable[[Any], float]) -> None:
    begin = time.monotonic()
    answers = answer([turn.request for turn in turns])
    took = time.monotonic() - begin
    weights = [weigh(turn.request) for turn in turns]
    for turn, each, weight in zip(turns, answers, weights, strict=True):
        turn.seconds += took * weight / sum(weights)
        turn.go_on(each)
