"""One call explained by a process of its own: its price first and, when somebody says so, what mattered."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Literal

from llm_trace.attribution.policy import serialization
from llm_trace.attribution.policy.policy import Hook
from llm_trace.errors import LLMTraceError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from llm_trace.attribution.core.plan import Plan
    from llm_trace.attribution.policy.policy import AttributionPolicy
    from llm_trace.record import Call

JobStage = Literal["pricing", "priced", "explaining", "done", "failed", "cancelled"]
PATIENCE_S = 600.0
"""How long a priced job waits to be begun before its process ends."""
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
_OWN = ("LLM_TRACE_STORE", "LLM_TRACE_RUN")


@dataclass(frozen=True)
class JobState:
    """How far a job is."""

    stage: JobStage = "pricing"
    plan: Plan | None = None
    done: int = 0
    """Evaluations so far."""
    planned: int | None = None
    error: str = ""
    """Why it failed."""

    @property
    def busy(self) -> bool:
        """Whether its process computes."""
        return self.stage in ("pricing", "explaining")


class ExplainJob:
    """Explains one call; the model is loaded once, from this machine alone.

    Args:
        call: what is explained.
        policy: how; its model has a name or a folder.
        keep: writes the `attribution` event.

    Raises:
        AttributionError: the policy cannot leave this process.
    """

    def __init__(
        self, call: Call, policy: AttributionPolicy, keep: Callable[[dict[str, Any]], object]
    ) -> None:
        self.call, self.policy = call, policy
        self._state, self._keep, self._lock = JobState(), keep, threading.Lock()
        context = get_context("spawn")
        self._pipe, end = context.Pipe()
        arguments = (end, call, serialization.encode(policy))
        self._process = context.Process(target=_serve, args=arguments, daemon=True, name="llm_trace-explain")
        self._process.start()
        end.close()
        threading.Thread(target=self._follow, name="llm_trace-explain", daemon=True).start()

    @property
    def state(self) -> JobState:
        """How far it is."""
        return self._state

    def begin(self) -> None:
        """Explain the call, where it is priced."""
        with self._lock:
            if self._state.stage == "priced":
                self._state = replace(self._state, stage="explaining")
                self._pipe.send("begin")

    def cancel(self) -> None:
        """End it; what was computed is lost."""
        with self._lock:
            if self._state.stage in ("pricing", "priced", "explaining"):
                self._state = replace(self._state, stage="cancelled")
        self._process.terminate()

    def _follow(self) -> None:
        """Take what the process tells until it ends."""
        try:
            while True:
                kind, data = self._pipe.recv()
                self._take(kind, data)
        except (EOFError, OSError):
            self._process.join()
            why = f"the process that explains ended ({self._process.exitcode}), as when the memory runs out"
            self._note(stage="failed", error=why)

    def _take(self, kind: str, data: Any) -> None:
        if kind == "priced":
            self._note(stage="priced", plan=data)
        elif kind == "progress":
            self._note(done=data[0], planned=data[1])
        elif kind == "event":
            self._finish(data)
        else:
            self._note(stage="failed", error=data)

    def _finish(self, event: dict[str, Any]) -> None:
        if event["status"] != "ok":
            self._note(stage="failed", error=event["error"])
            return
        try:
            self._keep({**event, "config_hash": self.policy.config_hash})
        except (LLMTraceError, OSError) as exc:
            self._note(stage="failed", error=f"the attribution was not kept: {exc}")
        else:
            self._note(stage="done")

    def _note(self, **changes: Any) -> None:
        with self._lock:
            if self._state.stage in ("pricing", "priced", "explaining"):
                self._state = replace(self._state, **changes)


def _serve(pipe: Connection, call: Call, data: bytes) -> None:
    """Be the process: tell the price, wait for a word, tell the attribution."""
    for name in _OWN:
        os.environ.pop(name, None)
    os.environ.update(_OFFLINE)
    if hasattr(os, "nice"):
        os.nice(10)
    hook = Hook(
        serialization.decode(data)[0], progress=lambda done, planned: pipe.send(("progress", (done, planned)))
    )
    try:
        pipe.send(("priced", hook.price(call)))
        if not pipe.poll(PATIENCE_S):
            pipe.send(("failed", "nobody began it for ten minutes: ask for the price again"))
            return
        pipe.recv()
        event = hook(call)
        pipe.send(("event", event) if event else ("failed", "the call has no answer that could be explained"))
    except (EOFError, BrokenPipeError):  # whoever asked has gone
        return
    except Exception as exc:  # noqa: BLE001  whatever goes wrong with the model is told on the page
        pipe.send(("failed", str(exc) if isinstance(exc, LLMTraceError) else f"{type(exc).__name__}: {exc}"))
