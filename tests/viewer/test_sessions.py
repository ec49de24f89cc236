from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

import llm_trace
from llm_trace.viewer import sessions
from tests.conftest import Recorded
from tests.helpers.support_toys import record_agents
from tests.helpers.viewer_toys import make_client, read

SESSION = "/session/case%207%2Fb"


def test_a_session_is_a_conversation_in_the_order_of_time(path: Path) -> None:
    traces = record_agents(path)
    client = make_client(path)
    page = client.get(f"{SESSION}.json").json()
    assert page["session"] == "case 7/b"
    assert page["users"] == ["anna"]
    assert [trace["trace_id"] for trace in page["traces"]] == list(traces)
    assert [trace["output"] for trace in page["traces"]] == [
        "I have refunded it.",
        "No refund after 14 days.",
    ]
    assert [trace["input"][0] for trace in page["traces"]] == ["My kettle is broken."] * 2
    assert [(trace["calls"], trace["failed"], trace["cost_usd"]) for trace in page["traces"]] == [
        (7, 1, 0.5),
        (4, 0, 0.5),
    ]
    shown = read(client.get(SESSION))
    assert [link for link in shown.list_values("a", "href") if link.startswith("/trace")] == [
        f"/trace/{trace}" for trace in traces
    ]


def test_calls_and_traces_lead_to_their_session(path: Path) -> None:
    trace = record_agents(path)[0]
    call = llm_trace.open_store(path).calls(name="chat")[0]
    for address in (f"/trace/{trace}", f"/call/{call.span_id}"):
        assert SESSION in read(make_client(path).get(address)).list_values("a", "href")


def test_a_failed_trace_of_a_session_says_why_and_a_long_session_comes_in_parts(
    store: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "TRACES", 2)

    @llm_trace.trace
    def divide(a: int, b: int) -> float:
        return a / b

    for b in (1, 0, 2):
        with llm_trace.using_session("s"):
            try:
                divide(4, b)
            except ZeroDivisionError:
                continue
    client = make_client(store.path)
    page = client.get("/session/s.json").json()
    rest = client.get(f"/session/s.json?from={page['next']}").json()
    assert [trace["output"] for trace in page["traces"] + rest["traces"]] == [
        4.0,
        "ZeroDivisionError: division by zero",
        2.0,
    ]
    assert [trace["failed_inside"] for trace in page["traces"]] == [0, 0]
    assert rest["next"] is None


def test_a_session_that_is_none_says_how_to_make_one(path: Path) -> None:
    record_agents(path)
    answer = make_client(path).get("/session/nobody")
    assert answer.status_code == 404
    assert "using_session" in answer.text


def test_a_session_may_be_any_text(store: Recorded) -> None:
    sessions = ["two\nlines", "ends\n", "a/b?c#d", "x.y", "; DROP TABLE calls"]
    for session in sessions:
        with llm_trace.using_session(session), llm_trace.span("step"):
            pass
    client = make_client(store.path)
    links = (f"/session/{quote(session, safe='')}" for session in sessions)
    assert [client.get(f"{link}.json").json().get("session") for link in links] == sessions
    for call in llm_trace.open_store(store.path).calls():
        (link,) = (
            link
            for link in read(client.get(f"/call/{call.span_id}")).list_values("a", "href")
            if link.startswith("/session/")
        )
        assert client.get(link).status_code == 200
