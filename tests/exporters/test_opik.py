"""Opik: what its own client would have sent, with ids that are the same each time."""

from __future__ import annotations

import base64
import gzip
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llm_trace
from llm_trace.errors import ConfigurationError
from llm_trace.exporters.opik import OpikExporter, make
from llm_trace.exporters.opik.settings import CLOUD, OpikSettings, read_opik_settings
from llm_trace.exporters.opik.spans import make_uuid7
from llm_trace.exporters.protocol import Event, parse_address
from tests.helpers.exporter_contract import ExporterContract
from tests.helpers.loopback import Loopback, Received, Reply
from tests.helpers.standins.opik import BODIES, KEY, Backend, Opik
from tests.helpers.standins.sending import (
    ASK,
    ROOT,
    START_NS,
    TOOL,
    TRACE,
    ask,
    attribution,
    call,
    score,
    send,
)
from tests.recorded.record import ANSWER, PROMPT

RECORDED = Path(__file__).parents[1] / "recorded" / "opik.json"
FAIL = "00f067aa0ba902ba"


class TestOpik(ExporterContract):
    settings = "OPIK_API_KEY"

    def address(self, server: Loopback) -> str:
        return "opik://team/demo"

    def environment(self, server: Loopback) -> dict[str, str]:
        return {"OPIK_API_KEY": KEY, "OPIK_URL_OVERRIDE": f"{server.url}/api"}

    def answer(self, request: Received) -> Reply:
        return Backend().serve(request)

    def spans(self, request: Received) -> list[str]:
        found = request.json()["spans"] if request.path.endswith("/spans/batch") else []
        return [span["metadata"]["llm_trace_span_id"] for span in found]


@pytest.fixture
def server() -> Iterator[Opik]:
    with Opik() as server:
        yield server


def exporter(server: Opik, **changed: Any) -> OpikExporter:
    settings = {"api_key": KEY, "workspace": "team", "project": "demo", "base": f"{server.url}/api/"}
    return OpikExporter(OpikSettings(**{**settings, **changed}))


def chain() -> list[Event]:
    """The trace of tests/recorded/record.py as llm_trace records it."""
    error = {"type": "ValueError", "message": "no", "traceback": "Traceback"}
    usage = {"input_tokens": 4, "output_tokens": 3}
    return [
        call(
            ASK, TOOL, start_ns=START_NS + 1, input={"prompt": PROMPT}, output={"output": ANSWER},
            model="tiny", provider="openai", usage=usage, cost_usd=0.001, metadata={"a": 1},
        ),
        call(FAIL, TOOL, start_ns=START_NS + 2, name="fail", kind="chain", status="error", error=error),
        call(TOOL, ROOT, name="look_up", kind="tool", input={"query": "Where?"}, output=["Here"]),
        call(
            name="answer", kind="chain", input={"question": "Where?"}, output={"answer": "Here"},
            metadata={"user": "ann"}, tags=["a", "b"], session="s1",
        ),
    ]  # fmt: skip


def recorded(path: str) -> Any:
    (found,) = [
        json.loads(r["body"])
        for r in json.loads(RECORDED.read_text())
        if urlsplit(r["path"]).path.endswith(path)
    ]
    return found


USAGE = {
    "input_tokens": 160,
    "output_tokens": 5,
    "cache_read_tokens": 100,
    "cache_write_tokens": 50,
    "reasoning_tokens": 2,
}


@pytest.mark.parametrize(
    ("provider", "model", "theirs", "own"),
    [
        (
            "anthropic", "claude", "anthropic",
            {
                "input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 50,
            },
        ),
        (
            "gcp.vertex_ai", "claude", "anthropic_vertexai",
            {
                "input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 50,
            },
        ),
        (
            "aws.bedrock", "nova", "bedrock",
            {
                "inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 100,
                "cacheWriteInputTokens": 50, "totalTokens": 165,
            },
        ),
        (
            "gcp.gemini", "gemini", "google_ai",
            {
                "prompt_token_count": 160, "candidates_token_count": 3, "cached_content_token_count": 100,
                "thoughts_token_count": 2, "total_token_count": 165,
            },
        ),
        (
            "openai", "gpt", "openai",
            {
                "prompt_tokens": 160, "completion_tokens": 5, "prompt_tokens_details.cached_tokens": 100,
                "completion_tokens_details.reasoning_tokens": 2, "total_tokens": 165,
            },
        ),
    ],
    ids=["anthropic", "claude on vertex", "bedrock", "gemini", "openai"],
)  # fmt: skip
def test_cached_tokens_are_named_as_the_provider_counts_them_so_that_opik_prices_them_once(
    server: Opik, provider: str, model: str, theirs: str, own: dict[str, int]
) -> None:
    _, spans, *_ = send(exporter(server), [call(provider=provider, model=model, usage=USAGE)])
    (span,) = json.loads(gzip.decompress(spans.body))["spans"]
    assert span["provider"] == theirs
    start = "original_usage."
    assert {n.removeprefix(start): v for n, v in span["usage"].items() if n.startswith(start)} == own
    assert (span["usage"]["prompt_tokens"], span["usage"]["total_tokens"]) == (160, 165)


def meaning(entity: dict[str, Any]) -> dict[str, Any]:
    """Return a trace or span without ids, times, and the copies of the token counts that opik adds."""
    gone = {"id", "trace_id", "parent_span_id", "start_time", "end_time", "last_updated_at"}
    kept = {k: v for k, v in entity.items() if k not in gone}
    kept["usage"] = {
        k: v for k, v in (kept.get("usage") or {}).items() if not k.startswith("original_usage.")
    }
    ours = {"kind", "llm_trace_id", "llm_trace_span_id", "usage"}
    kept["metadata"] = {k: v for k, v in (kept.get("metadata") or {}).items() if k not in ours}
    return kept


def test_the_same_trace_means_the_same_as_opik_says_it(server: Opik) -> None:
    traces, spans, *_ = send(exporter(server), chain())
    (ours,) = json.loads(gzip.decompress(traces.body))["traces"]
    (theirs,) = recorded("traces/batch")["traces"]
    assert meaning(ours) == meaning(theirs)
    named = {s["name"]: s for s in json.loads(gzip.decompress(spans.body))["spans"]}
    for span in recorded("spans/batch")["spans"]:
        if span["name"] == "fail":  # the client names a provider where none was given
            del span["provider"]
        assert meaning(named[span["name"]]) == meaning(span)
    assert named["ask"]["parent_span_id"] == named["look_up"]["id"]
    assert named["answer"].get("parent_span_id") is None
    assert {s["trace_id"] for s in named.values()} == {ours["id"]}


def test_the_stand_in_takes_what_the_real_client_sent() -> None:
    checked = 0
    for request in json.loads(RECORDED.read_text()):
        key = (request["method"], urlsplit(request["path"]).path)
        if key in BODIES:
            BODIES[key].validate_json(request["body"])
            checked += 1
    assert checked >= 5


@given(st.integers(0, 2**62), st.text())
def test_ids_are_valid_hold_the_time_and_are_the_same_again(start_ns: int, name: str) -> None:
    made = uuid.UUID(make_uuid7(start_ns, name))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == start_ns // 10**6
    assert str(made) == make_uuid7(start_ns, name)


def test_a_repeat_in_other_batches_changes_nothing(server: Opik) -> None:
    alone = call("c" * 16, trace_id="1" * 32)
    send(exporter(server), [*chain(), alone])
    before = (dict(server.traces), dict(server.spans))
    send(exporter(server), [alone])
    send(exporter(server), chain())
    assert (server.traces, server.spans) == before
    assert (len(server.traces), len(server.spans)) == (2, 5)


def test_scores_stand_at_their_span_and_those_of_the_root_at_the_trace(server: Opik) -> None:
    send(exporter(server), [*chain(), score("helpful", 1.0, ROOT, comment="yes"), score("tone", "warm", ASK)])
    told = {
        (kind, name): (s.value, s.category_name, s.reason) for (kind, _, name), s in server.scores.items()
    }
    assert told == {
        ("spans", "helpful"): (1.0, None, "yes"),
        ("traces", "helpful"): (1.0, None, "yes"),
        ("spans", "tone"): (1.0, "warm", None),
    }
    assert {entity for kind, entity, _ in server.scores if kind == "traces"} == set(server.traces)


def test_an_attribution_is_in_the_metadata_and_a_page_beside_the_span(server: Opik) -> None:
    send(exporter(server), [*chain(), attribution(ASK)])
    (span,) = [s for s in server.spans.values() if s.name == "ask"]
    assert isinstance(span.metadata, dict)
    assert span.metadata["attribution"]["top_words"] == "<hi>, Say"
    assert span.metadata["attributions"][0]["values"] == [0.5, -2.0]
    assert b"&lt;hi&gt;</span>" in server.files[span.id, "attribution-occlusion.html"]


def test_an_attribution_that_comes_later_is_a_span_below_its_call(server: Opik) -> None:
    one = exporter(server)
    send(one, chain())
    send(one, [attribution(ASK)])
    (explained,) = [s for s in server.spans.values() if s.name == "ask"]
    (found,) = [s for s in server.spans.values() if s.name == "attribution"]
    assert (found.parent_span_id, found.trace_id) == (explained.id, explained.trace_id)
    assert isinstance(found.metadata, dict)
    assert found.metadata["attribution"]["verdict"] == "ok"
    assert (found.id, "attribution-occlusion.html") in server.files


def test_the_cloud_is_sent_no_attachments() -> None:
    one = OpikExporter(OpikSettings(KEY, "team", "demo", CLOUD))
    assert [r.path for r in one.requests([*chain(), attribution(ASK)])] == [
        "v1/private/traces/batch",
        "v1/private/spans/batch",
    ]


def test_batches_stay_below_the_limits_of_the_server(server: Opik) -> None:
    many = [call(f"{n:016x}", trace_id=f"{n + 1:032x}") for n in range(1500)]
    large = [call(f"{n:016x}", trace_id=f"{n + 1:032x}", input={"prompt": "x" * 2_000_000}) for n in range(5)]
    send(exporter(server), many)
    assert len(server.traces) == len(server.spans) == 1500
    send(exporter(server), large)
    assert max(len(r.body) for r in server.received) <= 5_000_000


def test_a_call_that_was_interrupted_has_no_end_and_says_so(server: Opik) -> None:
    gone = call(status="interrupted")
    del gone.data["end_ns"]  # type: ignore[attr-defined]
    send(exporter(server), [gone])
    (span,) = server.spans.values()
    assert (span.end_time, span.error_info and span.error_info.exception_type) == (None, "interrupted")


def test_another_process_finds_the_span_by_its_start(server: Opik) -> None:
    send(exporter(server), chain())
    told: dict[str, Any] = {"trace_id": TRACE, "start_ns": START_NS + 1}
    send(exporter(server), [score(span_id=ASK, **told)])
    (explained,) = [s for s in server.spans.values() if s.name == "ask"]
    assert set(server.scores) == {("spans", explained.id, "helpful")}
    with pytest.raises(LookupError, match="earlier process"):
        exporter(server).requests([attribution(ASK, **told)])


def test_a_score_of_an_unknown_call_says_so(server: Opik) -> None:
    with pytest.raises(LookupError, match=ASK):
        exporter(server).requests([score(span_id=ASK)])


# Bad input


@pytest.mark.parametrize(
    ("changed", "setting"), [({"api_key": None}, "OPIK_API_KEY"), ({"workspace": "nobody"}, "OPIK_WORKSPACE")]
)
def test_a_wrong_setting_is_named_and_nothing_is_set_aside(
    server: Opik, changed: dict[str, Any], setting: str
) -> None:
    one = exporter(server, **changed)
    verdict = ask(one, one.requests([call()])[0])
    assert (verdict.outcome, setting in verdict.reason) == ("refused", True)


def test_an_address_without_the_api_is_named(server: Opik) -> None:
    one = exporter(server, base=f"{server.url}/")
    verdict = ask(one, one.probe())
    assert (verdict.outcome, "OPIK_URL_OVERRIDE" in verdict.reason) == ("refused", True)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(200, b"<html></html>", {"content-type": "text/html; charset=utf-8"}), "refused"),
        (Reply(409, b"{}"), "delivered"),
        (Reply(413, b"{}"), "split"),
        (Reply(429, b"{}"), "retry"),
        (Reply(400, b'{"errors":["id must be a version 7 UUID"]}'), "rejected"),
    ],
)
def test_answers_are_judged_by_what_they_mean(server: Opik, reply: Reply, outcome: str) -> None:
    one = exporter(server)
    server.next.append(reply)
    assert ask(one, one.requests([call()])[0]).outcome == outcome


def test_what_was_deleted_there_holds_nothing_up(server: Opik) -> None:
    one = exporter(server)
    (request,) = one.requests([score(span_id=ASK, trace_id=TRACE, start_ns=START_NS)])
    server.next.append(Reply(404, b'{"errors": ["Span not found"]}'))
    verdict = ask(one, request)
    assert (verdict.outcome, "Span not found" in verdict.reason) == ("rejected", True)


# Configuration


def test_settings_come_from_the_environment_then_the_file_then_the_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "opik.config"
    file.write_text(
        "[opik]\nurl_override = http://localhost:5173/api\nworkspace = filed\nproject_name = chat\n"
    )
    for name in ("URL_OVERRIDE", "API_KEY", "PROJECT_NAME"):
        monkeypatch.delenv(f"OPIK_{name}", raising=False)
    monkeypatch.setenv("OPIK_CONFIG_PATH", str(file))
    monkeypatch.setenv("OPIK_WORKSPACE", "other")
    assert make(parse_address("opik://")).settings == OpikSettings(
        None, "other", "chat", "http://localhost:5173/api/"
    )
    told = make(parse_address("opik://my%20team/demo"))
    assert (told.name, told.settings.self_hosted) == ("opik://my team/demo", True)


def test_a_key_that_carries_its_server_is_understood() -> None:
    tail = base64.b64encode(json.dumps({"baseUrl": "https://opik.example"}).encode()).decode().rstrip("=")
    found = read_opik_settings(
        parse_address("opik://"), {"OPIK_API_KEY": f"k*{tail}", "OPIK_CONFIG_PATH": "/nowhere"}
    )
    assert found == OpikSettings(f"k*{tail}", "default", "Default Project", "https://opik.example/opik/api/")


@pytest.mark.parametrize(
    ("environment", "setting"),
    [
        ({}, "OPIK_API_KEY"),
        ({"OPIK_API_KEY": "k*!!"}, "OPIK_API_KEY"),
        ({"OPIK_URL_OVERRIDE": "localhost:5173/api"}, "OPIK_URL_OVERRIDE"),
    ],
)
def test_settings_that_cannot_work_are_named(environment: dict[str, str], setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        read_opik_settings(parse_address("opik://team/demo"), {"OPIK_CONFIG_PATH": "/nowhere", **environment})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "opik.config"
    file.write_text("no section\n")
    with pytest.raises(ConfigurationError, match="OPIK_CONFIG_PATH"):
        read_opik_settings(parse_address("opik://"), {"OPIK_CONFIG_PATH": str(file)})


def test_what_a_program_logs_arrives_with_its_scores(
    server: Opik, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPIK_API_KEY", KEY)
    monkeypatch.setenv("OPIK_URL_OVERRIDE", f"{server.url}/api")
    llm_trace.configure(tmp_path / "t.duckdb", exporters=["opik://team/demo"])
    with llm_trace.span("answer", kind="chain"), llm_trace.span("ask", kind="llm") as inner:
        inner.set(output="yes")
        llm_trace.log_score("tone", 0.5)
    assert llm_trace.flush(60).ok
    llm_trace.shutdown()
    with llm_trace.open_store(tmp_path / "t.duckdb") as store:
        (logged,) = store.calls(name="ask")
    llm_trace.configure(tmp_path / "t.duckdb", exporters=["opik://team/demo"])
    llm_trace.log_score("helpful", 1.0, call=logged)  # by another process, later
    assert llm_trace.flush(60).ok
    (span,) = [s for s in server.spans.values() if s.name == "ask"]
    assert {
        (kind, entity): s.value for (kind, entity, _), s in server.scores.items() if s.name == "tone"
    } == {("spans", span.id): 0.5}
    assert ("spans", span.id, "helpful") in server.scores
