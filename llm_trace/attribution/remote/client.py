"""Many calls at once: within a budget, at the pace that the provider allows, none made twice."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.core.value import BudgetError, CancelledError
from llm_trace.attribution.remote import error_policy
from llm_trace.attribution.remote.answers import Answer
from llm_trace.attribution.remote.model import build_answer, is_async
from llm_trace.attribution.remote.own_calls import tag_own_calls
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from llm_trace.attribution.core.value import ProgressCallback
    from llm_trace.attribution.remote.answers import Answers
    from llm_trace.attribution.remote.event_loop import Bridge
    from llm_trace.attribution.remote.ledger import Cost, Ledger
    from llm_trace.attribution.remote.model import Remote

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0
_ATTEMPTS = 6
"""Times that a call is made that fails on the way; waiting for a rate limit does not count."""
_REFUSALS = 3
"""Refused prompts, with none answered, after which the request itself must be wrong."""


@dataclass(frozen=True)
class ModelRequest:
    """One prompt, asked for its n-th sample."""

    payload: Any
    sample: int = 0


class Caller:
    """Asks a model, through `function`, within the budget of a ledger.

    Args:
        remote: how it is asked.
        function: takes the payload of a request; the model's callable or its `score`.
        ledger: the budget.
        bridge: where the calls run.
        answers: what was answered before, and where answers are kept.
        progress: called with the answers so far.
        clock: seconds, monotonic.
        sleep: waits; for tests of long waits.
    """

    def __init__(
        self,
        remote: Remote,
        function: Callable[[Any], Any],
        ledger: Ledger,
        bridge: Bridge,
        *,
        answers: Answers | None = None,
        progress: ProgressCallback | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.remote, self.ledger = remote, ledger
        self.calls = self.reused = self.refused = 0
        """Answers that were paid for, that were known before, and prompts that were refused."""
        self.models: set[str] = set()
        """Which models said that they answered."""
        self.stopped: str | None = None
        """Why no further call is made."""
        self._function, self._bridge, self._answers = function, bridge, answers
        self._progress, self._clock, self._sleep = progress, clock, sleep
        self._failure: Exception | None = None
        self._jitter = np.random.default_rng(0)
        self._begin = self._last_success = clock()
        self._resume_at, self._planned = 0.0, 0
        self._async = is_async(function)
        self._pool = None if self._async else ThreadPoolExecutor(remote.concurrency, "llm-trace-call")

    def close(self) -> None:
        """Let go of the threads; a call that hangs is not waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def seconds(self) -> float:
        """Time since the first call could begin."""
        return self._clock() - self._begin

    def room(self, read: int) -> int | None:
        """Return how many calls with so many input tokens the budget pays for."""
        return 0 if self.stopped else self.ledger.room(read)

    def ask(self, requests: Sequence[ModelRequest]) -> list[Answer | None]:
        """Return the answers; `None` for those that were not given before the calls `stopped`.

        Raises:
            AttributionError: the model cannot be asked so.
            CancelledError: the progress callback returned False.
        """
        known: dict[tuple[str, int], Answer] = {}
        keys = [(repr(r.payload), r.sample) for r in requests]
        distinct = dict(zip(keys, requests, strict=True))
        self._planned = self.calls + self.reused + len(distinct)
        self._last_success = self._clock()
        self._bridge.run(self._answer_all(deque(distinct.items()), known))
        if self._failure is not None:
            raise self._failure
        return [known.get(key) for key in keys]

    async def _answer_all(self, queue: deque[Any], known: dict[Any, Answer]) -> None:
        count = min(self.remote.concurrency, len(queue))
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._answer_queue(queue, known))

    async def _answer_queue(self, queue: deque[Any], known: dict[Any, Answer]) -> None:
        """Answer requests until something stops the calls; a call that was begun is finished and kept."""
        while queue and self.stopped is None:
            key, request = queue.popleft()
            try:
                answer = await self._answer_request(request)
                if answer is not None:
                    known[key] = answer
                    self._report_progress()
            except Exception as exc:  # noqa: BLE001  handed to whoever asked, when the others are done
                self.stopped, self._failure = self.stopped or str(exc), self._failure or exc
                return

    async def _answer_request(self, request: ModelRequest) -> Answer | None:
        if self._answers is not None:
            answer = self._answers.get(request.payload, request.sample)
            if answer is not None:
                self.reused += 1
                return answer
        answer = await self._ask_paid(request)
        if answer is not None and not answer.refused and self._answers is not None:
            self._answers.put(request.payload, request.sample, answer)
        return answer

    async def _ask_paid(self, request: ModelRequest) -> Answer | None:
        """Return the answer to one request, tried again as failures ask; `None` when no call may be made."""
        read, failed = self.remote.read(request.payload), Counter[str]()
        while await self._await_turn():
            try:
                reserved = self.ledger.reserve(read)
            except BudgetError as exc:
                self.stopped = self.stopped or str(exc)
                return None
            try:
                answer = await asyncio.wait_for(self._call(request.payload), self.remote.timeout_s)
            except Exception as exc:  # noqa: BLE001  what it means is looked up
                meaning = error_policy.classify_failure(exc)
                failed[meaning] += 1
                if (
                    refusal := await self._handle_failure(exc, meaning, reserved, failed[meaning])
                ) is not None:
                    return refusal
                continue
            self._book_answer(reserved, read, answer)
            return answer
        return None

    async def _call(self, payload: Any) -> Answer:
        if self._pool is None:
            with tag_own_calls():
                return build_answer(await self._function(payload))
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        reply = await loop.run_in_executor(self._pool, context.run, self._call_tagged, payload)
        if inspect.isawaitable(reply):
            with tag_own_calls():
                reply = await reply
        return build_answer(reply)

    def _call_tagged(self, payload: Any) -> Any:
        with tag_own_calls():
            return self._function(payload)

    def _book_answer(self, reserved: Cost, read: int, answer: Answer) -> None:
        self.ledger.book(reserved, read, answer, count_written(self.remote, answer))
        self.calls += 1
        self._last_success = self._clock()
        if answer.model is not None:
            self.models.add(answer.model)

    async def _handle_failure(
        self, exc: Exception, meaning: error_policy.Meaning, reserved: Cost, times: int
    ) -> Answer | None:
        """Wait as the failure asks for, or stop the calls; return the empty answer to a refused prompt."""
        if meaning == "limited":
            self.ledger.book(reserved, 0, None)
        else:
            self.ledger.lose(reserved)
        if meaning == "refused":
            self.refused += 1
            if (
                self.calls == 0
                and self.refused >= _REFUSALS
                and not isinstance(exc, error_policy.RefusedError)
            ):
                raise AttributionError(f"the model refuses every request: {exc}") from exc
            return Answer("", refused=True)
        if meaning == "fatal" or (meaning == "retry" and times >= _ATTEMPTS):
            raise _describe_failure(exc, self.calls, self._answers is not None) from exc
        wait = error_policy.retry_after(exc)
        if wait is None:
            wait = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (times - 1)) * float(
                self._jitter.uniform(0.5, 1.0)
            )
        if meaning == "limited":
            self._resume_at = max(self._resume_at, self._clock() + wait)
        else:
            await self._sleep(wait)
        return None

    async def _await_turn(self) -> bool:
        """Wait while the provider wants a pause; return whether a call may be made."""
        while self._check_going() and (wait := self._resume_at - self._clock()) > 0:
            await self._sleep(min(wait, 1.0))
        return self._check_going()

    def _check_going(self) -> bool:
        limit = self.ledger.budget.seconds
        if self.stopped is None:
            if self._bridge.stopped.is_set():
                self._failure, self.stopped = (
                    CancelledError(f"cancelled after {self.calls} calls"),
                    "cancelled",
                )
            elif limit is not None and self.seconds >= limit:
                self.stopped = f"the budget of {limit:g} seconds is spent after {self.calls} calls"
            elif self._clock() - self._last_success > self.remote.patience_s:
                self.stopped = (
                    f"the model answered nothing for {self.remote.patience_s:g} seconds, after {self.calls} "
                    "answers"
                )
        return self.stopped is None

    def _report_progress(self) -> None:
        done = self.calls + self.reused
        if self._progress is not None and self._progress(done, self._planned) is False:
            raise CancelledError(f"cancelled after {done} answers")


def count_written(remote: Remote, answer: Answer) -> int:
    """Return the output tokens of an answer that does not say: counted, at most as many as were allowed."""
    counted = remote.count_tokens(answer.text) if answer.text else 0
    return counted if remote.max_output_tokens is None else min(counted, remote.max_output_tokens)


def _describe_failure(exc: Exception, calls: int, cached: bool) -> Exception:
    if isinstance(exc, AttributionError):
        return exc
    where = "are kept in the cache" if cached else "are lost: name a cache= to keep them"
    return AttributionError(f"the model failed with {type(exc).__name__}: {exc}; {calls} answers {where}")
