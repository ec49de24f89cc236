"""`llm-trace import`: traces of MLflow and Opik come with tree, messages, tokens, errors and scores."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from llm_trace.record import Usage
from tests.conftest import Recorded
from tests.helpers.import_toys import bring, write
from tests.imports.test_tools import spoken, tree

START = 1_777_629_600_000_000_000
"""2026-05-01T10:00:00Z."""
CHAT = {"messages": [{"role": "user", "content": "May I?"}]}
REPLY = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
}


def mlflow_span(own: str, parent: str | None, kind: str, name: str, **attributes: Any) -> dict[str, Any]:
    return {
        "trace_id": "kY9U1jfqmv+PiSAozValIg==", "span_id": own, "parent_span_id": parent, "name": name,
        "start_time_unix_nano": START, "end_time_unix_nano": START + 1_000_000, "events": [], "links": [],
        "status": {"code": "STATUS_CODE_OK", "message": ""},
        "attributes": {
            "mlflow.traceRequestId": '"tr-918f54d637ea9aff8f892028cd56a522"',
            "mlflow.spanType": json.dumps(kind),
            **{f"mlflow.{key}": json.dumps(value) for key, value in attributes.items()},
        },
    }  # fmt: skip


def mlflow_trace() -> dict[str, Any]:
    """Return what mlflow 3.17's `Trace.to_json()` gave for an agent with a model and a tool that failed."""
    failed = mlflow_span("HCVW8vgQ/Oc=", "/RqIqO60C5s=", "TOOL", "refund", spanInputs={"order": 7})
    failed["status"] = {"code": "STATUS_CODE_ERROR", "message": "RuntimeError: no such order"}
    about = {"exception.message": "no such order", "exception.type": "RuntimeError"}
    failed["events"] = [{"name": "exception", "time_unix_nano": START + 5, "attributes": about}]
    model = mlflow_span(
        "QFRhSx5t6Vk=", "/RqIqO60C5s=", "CHAT_MODEL", "ask", spanInputs=CHAT, spanOutputs=REPLY,
        **{
            "chat.tokenUsage": {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15},
            "llm.model": "small-1", "llm.provider": "openai", "llm.cost": {"total_cost": 0.002},
        },
    )  # fmt: skip
    root = mlflow_span(
        "/RqIqO60C5s=", None, "AGENT", "desk", spanInputs={"question": "May I?"}, spanOutputs="Yes."
    )
    helpful = {
        "assessment_id": "a-1", "assessment_name": "helpful", "feedback": {"value": True},
        "source": {"source_type": "HUMAN", "source_id": "anna"}, "create_time": "2026-05-01T11:00:00Z",
        "rationale": "short",
    }  # fmt: skip
    judged = {
        "assessment_id": "a-2", "assessment_name": "tone", "feedback": {"value": 0.25},
        "source": {"source_type": "LLM_JUDGE"}, "create_time": "2026-05-01T11:00:00Z",
        "span_id": "QFRhSx5t6Vk=",
    }  # fmt: skip
    info = {
        "trace_id": "tr-918f54d637ea9aff8f892028cd56a522", "request_time": "2026-05-01T10:00:00Z",
        "state": "OK", "execution_duration_ms": 1, "tags": {"team": "a"},
        "trace_metadata": {"mlflow.trace.session": "s1", "mlflow.trace.user": "anna"},
        "assessments": [helpful, judged],
    }  # fmt: skip
    return {"info": info, "data": {"spans": [root, model, failed]}}


def test_a_trace_of_mlflow_comes_with_its_tree_messages_tokens_errors_and_feedback(
    recorded: Recorded, tmp_path: Path
) -> None:
    [report] = bring(recorded, write(tmp_path / "traces.jsonl", mlflow_trace()))
    assert (report["format"], report["calls"], report["scores"], report["broken"]) == ("mlflow", 3, 2, 0)
    calls = tree(recorded)
    assert {name: (call.kind, call.session, call.user) for name, call in calls.items()} == {
        "desk": ("agent", "s1", "anna"),
        "ask": ("llm", "s1", "anna"),
        "refund": ("tool", "s1", "anna"),
    }
    desk, ask, refund = calls["desk"], calls["ask"], calls["refund"]
    assert (desk.trace_id, desk.span_id) == ("918f54d637ea9aff8f892028cd56a522", "fd1a88a8eeb40b9b")
    assert (desk.input, desk.output) == ({"question": "May I?"}, "Yes.")
    assert spoken(ask) == ([("user", "May I?")], [("assistant", "Yes.")])
    assert (ask.model, ask.provider, ask.cost_usd) == ("small-1", "openai", 0.002)
    assert ask.usage == Usage(input_tokens=12, output_tokens=3)
    assert refund.error is not None
    assert (refund.status, refund.error.type, refund.error.message) == (
        "error",
        "RuntimeError",
        "no such order",
    )
    assert desk.metadata["import"]["rest"]["tags"] == {"team": "a"}
    assert "input.value" not in desk.metadata["otel"]["attributes"]
    scores = {
        (score.span_id, score.name): (score.value, score.source, score.comment)
        for call in calls.values()
        for score in recorded.scores(call.span_id)
    }
    assert scores == {
        (desk.span_id, "helpful"): (True, "human", "short"),
        (ask.span_id, "tone"): (0.25, "model", None),
    }
    [again] = bring(recorded, write(tmp_path / "traces.jsonl", mlflow_trace()))
    assert (again["calls"], again["known"]) == (0, 3)


def test_rows_and_pages_of_mlflow_are_the_same_trace(recorded: Recorded, tmp_path: Path) -> None:
    row = {"trace_id": "tr-918f54d637ea9aff8f892028cd56a522", "trace": json.dumps(mlflow_trace())}
    page = {"traces": [mlflow_trace()], "next_page_token": ""}
    [first] = bring(recorded, write(tmp_path / "a.jsonl", row))
    [second] = bring(recorded, write(tmp_path / "b.jsonl", page))
    assert (first["format"], first["calls"], first["known"]) == ("mlflow", 3, 0)
    assert (second["format"], second["calls"], second["known"]) == ("mlflow", 0, 3)


def test_an_id_of_mlflow_whose_base64_begins_like_hex_is_whole(recorded: Recorded, tmp_path: Path) -> None:
    trace = mlflow_trace()
    spans = json.loads(json.dumps(trace["data"]["spans"]).replace("/RqIqO60C5s=", "0xd8XureBwU="))
    [report] = bring(recorded, write(tmp_path / "traces.jsonl", {**trace, "data": {"spans": spans}}))
    assert (report["calls"], report["broken"]) == (3, 0)
    calls = tree(recorded)
    assert calls["desk"].span_id == base64.b64decode("0xd8XureBwU=").hex()
    assert {calls["ask"].parent_id, calls["refund"].parent_id} == {calls["desk"].span_id}


def test_a_span_of_mlflow_without_a_time_is_set_aside_alone(recorded: Recorded, tmp_path: Path) -> None:
    trace = mlflow_trace()
    trace["data"]["spans"][2]["start_time_unix_nano"] = "yesterday"
    [report] = bring(recorded, write(tmp_path / "traces.jsonl", trace))
    assert (report["calls"], report["broken"]) == (2, 1)
    assert "start_time_unix_nano is no time" in Path(report["broken_file"]).read_text(encoding="utf-8")


OPIK_TRACE = "0197a000-0000-7000-8000-000000000001"
OPIK_SPAN = "0197a000-0000-7000-8000-000000000002"
OPIK: list[dict[str, Any]] = [
    {
        "id": OPIK_TRACE, "project_id": OPIK_TRACE, "name": "desk", "start_time": "2026-05-01T10:00:00Z",
        "end_time": "2026-05-01T10:00:02Z", "input": {"q": "May I?"}, "output": {"a": "Yes."},
        "tags": ["prod"], "thread_id": "s1", "span_count": 1, "metadata": {"release": "7"},
        "feedback_scores": [{"name": "helpful", "value": 1.0, "reason": "short", "source": "ui"}],
    },
    {
        "id": OPIK_SPAN, "trace_id": OPIK_TRACE, "project_id": OPIK_TRACE, "name": "ask", "type": "llm",
        "start_time": "2026-05-01T10:00:00.5Z", "end_time": "2026-05-01T10:00:01Z", "ttft": 100.0,
        "input": CHAT, "output": REPLY, "model": "small-1", "provider": "openai",
        "total_estimated_cost": 0.002,
        "usage": {
            "prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15,
            "original_usage.prompt_tokens": 12, "original_usage.completion_tokens": 3,
            "original_usage.prompt_tokens_details.cached_tokens": 4,
        },
        "error_info": {"exception_type": "TimeoutError", "message": "slow", "traceback": "line 1"},
    },
]  # fmt: skip


def test_traces_and_spans_of_opik_are_one_tree(recorded: Recorded, tmp_path: Path) -> None:
    page = {"page": 1, "size": 1, "total": 1, "content": [OPIK[0]]}
    reports = bring(recorded, write(tmp_path / "traces.json", page), write(tmp_path / "spans.jsonl", OPIK[1]))
    assert [(each["format"], each["calls"], each["scores"]) for each in reports] == [
        ("opik", 1, 1),
        ("opik", 1, 0),
    ]
    calls = tree(recorded)
    desk, ask = calls["desk"], calls["ask"]
    assert (desk.kind, desk.session, desk.tags, desk.metadata["release"]) == ("chain", "s1", ("prod",), "7")
    assert (ask.parent_id, ask.kind, ask.model, ask.cost_usd) == (desk.span_id, "llm", "small-1", 0.002)
    assert ask.usage == Usage(input_tokens=12, output_tokens=3, cache_read_tokens=4)
    assert spoken(ask) == ([("user", "May I?")], [("assistant", "Yes.")])
    assert ask.first_token_ns is not None
    assert ask.first_token_ns - ask.start_ns == 100_000_000
    assert ask.error is not None
    assert (ask.error.type, ask.error.message, ask.error.traceback) == ("TimeoutError", "slow", "line 1")
    [score] = recorded.scores(desk.span_id)
    assert (score.span_id, score.value, score.source, score.comment) == (desk.span_id, 1.0, "human", "short")


def test_a_trace_of_opik_with_its_spans_in_one_object(recorded: Recorded, tmp_path: Path) -> None:
    [report] = bring(recorded, write(tmp_path / "trace.json", {"trace": OPIK[0], "spans": [OPIK[1]]}))
    assert (report["format"], report["calls"]) == ("opik", 2)
    assert tree(recorded)["ask"].status == "error"
