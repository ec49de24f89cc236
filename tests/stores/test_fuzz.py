"""The reader over spools that were damaged: never an exception, every good line read, every bad one kept."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_trace import open_store
from llm_trace.stores import load
from llm_trace.stores.ingest import ingest
from tests.helpers.spool_toys import HandWriter, bodies, span, spool_of

CALLS = 12
EXAMPLES = int(os.environ.get("LLM_TRACE_FUZZ", "5"))


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    """Lines of a whole file, its header first."""
    with tempfile.TemporaryDirectory() as folder:
        writer = HandWriter(Path(folder))
        for number in range(CALLS):
            writer.start(
                number,
                input={"m": {"$messages": [0, 2]}, "é": [1.5, None]},
                messages_in=[[0, 0], [number + 1] * 2],
                tags=["a"],
                messages=[
                    *(bodies({"role": "system", "content": "s"}) if number == 0 else []),
                    {"n": number + 1, "body": {"role": "user", "content": f"q{number}"}},
                ],
            )
            writer.end(number, output="yes", usage={"input_tokens": 5}, error=None, metadata={"k": {"l": []}})
        writer.event("run", id=span(1), name="r", start_ns=5, config={})
        writer.event("score", id=span(1), span_id=span(1), name="s", value=0.5, time_ns=1)
        writer.close()
        return writer.path.read_bytes().splitlines(keepends=True)


def spans_that_survive(data: bytes) -> set[str]:
    """Return the calls of which a line is surely whole: JSON whose required keys have the right types."""
    spans = set()
    for line in data.split(b"\n"):
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if (
            isinstance(event, dict)
            and event.get("event") in ("start", "end")
            and isinstance(event.get("span_id"), str)
        ):
            moment = event.get("start_ns" if event["event"] == "start" else "end_ns")
            fine = event["event"] == "start" or event.get("status") in ("ok", "error", "cancelled")
            if type(moment) is int and 0 < moment < 2**63 and fine and event.get("kind", "llm") == "llm":
                spans.add(event["span_id"])
    return spans


def check(data: bytes) -> None:
    """Ingest damaged bytes, in two steps, and hold the store against them."""
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "t.duckdb"
        writer = HandWriter(spool_of(path))
        header = writer.path.read_bytes()
        writer.raw(data[: len(data) // 2])
        first = ingest(path)
        writer.raw(data[len(data) // 2 :])
        writer.close()
        second = ingest(path)
        store = open_store(path)
        assert spans_that_survive(data) <= {call.span_id for call in store.calls(limit=None)}
        store.runs(), store.prompts(), store.scores(span(1))
        quarantined = b"".join(p.read_bytes() for p in (spool_of(path) / "quarantine").glob("*"))
        assert first.bad_lines + second.bad_lines == quarantined.count(b"\n")
        expected = [line for line in (header + data).split(b"\n") if line.strip(b" \t\r")]
        assert first.lines + second.lines == len(expected)
        left = list(expected)
        for line in quarantined.split(b"\n")[:-1]:
            left.remove(line)
        assert all(isinstance(json.loads(line), dict) for line in left)
        assert list(spool_of(path).glob("*.jsonl")) == []
    finally:
        shutil.rmtree(folder)


flips = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=20)
options = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@options
@given(flips=flips, cut=st.floats(0, 1))
def test_random_flips_and_a_torn_end(lines: list[bytes], flips: list[tuple[float, int]], cut: float) -> None:
    data = bytearray(b"".join(lines[1:]))
    for place, value in flips:
        data[int(place * len(data))] = value
    check(bytes(data[: int(len(data) * (1 - cut / 4))]))


@options
@given(garbage=st.lists(st.tuples(st.integers(0, 2 * CALLS), st.binary(max_size=60)), max_size=8))
def test_foreign_bytes_between_lines(lines: list[bytes], garbage: list[tuple[int, bytes]]) -> None:
    parts: list[bytes] = list(lines[1:])
    for place, data in garbage:
        parts.insert(place, data)
    check(b"".join(parts))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(
    [
        "event",
        "span_id",
        "trace_id",
        "start_ns",
        "end_ns",
        "name",
        "kind",
        "status",
        "input",
        "output",
        "error",
        "usage",
        "cost_usd",
        "prompt",
        "tags",
        "metadata",
        "code",
        "params",
        "messages_in",
        "messages_out",
        "messages",
        "id",
        "config",
        "environment",
        "time_ns",
        "value",
        "attribution",
        "count",
        "first_token_ns",
    ]
)
events = st.sampled_from(["start", "end", "run", "prompt", "score", "attribution", "lost", "file", "new"])


@options
@given(
    lines=st.lists(st.tuples(events, st.dictionaries(keys, json_values, max_size=6)), min_size=1, max_size=8)
)
def test_events_of_any_shape(lines: list[tuple[str, dict[str, Any]]]) -> None:
    known = {
        "span_id": span(1),
        "start_ns": 5,
        "end_ns": 6,
        "status": "ok",
        "id": span(2),
        "name": "n",
        "version": "v",
        "value": 1,
        "method": "m",
    }
    check(b"".join(json.dumps({"event": event, **known, **keys}).encode() + b"\n" for event, keys in lines))


@given(values=st.lists(json_values, min_size=1, max_size=20))
@settings(max_examples=EXAMPLES)
def test_values_come_back_equal(values: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.duckdb"
        writer = HandWriter(spool_of(path))
        for number, value in enumerate(values):
            writer.call(number, input=value, output=[value])
        calls = open_store(path).calls(limit=None)
        assert json.dumps([call.input for call in reversed(calls)]) == json.dumps(values)
        assert json.dumps([call.output for call in reversed(calls)]) == json.dumps(
            [[value] for value in values]
        )
        writer.close()


def test_lines_longer_than_any_event_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llm_trace.stores import slices

    monkeypatch.setattr(slices, "LONGEST_LINE", 5000)
    monkeypatch.setattr(slices, "_CHUNK", 1000)
    monkeypatch.setattr(load, "SLICE_BYTES", 2000)
    path = tmp_path / "t.duckdb"
    writer = HandWriter(spool_of(path))
    writer.call(1, output="x" * 4000)
    writer.raw(b"y" * 20_000 + b"\n")
    writer.call(2, output="z" * 3000)
    ingest(path)
    writer.close()
    assert [call.output for call in open_store(path).calls()] == ["z" * 3000, "x" * 4000]
    quarantine = spool_of(path) / "quarantine" / writer.path.name
    assert quarantine.read_bytes() == b"y" * 20_000 + b"\n"
    assert open_store(path).sql("SELECT bad_lines FROM _files").fetchall() == [(1,)]
