"""A guard before a tool, which runs only where the model would have asked for it without outside text too."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import math
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

from llm_trace import config
from llm_trace.attribution.explain.origins import OriginStudy
from llm_trace.attribution.proxies.model import Proxied
from llm_trace.attribution.question.origins import check_origins
from llm_trace.attribution.remote.model import make_remote
from llm_trace.attribution_settings import Budget, Settings
from llm_trace.call_parts import OUTSIDE
from llm_trace.capture import failures
from llm_trace.capture.callspan import current_call
from llm_trace.causes.provenance_api import open_model, pose_decision
from llm_trace.errors import ConfigurationError, GuardError, LLMTraceError
from llm_trace.stores.duckdb import open_store

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan
    from llm_trace.record import Attribution, TextOrigin

AskPerson = Callable[[GuardError], Any]
"""Asked whether the tool may run all the same; may be async before an async tool."""
OnFailure = Literal["block", "ask", "allow"]
MARGIN = math.log(2)
"""Nats: a call that is less than half as likely without outside text rests on it."""
_USER: tuple[TextOrigin, ...] = ("user",)


class ToolGuard:
    """Lets a tool run only where the model asks for it without outside text, too: `@trace(guard=…)`.

    Before the tool runs, the call of the model that asked for it is looked up in the running trace, and
    weighed without all that tools answered, retrieved documents and outside text say. Where it loses more
    than `margin`, `GuardError` is raised, or `ask` is asked. What was weighed and done stands under `guard`
    in the metadata of the tool's call: what is lost without outside text, and without the user's words. Other
    tools pay nothing.

    Args:
        model: that can be opened: the one that answers, or one that stands in for it; loaded when the first
            tool is asked for.
        tokenizer: needed with a model object.
        margin: nats that the call may lose without outside text; log 2 allows half as likely.
        ask: asked with the error instead of raising it; true lets the tool run. Where it raises, the tool is
            blocked, and the metadata say why under `unanswered`.
        on_failure: what happens where it cannot be weighed (no model, no memory, no recorded call of a
            model): `block` raises `GuardError`, `ask` asks, `allow` lets the tool run, logs and counts it.
        origins: as for `provenance`.
        budget: of one decision, in evaluations or a `Budget`; what it does not pay for is a failure.

    Raises:
        ConfigurationError: a setting that cannot work.
    """

    def __init__(
        self,
        model: Any,
        *,
        tokenizer: Any = None,
        margin: float = MARGIN,
        ask: AskPerson | None = None,
        on_failure: OnFailure = "block",
        origins: Mapping[str, TextOrigin] | None = None,
        budget: int | Budget | None = None,
    ) -> None:
        if on_failure not in ("block", "ask", "allow") or (on_failure == "ask" and ask is None):
            raise ConfigurationError(
                f"ToolGuard(on_failure={on_failure!r}): choose block, allow, or ask with ask=function"
            )
        if not isinstance(model, Proxied) and make_remote(model) is not None:
            raise ConfigurationError(
                f"ToolGuard({model!r}) cannot be opened: take an open model that stands in for it"
            )
        self.margin, self.ask, self.on_failure = margin, ask, on_failure
        self._model, self._tokenizer = model, tokenizer
        self._origins = check_origins(origins or {})
        self._settings = Settings.of(segments="sentence", budget=budget)
        self._asking = threading.Lock()  # a model is asked by one thread at a time

    def protect(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function behind the guard; it stays a coroutine function or (async) generator function,
        if it is one. A generator is guarded before its first value.

        Raises:
            ConfigurationError: `ask` is async and the function is not.
        """
        if inspect.isasyncgenfunction(fn):
            return _build_stream(fn, self._admit_async)
        if inspect.iscoroutinefunction(fn):

            @functools.wraps(fn)
            async def run_async(*args: Any, **kwargs: Any) -> Any:
                await self._admit_async()
                return await fn(*args, **kwargs)

            return run_async
        if inspect.iscoroutinefunction(self.ask):
            raise ConfigurationError(
                f"{self.ask!r}, which is to be asked, is async and {fn!r} is not: make both so, or neither"
            )
        if inspect.isgeneratorfunction(fn):

            @functools.wraps(fn)
            def generate(*args: Any, **kwargs: Any) -> Any:
                self._admit()
                return (yield from fn(*args, **kwargs))

            return generate

        @functools.wraps(fn)
        def run(*args: Any, **kwargs: Any) -> Any:
            self._admit()
            return fn(*args, **kwargs)

        return run

    def _admit(self) -> None:
        """Return where the tool may run.

        Raises:
            GuardError: it may not.
        """
        if (error := self._find_objection()) is not None:
            answer = self._ask(error)
            if inspect.isawaitable(answer):
                if inspect.iscoroutine(answer):
                    answer.close()
                answer = _refuse_answer(error, TypeError(f"{self.ask!r} is async, the tool is not"))
            _settle(error, answer)

    async def _admit_async(self) -> None:
        """Return where the tool may run; the loop goes on while it is weighed.

        Raises:
            GuardError: it may not.
        """
        if (error := await asyncio.to_thread(self._find_objection)) is not None:
            answer = self._ask(error)
            if inspect.isawaitable(answer):
                try:
                    answer = await answer
                except Exception as exc:  # noqa: BLE001  who cannot be asked has allowed nothing
                    answer = _refuse_answer(error, exc)
            _settle(error, answer)

    def _ask(self, error: GuardError) -> Any:
        """Return what is answered, `None` where nobody is asked."""
        if self.ask is None or (self.on_failure != "ask" and "failure" in error.finding):
            return None
        try:
            return self.ask(error)
        except Exception as exc:  # noqa: BLE001  who cannot be asked has allowed nothing
            return _refuse_answer(error, exc)

    def _find_objection(self) -> GuardError | None:
        """Return why the tool may not run, `None` where it may; note what was weighed with its call."""
        call = current_call()
        name = call.spec.name if call is not None else "?"
        try:
            with self._asking:
                finding = self._weigh(call)
        except Exception as exc:  # noqa: BLE001  whatever fails, what the user chose is done, and said
            return self._handle_failure(name, exc)
        if "sentence" not in finding:
            _note({**finding, "action": "allow"})
            return None
        return GuardError(_describe(name, finding), finding=finding)

    def _handle_failure(self, name: str, exc: Exception) -> GuardError | None:
        reason = f"{type(exc).__name__}: {exc}"
        if self.on_failure == "allow":
            failures.note(f"the guard of {name}", exc)
            _note({"action": "allow", "failure": reason})
            return None
        message = f"whose words asked for the tool {name!r} could not be weighed, so it was not run: {reason}"
        error = GuardError(message, finding={"failure": reason})
        error.__cause__ = exc
        return error

    def _weigh(self, call: CallSpan | None) -> dict[str, Any]:
        """Return what the call loses without outside text and without the user's words, and where it rests
        on outside text the sentence.

        Raises:
            LLMTraceError: it cannot be weighed.
        """
        if call is None or call.sink is None or config.current is None:
            raise LLMTraceError(
                "the tool's call is not recorded (no configure(), or its trace was not sampled), so the "
                "words that the model read are not known"
            )
        with open_store(config.current.store) as store:
            question = pose_decision(store.call(call.span_id), store=store, tools=self._origins)
        question = replace(question, origins={**question.origins, **self._origins})
        study = OriginStudy(question, open_model(self._model, self._tokenizer), self._settings)
        if (doubt := study.doubt) is not None:
            raise LLMTraceError(doubt)
        outside, user = study.weigh_absence(OUTSIDE), study.weigh_absence(_USER)
        finding = {"decided_by": question.span_id, "outside": asdict(outside), "user": asdict(user)}
        if outside.value <= self.margin:
            return finding
        return finding | _find_sentence(study.explain())


def _build_stream(fn: Callable[..., Any], admit: Callable[[], Awaitable[None]]) -> Callable[..., Any]:
    """Return an async generator function that is admitted before its first value."""

    @functools.wraps(fn)
    async def stream(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        await admit()
        generator = fn(*args, **kwargs)
        value, step = None, generator.asend
        with contextlib.suppress(StopAsyncIteration):
            while True:
                item = await step(value)
                try:
                    value, step = (yield item), generator.asend
                except GeneratorExit:
                    await generator.aclose()
                    raise
                except BaseException as exc:  # noqa: BLE001  it is the generator's to handle
                    value, step = exc, generator.athrow

    return stream


def _find_sentence(attribution: Attribution) -> dict[str, Any]:
    """Return the sentence of outside text that did most, with its share of the weight and its bounds."""
    outside = [i for i, segment in enumerate(attribution.segments) if segment.origin in OUTSIDE]
    i = max(outside, key=lambda j: attribution.values[j])
    value, total = attribution.values[i], sum(map(abs, attribution.values))
    low, high = (value if row is None else row[i] for row in (attribution.low, attribution.high))
    return {
        "sentence": attribution.segments[i].text,
        "origin": attribution.segments[i].origin,
        "share": abs(value) / total if total else 0.0,
        "value": value,
        "low": low,
        "high": high,
        "verdict": attribution.verdict,
    }


def _describe(name: str, finding: Mapping[str, Any]) -> str:
    outside, user = finding["outside"], finding["user"]
    return (
        f"the tool {name!r} was not run: the model's request for it rests on outside text, without which its "
        f"log-probability loses {_write(outside)} nats, without the user's words {_write(user)}; most of it "
        f"is by {finding['sentence']!r} ({finding['origin']}): {_write(finding)}, {finding['share']:.0%} of "
        "all weight"
    )


def _write(weight: Mapping[str, float]) -> str:
    return f"{weight['value']:+.1f} ({weight['low']:+.1f} to {weight['high']:+.1f})"


def _refuse_answer(error: GuardError, exc: Exception) -> bool:
    """Note that nobody could be asked, and return that the tool may not run."""
    error.finding["unanswered"] = f"{type(exc).__name__}: {exc}"
    error.__cause__ = exc
    return False


def _settle(error: GuardError, answer: object) -> None:
    """Note what becomes of the tool's call, and raise the error where nobody allowed it."""
    error.finding["action"] = "allow" if answer else "block"
    if answer is not None:
        error.finding["asked"] = True
    _note(error.finding)
    if not answer:
        raise error


def _note(finding: Mapping[str, Any]) -> None:
    if (call := current_call()) is not None:
        call.set(metadata={"guard": dict(finding)})
