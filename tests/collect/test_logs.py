"""Content and counts that come as OTLP log records belong to the call whose span they name."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from llm_trace.collect import protobuf
from llm_trace.collect.json_logs import iter_json_logs
from llm_trace.collect.receiver import Receiver
from llm_trace.record import Usage
from llm_trace.semconv.completed_span import EndedSpan
from llm_trace.spool.paths import get_spool_dir
from tests.conftest import Recorded

TRACE, SPAN = "ab" * 16, "cd" * 8
ASKED = {
    "gen_ai.system.message": {"content": [{"text": "Be kind"}]},
    "gen_ai.user.message": {"content": [{"text": "hi"}]},
}
TOLD = {"index": 0, "finish_reason": "end_turn", "message": {"content": [{"text": "hello"}]}}
WHOLE = {
    "gen_ai.request.model": "claude", "gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 2,
    "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}],
    "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "hello"}]}],
}  # fmt: skip


def value(content: Any) -> dict[str, Any]:
    """Return an `AnyValue`."""
    if isinstance(content, dict):
        return {"kvlistValue": {"values": [{"key": k, "value": value(v)} for k, v in content.items()]}}
    if isinstance(content, list):
        return {"arrayValue": {"values": [value(entry) for entry in content]}}
    return {"intValue": str(content)} if isinstance(content, int) else {"stringValue": content}


def record(name: str, at: int, body: Any = None, attributes: dict[str, Any] | None = None) -> dict[str, Any]:
    pairs = [{"key": k, "value": value(v)} for k, v in (attributes or {}).items()]
    fields = {
        "traceId": TRACE, "spanId": SPAN, "timeUnixNano": str(at), "eventName": name, "attributes": pairs,
    }  # fmt: skip
    return fields if body is None else {**fields, "body": value(body)}


def request(*records: Any) -> dict[str, Any]:
    return {"resourceLogs": [{"scopeLogs": [{"scope": {"name": "bedrock"}, "logRecords": list(records)}]}]}


def messages() -> list[dict[str, Any]]:
    asked = [record(name, 10 + i, body) for i, (name, body) in enumerate(ASKED.items())]
    return [*asked, record("gen_ai.choice", 20, TOLD)]


def span() -> tuple[str, EndedSpan]:
    attributes = {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "claude", "gen_ai.system": "aws.bedrock",
        "gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 2,
    }  # fmt: skip
    return "chat", EndedSpan(TRACE, SPAN, None, "chat", 5, 30, attributes)


def as_protobuf(content: dict[str, Any]) -> Any:
    import base64

    for entry in content["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
        for name in ("traceId", "spanId"):
            entry[name] = base64.b64encode(bytes.fromhex(entry[name])).decode()
    return protobuf.iter_logs(ParseDict(content, ExportLogsServiceRequest()).SerializeToString())


@pytest.mark.parametrize("read", [iter_json_logs, as_protobuf], ids=["json", "protobuf"])
@pytest.mark.parametrize("first", ["logs", "span"])
def test_what_was_said_is_in_the_call_whichever_comes_first(
    receiver: Receiver, recorded: Recorded, first: str, read: Any
) -> None:
    def logs() -> None:
        assert not receiver.take_logs(read(request(*messages()))).left_out

    def spans() -> None:
        receiver.take([span()])

    steps = [logs, spans] if first == "logs" else [spans, logs]
    for step in (*steps, *steps):  # the sender tries again
        step()
        recorded.calls()
    call = recorded.one()
    texts = [(message.role, message.text) for message in (*call.messages_in, *call.messages_out)]
    assert texts == [("system", "Be kind"), ("user", "hi"), ("assistant", "hello")]
    assert (call.name, call.kind, call.model, call.provider) == ("chat", "llm", "claude", "aws.bedrock")
    assert (call.usage, call.messages_out[0].finish_reason) == (
        Usage(input_tokens=9, output_tokens=2),
        "end_turn",
    )


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))], ids=str)
def test_records_that_come_in_several_requests_follow_each_other(
    receiver: Receiver, recorded: Recorded, order: tuple[int, ...]
) -> None:
    parts = [messages()[:2], messages()[2:]]
    for step in order:
        if step == 2:
            receiver.take([span()])
        else:
            receiver.take_logs(iter_json_logs(request(*parts[step])))
    call = recorded.one()
    assert [message.text for message in (*call.messages_in, *call.messages_out)] == ["Be kind", "hi", "hello"]


def test_one_record_with_all_details_makes_a_call_of_its_own_without_a_span(
    receiver: Receiver, recorded: Recorded
) -> None:
    receiver.take_logs(
        iter_json_logs(request(record("gen_ai.client.inference.operation.details", 10, None, WHOLE)))
    )
    call = recorded.one()
    assert (call.kind, call.model, call.usage) == ("llm", "claude", Usage(input_tokens=9, output_tokens=2))
    assert [message.text for message in (*call.messages_in, *call.messages_out)] == ["hi", "hello"]


def test_other_records_are_said_not_to_be_kept(receiver: Receiver, recorded: Recorded) -> None:
    alone = {**record("gen_ai.choice", 1, TOLD), "spanId": ""}
    taken = receiver.take_logs(iter_json_logs(request(record("app.started", 1), alone, "no record")))
    assert taken.left_out == {"app.started": 1, "gen_ai.choice": 1, "unreadable": 1}
    assert not get_spool_dir(recorded.path).exists()


EVALUATION = {
    "gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.label": "pass",
    "gen_ai.evaluation.explanation": "on the point",
}  # fmt: skip


@pytest.mark.parametrize("read", [iter_json_logs, as_protobuf], ids=["json", "protobuf"])
def test_an_evaluation_is_a_score_of_the_call_that_it_names(
    receiver: Receiver, recorded: Recorded, read: Any
) -> None:
    receiver.take([span()])
    for _ in range(2):  # the sender tries again
        assert not receiver.take_logs(
            read(request(record("gen_ai.evaluation.result", 40, None, EVALUATION)))
        ).left_out
    call = recorded.one()
    (score,) = recorded.scores(call.span_id)
    assert (score.name, score.value, score.comment, score.time_ns) == (
        "relevance",
        "pass",
        "on the point",
        40,
    )


def test_an_evaluation_that_came_to_nothing_is_said_not_to_be_kept(
    receiver: Receiver, recorded: Recorded
) -> None:
    failed = {"gen_ai.evaluation.name": "relevance", "error.type": "timeout"}
    receiver.take([span()])
    logs = request(record("gen_ai.evaluation.result", 40, None, failed))
    assert receiver.take_logs(iter_json_logs(logs)).left_out.total() == 1
    assert recorded.one().kind == "llm"
