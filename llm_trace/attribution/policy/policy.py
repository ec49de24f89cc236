"""Attribution of logged calls: which ones, by what method, and the event that the result becomes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from llm_trace.attribution.core.naming import locate_callable
from llm_trace.attribution.models.config import read_model_path
from llm_trace.attribution.models.live import read_handle
from llm_trace.attribution.policy.hourly_budget import Allowance
from llm_trace.errors import AttributionError
from llm_trace.record import ATTRIBUTION_TAG, Call

if TYPE_CHECKING:
    from llm_trace.attribution.core.plan import Plan
    from llm_trace.attribution.core.value import Budget, ProgressCallback
    from llm_trace.record import Attribution

PolicyMode = Literal["inline", "background", "deferred"]
When = Callable[[Call], bool]
"""A rule: whether this call should be explained."""


@dataclass(frozen=True)
class AttributionPolicy:
    """Which calls are explained, how, and at what cost.

    Raises:
        AttributionError: a setting that cannot work.
    """

    method: str = "auto"
    model: Any = None
    """A transformers model, or a path or name; workers of their own process need the name. `None`: the very
    model of this process that made the call; "demo" for calls that no instrumented model made."""
    tokenizer: Any = None
    sample: float = 1.0
    """Share of calls, 0 to 1; decided by the trace id, so that all calls of a trace are explained or none."""
    when: When | None = None
    budget: int | Budget | None = None
    """Per call."""
    budget_per_hour: int | Budget | None = None
    """Of all calls under this policy, over the last sixty minutes; calls beyond it are passed over."""
    segments: Any = "word"
    mode: PolicyMode = "inline"
    """`inline`: before the traced function returns; `background`: by a process of its own, which needs the
    model by name or path; `deferred`: not at run time, `llm-trace attribute --run …` does it.
    """
    gpu: bool = False
    """Whether the background process may see the graphics cards."""
    target: Any = None
    baseline: Any = "auto"
    unit: str = "nats"
    confidence: float = 0.95
    """Of bounds, tests and verdicts, see `attribute`."""
    quality: bool = False
    """Whether to measure each attribution as well, see `attribute`."""
    cache: str | None = None
    """File in which log-probabilities are kept by content, see `attribute`."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.sample <= 1.0:
            raise AttributionError(f"sample={self.sample!r} must lie between 0 and 1")
        if not 0 < self.confidence < 1:
            raise AttributionError(f"confidence={self.confidence!r} must lie between 0 and 1, such as 0.95")
        if self.mode not in ("inline", "background", "deferred"):
            raise AttributionError(f"mode={self.mode!r} must be inline, background or deferred")
        if self.mode == "background" and not (isinstance(self.model, str | None) and self.tokenizer is None):
            raise AttributionError(
                "mode='background' runs in a process of its own: give the model by name or path, without a "
                "tokenizer object"
            )

    @property
    def config_hash(self) -> str:
        """First 16 hex digits of a hash of everything that changes the result; with call and method the
        identity of an attribution.
        """
        parts = [self.method, _name_model(self.model), _make_plain(self.segments), _make_plain(self.target)]
        parts += [_make_plain(self.baseline), repr(self.budget), str(self.seed), self.unit, str(self.quality)]
        if self.confidence != 0.95:  # hashes of policies that never had the setting stay as they were
            parts.append(repr(self.confidence))
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def wants(self, call: Call) -> bool:
        """Whether the call is explained: it asked a model and succeeded, and sample and rule pick it."""
        if call.status != "ok" or not _is_explainable(call) or not self.samples(call.trace_id):
            return False
        if ATTRIBUTION_TAG in call.tags:  # made by an attribution
            return False
        return self.when is None or bool(self.when(call))

    def samples(self, trace_id: str) -> bool:
        """Whether the trace is one of those that `sample` picks."""
        return self.sample >= 1.0 or int(trace_id[-13:], 16) / 16**13 < self.sample


@dataclass
class Hook:
    """Turns a call into an `attribution` event, or `None` where the policy passes it over; never raises."""

    policy: AttributionPolicy
    now: Callable[[], int] = time.time_ns
    new_id: Callable[[], str] = field(default=lambda: os.urandom(8).hex())
    progress: ProgressCallback | None = None
    """As for `attribute`."""
    passed_over: int = 0
    """Calls that the budget of the hour did not pay for."""

    def __post_init__(self) -> None:
        self.allowance = Allowance(self.policy.budget_per_hour)

    def __call__(self, call: Call) -> dict[str, Any] | None:
        """Return the event for this call; a failure is an event with its reason."""
        try:
            if not self.policy.wants(call):
                return None
        except Exception as exc:  # noqa: BLE001  the user's rule may do anything
            return self._build_event(call, None, exc)
        if not self.allowance.allows(self.now()):
            self.passed_over += 1
            return None
        try:
            attribution = self._explain(call)
            self.allowance.spend(self.now(), attribution.model_dump(include={"passes", "tokens", "seconds"}))
            return self._build_event(call, attribution, None)
        except Exception as exc:  # noqa: BLE001  an attribution must not break the host
            return self._build_event(call, None, exc)

    def price(self, call: Call) -> Plan:
        """Return what it would cost to explain this call, checks by `quality` left out.

        Raises:
            AttributionError: it cannot be explained so.
        """
        from llm_trace.attribution.api import attribute

        return attribute(call, dry_run=True, **self._build_settings(call))

    def build_failure(self, call: Call, reason: str) -> dict[str, Any]:
        """Return the event of a call that cannot be explained."""
        return self._build_event(call, None, AttributionError(reason))

    def _explain(self, call: Call) -> Attribution:
        from llm_trace.attribution.api import attribute

        settings = self._build_settings(call)
        attribution: Attribution = attribute(
            call, quality=self.policy.quality, progress=self.progress, **settings
        )
        return attribution

    def _build_settings(self, call: Call) -> dict[str, Any]:
        """Return the arguments of `attribute` that say what is asked of which model."""
        p = self.policy
        named = bool(call.prompt and call.prompt.variables)
        return {
            "model": "demo" if p.model is None and read_handle(call) is None else p.model,
            "segments": "word" if p.segments == "variable" and not named else p.segments,
            "tokenizer": p.tokenizer,
            "method": p.method,
            "target": p.target,
            "baseline": p.baseline,
            "unit": p.unit,
            "confidence": p.confidence,
            "budget": p.budget,
            "seed": p.seed,
            "cache": p.cache,
        }

    def _build_event(
        self, call: Call, attribution: Attribution | None, exc: Exception | None
    ) -> dict[str, Any]:
        time_ns = self.now()
        return {
            "event": "attribution",
            "id": self.new_id(),
            "span_id": call.span_id,
            "trace_id": call.trace_id,
            "start_ns": call.start_ns,
            "method": self.policy.method,
            "config_hash": self.policy.config_hash,
            "time_ns": time_ns,
            "status": "ok" if attribution is not None else "failed",
            "error": None if exc is None else f"{type(exc).__name__}: {exc}",
            "attribution": None
            if attribution is None
            else attribution.model_copy(update={"time_ns": time_ns}).model_dump(mode="json"),
        }


def _is_explainable(call: Call) -> bool:
    """Whether the call asked a model: it says so, it was given messages, or it was made with a `Prompt`."""
    return call.kind == "llm" or bool(call.messages_in) or call.prompt is not None


def _name_model(model: Any) -> str:
    """Return what tells models apart in every process: a name, a path, a label, a function's place."""
    if isinstance(model, str | None):
        return model or "live"
    from llm_trace.attribution.remote.model import Remote

    if isinstance(model, Remote):
        return model.label
    if path := read_model_path(model):
        return path
    return locate_callable(model) if hasattr(model, "__qualname__") else type(model).__qualname__


def _make_plain(setting: Any) -> str:
    """Return a text that is the same in every process: no memory addresses."""
    if isinstance(setting, re.Pattern):
        return f"/{setting.pattern}/{setting.flags}"
    if callable(setting):
        return locate_callable(setting)
    return repr(setting)
