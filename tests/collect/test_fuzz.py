"""Whatever is sent, the receiver answers as the protocol says, and the store takes its every line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.testclient import TestClient

from llm_trace.capture.values import ValueEncoder
from llm_trace.collect.app import build_collector
from llm_trace.collect.intake import OwnIntake
from llm_trace.collect.receiver import Receiver, RequestLimits
from llm_trace.spool.paths import get_spool_dir
from llm_trace.spool.writer import SpoolWriter
from llm_trace.stores.duckdb import open_store
from llm_trace.stores.ingest import ingest
from tests.helpers.otlp_toys import JSON, PROTOBUF, export, span

FUZZ = settings(
    max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
ANSWERS = {200, 400, 413, 415}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from(
    ["stringValue", "intValue", "doubleValue", "boolValue", "bytesValue", "arrayValue", "kvlistValue"]
)
names = st.sampled_from(
    [
        "gen_ai.input.messages", "gen_ai.usage.input_tokens", "llm.input_messages.0.message.content",
        "llm_trace.kind", "openinference.span.kind", "input.value", "gen_ai.prompt.0.content", "metadata",
        "tag.tags", "error.type",
    ]
)  # fmt: skip
attributes = st.lists(
    st.builds(
        lambda key, kind, value: {"key": key, "value": {kind: value}},
        names | st.text(max_size=5),
        kinds,
        anything,
    ),
    max_size=5,
)
fields = st.sampled_from(
    [
        "traceId",
        "spanId",
        "parentSpanId",
        "name",
        "startTimeUnixNano",
        "endTimeUnixNano",
        "events",
        "status",
        "kind",
    ]
)


class Fuzzed:
    """A receiver and the spool behind it."""

    def __init__(self, folder: Path) -> None:
        encoder, limits = ValueEncoder(), RequestLimits(body=1 << 20)
        self.spool = SpoolWriter(folder, encode=encoder.encode_bodies)
        self.client = TestClient(
            build_collector(OwnIntake(Receiver(self.spool, encoder, limits)), limits),
            raise_server_exceptions=False,
        )

    def send(self, body: bytes, headers: dict[str, str]) -> None:
        answer = self.client.post("/v1/traces", content=body, headers=headers)
        assert answer.status_code in ANSWERS, answer.content


@pytest.fixture
def fuzzed(tmp_path: Path) -> Iterator[Fuzzed]:
    store = tmp_path / "traces.duckdb"
    receiver = Fuzzed(get_spool_dir(store))
    with closing(receiver.spool):
        yield receiver
    assert ingest(store).bad_lines == 0
    with open_store(store) as opened:
        opened.calls(limit=None)


@FUZZ
@given(body=st.binary(max_size=200))
def test_random_bytes_are_refused_or_taken(fuzzed: Fuzzed, body: bytes) -> None:
    fuzzed.send(body, PROTOBUF)
    fuzzed.send(body, JSON)
    fuzzed.send(body, {**JSON, "content-encoding": "gzip"})


@FUZZ
@given(data=anything)
def test_random_json_is_refused_or_taken(fuzzed: Fuzzed, data: Any) -> None:
    fuzzed.send(json.dumps(data).encode(), JSON)
    fuzzed.send(
        json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [data]}], "resource": data}]}).encode(), JSON
    )


@FUZZ
@given(given_attributes=attributes, field=fields, value=anything)
def test_spans_with_one_odd_value_are_rejected_or_stored(
    fuzzed: Fuzzed, given_attributes: list[Any], field: str, value: Any
) -> None:
    fuzzed.send(json.dumps(export(span(1, attributes=given_attributes))).encode(), JSON)
    fuzzed.send(json.dumps(export(span(2, attributes=given_attributes, **{field: value}))).encode(), JSON)


@FUZZ
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_damaged_protobuf_is_refused_or_stored(fuzzed: Fuzzed, position: int, byte: int) -> None:
    request = ExportTraceServiceRequest()
    made = (
        request.resource_spans.add()
        .scope_spans.add()
        .spans.add(
            trace_id=b"t" * 16, span_id=b"s" * 8, name="chat", start_time_unix_nano=5, end_time_unix_nano=9
        )
    )
    made.attributes.add(key="gen_ai.prompt").value.string_value = "hi"
    body = bytearray(request.SerializeToString())
    body[position % len(body)] = byte
    fuzzed.send(bytes(body), PROTOBUF)


def test_deep_nesting_is_refused(fuzzed: Fuzzed) -> None:
    deep: Any = {"stringValue": "x"}
    for _ in range(200):
        deep = {"arrayValue": {"values": [deep]}}
    fuzzed.send(json.dumps(export(span(attributes=[{"key": "a", "value": deep}]))).encode(), JSON)
    fuzzed.send(b"[" * 100_000, JSON)
