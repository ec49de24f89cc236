"""Files that calls are written to: the same however they are read, filtered, and for fine-tuning."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.record import Call
from tests.conftest import Recorded
from tests.helpers.cli_toys import invoke, record


def lines(store: Recorded, *options: str) -> list[dict[str, Any]]:
    """Return the calls that an export prints; what it says about them besides is left out."""
    result = invoke(store.path, "export", *options)
    assert result.exit_code == 0, result.stderr
    read = [json.loads(line) for line in result.stdout.split("\n") if line]
    return [{n: v for n, v in line.items() if n != "stored"} for line in read if "event" not in line]


def ask(query: str) -> list[Any]:
    """Return what DuckDB reads of the files."""
    import duckdb

    with duckdb.connect() as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def odd(recorded: Recorded) -> Recorded:
    """Calls with what makes JSON hard: messages, errors, Unicode, big integers, a key `$messages`."""
    record(recorded.path)
    llm_trace.configure(recorded.path)

    @llm_trace.trace(kind="llm", model="m")
    def ask(messages: list[dict[str, Any]], **given: Any) -> Any:
        return {
            "choices": [
                {"message": {"role": "assistant", "content": "ja, „gern“ \u2028 €"}, "finish_reason": "stop"}
            ]
        }

    system = {"role": "system", "content": 'say "hi"\n\t\\'}
    ask([system, {"role": "user", "content": "ü"}], temperature=0.5, seed=2**70)
    ask([system, {"role": "user", "content": [{"type": "text", "text": "look"}]}], more={"$messages": [0, 1]})
    ask([])
    with llm_trace.span("step", kind="chain", metadata={"nan": float("nan")}) as step:
        step.set(output=[1, None, "x"])
    llm_trace.shutdown()
    return recorded


def test_json_lines_are_the_calls_of_the_store(odd: Recorded) -> None:
    assert [Call(**line) for line in lines(odd, "--to", "jsonl")] == odd.calls()


def test_filters_text_and_limit_choose_the_same_calls_as_the_store(odd: Recorded) -> None:
    for options, chosen in (
        (("--kind", "llm", "--limit", "2"), {"kind": "llm", "limit": 2}),
        (("--run", "first"), {"run": "first"}),
        (("--text", "one"), {"text": "one"}),
        (("--text", "one", "--limit", "1"), {"text": "one", "limit": 1}),
        (("--where", "span_id IN (SELECT span_id FROM scores WHERE number >= 0.5)"), None),
    ):
        if chosen is not None:
            exported = lines(odd, "--to", "jsonl", *options)
            assert [line["span_id"] for line in exported] == [call.span_id for call in odd.calls(**chosen)]
    scored = lines(
        odd, "--to", "jsonl", "--where", "span_id IN (SELECT span_id FROM scores WHERE number >= 0.5)"
    )
    assert {line["name"] for line in scored} == {"answer"}


def test_small_pages_give_what_one_page_gives(odd: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lines(odd, "--to", "jsonl")
    texts = lines(odd, "--to", "jsonl", "--text", "e")
    monkeypatch.setattr("llm_trace.stores.export.PAGE", 3)
    assert lines(odd, "--to", "jsonl") == whole
    assert lines(odd, "--to", "jsonl", "--text", "e") == texts
    assert lines(odd, "--to", "jsonl", "--limit", "4") == whole[:4]


def test_a_table_has_text_as_text_and_the_rest_as_json(odd: Recorded) -> None:
    result = invoke(odd.path, "export", "--to", "csv", "--where", "name IN ('step', 'ask')")
    rows = list(csv.DictReader(result.stdout.splitlines(keepends=True)))
    (step,) = (row for row in rows if row["name"] == "step")
    assert (json.loads(step["output"]), step["input"], step["error"]) == ([1, None, "x"], "", "")
    assert "hello one" in {row["output"] for row in rows}
    assert json.loads(rows[0]["tags"]) == []


def test_chosen_calls_go_to_parquet_with_what_belongs_to_them(odd: Recorded, tmp_path: Path) -> None:
    result = invoke(odd.path, "export", "--to", "parquet", "--run", "first", "--out", str(tmp_path / "t"))
    assert result.exit_code == 0

    def count(table: str) -> Any:
        return ask(f"SELECT count(*) FROM '{tmp_path}/t/{table}.parquet'")[0][0]

    assert [count(t) for t in ("calls", "runs", "prompts", "scores", "messages")] == [2, 1, 1, 1, 0]
    kinds = ask(f"DESCRIBE FROM '{tmp_path}/t/calls.parquet'")
    assert {kind for _, kind, *_ in kinds} <= {
        "VARCHAR",
        "BIGINT",
        "DOUBLE",
        "VARCHAR[]",
        "BIGINT[]",
        "TIMESTAMP",
    }
    assert ask(f"SELECT DISTINCT compression FROM parquet_metadata('{tmp_path}/t/calls.parquet')") == [
        ("ZSTD",)
    ]


def test_the_whole_store_in_parquet_has_runs_without_calls(odd: Recorded, tmp_path: Path) -> None:
    llm_trace.configure(odd.path)
    with llm_trace.start_run("empty"):
        pass
    llm_trace.shutdown()
    odd.to_parquet(tmp_path / "all")
    names = ask(f"SELECT name FROM '{tmp_path}/all/runs.parquet'")
    assert ("empty",) in names


TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]


def test_a_dataset_is_chats_with_tools_and_says_what_it_left_out(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path)

    @llm_trace.trace(kind="llm")
    def ask(messages: list[dict[str, Any]], tools: Any = None) -> Any:
        return {"choices": [{"message": {"role": "assistant", "content": "It is on its way."}}]}

    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"id": 7}'}}
    talk: list[dict[str, Any]] = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Where is it?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "on its way"},
    ]
    ask(talk, TOOLS)
    ask([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}])
    with llm_trace.span("step"):
        pass
    llm_trace.shutdown()

    result = invoke(recorded.path, "export", "--to", "dataset")
    (example,) = map(json.loads, result.stdout.splitlines())
    assert example["tools"] == TOOLS
    said = example["messages"]
    assert said[:2] == talk[:2]
    assert json.loads(said[2]["tool_calls"][0]["function"].pop("arguments")) == {"id": 7}
    assert said[2]["tool_calls"] == [{"id": "c1", "type": "function", "function": {"name": "find"}}]
    assert said[3:] == [talk[3], {"role": "assistant", "content": "It is on its way."}]
    assert "2 calls left out as no examples" in result.stderr
    assert "content other than text (1)" in result.stderr
    assert "no messages (1)" in result.stderr


SCHEMA = {"type": "object", "properties": {}}
FIND = {"type": "function", "function": {"name": "find", "description": "finds", "parameters": SCHEMA}}
BEDROCK = {"tools": [{"toolSpec": {"name": "find", "description": "finds", "inputSchema": {"json": SCHEMA}}}]}


@pytest.mark.parametrize(
    "given",
    [
        {"kwargs": {"messages": "$", "tools": [FIND]}},
        {"body": {"messages": "$", "tools": [FIND]}},
        {"messages": "$", "tools": [{"name": "find", "description": "finds", "input_schema": SCHEMA}]},
        {"messages": "$", "functions": [FIND["function"]]},
        {"messages": "$", "toolConfig": BEDROCK},
        {"messages": "$", "config": {"tools": [{"function_declarations": [FIND["function"]]}]}},
    ],
    ids=["kwargs", "body", "anthropic", "functions", "bedrock", "gemini"],
)
def test_a_dataset_keeps_the_tools_of_every_providers_request(
    recorded: Recorded, given: dict[str, Any]
) -> None:
    messages = [{"role": "user", "content": "Where is it?"}]
    text = json.dumps(given).replace('"$"', json.dumps(messages))
    call = {"id": None, "type": "function", "function": {"name": "find", "arguments": "{}"}}
    llm_trace.configure(recorded.path)
    with llm_trace.span("ask", kind="llm", input=json.loads(text)) as span:
        span.set(
            output={"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [call]}}]}
        )
    llm_trace.shutdown()
    (example,) = map(json.loads, invoke(recorded.path, "export", "--to", "dataset").stdout.splitlines())
    assert example["tools"] == [FIND]
    assert [call["id"] for call in example["messages"][-1]["tool_calls"]] == ["call_1"]


def test_a_dataset_keeps_the_system_prompt_and_leaves_out_what_teaches_nothing(recorded: Recorded) -> None:
    messages = [{"role": "user", "content": "hi"}]
    called = [
        *messages,
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]},
    ]
    called.append({"role": "tool", "tool_call_id": "a", "content": "x"})
    llm_trace.configure(recorded.path)
    for request, answer in (
        ({"system": "Be kind.", "messages": messages}, "hello"),
        ({"messages": messages}, "  "),
        ({"messages": called}, "hello"),
        ({"messages": [{"role": "user", "content": ""}]}, "hello"),
    ):
        with llm_trace.span("ask", kind="llm", input=request) as span:
            span.set(output={"choices": [{"message": {"role": "assistant", "content": answer}}]})
    llm_trace.shutdown()
    result = invoke(recorded.path, "export", "--to", "dataset")
    (example,) = map(json.loads, result.stdout.splitlines())
    assert example["messages"][0] == {"role": "system", "content": "Be kind."}
    for reason in (
        "an empty answer (1)",
        "calls of tools that were not recorded (1)",
        "an empty message (1)",
    ):
        assert reason in result.stderr


def test_a_dataset_comes_back_as_the_calls_it_was_made_of(recorded: Recorded, tmp_path: Path) -> None:
    llm_trace.configure(recorded.path)

    @llm_trace.trace(kind="llm")
    def ask(messages: list[dict[str, Any]]) -> Any:
        return {"choices": [{"message": {"role": "assistant", "content": "hello"}}]}

    ask([{"role": "user", "content": "hi"}])
    llm_trace.shutdown()
    path = tmp_path / "tuning.jsonl"
    invoke(recorded.path, "export", "--to", "dataset", "--out", str(path))
    again = Recorded(tmp_path / "again.duckdb")
    assert invoke(again.path, "import", str(path)).exit_code == 0
    before, after = recorded.one(), again.one()
    assert [m.text for m in after.messages_in + after.messages_out] == ["hi", "hello"]
    assert after.messages_in == before.messages_in
