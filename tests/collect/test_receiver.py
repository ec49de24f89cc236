"""The receiver: what OpenTelemetry sends over HTTP becomes calls in the store."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from llm_trace.attribution_settings import Contrast, Settings
from llm_trace.capture.values import ValueEncoder
from llm_trace.collect.connections import ConnectionLimits, Once
from llm_trace.collect.receiver import Receiver, RequestLimits
from llm_trace.record import Attribution, Segment
from llm_trace.spool.paths import get_spool_dir
from llm_trace.spool.writer import SpoolWriter
from tests.conftest import Recorded
from tests.helpers.cli_toys import invoke, record
from tests.helpers.collector import Server
from tests.helpers.otlp_toys import JSON, PROTOBUF, export, span
from tests.helpers.spool_toys import HandWriter
from tests.helpers.spool_toys import span as call_id

TOKEN = "s3cret"


@pytest.fixture
def spool(recorded: Recorded) -> Iterator[SpoolWriter]:
    with closing(SpoolWriter(get_spool_dir(recorded.path))) as writer:
        yield writer


@pytest.fixture
def client(spool: SpoolWriter) -> Iterator[httpx.Client]:
    with Server(
        Receiver(spool, ValueEncoder(), RequestLimits(body=1 << 20, spans=50, attributes=40))
    ) as opened:
        yield opened


def test_spans_of_opentelemetrys_own_exporter_are_calls(client: httpx.Client, recorded: Recorded) -> None:
    provider = TracerProvider(resource=Resource.create({"service.name": "desk"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{client.base_url}/v1/traces")))
    tracer = provider.get_tracer("openinference.instrumentation.openai")
    with tracer.start_as_current_span("handle") as outer:
        attributes: dict[str, Any] = {
            "openinference.span.kind": "LLM",
            "llm.model_name": "gpt-4o",
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.content": "hi",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.content": "hello",
            "llm.token_count.prompt": 9,
        }
        with tracer.start_as_current_span("ChatCompletion", attributes=attributes) as inner:
            inner.record_exception(TimeoutError("too slow"))
    provider.shutdown()

    call, root = recorded.calls()
    assert (root.name, root.kind, root.parent_id) == ("handle", "chain", None)
    assert call.parent_id == root.span_id == f"{outer.get_span_context().span_id:016x}"
    assert (call.kind, call.model, call.status) == ("llm", "gpt-4o", "ok")
    assert [message.text for message in (*call.messages_in, *call.messages_out)] == ["hi", "hello"]
    assert call.usage is not None
    assert call.usage.input_tokens == 9
    assert call.error is not None
    assert call.error.message == "too slow"
    assert call.metadata["otel"]["scope"] == "openinference.instrumentation.openai"
    assert call.metadata["otel"]["resource"]["service.name"] == "desk"


def test_json_and_gzip_are_taken_and_answered_in_the_same_encoding(
    client: httpx.Client, recorded: Recorded
) -> None:
    body = gzip.compress(orjson.dumps(export(span(status={"code": 2, "message": "overloaded"}))))
    answer = client.post("/v1/traces", content=body, headers={**JSON, "content-encoding": "gzip"})
    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (
        200,
        JSON["content-type"],
        {},
    )
    call = recorded.one()
    assert (call.name, call.model, call.status) == ("chat gpt-4o", "gpt-4o", "error")
    assert call.end_ns == 1763740000350000000


def test_a_span_that_comes_twice_is_one_call(client: httpx.Client, recorded: Recorded) -> None:
    client.post("/v1/traces", json=export(span()))
    assert len(recorded.calls()) == 1
    client.post("/v1/traces", json=export(span(), span(2)))
    assert [call.span_id for call in recorded.calls()] == [f"{1:016x}", f"{2:016x}"]


def test_spans_that_are_no_calls_are_rejected_and_the_others_kept(
    client: httpx.Client, recorded: Recorded
) -> None:
    many = [{"key": f"a{i}", "value": {"intValue": i}} for i in range(41)]
    spans = [span(1), span(0), span(2, startTimeUnixNano="0"), span(3, attributes=many)]
    partial = client.post("/v1/traces", json=export(*spans)).json()["partialSuccess"]
    assert partial == {
        "rejectedSpans": "3",
        "errorMessage": "span 'chat gpt-4o': spanId is no id of 16 hex digits: '0000000000000000'",
    }
    assert recorded.one().span_id == f"{1:016x}"


def test_what_is_no_span_at_all_is_rejected_and_the_spans_kept(
    client: httpx.Client, recorded: Recorded
) -> None:
    spans: list[Any] = ["a span", span(1), None]
    answer = client.post("/v1/traces", json=export(*spans))
    assert (answer.status_code, answer.json()["partialSuccess"]["rejectedSpans"]) == (200, "2")
    assert recorded.one().span_id == f"{1:016x}"


def test_a_lone_surrogate_costs_nothing_but_itself(client: httpx.Client, recorded: Recorded) -> None:
    spans = [span(n, name=text) for n, text in enumerate(("one", "cut \ud83d", "three"), 1)]
    body = json.dumps(export(*spans)).encode()
    answer = client.post("/v1/traces", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()) == (200, {})
    assert sorted(call.name for call in recorded.calls()) == ["cut \\ud83d", "one", "three"]


def test_a_parent_that_is_all_zero_is_none(client: httpx.Client, recorded: Recorded) -> None:
    assert client.post("/v1/traces", json=export(span(1, parentSpanId="0" * 16))).json() == {}
    message = ExportTraceServiceRequest()
    message.resource_spans.add().scope_spans.add().spans.add(
        trace_id=b"\1" * 16, span_id=b"\2" * 8, parent_span_id=bytes(8), name="root",
        start_time_unix_nano=1, end_time_unix_nano=2,
    )  # fmt: skip
    answer = client.post(
        "/v1/traces", content=message.SerializeToString(), headers={"Content-Type": "application/x-protobuf"}
    )
    assert (answer.status_code, answer.content) == (200, b"")
    assert [call.parent_id for call in recorded.calls()] == [None, None]


def test_a_span_with_the_id_of_another_traces_span_is_rejected_by_name_and_logged(
    client: httpx.Client, recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    other = span(name="other", traceId="06" * 16)
    answer = client.post("/v1/traces", json=export(span(), span(), other, span(2))).json()
    reason = (
        "span 'other': its id 0000000000000001 is that of a span in trace 5b8efff798038103d269b633813fc60c "
        "too: "
        "make ids at random"
    )
    assert answer == {"partialSuccess": {"rejectedSpans": "1", "errorMessage": reason}}
    assert reason in caplog.text
    assert {call.span_id for call in recorded.calls()} == {f"{1:016x}", f"{2:016x}"}


LINKS = [
    {"trace_id": "09" * 16, "span_id": "08" * 8, "attributes": {"why": "handoff"}},
    {"trace_id": "07" * 16, "span_id": "06" * 8},
]


@pytest.mark.parametrize("kind", ["protobuf", "json", "file"])
def test_links_of_spans_are_kept(client: httpx.Client, recorded: Recorded, tmp_path: Path, kind: str) -> None:
    why = {"key": "why", "value": {"stringValue": "handoff"}}
    links: list[dict[str, Any]] = [
        {"traceId": "09" * 16, "spanId": "08" * 8, "attributes": [why]},
        {"traceId": "07" * 16, "spanId": "06" * 8},
    ]
    sent = span(links=links)
    if kind == "protobuf":
        message = ExportTraceServiceRequest()
        raw = message.resource_spans.add().scope_spans.add().spans.add()
        raw.trace_id, raw.span_id, raw.name = b"\1" * 16, b"\2" * 8, "linked"
        raw.start_time_unix_nano = raw.end_time_unix_nano = 1763740000000000000
        for link in links:
            added = raw.links.add()
            added.trace_id, added.span_id = bytes.fromhex(link["traceId"]), bytes.fromhex(link["spanId"])
        raw.links[0].attributes.add(key="why").value.string_value = "handoff"
        assert client.post("/v1/traces", content=message.SerializeToString(), headers=PROTOBUF).is_success
    elif kind == "json":
        assert client.post("/v1/traces", json=export(sent)).is_success
    else:
        file = tmp_path / "spans.jsonl"
        file.write_text(json.dumps(export(sent)) + "\n")
        assert invoke(recorded.path, "import", str(file)).exit_code == 0
    assert recorded.one().metadata["otel"]["links"] == LINKS


def test_more_spans_than_allowed_are_rejected_and_counted(client: httpx.Client, recorded: Recorded) -> None:
    partial = client.post("/v1/traces", json=export(*map(span, range(1, 61)))).json()["partialSuccess"]
    assert partial["rejectedSpans"] == "10"
    assert "more than 50 spans" in partial["errorMessage"]
    assert len(recorded.calls()) == 50


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_over_the_limit_is_refused(client: httpx.Client, packed: bool) -> None:
    body = b" " * (2 << 20)
    headers = {**JSON, "content-encoding": "gzip"} if packed else JSON
    answer = client.post("/v1/traces", content=gzip.compress(body) if packed else body, headers=headers)
    assert answer.status_code == 413
    assert "1,048,576 bytes" in answer.json()["message"]


def test_more_than_fits_in_memory_at_once_is_sent_back(spool: SpoolWriter, recorded: Recorded) -> None:
    body = orjson.dumps(export(span()))
    receiver = Receiver(spool, ValueEncoder(), RequestLimits(at_once=len(body) + 10))
    with Server(receiver) as client, socket.create_connection(("127.0.0.1", client.base_url.port)) as slow:
        head = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: {JSON['content-type']}\r\n"
        slow.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body[:-1])
        for _ in range(1000):  # until the receiver has read that
            answer = client.post("/v1/traces", content=body, headers=JSON)
            if answer.status_code != 200:
                break
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert "try again later" in answer.json()["message"]
        slow.sendall(body[-1:])
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        assert client.post("/v1/traces", content=body, headers=JSON).status_code == 200
    assert recorded.one().name == "chat gpt-4o"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        pytest.param(b"{", JSON, 400, id="half-json"),
        pytest.param(b"[]", JSON, 400, id="json-list"),
        pytest.param(b'{"resourceSpans":{"a":1}}', JSON, 400, id="json-of-another-shape"),
        pytest.param(b"\xff\xff", PROTOBUF, 400, id="no-protobuf"),
        pytest.param(b"no gzip", {**PROTOBUF, "content-encoding": "gzip"}, 400, id="no-gzip"),
        pytest.param(
            gzip.compress(b"{}", mtime=0)[:-4], {**JSON, "content-encoding": "gzip"}, 400, id="cut-gzip"
        ),
        pytest.param(b"{}", {**JSON, "content-encoding": "br"}, 415, id="another-compression"),
        pytest.param(b"{}", {"content-type": "text/plain"}, 415, id="text"),
    ],
)
def test_a_malformed_request_is_refused_with_a_status(
    client: httpx.Client, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = client.post("/v1/traces", content=body, headers=headers)
    assert answer.status_code == status
    if headers["content-type"] == PROTOBUF["content-type"]:
        assert Status.FromString(answer.content).message
    else:
        assert answer.json()["message"]


def test_metrics_without_a_point_are_taken(client: httpx.Client) -> None:
    answer = client.post("/v1/metrics", json={})
    assert answer.status_code == 200
    assert answer.json() == {}


def test_an_empty_protobuf_request_is_answered_by_an_empty_protobuf(client: httpx.Client) -> None:
    body = ExportTraceServiceRequest().SerializeToString()
    answer = client.post("/v1/traces", content=body, headers=PROTOBUF)
    assert ExportTraceServiceResponse.FromString(answer.content) == ExportTraceServiceResponse()


def test_who_has_not_the_token_is_not_let_in(spool: SpoolWriter, recorded: Recorded) -> None:
    with Server(Receiver(spool, ValueEncoder()), TOKEN) as client:
        for wrong in ({}, {"authorization": "Bearer other"}, {"authorization": TOKEN}):
            answer = client.post("/v1/traces", json=export(span()), headers=wrong)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        right = {"authorization": f"Bearer {TOKEN}"}
        assert client.post("/v1/traces", json=export(span()), headers=right).status_code == 200
    assert len(recorded.calls()) == 1


def test_a_page_in_a_browser_is_not_let_in_without_a_token(client: httpx.Client) -> None:
    answer = client.post("/v1/traces", json=export(span()), headers={"origin": "http://evil.example"})
    assert answer.status_code == 403


def test_a_spool_that_cannot_be_written_is_said_before_anything_is_promised(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    spool = SpoolWriter(blocked / "spool")
    with Server(Receiver(spool, ValueEncoder())) as client:
        answer = client.post("/v1/traces", json=export(span()))
    assert not spool.lost  # the sender has it still
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "cannot be written" in answer.json()["message"]


def test_spans_around_no_model_can_be_left_out(spool: SpoolWriter, recorded: Recorded) -> None:
    with Server(Receiver(spool, ValueEncoder(), genai_only=True)) as client:
        client.post("/v1/traces", json=export(span(1), span(2, name="GET /health", attributes=[])))
    assert recorded.one().name == "chat gpt-4o"


def test_content_is_not_kept_where_it_is_not_wanted(spool: SpoolWriter, recorded: Recorded) -> None:
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "my secret"}]}])
    secret = span()
    secret["attributes"].append({"key": "gen_ai.input.messages", "value": {"stringValue": messages}})
    with Server(Receiver(spool, ValueEncoder(), capture_content=False)) as client:
        client.post("/v1/traces", json=export(secret))
    call = recorded.one()
    assert (call.model, call.input, call.messages_in) == ("gpt-4o", None, ())
    assert "my secret" not in call.model_dump_json()


def test_our_own_spans_come_back_as_the_calls_they_were(
    client: httpx.Client, recorded: Recorded, tmp_path: Path
) -> None:
    first = Recorded(tmp_path / "first.duckdb")
    record(first.path)
    address = str(client.base_url).replace("http://", "otlp://").rstrip("/")
    assert invoke(first.path, "export", "--to", address).exit_code == 0
    for before, after in zip(first.calls(), recorded.calls(), strict=True):
        if before.kind == "llm":  # the exporter sends a text as the message that it is
            assert [message.text for message in after.messages_out] == [before.output]
        assert after.model_copy(update={"messages_out": before.messages_out}) == before
        assert recorded.scores(before.span_id) == first.scores(before.span_id)


def test_an_attribution_of_ours_comes_back_as_it_was(
    client: httpx.Client, recorded: Recorded, tmp_path: Path
) -> None:
    first = Recorded(tmp_path / "first.duckdb")
    writer = HandWriter(get_spool_dir(first.path))
    writer.call(1)
    attribution = explained(call_id(1))
    about: dict[str, Any] = {
        "span_id": call_id(1),
        "method": attribution.method,
        "config_hash": "h",
        "status": "ok",
    }
    writer.event(
        "attribution",
        id=call_id(60),
        **about,
        time_ns=attribution.time_ns,
        attribution=attribution.model_dump(mode="json"),
    )
    writer.close()
    address = str(client.base_url).replace("http://", "otlp://").rstrip("/")
    assert invoke(first.path, "export", "--to", address).exit_code == 0
    assert recorded.one().span_id == call_id(1)
    assert first.attributions(call_id(1)) == [attribution]
    assert recorded.attributions(call_id(1)) == [attribution]


def explained(span_id: str) -> Attribution:
    """Return an attribution with a value in each field that may hold several, prompt and answer in JSON."""
    words = (Segment(start=0, end=8, text='["gold"]', name="metal"), Segment(start=9, end=12, text="now"))
    return Attribution(
        span_id=span_id,
        method="sampling",
        segments=words,
        values=(2.5, 0.0),
        low=(2.0, -0.5),
        high=(3.0, 0.5),
        p_values=(0.01, 1.0),
        confidence=0.95,
        bounds="bootstrap",
        prompt='["gold"] now',
        response='{"answer": "yes"}',
        target="the whole response",
        target_tokens=("{", "}"),
        baseline="delete",
        model="gpt-4o",
        seed=7,
        passes=64,
        seconds=1.5,
        full=-1.0,
        empty=-3.5,
        faithfulness={"fidelity": {"r2": 0.9, "masks": "half"}},
        stopped="tight",
        verdict="redundant",
        warnings=("few masks",),
        groups=((0, 1),),
        settings=Settings.of(target=Contrast("a", "b"), baseline=["delete", "mask"], budget=5).to_record(),
        time_ns=1763740010000000000,
    )


def test_silent_connections_lock_nobody_out(spool: SpoolWriter) -> None:
    server = Server(Receiver(spool, ValueEncoder()), TOKEN, ConnectionLimits(connections=4))
    with server as client, contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(server.address, timeout=60)) for _ in range(12)
        ]
        for connection in silent:
            connection.sendall(b"POST /v1/traces HTTP/1.1\r\nX: ")
        answer = client.post(
            "/v1/traces", json=export(span()), headers={"Authorization": f"Bearer {TOKEN}", **JSON}
        )
        assert answer.status_code == 200
        for connection in silent[:8]:
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("sent", "patience"),
    [
        (b"", ConnectionLimits(head_s=0.01)),
        (b"POST /v1/traces HTTP/1.1\r\nX: ", ConnectionLimits(head_s=0.01)),
        (
            (
                b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
                b"9\r\n\r\n{"
            ),
            ConnectionLimits(body_s=0.01),
        ),
    ],
    ids=["nothing", "half of the headers", "half of the body"],
)
def test_a_sender_that_does_not_end_what_it_says_is_told_and_let_go(
    spool: SpoolWriter, sent: bytes, patience: ConnectionLimits
) -> None:
    server = Server(Receiver(spool, ValueEncoder()), patience=patience)
    with server, socket.create_connection(server.address, timeout=60) as slow:
        slow.sendall(sent)
        with slow.makefile("rb") as answer:
            assert answer.read().splitlines()[0] == b"HTTP/1.1 408 Request Timeout"


def test_what_repeats_in_the_receivers_log_is_said_once_per_interval() -> None:
    now = iter([0.0, 1.0, 59.0, 60.0, 61.0, 61.0])
    once = Once(60, clock=lambda: next(now))
    logged = [
        logging.LogRecord("asyncio", logging.ERROR, "", 0, text, (), None)
        for text in ("out of files",) * 5 + ("another",)
    ]
    assert [record.getMessage() for record in logged if once.filter(record)] == [
        "out of files",
        "out of files (and 2 times more in the last 60 s)",
        "another",
    ]


def test_a_malformed_resource_is_refused_alone(client: httpx.Client, recorded: Recorded) -> None:
    whole, broken = export(span(1)), export(span(2), span(3))
    broken["resourceSpans"][0]["resource"] = {"attributes": [{"key": 1}]}
    body = {"resourceSpans": [*broken["resourceSpans"], *whole["resourceSpans"]]}
    answer = client.post("/v1/traces", content=json.dumps(body), headers=JSON)
    assert answer.status_code == 200
    assert answer.json()["partialSuccess"]["rejectedSpans"] in (2, "2")
    assert "its resource: key is no text" in answer.json()["partialSuccess"]["errorMessage"]
    assert recorded.one().span_id == f"{1:016x}"
