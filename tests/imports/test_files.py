"""`llm-trace import`: the calls of any file are in the store once; what was not understood is said."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import duckdb
import pytest

from llm_trace.imports import otlp
from llm_trace.imports.formats import FORMATS
from llm_trace.record import Usage
from llm_trace.semconv.completed_span import ended_call
from tests.conftest import SHARED, Recorded
from tests.helpers.cli_toys import invoke, record
from tests.helpers.import_toys import bring, write
from tests.helpers.otlp_toys import export, span

AGENTS = SHARED / "data" / "agents"
needs_agents = pytest.mark.skipif(not AGENTS.exists(), reason="the recorded agent runs are not there")


def test_otlp_json_is_imported_as_the_receiver_would_have_taken_it(
    recorded: Recorded, tmp_path: Path
) -> None:
    path = write(tmp_path / "spans.json", export(span(1), span(2)), export(span(3)))
    (report,) = bring(recorded, path)
    assert (report["format"], report["records"], report["calls"]) == ("otlp", 2, 3)
    assert {call.model for call in recorded.calls()} == {"gpt-4o"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (span(2, traceId="12"), "traceId is no id of 32 hex digits: '12'"),
        (span(2, endTimeUnixNano="soon"), "'soon' is no integer"),
        ("a span", "an object is expected, not 'a span'"),
    ],
    ids=["id", "time", "no object"],
)
def test_a_span_of_an_otlp_file_that_cannot_be_read_leaves_those_beside_it_alone(
    recorded: Recorded, tmp_path: Path, bad: Any, reason: str
) -> None:
    (report,) = bring(recorded, write(tmp_path / "spans.json", export(span(1), bad, span(3))))
    assert (report["records"], report["calls"], report["broken"]) == (1, 2, 1)
    assert sorted(call.span_id for call in recorded.calls()) == [f"{1:016x}", f"{3:016x}"]
    (line,) = Path(report["broken_file"]).read_text().splitlines()
    aside = json.loads(line)
    assert (aside["line"], aside["reason"], json.loads(aside["text"])) == (1, reason, bad)


def test_scores_in_an_otlp_file_are_scores_of_their_calls(recorded: Recorded, tmp_path: Path) -> None:
    texts = {"gen_ai.evaluation.name": "kind", "gen_ai.evaluation.explanation": "so so"}
    texts["llm_trace.call.span_id"] = f"{1:016x}"
    attributes: list[dict[str, Any]] = [{"key": k, "value": {"stringValue": v}} for k, v in texts.items()]
    attributes.append({"key": "gen_ai.evaluation.score.value", "value": {"doubleValue": 0.5}})
    path = write(
        tmp_path / "spans.json", export(span(1), span(2, name="evaluation kind", attributes=attributes))
    )
    for _ in range(2):
        (report,) = bring(recorded, path)
        assert report["scores"] == 1
        (score,) = recorded.scores(recorded.one().span_id)
        assert (score.name, score.value, score.comment) == ("kind", 0.5, "so so")


def test_a_model_call_that_two_spans_of_an_otlp_file_describe_counts_once(
    recorded: Recorded, tmp_path: Path
) -> None:
    answered = {"key": "gen_ai.usage.output_tokens", "value": {"intValue": "2"}}
    attributes = [*span()["attributes"], answered]
    inner = span(2, parentSpanId=f"{1:016x}", attributes=attributes)
    bring(recorded, write(tmp_path / "spans.json", export(inner, span(1, attributes=attributes))))
    call = recorded.one()
    assert (call.kind, call.usage) == ("llm", Usage(input_tokens=9, output_tokens=2))
    assert (call.span_id, call.metadata["same"][0]["span_id"]) == (f"{1:016x}", f"{2:016x}")
    (report,) = bring(recorded, tmp_path / "spans.json")
    assert (report["calls"], report["known"]) == (0, 2)
    assert recorded.one() == call


def test_importing_twice_changes_nothing(recorded: Recorded, tmp_path: Path) -> None:
    same = {"prompt": "hi", "response": "hello"}
    path = write(tmp_path / "chats.jsonl", same, same, {"prompt": "bye", "response": "see you", "id": "a7"})
    bring(recorded, path)
    before = recorded.calls()
    path.touch()
    (report,) = bring(recorded, path)
    assert (report["calls"], report["known"]) == (0, 3)
    assert recorded.calls() == before
    assert len({call.span_id for call in before}) == 3


def test_our_own_export_comes_back_equal(recorded: Recorded, tmp_path: Path) -> None:
    first = Recorded(tmp_path / "first.duckdb")
    record(first.path)
    path = tmp_path / "calls.jsonl"
    invoke(first.path, "export", "--to", "jsonl", "--out", str(path))
    (report,) = bring(recorded, path)
    assert (report["format"], report["calls"], report["not_understood"]) == ("llm_trace", 6, {})
    assert recorded.calls() == first.calls()


def test_chats_for_fine_tuning_are_calls_with_an_answer(recorded: Recorded, tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]
    chat = {
        "messages": [*messages, {"role": "assistant", "content": "hello"}],
        "model": "gpt-4o",
        "weight": 1,
    }
    (report,) = bring(recorded, write(tmp_path / "tuning.jsonl", chat))
    call = recorded.one()
    assert [message.text for message in call.messages_in] == ["Be kind.", "hi"]
    assert [message.text for message in call.messages_out] == ["hello"]
    assert (call.kind, call.model, report["not_understood"]) == ("llm", "gpt-4o", {"weight": 1})
    assert call.metadata == {"import": {"format": "plain", "rest": {"weight": 1}}}


def test_a_file_in_utf_16_is_refused_with_what_to_do(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"prompt": "hi", "response": "hello"}\n', encoding="utf-16")
    result = invoke(recorded.path, "import", str(path))
    assert result.exit_code == 1
    assert f"{str(path)!r} is not in UTF-8" in result.stderr
    assert result.stderr.rstrip().endswith("save it so, and import that")


def test_broken_records_are_set_aside_with_the_reason(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text(
        '{"prompt": "hi", "response": "hello"}\n{"prompt": \n{"text": "nothing asked"}\n', encoding="utf-8"
    )
    (report,) = bring(recorded, path)
    assert (report["records"], report["calls"], report["broken"]) == (3, 1, 2)
    aside = [json.loads(line) for line in Path(report["broken_file"]).read_text().splitlines()]
    assert [entry["line"] for entry in aside] == [2, 3]
    assert aside[0]["text"] == '{"prompt": '
    assert aside[0]["reason"].startswith("no JSON")
    assert "neither messages" in aside[1]["reason"]


def test_a_record_with_a_value_of_the_wrong_type_is_broken(recorded: Recorded, tmp_path: Path) -> None:
    bad = {"span_id": "b" * 16, "trace_id": "c" * 32, "name": "ask", "start_ns": "soon", "status": "ok"}
    (report,) = bring(recorded, write(tmp_path / "ours.jsonl", bad, {**bad, "start_ns": 5}))
    assert (report["calls"], report["broken"]) == (1, 1)
    assert "start_ns" in Path(report["broken_file"]).read_text()


def test_a_gzipped_file_and_a_json_array_are_read(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "chats.json.gz"
    path.write_bytes(
        gzip.compress(json.dumps([{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]).encode())
    )
    assert bring(recorded, path)[0]["calls"] == 2
    assert {call.output for call in recorded.calls()} == {"b", "d"}


def cut_gzip(path: Path, text: str) -> Path:
    """Write a gzipped file that ends where the text does, as a broken upload: without its data's end."""
    packer = zlib.compressobj(wbits=31)
    path.write_bytes(packer.compress(text.encode()) + packer.flush(zlib.Z_SYNC_FLUSH))
    return path


PAIRS = ['{"input": "a", "output": "b"}\n', '{"input": "c", "output": "d"}\n', '{"input": "e", "out']


@pytest.mark.parametrize(
    ("name", "text", "broken"),
    [
        ("chats.jsonl.gz", "".join(PAIRS), [3]),
        ("chats.jsonl.gz", "".join(PAIRS[:2]), []),
        ("chats.csv.gz", "input,output\na,b\nc,d\ne,the answer is lo", [3]),
        ("chats.csv.gz", 'input,output\na,b\nc,d\ne,"the answer\nis lo', [3]),
    ],
    ids=["in a line", "between lines", "in a row", "in a quoted cell"],
)
def test_what_is_whole_in_a_cut_gzipped_file_is_imported_and_the_cut_is_said(
    recorded: Recorded, tmp_path: Path, name: str, text: str, broken: list[int]
) -> None:
    path = cut_gzip(tmp_path / name, text)
    result = invoke(recorded.path, "import", str(path))
    assert (result.exit_code, "the file is cut: it ends before its gzip data do" in result.stderr) == (
        0,
        True,
    )
    assert sorted(str(call.output) for call in recorded.calls()) == ["b", "d"]
    (report,) = bring(recorded, path)
    assert (report["known"], report["broken"]) == (2, len(broken))
    aside = Path(report["broken_file"] or path).read_text().splitlines() if broken else []
    assert [json.loads(line)["line"] for line in aside] == broken


def test_a_csv_cut_within_a_letter_keeps_the_rows_before(recorded: Recorded, tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    data = "input,output\na,b\nc,ö".encode()[:-1]
    path = tmp_path / "chats.csv.gz"
    path.write_bytes(packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))
    (report,) = bring(recorded, path)
    assert report["cut"] == "it ends before its gzip data do"
    assert [call.output for call in recorded.calls()] == ["b"]


def test_a_gzipped_file_with_damaged_bytes_says_so(recorded: Recorded, tmp_path: Path) -> None:
    packed = bytearray(gzip.compress("".join(PAIRS[:2]).encode()))
    packed[-8] ^= 1  # of the checksum
    path = tmp_path / "chats.jsonl.gz"
    path.write_bytes(packed)
    (report,) = bring(recorded, path)
    assert report["calls"] == 2
    assert report["cut"].startswith("its gzip data are damaged: CRC check failed")


@pytest.mark.parametrize(
    "text", ["", '[{"input": "a", "output": "b"}, {"in'], ids=["nothing", "one document"]
)
def test_a_cut_gzipped_file_with_nothing_whole_is_refused_with_the_reason(
    recorded: Recorded, tmp_path: Path, text: str
) -> None:
    result = invoke(recorded.path, "import", str(cut_gzip(tmp_path / "chats.json.gz", text)))
    assert result.exit_code == 1
    assert "is cut: it ends before its gzip data do" in result.stderr


def test_blank_lines_among_json_lines_are_passed_over(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text('\n\n{"prompt":"a","response":"b"}\n  \n\n{"prompt":"c","response":"d"}\n\n')
    (report,) = bring(recorded, path)
    assert (report["calls"], report["broken"]) == (2, 0)


def test_a_csv_with_a_prompt_and_an_answer_is_read(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "chats.csv"
    path.write_text('question,answer,grade\nWhy?,"Because, so",A\n', encoding="utf-8")
    bring(recorded, path)
    call = recorded.one()
    assert (call.input, call.output, call.metadata["import"]["rest"]) == (
        {"question": "Why?"},
        "Because, so",
        {"grade": "A"},
    )


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", "plain words", '{"a": 1}\n{"b": 2}\n', "\x00\x01\x02"])
def test_a_file_of_no_known_format_says_which_there_are(
    recorded: Recorded, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "what.json"
    path.write_text(text)
    result = invoke(recorded.path, "import", str(path))
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert "what.json" in result.stderr or all(name in result.stderr for name in FORMATS)


def test_a_format_that_does_not_exist_is_wrong_usage(recorded: Recorded, tmp_path: Path) -> None:
    result = invoke(recorded.path, "import", str(write(tmp_path / "a.json", {})), "--format", "excel")
    assert result.exit_code == 2


def test_secrets_are_masked_before_anything_is_written(recorded: Recorded, tmp_path: Path) -> None:
    path = write(
        tmp_path / "chats.jsonl", {"prompt": "my key is sk-12345", "response": "ok", "note": "sk-12345"}
    )
    invoke(recorded.path, "import", str(path), LLM_TRACE_REDACT="sk-[0-9]+")
    assert "sk-12345" not in recorded.one().model_dump_json()
    invoke(
        recorded.path,
        "import",
        str(write(tmp_path / "b.jsonl", {"prompt": "q", "response": "r"})),
        LLM_TRACE_CAPTURE_CONTENT="0",
    )
    assert recorded.calls(where="output IS NULL")[0].input is None


LANGFUSE_TRACE = "7f1f0f2e8f9a4a6b9c551d2f3a4b5c6d"
LANGFUSE: dict[str, Any] = {
    "id": "7f1f0f2e-8f9a-4a6b-9c55-1d2f3a4b5c6d", "timestamp": "2026-03-01T12:00:00.000Z",
    "name": "support", "input": {"question": "Where is my parcel?"}, "output": "On its way.",
    "sessionId": "s1", "userId": "anna", "tags": ["prod"], "htmlPath": "/project/p/traces/7f1f",
    "observations": [
        {
            "id": "obs-1", "traceId": "7f1f0f2e-8f9a-4a6b-9c55-1d2f3a4b5c6d", "type": "GENERATION",
            "name": "answer", "startTime": "2026-03-01T12:00:00.100Z",
            "endTime": "2026-03-01T12:00:01.100Z", "model": "gpt-4o",
            "completionStartTime": "2026-03-01T12:00:00.400Z", "modelParameters": {"temperature": 0.2},
            "input": [{"role": "user", "content": "Where is my parcel?"}],
            "output": {"role": "assistant", "content": "On its way."},
            "usageDetails": {"input": 9, "output": 4}, "calculatedTotalCost": 0.0001, "level": "DEFAULT",
            "parentObservationId": "obs-0", "promptName": "reply", "promptVersion": 3,
        },
        {
            "id": "obs-0", "traceId": "7f1f0f2e-8f9a-4a6b-9c55-1d2f3a4b5c6d", "type": "SPAN",
            "name": "handle", "startTime": "2026-03-01T12:00:00Z", "endTime": "2026-03-01T12:00:01.2Z",
            "level": "ERROR", "statusMessage": "late",
        },
    ],
    "scores": [
        {
            "id": "sc1", "name": "helpful", "value": 1, "source": "ANNOTATION", "comment": "yes",
            "observationId": "obs-1",
        },
        {"id": "sc2", "name": "tone", "stringValue": "kind", "dataType": "CATEGORICAL", "source": "EVAL"},
    ],
}  # fmt: skip


def test_langfuse_traces_keep_their_tree_and_scores(recorded: Recorded, tmp_path: Path) -> None:
    (report,) = bring(recorded, write(tmp_path / "traces.json", [LANGFUSE]))
    assert (report["format"], report["calls"], report["scores"]) == ("langfuse", 3, 2)
    assert report["not_understood"] == {"html_path": 1}
    root, handle, answer = recorded.trace(LANGFUSE_TRACE)
    assert (root.name, root.session, root.user, root.tags) == ("support", "s1", "anna", ("prod",))
    assert (handle.parent_id, answer.parent_id) == (root.span_id, handle.span_id)
    assert (handle.status, handle.error.message) == ("error", "late")
    assert (answer.kind, answer.model, answer.params) == ("llm", "gpt-4o", {"temperature": 0.2})
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.cost_usd) == (9, 4, 0.0001)
    assert [m.text for m in (*answer.messages_in, *answer.messages_out)] == [
        "Where is my parcel?",
        "On its way.",
    ]
    assert (answer.prompt.name, answer.prompt.version) == ("reply", "3")
    assert answer.first_token_ns - answer.start_ns == 300_000_000
    assert [(s.name, s.value, s.source) for s in recorded.scores(answer.span_id)] == [("helpful", 1, "human")]
    assert [(s.name, s.value, s.source) for s in recorded.scores(root.span_id)] == [("tone", "kind", "model")]


def test_langfuse_observations_alone_are_a_tree_too(recorded: Recorded, tmp_path: Path) -> None:
    page = {"data": LANGFUSE["observations"], "meta": {"page": 1}}
    assert bring(recorded, write(tmp_path / "observations.json", page))[0]["calls"] == 2
    handle, answer = recorded.trace(LANGFUSE_TRACE)
    assert (handle.parent_id, answer.parent_id) == (None, handle.span_id)


PHOENIX = {
    "name": "ChatCompletion", "context": {"trace_id": "ab" * 16, "span_id": "cd" * 8}, "span_kind": "LLM",
    "parent_id": None, "start_time": "2026-03-01T12:00:00+00:00", "end_time": "2026-03-01T12:00:01+00:00",
    "status_code": "ERROR", "status_message": "overloaded",
    "events": [{"name": "exception", "message": "overloaded", "timestamp": "2026-03-01T12:00:01+00:00"}],
    "attributes": {
        "llm": {
            "model_name": "gpt-4o", "token_count": {"prompt": 9},
            "input_messages": [{"message": {"role": "user", "content": "hi"}}],
        },
        "metadata": {"team": "desk"},
    },
    "annotations": [{"name": "ok"}],
}  # fmt: skip


def test_phoenix_spans_are_calls(recorded: Recorded, tmp_path: Path) -> None:
    (report,) = bring(recorded, write(tmp_path / "spans.jsonl", PHOENIX))
    assert (report["format"], report["not_understood"]) == ("phoenix", {"annotations": 1})
    call = recorded.one()
    assert (call.span_id, call.kind, call.model, call.status) == ("cd" * 8, "llm", "gpt-4o", "error")
    assert [message.text for message in call.messages_in] == ["hi"]
    assert call.usage == Usage(input_tokens=9)
    assert call.metadata["team"] == "desk"


FLAT = {
    "context.span_id": "cd" * 8, "context.trace_id": "ab" * 16, "name": "ChatCompletion", "span_kind": "LLM",
    "start_time": "2026-03-01T12:00:00+00:00", "end_time": "2026-03-01T12:00:01+00:00", "status_code": "OK",
    "attributes.llm.model_name": "gpt-4o", "attributes.llm.token_count.prompt": 9,
    "attributes.llm.input_messages": [{"message.role": "user", "message.content": "hi"}],
}  # fmt: skip


def test_a_data_frame_of_phoenix_is_the_same_in_csv_and_parquet(recorded: Recorded, tmp_path: Path) -> None:
    table, frame = tmp_path / "spans.csv", tmp_path / "spans.parquet"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([FLAT.keys(), FLAT.values()])
    source = write(tmp_path / "flat.jsonl", FLAT)
    duckdb.sql(f"COPY (FROM read_json('{source}')) TO '{frame}' (FORMAT parquet)")
    stores = [recorded, Recorded(tmp_path / "second.duckdb")]
    for store, path in zip(stores, (table, frame), strict=True):
        assert bring(store, path)[0]["format"] == "phoenix"
        call = store.one()
        assert [message.text for message in call.messages_in] == ["hi"]
        assert (call.model, call.usage) == ("gpt-4o", Usage(input_tokens=9))


@needs_agents
def test_an_inspect_log_is_a_run_with_samples_and_scores(recorded: Recorded) -> None:
    (report,) = bring(recorded, AGENTS / "inspect_popularity_cancelled.json")
    assert (report["calls"], report["scores"], report["broken"]) == (18, 3, 0)
    (run,) = recorded.runs()
    assert (run.name, run.config["model"]) == ("popularity", "openai/gpt-4o-mini")
    asked = recorded.calls(kind="llm", run="popularity")
    assert len(asked) == 3
    assert {call.messages_out[0].text for call in asked} <= {"Yes", "No"}
    assert asked[0].messages_in[0].text.strip().startswith("Please note")
    assert all(call.usage.input_tokens > 0 for call in asked)
    (root,) = (call for call in recorded.trace(asked[0].trace_id) if call.parent_id is None)
    assert recorded.scores(root.span_id)[0].value in (0.0, 1.0)


@needs_agents
def test_runs_of_tau_bench_are_traces_of_an_agent(recorded: Recorded) -> None:
    (report,) = bring(recorded, AGENTS / "tau_bench_gpt4o_airline.json")
    assert (report["format"], report["scores"], report["broken"]) == ("tau", 40, 0)
    roots = recorded.calls(kind="agent", limit=None)
    assert len(roots) == 40
    root, *steps = recorded.trace(roots[0].trace_id)
    assert {call.parent_id for call in steps} == {root.span_id}
    assert steps[0].messages_in[0].role == "system"
    tools = recorded.calls(kind="tool", limit=None)
    assert all(isinstance(call.input, dict) for call in tools)
    assert bring(recorded, AGENTS / "tau_bench_gpt4o_airline.json")[0]["calls"] == 0


def test_a_file_of_no_known_format_leaves_the_others_alone_and_is_said(
    recorded: Recorded, tmp_path: Path
) -> None:
    first = write(tmp_path / "first.jsonl", {"prompt": "a", "response": "b"})
    strange = write(tmp_path / "strange.jsonl", {"colour": "red"})
    last = write(tmp_path / "last.jsonl", {"prompt": "c", "response": "d"})
    result = invoke(recorded.path, "import", str(first), str(strange), str(last))
    assert result.exit_code == 1
    assert "the format is not recognised from its first record (colour)" in result.stderr
    assert sorted(call.output for call in recorded.calls()) == ["b", "d"]


@pytest.mark.parametrize(
    "root",
    [
        {"span_id": "s", "root_span_id": "s", "span_parents": None, "input": "q", "output": "a"},
        {"id": "0198", "name": "t", "input": {"q": "?"}, "output": {"a": "!"}, "feedback_scores": []},
    ],
    ids=["braintrust", "opik"],
)
def test_the_root_of_another_tools_tree_is_refused_instead_of_read_without_its_scores(
    recorded: Recorded, tmp_path: Path, root: dict[str, Any]
) -> None:
    result = invoke(recorded.path, "import", str(write(tmp_path / "x.jsonl", root)))
    assert result.exit_code == 1
    assert "the format is not recognised" in result.stderr


def test_an_instruction_beside_its_input_is_part_of_what_was_asked(
    recorded: Recorded, tmp_path: Path
) -> None:
    bring(recorded, write(tmp_path / "x.jsonl", {"instruction": "Sum up.", "input": "Text", "output": "T"}))
    (call,) = recorded.calls()
    assert (call.input, call.output) == ({"instruction": "Sum up.", "input": "Text"}, "T")


def test_a_csv_file_with_two_columns_of_one_name_is_refused(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("input,output,output\nhi,one,two\n")
    done = invoke(recorded.path, "import", str(path))
    assert done.exit_code != 0
    assert "has two columns 'output': rename or remove one" in " ".join(done.stderr.split())


def test_a_call_that_cannot_be_read_leaves_the_others_of_its_record_alone(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "ended_call", lambda span: _end_badly(ended_call(span)))
    (report,) = bring(recorded, write(tmp_path / "spans.json", export(span(1), span(2), span(3))))
    assert (report["records"], report["calls"], report["broken"]) == (1, 2, 1)
    (line,) = Path(report["broken_file"]).read_text().splitlines()
    assert json.loads(line)["reason"].startswith("status: ")
    assert sorted(call.span_id for call in recorded.calls()) == [f"{1:016x}", f"{3:016x}"]


def _end_badly(call: dict[str, Any]) -> dict[str, Any]:
    return {**call, "status": "odd"} if call["span_id"] == f"{2:016x}" else call


def test_a_malformed_resource_costs_an_otlp_file_its_own_spans_only(
    recorded: Recorded, tmp_path: Path
) -> None:
    whole, broken, part = export(span(1)), export(span(2), span(3)), export(span(4))
    broken["resourceSpans"][0]["resource"] = {"attributes": "none"}
    part["resourceSpans"][0]["scopeSpans"].append({"spans": 7})
    groups = [each["resourceSpans"][0] for each in (whole, broken, part)] + [3]
    (report,) = bring(recorded, write(tmp_path / "spans.json", {"resourceSpans": groups}))
    assert (report["calls"], report["broken"]) == (2, 4)
    assert sorted(call.span_id for call in recorded.calls()) == [f"{1:016x}", f"{4:016x}"]
