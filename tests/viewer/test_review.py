from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import llm_trace
from tests.conftest import Recorded
from tests.helpers.cli_toys import record
from tests.helpers.viewer_toys import HOST, make_client

ORIGIN = {"origin": f"http://{HOST}"}


@pytest.fixture
def place(path: Path) -> Path:
    record(path)
    return path


def send(client: Any, **form: str) -> Any:
    return client.post("/scores", data=form, headers=ORIGIN, follow_redirects=False)


@pytest.mark.parametrize(
    ("typed", "value"),
    [("0.8", 0.8), ("yes", True), ("No", False), ("wrong tone", "wrong tone"), ("é\x00", "é\x00")],
)
def test_a_score_from_a_page_is_a_persons_score_in_the_store(place: Path, typed: str, value: Any) -> None:
    call = llm_trace.open_store(place).calls(kind="llm")[0]
    client = make_client(place)
    answer = send(
        client, call=call.span_id, name="helpful", value=typed, comment="so so", back="/calls?kind=llm"
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/calls?kind=llm")
    shown = client.get(f"/call/{call.span_id}.json").json()["scores"]
    assert [(s["name"], s["value"], s["source"], s["comment"]) for s in shown if s["name"] == "helpful"] == [
        ("helpful", value, "human", "so so")
    ]
    (score,) = [s for s in llm_trace.open_store(place).scores(call.span_id) if s.name == "helpful"]
    assert (score.value, score.source) == (value, "human")


def test_the_queue_ends_when_each_call_was_scored_or_skipped(place: Path) -> None:
    client = make_client(place)
    page = client.get("/review.json?kind=llm&rating=helpful").json()
    seen: list[str] = []
    for skips in (False, True, False):
        assert page["left"] == 3 - len(seen)
        seen.append(page["call"]["span_id"])
        if skips:
            address = page["skip"]
        else:
            answer = send(client, call=seen[-1], name="helpful", value="yes", back=page["back"])
            address = answer.headers["location"]
        page = client.get(address.replace("/review", "/review.json")).json()
    assert (page["left"], page["call"]) == (0, None)
    assert len(set(seen)) == 3
    assert "Nothing left to look at" in client.get(page["back"]).text


def test_the_queue_can_be_of_calls_whose_attribution_is_no_evidence(recorded: Recorded) -> None:
    record(recorded.path)
    client = make_client(recorded.path)
    assert client.get("/review.json?verdict=unsure").json()["left"] == 0
    assert client.get("/review.json?pick=random").json()["left"] == 6
    assert client.get("/review?verdict=perhaps").status_code == 400


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"name": "x", "value": "1", "call": "f" * 16}, 400),
        ({"name": "", "value": "1"}, 400),
        ({"name": "x", "value": " "}, 400),
        ({}, 400),
        ({"name": "x", "value": "y" * 70_000}, 413),
    ],
)
def test_a_form_that_cannot_be_meant_is_said_and_writes_nothing(
    place: Path, form: dict[str, str], status: int
) -> None:
    call = llm_trace.open_store(place).calls()[0]
    before = llm_trace.open_store(place).sql("SELECT count(*) FROM scores").fetchall()
    assert send(make_client(place), **{"call": call.span_id, **form}).status_code == status
    assert llm_trace.open_store(place).sql("SELECT count(*) FROM scores").fetchall() == before


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "", "javascript:1"]
)
def test_a_form_leads_back_to_the_viewer_alone(place: Path, back: str) -> None:
    call = llm_trace.open_store(place).calls()[0]
    answer = send(make_client(place), call=call.span_id, name="x", value="1", back=back)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
