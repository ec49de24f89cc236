"""The tool `attribute`: which parts of a prompt made the model answer as it did."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from llm_trace.errors import AttributionError, ConfigurationError
from llm_trace.mcp.answers import MoreRequest, ToolAnswer
from llm_trace.mcp.explanations import conclude_explanation, format_explanation
from llm_trace.mcp.jobs import JobId, WaitSeconds
from llm_trace.mcp.values import CallId
from llm_trace.mcp.workbench import ToolQuestion, Workbench

if TYPE_CHECKING:
    from llm_trace.attribution.policy.policy import AttributionPolicy
    from llm_trace.record import Attribution, Call
    from llm_trace.stores.duckdb import Store

MOST = 15
"""Segments that are shown unless more are asked for."""


class AttributeQuestion(ToolQuestion):
    """A call of a model, and how it is to be explained."""

    id: CallId = "last"
    segments: Literal["word", "phrase", "sentence", "line", "message", "variable", "chunk"] = "word"
    model: str | None = Field(default=None, description="One that the user named at start (see doctor).")
    method: str = Field(default="auto", max_length=40, description="auto, occlusion, shapley, context_cite …")
    baseline: str = Field(
        default="auto", max_length=200, description="auto, delete, mask, or a text instead."
    )
    budget: int | None = Field(default=None, ge=1, description="At most so many evaluations of the model.")
    most: int = Field(default=MOST, ge=1, le=100, description="Segments to show.")
    job: JobId = None
    wait_s: WaitSeconds = 45.0


def answer_attribute(bench: Workbench, question: AttributeQuestion) -> ToolAnswer:
    """Return the segments that mattered with bounds; of a call that has just this attribution, that one.

    Raises:
        ConfigurationError: a model that the user did not name.
        NotFoundError: there is no such call.
        AttributionError: the call cannot be explained.
    """
    from llm_trace.attribution.policy.policy import AttributionPolicy
    from llm_trace.stores.find import find_call

    if question.job is not None:
        return bench.jobs.follow("attribute", question.job, question.wait_s)
    model = bench.models[0] if question.model is None else question.model
    if model not in bench.models:
        raise ConfigurationError(
            f"model {model!r} was not named when the server was started (--model): "
            f"there is {', '.join(bench.models)}"
        )
    policy = AttributionPolicy(
        model=model, method=question.method, segments=question.segments, baseline=question.baseline,
        budget=question.budget,
    )  # fmt: skip
    call = _choose_model_call(bench.store, find_call(bench.store, question.id).span_id, policy)
    if (stored := _find_stored(bench.store, call, policy)) is not None:
        return _format_answer(stored, question)
    work = partial(_explain, bench.store, call, policy, question)
    return bench.jobs.begin("attribute", question.wait_s, work)


def _choose_model_call(store: Store, span_id: str, policy: AttributionPolicy) -> Call:
    """Return a call that can be explained, or the only such call inside it.

    Raises:
        AttributionError: there is none, or there are several.
    """
    call = store.call(span_id)
    if policy.wants(call):
        return call
    inside = {span_id}
    models: list[Call] = []
    for other in store.trace(call.trace_id):
        if other.parent_id in inside:
            inside.add(other.span_id)
            models += [other] if policy.wants(other) else []
    if len(models) != 1:
        names = ", ".join(other.span_id for other in models[:5]) or "none"
        raise AttributionError(
            f"call {span_id} cannot be explained itself: only one of a model that ended well, with a prompt "
            f"and an answer in words. Such calls inside it: {names}"
        )
    return models[0]


def _find_stored(store: Store, call: Call, policy: AttributionPolicy) -> Attribution | None:
    """Return the newest attribution of a call that was asked for in just this way."""
    query = """
        SELECT time_ns FROM attributions WHERE span_id = ? AND status = 'ok' AND method = ?
        AND config_hash = ? ORDER BY time_ns DESC LIMIT 1"""
    row = store.sql(query, call.span_id, policy.method, policy.config_hash).fetchone()
    if row is None:
        return None
    return next((a for a in store.attributions(call.span_id) if a.time_ns == row[0]), None)


def _explain(store: Store, call: Call, policy: AttributionPolicy, question: AttributeQuestion) -> ToolAnswer:
    """Explain a call here and keep the attribution with it."""
    from llm_trace.attribution.policy.policy import Hook
    from llm_trace.event_writer import EventWriter
    from llm_trace.record import Attribution

    event = Hook(policy)(call)
    if event is None:
        raise AttributionError(f"call {call.span_id} was passed over")
    with EventWriter(store.path) as writer:
        writer.write(event, "the attribution")
    store.ingest()
    if event["status"] != "ok":
        raise AttributionError(f"call {call.span_id} cannot be explained: {event['error']}")
    return _format_answer(Attribution.model_validate(event["attribution"]), question)


def _format_answer(attribution: Attribution, question: AttributeQuestion) -> ToolAnswer:
    more: list[MoreRequest] = []
    total = len(attribution.segments)
    if total > question.most and question.most < 100:
        again: dict[str, Any] = {"most": min(100, total)}
        more.append(
            MoreRequest(gives="more segments", tool="attribute", arguments=again, same_otherwise=True)
        )
    return ToolAnswer(
        verdict=conclude_explanation(attribution),
        more=tuple(more),
        recorded=format_explanation(attribution, question.most),
    )
