from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.viewer import steps as steps_page
from tests.conftest import Recorded
from tests.helpers.spool_toys import BEGIN, HandWriter, span
from tests.helpers.support_toys import record_agents
from tests.helpers.viewer_toys import make_client, read


@pytest.fixture
def traces(path: Path) -> tuple[str, str]:
    return record_agents(path)


def tell(step: dict[str, Any]) -> tuple[Any, ...]:
    asks = [(request["name"], request["arguments"]) for request in step["requests"]]
    return step["name"], step["text"] or asks or step["input"], step["output"], step["error"], step["attempt"]


def test_an_agents_trace_opens_with_its_steps_what_was_decided_and_what_came_back(
    traces: tuple[str, str], path: Path
) -> None:
    client = make_client(path)
    page = client.get(f"/trace/{traces[0]}.json").json()
    order = {"order": 7}
    assert list(map(tell, page["steps"])) == [
        ("chat", [("look_up", order)], None, None, 1),
        ("look_up", order, None, "TimeoutError: the shop did not answer", 1),
        ("look_up", order, {"order": 7, "item": "kettle"}, None, 2),
        ("chat", [("refund", order)], None, None, 1),
        ("refund", order, "refunded 7", None, 1),
        ("write", "I have refunded it.", None, None, 1),
    ]
    assert page["steps"][5]["first_token_ns"] is not None
    shown = read(client.get(f"/trace/{traces[0]}"))
    assert "try 2, after a failure" in shown.text
    assert "asks for refund(order: 7)" in " ".join(shown.text.split())


def test_the_tree_marks_what_was_tried_again_and_when_a_stream_first_spoke(
    traces: tuple[str, str], path: Path
) -> None:
    lines = make_client(path).get(f"/trace/{traces[0]}.json").json()["lines"]
    assert [line["attempt"] for line in lines] == [1, 1, 1, 2, 1, 1, 1]
    assert [line["silent"] > 0 for line in lines] == [False] * 6 + [True]
    shown = read(make_client(path).get(f"/trace/{traces[0]}"))
    assert "silent" in shown.list_values("rect", "class")


TRIES = [(0, 2, "error", 7), (3, 5, "error", 7), (6, 8, "ok", 7), (9, 11, "error", 8), (10, 12, "ok", 8)]
"""Of each call its start, end, status and input; the last one began before the one before had failed."""


def test_a_retry_has_the_same_input_and_begins_after_the_failure(writer: HandWriter, path: Path) -> None:
    writer.start(1, trace_id="a" * 32, kind="agent")
    for number, (begin, end, status, given) in enumerate(TRIES, start=2):
        place = {"trace_id": "a" * 32, "parent_id": span(1), "kind": "tool", "input": {"x": given}}
        writer.start(number, start_ns=BEGIN + 10**9 + begin, **place)
        error = {"error": {"type": "E"}} if status == "error" else {"output": 1}
        writer.end(number, end_ns=BEGIN + 10**9 + end, status=status, **error)
    page = make_client(path).get(f"/trace/{'a' * 32}.json").json()
    assert [step["attempt"] for step in page["steps"]] == [1, 2, 3, 1, 1]


def test_many_steps_come_in_parts_and_agents_inside_agents_are_steps(
    store: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps_page, "STEPS", 2)
    with llm_trace.span("lead", "agent"), llm_trace.span("team"), llm_trace.span("helper", "agent"):
        for name in ("one", "two", "three"):
            llm_trace.trace(kind="tool", name=name)(lambda: "done")()
    client = make_client(store.path)
    trace_id = store.calls()[0].trace_id
    page = client.get(f"/trace/{trace_id}.json").json()
    names = [step["name"] for step in page["steps"]]
    while page["next_step"] is not None:
        page = client.get(f"/trace/{trace_id}/steps.json?from={page['next_step']}").json()
        names += [step["name"] for step in page["steps"]]
    assert names == ["helper", "one", "two", "three"]


def test_requests_that_a_library_sent_again_are_said(writer: HandWriter, path: Path) -> None:
    writer.call(1, metadata={"retries": 2})
    client = make_client(path)
    assert client.get(f"/trace/{1:032x}.json?view=steps").json()["steps"][0]["resent"] == 2
    assert "sent 3 times" in read(client.get(f"/trace/{1:032x}?view=steps")).text
