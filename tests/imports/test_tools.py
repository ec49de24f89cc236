"""`llm-trace import`: files of other tools are read with their tree, tokens, times and scores, or refused."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from llm_trace.record import Call, Usage
from tests.conftest import Recorded
from tests.helpers.cli_toys import invoke
from tests.helpers.import_toys import bring, write
from tests.helpers.otlp_toys import export, span

ROOT = "0197a000-0000-7000-8000-000000000001"
CHILD = "0197a000-0000-7000-8000-000000000002"
BEGIN = 1_777_629_600_000_000_000
"""2026-05-01T10:00:00Z."""
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
ANSWER = {
    "id": "chatcmpl-12345678", "object": "chat.completion", "model": "gpt-4o-2024-08-06",
    "created": 1_777_629_600,
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"},
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
}  # fmt: skip


def tree(store: Recorded) -> dict[str, Call]:
    """Return the calls by name; all are of one trace, and each parent is there."""
    calls = {call.name: call for call in store.calls()}
    ids = {call.span_id for call in calls.values()}
    assert len({call.trace_id for call in calls.values()}) == 1
    assert all(call.parent_id in ids for call in calls.values() if call.parent_id)
    return calls


def spoken(call: Call) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    return [(m.role, m.text) for m in call.messages_in], [(m.role, m.text) for m in call.messages_out]


def shown(call: Call) -> tuple[Any, ...]:
    return call.kind, call.model, call.provider, call.usage, call.start_ns - BEGIN, call.duration_ns


def langchain(kind: str, text: str, **more: Any) -> dict[str, Any]:
    return {
        "lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", kind],
        "kwargs": {"content": text, **more},
    }  # fmt: skip


LANGSMITH: list[dict[str, Any]] = [
    {
        "id": ROOT, "trace_id": ROOT, "name": "agent", "run_type": "chain",
        "start_time": "2026-05-01T10:00:00", "end_time": "2026-05-01T10:00:02", "inputs": {"q": "x"},
        "outputs": {"a": "y"}, "parent_run_id": None, "dotted_order": f"20260501T100000000000Z{ROOT}",
        "session_id": "a-project", "tags": ["prod"],
        "extra": {"metadata": {"thread_id": "t1", "user_id": "anna"}},
        "feedback_stats": {
            "good": {"n": 2, "avg": 0.5, "values": {}, "comments": ["so so"]},
            "tone": {"n": 1, "avg": None, "values": {"kind": 1}},
        },
    },
    {
        "id": CHILD, "trace_id": ROOT, "name": "ChatOpenAI", "run_type": "llm",
        "start_time": "2026-05-01T10:00:00.500", "end_time": "2026-05-01T10:00:01.500",
        "parent_run_id": ROOT, "dotted_order": "1.2", "session_id": "a-project",
        "inputs": {
            "messages": [[langchain("SystemMessage", "Be brief."), langchain("HumanMessage", "hi")]],
        },
        "outputs": {
            "generations": [
                [
                    {
                        "text": "hello",
                        "message": langchain(
                            "AIMessage", "hello",
                            usage_metadata={
                                "input_tokens": 7, "output_tokens": 2, "total_tokens": 9,
                                "input_token_details": {"cache_read": 4},
                            },
                        ),
                    },
                ],
            ],
        },
        "extra": {
            "metadata": {"ls_provider": "openai", "ls_model_name": "gpt-4o"},
            "invocation_params": {"model": "gpt-4o", "temperature": 0.5},
        },
        "total_cost": "0.0004",
    },
]  # fmt: skip


def test_langsmith_runs_keep_their_tree_messages_tokens_and_feedback(
    recorded: Recorded, tmp_path: Path
) -> None:
    (report,) = bring(recorded, write(tmp_path / "runs.jsonl", *LANGSMITH))
    assert (report["format"], report["calls"], report["scores"]) == ("langsmith", 2, 2)
    calls = tree(recorded)
    agent, model = calls["agent"], calls["ChatOpenAI"]
    assert (agent.session, agent.user, agent.tags, agent.output) == ("t1", "anna", ("prod",), {"a": "y"})
    assert model.parent_id == agent.span_id
    usage = Usage(input_tokens=7, output_tokens=2, cache_read_tokens=4)
    assert shown(model) == ("llm", "gpt-4o", "openai", usage, 500_000_000, 1_000_000_000)
    assert (model.params, model.cost_usd) == ({"temperature": 0.5}, 0.0004)
    assert spoken(model) == ([("system", "Be brief."), ("user", "hi")], [("assistant", "hello")])
    scores = {score.name: (score.value, score.comment) for score in recorded.scores(agent.span_id)}
    assert scores == {"good": (0.5, "so so"), "tone": ("kind", None)}


def test_langsmith_runs_that_failed_or_never_ended_say_so(recorded: Recorded, tmp_path: Path) -> None:
    failed = {**LANGSMITH[0], "error": "ValueError('no')", "feedback_stats": None}
    never = {**LANGSMITH[1], "end_time": None}
    bring(recorded, write(tmp_path / "page.json", {"runs": [failed, never]}))
    calls = tree(recorded)
    error = calls["agent"].error
    assert error is not None
    assert (error.type, calls["ChatOpenAI"].status) == ("ValueError", "cancelled")


WEAVE = [
    {
        "id": ROOT, "project_id": "e/p", "op_name": "weave:///e/p/op/answer:abc", "trace_id": "t1",
        "parent_id": None, "started_at": "2026-05-01T10:00:00Z", "ended_at": "2026-05-01T10:00:02Z",
        "attributes": {}, "thread_id": "s1", "inputs": {"question": "hi"}, "output": "hello",
        "wb_user_id": "anna",
        "summary": {
            "usage": {"gpt-4o": {"prompt_tokens": 7, "completion_tokens": 2}},
            "weave": {
                "status": "success",
                "feedback": [
                    {"feedback_type": "wandb.runnable.judge", "payload": {"output": {"ok": True}}},
                ],
            },
        },
    },
    {
        "id": CHILD, "project_id": "e/p", "op_name": "weave:///e/p/op/openai.chat.completions.create:def",
        "trace_id": "t1", "parent_id": ROOT, "started_at": "2026-05-01T10:00:00.500Z",
        "ended_at": "2026-05-01T10:00:01.500Z", "attributes": {"weave": {"client_version": "0.51"}},
        "inputs": {"self": "weave:///e/p/object/x:1", **CHAT}, "output": ANSWER,
        "summary": {"usage": {"gpt-4o": {"prompt_tokens": 7, "completion_tokens": 2}}},
    },
]  # fmt: skip


def test_weave_calls_keep_their_tree_and_count_tokens_once(recorded: Recorded, tmp_path: Path) -> None:
    (report,) = bring(recorded, write(tmp_path / "calls.jsonl", *WEAVE))
    assert (report["format"], report["calls"], report["scores"]) == ("weave", 2, 1)
    calls = tree(recorded)
    whole, model = calls["answer"], calls["openai.chat.completions.create"]
    assert (whole.kind, whole.usage, whole.session, whole.user) == ("chain", None, "s1", "anna")
    usage = Usage(input_tokens=7, output_tokens=2)
    assert shown(model) == ("llm", "gpt-4o-2024-08-06", "openai", usage, 500_000_000, 1_000_000_000)
    assert spoken(model) == ([("user", "hi")], [("assistant", "hello")])
    (score,) = recorded.scores(whole.span_id)
    assert (score.name, score.value) == ("judge.ok", True)


def test_litellm_payloads_are_model_calls(recorded: Recorded, tmp_path: Path) -> None:
    payload = {
        "id": ANSWER["id"], "trace_id": ROOT, "call_type": "acompletion", "response_cost": 0.0004,
        "status": "success", "startTime": BEGIN / 1e9, "endTime": BEGIN / 1e9 + 1,
        "completionStartTime": BEGIN / 1e9 + 0.25, "stream": True, "model": "gpt-4o",
        "custom_llm_provider": "openai", "messages": CHAT["messages"], "response": ANSWER,
        "model_parameters": {"temperature": 0.5}, "metadata": {"user_api_key_hash": None},
        "end_user": "anna", "request_tags": ["prod"], "prompt_tokens": 7, "completion_tokens": 2,
        "total_tokens": 9, "hidden_params": {"a": 1},
    }  # fmt: skip
    failed = {
        **payload, "id": "chatcmpl-other", "status": "failure", "response": None, "prompt_tokens": 0,
        "completion_tokens": 0, "error_str": "too much",
        "error_information": {"error_class": "RateLimitError", "error_message": "too much"},
    }  # fmt: skip
    (report,) = bring(recorded, write(tmp_path / "log.jsonl", payload, failed))
    assert (report["format"], report["calls"]) == ("litellm", 2)
    assert report["not_understood"] == {"hidden_params": 2}
    good, bad = sorted(recorded.calls(), key=lambda call: call.status, reverse=True)
    usage = Usage(input_tokens=7, output_tokens=2)
    assert shown(good) == ("llm", "gpt-4o-2024-08-06", "openai", usage, 0, 1_000_000_000)
    assert (good.user, good.tags, good.cost_usd, good.params) == (
        "anna",
        ("prod",),
        0.0004,
        {"temperature": 0.5},
    )
    assert good.first_token_ns is not None
    assert (
        round((good.first_token_ns - BEGIN) / 1e6) == 250
    )  # seconds as a float are exact to about a microsecond
    assert spoken(good) == ([("user", "hi")], [("assistant", "hello")])
    assert bad.error is not None
    assert (bad.error.type, bad.error.message, bad.usage) == ("RateLimitError", "too much", None)


def test_a_promptfoo_evaluation_is_a_run_with_scores(recorded: Recorded, tmp_path: Path) -> None:
    row = {
        "promptIdx": 0, "testIdx": 0, "provider": {"id": "openai:chat:gpt-4o"},
        "prompt": {"raw": "Say hi", "label": "greet"}, "vars": {"word": "hi"}, "success": False,
        "score": 0.5, "latencyMs": 321, "namedScores": {"tone": 1},
        "response": {
            "output": "hello", "tokenUsage": {"total": 9, "prompt": 7, "completion": 2}, "cost": 0.001,
        },
        "gradingResult": {"pass": False, "score": 0.5, "reason": "not hi"}, "failureReason": 1,
        "error": "not hi",
    }  # fmt: skip
    results = {
        "version": 3,
        "timestamp": "2026-05-01T10:00:00Z",
        "prompts": [],
        "results": [row],
        "stats": {},
    }
    whole = {"evalId": "eval-x", "results": results, "config": {"description": "greetings"}}
    (report,) = bring(recorded, write(tmp_path / "results.json", whole))
    assert (report["format"], report["calls"], report["scores"]) == ("promptfoo", 1, 3)
    call = recorded.one()
    usage = Usage(input_tokens=7, output_tokens=2)
    assert shown(call) == ("llm", "gpt-4o", "openai", usage, 0, 321_000_000)
    assert (call.status, call.cost_usd, call.input) == (
        "ok",
        0.001,
        {"prompt": "Say hi", "vars": {"word": "hi"}},
    )
    assert spoken(call) == ([("user", "Say hi")], [("assistant", "hello")])
    scores = {score.name: (score.value, score.comment) for score in recorded.scores(call.span_id)}
    assert scores == {"score": (0.5, "not hi"), "pass": (False, "not hi"), "tone": (1.0, "not hi")}
    assert [run.name for run in recorded.runs()] == ["greetings"]


SSE = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in [
    {
        "id": ANSWER["id"], "object": "chat.completion.chunk", "model": ANSWER["model"],
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hel"}}],
    },
    {
        "id": ANSWER["id"], "object": "chat.completion.chunk", "model": ANSWER["model"],
        "choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}],
    },
    {
        "id": ANSWER["id"], "object": "chat.completion.chunk", "model": ANSWER["model"], "choices": [],
        "usage": ANSWER["usage"],
    },
]) + "data: [DONE]\n\n"  # fmt: skip


@pytest.mark.parametrize(
    ("record", "asked"),
    [
        ({"request": CHAT, "response": ANSWER}, True),
        (
            {
                "request": {"url": "/v1", "body": json.dumps(CHAT)},
                "response": {"status": 200, "body": json.dumps(ANSWER)},
            },
            True,
        ),
        ({"request": CHAT, "response": SSE}, True),
        (
            {
                "id": "batch_req_1", "custom_id": "1",
                "response": {"status_code": 200, "request_id": "r", "body": ANSWER}, "error": None,
            },
            False,
        ),
        (ANSWER, False),
    ],
    ids=["plain", "envelopes", "stream", "batch output", "stored completion"],
)  # fmt: skip
def test_a_request_with_its_response_is_a_model_call(
    recorded: Recorded, tmp_path: Path, record: dict[str, Any], *, asked: bool
) -> None:
    (report,) = bring(recorded, write(tmp_path / "log.jsonl", record))
    assert (report["format"], report["calls"]) == ("exchange", 1)
    call = recorded.one()
    assert (call.kind, call.model, call.usage) == (
        "llm",
        "gpt-4o-2024-08-06",
        Usage(input_tokens=7, output_tokens=2),
    )
    assert spoken(call) == ([("user", "hi")] if asked else [], [("assistant", "hello")])


def test_a_request_with_its_times_and_its_error(recorded: Recorded, tmp_path: Path) -> None:
    error = {"error": {"type": "invalid_request_error", "message": "no"}}
    times = {"timestamp": "2026-05-01T10:00:00Z", "latency_ms": 250}
    line = {"request": CHAT, "response": {"status_code": 400, "body": error}, **times}
    bring(recorded, write(tmp_path / "log.jsonl", line))
    call = recorded.one()
    assert call.error is not None
    assert (call.status, call.error.type, call.error.message) == ("error", "invalid_request_error", "no")
    assert (call.start_ns - BEGIN, call.duration_ns, call.model) == (0, 250_000_000, "gpt-4o")


def test_the_requests_of_a_batch_are_refused_with_the_file_to_import(
    recorded: Recorded, tmp_path: Path
) -> None:
    request = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}
    result = invoke(recorded.path, "import", str(write(tmp_path / "in.jsonl", request)))
    assert result.exit_code != 0
    rejected = json.loads((tmp_path / "in.jsonl.rejected.jsonl").read_text())
    assert "output file" in rejected["reason"]


@pytest.mark.parametrize(
    "record",
    [
        {"id": "a", "parent_id": "b", "input": {"q": 1}, "output": 2},
        {"uuid": "u", "parentUuid": "p", "type": "user", "message": {"role": "user", "content": "hi"}},
    ],
    ids=["a tree", "a transcript"],
)
def test_a_file_of_an_unknown_tool_is_refused_rather_than_misread(
    recorded: Recorded, tmp_path: Path, record: dict[str, Any]
) -> None:
    result = invoke(recorded.path, "import", str(write(tmp_path / "x.jsonl", record, record)))
    assert result.exit_code != 0
    assert "not recognised" in result.stderr


def test_a_collectors_file_may_begin_with_metrics_and_logs(recorded: Recorded, tmp_path: Path) -> None:
    others: list[dict[str, Any]] = [{"resourceMetrics": []}, {"resourceLogs": []}]
    (report,) = bring(recorded, write(tmp_path / "spans.json", *others, export(span(1))))
    assert (report["format"], report["calls"], report["broken"]) == ("otlp", 1, 0)


def test_a_langfuse_latency_is_the_duration_where_no_end_is_given(recorded: Recorded, tmp_path: Path) -> None:
    trace = {
        "id": "t",
        "timestamp": "2026-05-01T10:00:00Z",
        "name": "chat",
        "bookmarked": "false",
        "latency": "4.0",
    }
    observation = {
        "id": "o",
        "traceId": "t",
        "type": "SPAN",
        "startTime": "2026-05-01T10:00:00Z",
        "latency": 2.5,
    }
    bring(recorded, write(tmp_path / "t.jsonl", trace), write(tmp_path / "o.jsonl", observation))
    took = {call.name: call.duration_ns for call in recorded.calls()}
    assert took == {"chat": 4_000_000_000, "o": 2_500_000_000}


def inspect_log() -> dict[str, Any]:
    """Return a log as inspect_ai 0.3.285 writes it: messages once a sample, cached tokens beside input."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    usage = {
        "input_tokens": 60,
        "output_tokens": 5,
        "total_tokens": 105,
        "input_tokens_cache_read": 30,
        "input_tokens_cache_write": 10,
    }
    output = {
        "model": "m", "usage": usage, "time": 1.0,
        "choices": [{"message": {"role": "assistant", "content": "hello"}, "stop_reason": "stop"}],
    }  # fmt: skip
    event = {
        "event": "model", "uuid": "e1", "timestamp": "2026-05-01T10:00:00+00:00", "model": "openai/m",
        "input": [], "input_refs": [[0, 1], [1, 2]], "output": output, "config": {}, "tools": [],
    }  # fmt: skip
    sample = {
        "id": 1,
        "epoch": 1,
        "input": "hi",
        "target": "hello",
        "uuid": "s1",
        "events": [event],
        "attachments": {},
    }
    sample |= {"events_data": {"messages": messages}, "output": output, "scores": {"match": {"value": "C"}}}
    return {
        "version": 2,
        "status": "success",
        "eval": {"task": "t", "model": "openai/m", "eval_id": "x"},
        "samples": [sample],
    }


def check_inspect(store: Recorded) -> None:
    (call,) = store.calls(kind="llm")
    assert call.usage == Usage(input_tokens=100, output_tokens=5, cache_read_tokens=30, cache_write_tokens=10)
    assert spoken(call) == ([("system", "Be brief."), ("user", "hi")], [("assistant", "hello")])
    (root,) = store.calls(kind="chain")
    assert [score.value for score in store.scores(root.span_id)] == [1.0]


def test_inspect_logs_keep_input_messages_and_cached_tokens(recorded: Recorded, tmp_path: Path) -> None:
    bring(recorded, write(tmp_path / "log.json", inspect_log()))
    check_inspect(recorded)


@pytest.mark.parametrize("zstd", [False, True], ids=["deflate", "zstd"])
def test_the_default_eval_log_of_inspect_is_read(recorded: Recorded, tmp_path: Path, *, zstd: bool) -> None:
    log = inspect_log()
    (sample,) = log.pop("samples")
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"header.json": log, "samples/1_epoch_1.json": sample}.items():
            archive.writestr(name, json.dumps(content))
    if zstd:
        path.write_bytes(zstd_zip({"header.json": log, "samples/1_epoch_1.json": sample}))
    (report,) = bring(recorded, path)
    assert (report["format"], report["broken"]) == ("inspect", 0)
    check_inspect(recorded)


def zstd_zip(files: dict[str, Any]) -> bytes:
    """Return a zip of Zstandard frames of raw blocks, which Python 3.11 can write without a library."""
    body, directory = b"", b""
    for name, content in files.items():
        data = json.dumps(content).encode()
        assert len(data) < 1 << 17
        block = (len(data) << 3 | 1).to_bytes(3, "little")
        frame = b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little") + block + data
        header = struct.pack(
            "<HHHHHIIIHH", 45, 0, 93, 0, 33, zlib.crc32(data), len(frame), len(data), len(name), 0
        )
        directory += (
            b"PK\x01\x02"
            + struct.pack("<H", 45)
            + header
            + struct.pack("<HHHII", 0, 0, 0, 0, len(body))
            + name.encode()
        )
        body += b"PK\x03\x04" + header + name.encode() + frame
    end = struct.pack("<HHHHIIH", 0, 0, len(files), len(files), len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end


def test_a_zip_of_something_else_is_refused(recorded: Recorded, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("notes.txt", "hi")
    result = invoke(recorded.path, "import", str(tmp_path / "x.zip"))
    assert result.exit_code != 0
    assert "header.json" in result.stderr
