"""The background worker: explains requested calls one by one, once each, whatever dies in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.policy import serialization
from llm_trace.attribution.policy.policy import Hook
from llm_trace.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    from llm_trace.attribution.policy.queue import ExplainRequest, Queue
    from llm_trace.record import Call

_log = logging.getLogger("llm_trace")
ATTEMPTS = 2
"""How often a call is begun before it counts as one that kills the worker."""


@dataclass
class Worker:
    """Reads requests behind a durable cursor and turns each into an `attribution` event.

    What was explained under the same call, method and configuration is left alone. A call on which the
    process died twice becomes a failed attribution. While the store does not answer (held by another
    process, a full disk, a wrong price file) requests wait. What touches the store is passed in.
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
        """Serve one request; False where none waits, the store does not answer or the result was not kept."""
        request = self.queue.next()
        if request is None:
            return False
        try:
            event = self._event(request)
        except (StoreError, ConfigurationError) as exc:  # some are OSError and ValueError as well
            self._wait_for_store(exc)
            return False
        except (OSError, ValueError) as exc:  # a policy or a call that cannot be read
            self._count("unreadable", f"{type(exc).__name__}: {exc}")
            event = None
        self.queue.state.pop("trying", None)
        self.queue.state.pop("waits_for", None)
        if event is not None and not self.keep(event):
            return False
        self.queue.done(request)
        return True

    def run(self, *, poll_s: float = 0.5, linger_s: float = 5.0) -> None:
        """Serve requests until none waits and no host lives for a while."""
        lonely = 0.0
        while lonely < linger_s:
            if self.step():
                lonely = 0.0
                continue
            lonely = 0.0 if self.queue.hosts() else lonely + poll_s
            self.sleep(poll_s)

    def _event(self, request: ExplainRequest) -> dict[str, Any] | None:
        hook, config_hash = self._hook(request.policy)
        call = self.find(request.span_id)
        if call is None:
            self._count("absent", request.span_id)
            return None
        if self.known(call.span_id, hook.policy.method, config_hash):
            return None
        tried = self._count_attempts(request)
        if tried >= ATTEMPTS:
            event: dict[str, Any] | None = hook.build_failure(
                call, f"the worker died {tried} times on this call"
            )
        else:
            self._begin(request, tried)
            event = hook(call)
        if event is not None:
            event["config_hash"] = config_hash
        self.queue.state.setdefault("spent", {})[request.policy] = hook.allowance.dump()
        self.queue.state["passed_over"] = sum(h.passed_over for h, _ in self.hooks.values())
        return event

    def _hook(self, digest: str) -> tuple[Hook, str]:
        if digest not in self.hooks:
            policy, config_hash = serialization.decode(self.queue.policy(digest))
            hook = Hook(policy, now=self.now)
            hook.allowance.restore(self.queue.state.get("spent", {}).get(digest, ()))
            self.hooks[digest] = (hook, config_hash)
        return self.hooks[digest]

    def _count_attempts(self, request: ExplainRequest) -> int:
        trying = self.queue.state.get("trying") or {}
        same = trying.get("span_id") == request.span_id and trying.get("policy") == request.policy
        return int(trying["times"]) if same else 0

    def _begin(self, request: ExplainRequest, tried: int) -> None:
        """Write down that this call is begun: who finds it there again knows that it killed a worker."""
        self.queue.state["trying"] = {
            "span_id": request.span_id,
            "policy": request.policy,
            "times": tried + 1,
        }
        self.queue.save()

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
