"""What explains a traced call when it has ended, as its policy says: here, or in the background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.capture import failures

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.recorder import Recorder


def build_explainer(recorder: Recorder, store: Path) -> Callable[[Any, CallSpan, bytes], None]:
    """Return what explains a call that has ended, or asks the background worker to; it never raises."""
    hooks: dict[int, Any] = {}

    def explain(policy: Any, call: CallSpan, end: bytes) -> None:
        try:
            if policy.mode == "background":
                from llm_trace.background import open_requests

                if policy.samples(call.trace_id) and (
                    policy.when is None or policy.wants(_build_call(call, end))
                ):
                    open_requests(store).add(policy, call.span_id)
            elif policy.mode == "inline":
                from llm_trace.attribution.policy.policy import Hook

                hook = hooks.setdefault(id(policy), Hook(policy))
                if (event := hook(_build_call(call, end))) is not None:
                    recorder.event(event)
        except Exception as exc:  # noqa: BLE001
            failures.note("the attribution hook", exc)

    return explain


def _build_call(span: CallSpan, end: bytes) -> Any:
    """Return the record of a call that has just ended, out of its two events, as the store will give it."""
    import orjson

    from llm_trace import semconv
    from llm_trace.record import Call
    from llm_trace.spool.messages import fill_messages

    events = {**orjson.loads(span.start_event + b"}"), **orjson.loads(end + b"}")}
    if span.start_messages is not None:
        bodies = orjson.loads(span.recorder.encoder.encode_bodies(list(span.start_messages)))
        events["input"] = fill_messages(events.get("input"), bodies)
        events["messages_in"] = [semconv.message(body) for body in bodies]
    events.setdefault("messages_in", semconv.messages_in(events.get("input")))
    events.setdefault("messages_out", semconv.messages_out(events.get("output")))
    return Call.model_validate({k: v for k, v in events.items() if k in Call.model_fields})
