"""From spool to store: a call and its messages come back as they were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llm_trace import open_store
from llm_trace.errors import NotFoundError, StoreNotFoundError
from llm_trace.record import Call, CallError, Code, CostBasis, Message, Part, PromptUse, Usage
from llm_trace.stores.ingest import ingest
from tests.helpers.spool_toys import BEGIN, HandWriter, bodies, span, spool_of

SYSTEM = {"role": "system", "content": "Be kind."}
HI = {"role": "user", "content": "hi"}


def test_a_call_comes_back_as_it_was_written(path: Path, writer: HandWriter) -> None:
    writer.start(
        1,
        parent_id=span(9),
        input={"messages": {"$messages": [0, 2]}, "big": 2**80, "t": 0.2},
        messages_in=[[0, 1]],
        messages=bodies(SYSTEM, HI),
        tags=["a"],
        run="0123456789abcdef",
        session="s",
        user="u",
        code={"function": "app:ask", "file": "app.py", "line": 7},
        prompt={"name": "p", "version": "abcdefabcdef", "variables": {"x": 1}},
        params={"temperature": 0.2},
        metadata={"k": [1]},
        model="asked-for",
        provider="openai",
    )
    writer.end(
        1,
        output={"text": "hello"},
        model="answered",
        usage={"input_tokens": 9, "output_tokens": 2},
        cost_usd=0.5,
        first_token_ns=BEGIN + 5,
        tags=["a", "b"],
        status="error",
        error={"type": "ValueError", "message": "m", "traceback": "t"},
    )
    call = open_store(path).call(span(1))
    assert call == Call(
        trace_id=f"{1:032x}",
        span_id=span(1),
        parent_id=span(9),
        name="ask",
        kind="llm",
        start_ns=BEGIN + 10**9,
        end_ns=BEGIN + 15 * 10**8,
        status="error",
        input={"messages": [SYSTEM, HI], "big": 2**80, "t": 0.2},
        output={"text": "hello"},
        messages_in=(
            Message(role="system", parts=(Part(type="text", content="Be kind."),)),
            Message(role="user", parts=(Part(type="text", content="hi"),)),
        ),
        messages_out=call.messages_out,
        error=CallError(type="ValueError", message="m", traceback="t"),
        model="answered",
        provider="openai",
        params={"temperature": 0.2},
        usage=Usage(input_tokens=9, output_tokens=2),
        cost_usd=0.5,
        cost_basis=CostBasis(source="reported"),
        first_token_ns=BEGIN + 5,
        prompt=PromptUse(name="p", version="abcdefabcdef", variables={"x": 1}),
        session="s",
        user="u",
        tags=("a", "b"),
        metadata={"k": [1]},
        run="0123456789abcdef",
        code=Code(function="app:ask", file="app.py", line=7),
    )


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, 'é\n"\\\u0000 \U0001f600']},
        [],
        "text",
        0,
        -0.0,
        1e300,
        2**64,
        {"$messages": [0, 1]},
        {"": {}},
    ],
)
def test_input_and_output_keep_their_values(path: Path, writer: HandWriter, value: object) -> None:
    writer.start(1, input=value)
    writer.end(1, output=value)
    call = open_store(path).call(span(1))
    assert json.dumps([call.input, call.output]) == json.dumps([value, value])


def test_placeholders_are_filled_wherever_they_stand(path: Path, writer: HandWriter) -> None:
    arguments = {
        "args": [{"$messages": [0, 1]}, {"more": {"$messages": [1, 3]}}],
        "empty": {"$messages": [3, 3]},
    }
    writer.start(1, input=arguments, messages_in=[[1, 1], [0, 1]], messages=bodies(SYSTEM, HI))
    writer.end(
        1,
        output=[{"$messages": [0, 1]}],
        messages_out=[[2, 2]],
        messages=bodies({"role": "assistant", "content": "ok"}, first=2),
    )
    call = open_store(path).call(span(1))
    assert call.input == {"args": [[HI], {"more": [SYSTEM, HI]}], "empty": []}
    assert call.output == [[{"role": "assistant", "content": "ok"}]]
    assert [m.text for m in call.messages_in] == ["hi", "Be kind.", "hi"]
    assert [m.text for m in call.messages_out] == ["ok"]


def test_a_message_of_any_shape_comes_back_whole(path: Path, writer: HandWriter) -> None:
    odd: list[dict[str, Any]] = [
        {"content": "order of keys", "role": "user"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "two"}, {"type": "image_url", "image_url": {"url": "u"}}],
        },
        {"role": "user", "content": "more keys", "name": "n"},
        {"role": 'us"er', "content": 'quo"ted \\ \n'},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "user", "content": ""},
        {"role": "user"},
        {"role": "user", "content": "ünï"},
    ]
    writer.start(
        1, input={"m": {"$messages": [0, len(odd)]}}, messages_in=[[0, len(odd) - 1]], messages=bodies(*odd)
    )
    call = open_store(path).call(span(1))
    assert call.input == {"m": odd}
    assert [list(message) for message in call.input["m"]] == [list(message) for message in odd]


def test_a_message_is_stored_once_for_all_files_and_writers(path: Path, writer: HandWriter) -> None:
    other = HandWriter(spool_of(path))
    for number, hand in enumerate((writer, other, writer)):
        hand.rotate()
        hand.start(
            number, input={"m": {"$messages": [0, 2]}}, messages_in=[[0, 1]], messages=bodies(SYSTEM, HI)
        )
        if number == 1:
            ingest(path)
    store = open_store(path)
    assert store.sql("SELECT count(*) FROM messages").fetchall() == [(2,)]
    assert [call.input for call in store.calls()] == [{"m": [SYSTEM, HI]}] * 3


def test_messages_that_share_a_hash_stay_apart(
    path: Path, writer: HandWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llm_trace.stores import staging

    monkeypatch.setattr(staging, "BODIES", staging.BODIES.replace("hash(body) AS hash", "7::UBIGINT AS hash"))
    for number, text in enumerate(("a", "b", "a", "b")):
        body = {"role": "user", "content": text}
        writer.start(
            number,
            input={"m": {"$messages": [0, 1]}},
            messages_in=[[number, number]],
            messages=bodies(body, first=number),
        )
        if number != 2:
            ingest(path)
    store = open_store(path)
    assert [call.input["m"][0]["content"] for call in store.calls()] == ["b", "a", "b", "a"]
    assert store.sql("SELECT count(*) FROM messages").fetchall() == [(2,)]


def test_a_message_whose_line_was_lost_says_so(path: Path, writer: HandWriter) -> None:
    writer.start(1, input={"m": {"$messages": [0, 2]}}, messages_in=[[0, 0], [5, 5]], messages=bodies(HI))
    call = open_store(path).call(span(1))
    assert call.input == {"m": [HI, {"role": "unknown", "content": None, "$lost": True}]}


def test_a_field_of_the_wrong_type_costs_only_itself(path: Path, writer: HandWriter) -> None:
    writer.start(1, input="kept", usage=5, tags="x", messages_in="x", code=[1], model={"a": 1})
    (call,) = open_store(path).calls()
    assert (call.input, call.usage, call.tags, call.code) == ("kept", None, (), None)


def test_nothing_there_is_an_error(path: Path) -> None:
    with pytest.raises(StoreNotFoundError, match=r"traces\.duckdb"):
        open_store(path)
    spool_of(path).mkdir()
    with pytest.raises(StoreNotFoundError):
        open_store(path)


def test_an_unknown_call_is_an_error(path: Path, writer: HandWriter) -> None:
    writer.call(1)
    with pytest.raises(NotFoundError, match="no call 'nope'"):
        open_store(path).call("nope")
