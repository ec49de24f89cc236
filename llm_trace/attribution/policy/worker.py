"""The background worker: explains requested calls, once each, whatever dies in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.policy import serialization
from llm_trace.attribution.policy.policy import Hook
from llm_trace.attribution.policy.together import MOST_CALLS, explain_together
from llm_trace.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.attribution.policy.queue import ExplainRequest, Queue
    from llm_trace.attribution.policy.together import CallEvent
    from llm_trace.record import Call

_log = logging.getLogger("llm_trace")
ATTEMPTS = 2
"""How often a call is begun before it counts as one that kills the worker."""


@dataclass
class Worker:
    """Reads requests behind a durable cursor and turns each into an `attribution` event.

    Requests under one policy that wait are served together, see `explain_together`. What was explained under
    the same call, method and configuration is left alone. Calls that were begun when the process died are
    tried alone; one on which it died twice becomes a failed attribution. While the store does not answer
    (held by another process, a full disk, a wrong price file) requests wait. What touches the store is
    passed in.
    """

    queue: Queue
    find: Callable[[str], Call | None]
    """A call by its span id or by that of a span within it, `None` where there is none (any more)."""
    known: Callable[[str, str, str], bool]
    """Whether span id, method and configuration hash have an attribution."""
    keep: Callable[[dict[str, Any]], bool]
    """Writes an event; False where that failed: it is tried again later."""
    now: Callable[[], int] = time.time_ns
    sleep: Callable[[float], None] = time.sleep
    hooks: dict[str, tuple[Hook, str]] = field(default_factory=dict)

    def step(self) -> bool:
        """Serve the next requests; False where none waits, the store does not answer or a result was not
        kept.
        """
        requests = self._choose_requests()
        if not requests:
            return False
        try:
            calls = self._find_calls(requests)
        except (StoreError, ConfigurationError) as exc:  # some are OSError and ValueError as well
            self._wait_for_store(exc)
            return False
        self.queue.state.pop("waits_for", None)
        keeps = self._explain(requests, calls)
        tried = self._list_attempts()
        for request in requests:
            tried.pop(_name_request(request), None)
            if keeps:
                self.queue.done(request)
        return keeps

    def run(self, *, poll_s: float = 0.5, linger_s: float = 5.0) -> None:
        """Serve requests until none waits and no host lives for a while."""
        lonely = 0.0
        while lonely < linger_s:
            if self.step():
                lonely = 0.0
                continue
            lonely = 0.0 if self.queue.hosts() else lonely + poll_s
            self.sleep(poll_s)

    def _choose_requests(self) -> list[ExplainRequest]:
        """Return the next requests; one alone where a process died on it."""
        tried = self._list_attempts()
        requests = self.queue.take(MOST_CALLS)
        suspect = next((i for i, r in enumerate(requests) if _name_request(r) in tried), len(requests))
        return requests[: max(1, suspect)]

    def _find_calls(self, requests: Sequence[ExplainRequest]) -> dict[str, Call]:
        """Return the calls to explain, by the names of their requests, each call once."""
        calls: dict[str, Call] = {}
        for request in requests:
            try:
                call = self._find_call(request)
            except (StoreError, ConfigurationError):
                raise
            except (OSError, ValueError) as exc:  # a policy or a call that cannot be read
                self._count("unreadable", f"{type(exc).__name__}: {exc}")
                continue
            if call is not None and call.span_id not in {other.span_id for other in calls.values()}:
                calls[_name_request(request)] = call
        return calls

    def _find_call(self, request: ExplainRequest) -> Call | None:
        """Return the call that is asked for, `None` where there is none or it was explained before."""
        hook, config_hash = self._hook(request.policy)
        call = self.find(request.span_id)
        if call is None:
            self._count("absent", request.span_id)
            return None
        return None if self.known(call.span_id, hook.policy.method, config_hash) else call

    def _explain(self, requests: Sequence[ExplainRequest], calls: dict[str, Call]) -> bool:
        """Explain calls and keep each event at once; False where one was not kept."""
        if not calls:
            return True
        policy, tried = requests[0].policy, self._list_attempts()
        hook, config_hash = self._hook(policy)
        lost = {name for name in calls if tried.get(name, 0) >= ATTEMPTS}
        why = "the worker died {} times on this call"
        failures: Iterator[CallEvent] = (
            (calls[name], hook.build_failure(calls[name], why.format(tried[name]))) for name in lost
        )
        # who finds these there again knows on which calls a worker died
        tried |= {name: tried.get(name, 0) + 1 for name in calls if name not in lost}
        self.queue.save()
        events = explain_together(hook, [call for name, call in calls.items() if name not in lost])
        for _, event in chain(failures, events):
            if event is not None and not self.keep({**event, "config_hash": config_hash}):
                return False
            self.queue.state.setdefault("spent", {})[policy] = hook.allowance.dump()
            self.queue.state["passed_over"] = sum(h.passed_over for h, _ in self.hooks.values())
        return True

    def _hook(self, digest: str) -> tuple[Hook, str]:
        if digest not in self.hooks:
            policy, config_hash = serialization.decode(self.queue.policy(digest))
            hook = Hook(policy, now=self.now)
            hook.allowance.restore(self.queue.state.get("spent", {}).get(digest, ()))
            self.hooks[digest] = (hook, config_hash)
        return self.hooks[digest]

    def _list_attempts(self) -> dict[str, int]:
        """Return how often requests were begun by processes that died, by their names."""
        attempts: dict[str, int] = self.queue.state.setdefault("attempts", {})
        return attempts

    def _wait_for_store(self, exc: Exception) -> None:
        """Leave the request where it is, and say why."""
        why = f"{type(exc).__name__}: {exc}"
        if self.queue.state.get("waits_for") != why:
            _log.warning("llm_trace explains no calls until the store answers: %s", why)
            self.queue.state["waits_for"] = why
            self.queue.save()

    def _count(self, what: str, last: str) -> None:
        counts = self.queue.state.setdefault("skipped", {})
        counts[what] = counts.get(what, 0) + 1
        counts["last"] = last


def _name_request(request: ExplainRequest) -> str:
    return f"{request.span_id} {request.policy}"
