"""Asks a function all instances: each a traced call with its scores, within a budget."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from llm_trace.attribution_settings import Budget
from llm_trace.capture.spans import log_score, span
from llm_trace.evaluation.calling import ReusedThreads, call_function
from llm_trace.evaluation.grades import FAILED, Scorer, read_grades, scored_call
from llm_trace.evaluation.instances import Instance
from llm_trace.evaluation.outcomes import write_metadata

Progress = Callable[[int, int], None]
"""Called with how many are done, and of how many."""


class Question(NamedTuple):
    """An instance to ask, or one that was answered and lacks scores."""

    instance: Instance
    repeat: int
    span_id: str | None = None
    """Of the call that answered it."""
    output: Any = None
    lacking: tuple[str, ...] = ()
    """Scorers to run on an answer that is there."""


@dataclass
class Asker:
    """Asks the questions of one evaluation.

    Args:
        fn: the function, sync or async.
        scorers: by name.
        timeout: seconds for one call of the function, or of a scorer.
        budget: what may be spent from now on; `tokens` are those of all calls.
        measure_spent: returns tokens and dollars that the run has cost by now.
        progress: is told how far it is.
    """

    fn: Callable[..., Any]
    scorers: Mapping[str, Scorer]
    timeout: float | None
    budget: Budget
    measure_spent: Callable[[], tuple[int, float]]
    progress: Progress
    calls: int = 0
    """Of the function, so far."""
    stopped: str | None = None
    """Which part of the budget was used up."""
    begun: float = field(default_factory=time.monotonic)
    workers: ReusedThreads = field(default_factory=ReusedThreads)
    spent_before: tuple[int, float] = (0, 0.0)

    async def ask_all(self, questions: Sequence[Question], concurrency: int, done: int) -> None:
        """Ask as many as the budget allows, `concurrency` at a time.

        Args:
            done: those that are in the store already, for the progress.
        """
        self.spent_before = self.measure_spent() if self._counts_cost else (0, 0.0)
        waiting = iter(questions)
        total, lock = done + len(questions), asyncio.Lock()
        counts = {"done": done}
        self.progress(done, total)

        async def work() -> None:
            while (question := await self._take(waiting, lock, concurrency)) is not None:
                await self._answer(question)
                counts["done"] += 1
                self.progress(counts["done"], total)

        try:
            await asyncio.gather(*(work() for _ in range(min(concurrency, len(questions)))))
        finally:
            self.workers.close()

    @property
    def _counts_cost(self) -> bool:
        return self.budget.usd is not None or self.budget.tokens is not None

    async def _take(
        self, waiting: Iterator[Question], lock: asyncio.Lock, concurrency: int
    ) -> Question | None:
        async with lock:
            question = next(waiting, None)
            if question is None or question.span_id is not None:
                return question
            if self.stopped is None:
                self.stopped = await self._find_limit(concurrency)
            if self.stopped is not None:
                return next((each for each in waiting if each.span_id is not None), None)
            self.calls += 1
            return question

    async def _find_limit(self, concurrency: int) -> str | None:
        """Return which part of the budget is used up; cost is looked up once for every round of calls."""
        budget = self.budget
        if budget.evaluations is not None and self.calls >= budget.evaluations:
            return f"{budget.evaluations:,} calls"
        if budget.seconds is not None and time.monotonic() - self.begun >= budget.seconds:
            return f"{budget.seconds:g} seconds"
        if not self._counts_cost or self.calls % concurrency:
            return None
        now = await asyncio.to_thread(self.measure_spent)
        tokens, usd = (each - before for each, before in zip(now, self.spent_before, strict=True))
        if budget.usd is not None and usd >= budget.usd:
            return f"{budget.usd:g} dollars"
        return f"{budget.tokens:,} tokens" if budget.tokens is not None and tokens >= budget.tokens else None

    async def _answer(self, question: Question) -> None:
        if question.span_id is not None:
            await self._score(question, question.output, question.span_id, question.lacking)
            return
        instance = question.instance
        about = write_metadata(instance, question.repeat)
        root = span(instance.scenario, input=instance.input, metadata=about)
        try:
            with root:
                output = await self._ask(instance, root)
                root.set(output=output)
        except Exception:  # noqa: BLE001  # the program's own: it is in the store, with its words
            return
        await self._score(question, output, root, tuple(self.scorers))

    async def _ask(self, instance: Instance, root: span) -> Any:
        try:
            return await call_function(partial(self.fn, **instance.input), self.timeout, self.workers)
        except TimeoutError as exc:
            if self.timeout is None:
                raise
            root.set(metadata={"timed_out": True})
            raise TimeoutError(f"no answer within {self.timeout:g} s") from exc

    async def _score(self, question: Question, output: Any, call: span | str, names: Sequence[str]) -> None:
        scored_call.set(call if isinstance(call, str) else call.span_id)  # of this task, and its threads
        for name in names:
            try:
                scorer = partial(self.scorers[name], output, question.instance)
                grades = read_grades(name, await call_function(scorer, self.timeout, self.workers))
            except Exception as exc:  # noqa: BLE001  # a scorer's fault is its own, with its words
                words = str(exc) if type(exc) is ValueError else f"{type(exc).__name__}: {exc}"
                log_score(f"{name}{FAILED}", "failed", call=call, comment=words)
                continue
            for score, grade in grades.items():
                log_score(score, grade.value, call=call, comment=grade.comment, source=grade.source)
