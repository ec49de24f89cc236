"""What explains a traced call when it has ended, as its policy says: here, or in the background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.bounded_dict import BoundedDict
from llm_trace.capture import failures
from llm_trace.semconv.documents import RETRIEVING

if TYPE_CHECKING:
    from llm_trace.capture.callspan import CallSpan
    from llm_trace.capture.recorder import Recorder
    from llm_trace.record import Call, Document

_MOST_TRACES, _MOST_OF_TRACE = 256, 64
"""Traces, and retrievals of one, that are kept for calls that may be explained."""


def build_explainer(recorder: Recorder, store: Path) -> Callable[[Any, CallSpan, bytes], None]:
    """Return what explains a call that has ended, or asks the background worker to; it never raises."""
    hooks: dict[int, Any] = {}
    retrieved = RetrievedDocuments()

    def explain(policy: Any, call: CallSpan, end: bytes) -> None:
        try:
            if call.spec.kind in RETRIEVING:
                retrieved.note(call, end)
            if policy is None:
                return
            if policy.mode == "background":
                from llm_trace.background import open_requests

                if policy.samples(call.trace_id) and (
                    policy.when is None or policy.wants(retrieved.add_to(_build_call(call, end)))
                ):
                    open_requests(store).add(policy, call.span_id)
            elif policy.mode == "inline":
                from llm_trace.attribution.policy.policy import Hook

                hook = hooks.setdefault(id(policy), Hook(policy))
                if (event := hook(retrieved.add_to(_build_call(call, end)))) is not None:
                    recorder.event(event)
        except Exception as exc:  # noqa: BLE001
            failures.note("the attribution hook", exc)

    return explain


class RetrievedDocuments:
    """What was retrieved lately in this process, by trace; read when a model's call is to be explained."""

    def __init__(self) -> None:
        self._ends: BoundedDict[str, list[tuple[str, str, bytes]]] = BoundedDict(_MOST_TRACES)

    def note(self, call: CallSpan, end: bytes) -> None:
        """Keep the end of a retriever's or reranker's call."""
        latest = self._ends.get(call.trace_id, [])
        self._ends[call.trace_id] = [*latest[1 - _MOST_OF_TRACE :], (call.spec.kind, call.span_id, end)]

    def add_to(self, call: Call) -> Call:
        """Return a model's call with the documents that were given before it began, as the store does."""
        from llm_trace.stores.retrieved import add_documents_before

        ends = self._ends.get(call.trace_id)
        return call if not ends else add_documents_before(call, [_read_documents(*each) for each in ends])


def _read_documents(kind: str, span_id: str, end: bytes) -> tuple[int, tuple[Document, ...]]:
    import orjson

    from llm_trace.record import Document
    from llm_trace.semconv.documents import find_documents

    event = orjson.loads(end + b"}")
    fields = {"kind": kind, "output": event.get("output")}
    documents = (Document(**document, span_id=span_id) for document in find_documents(fields))
    return event["end_ns"], tuple(documents)


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
