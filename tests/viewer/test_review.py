from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.operations import read_reviews, verify_reviews
from llm_trace.operations.reviews import draw_explained
from tests.conftest import Recorded
from tests.helpers.cli_toys import record
from tests.helpers.review_toys import explain, record_calls, send_to_person
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


def introduce(client: Any, name: str, back: str = "/review") -> Any:
    """Tell the viewer who sits in front of it."""
    form = {"reviewer": name, "back": back}
    return client.post("/review/name", data=form, headers=ORIGIN, follow_redirects=False)


def decide(client: Any, page: dict[str, Any], decision: str, **form: str) -> Any:
    """Decide about the call of a page as its form does."""
    fields = {"call": page["call"]["span_id"], "rating": page["rating"], "explain": page["mode"]}
    fields |= {"back": page["back"], "value": decision, **form}
    return client.post("/review", data=fields, headers=ORIGIN, follow_redirects=False)


def test_the_queue_ends_when_each_call_was_decided_or_skipped(place: Path) -> None:
    client = make_client(place)
    introduce(client, "anna")
    page = client.get("/review.json?kind=llm&rating=helpful").json()
    seen: list[str] = []
    for skips in (False, True, False):
        assert page["left"] == 3 - len(seen)
        seen.append(page["call"]["span_id"])
        address = page["skip"] if skips else decide(client, page, "yes").headers["location"]
        page = client.get(address.replace("/review", "/review.json")).json()
    assert (page["left"], page["call"]) == (0, None)
    assert len(set(seen)) == 3
    assert "Nothing left to look at" in client.get(page["back"]).text


def test_the_queue_can_be_of_calls_whose_attribution_is_no_evidence(recorded: Recorded) -> None:
    record(recorded.path)
    client = make_client(recorded.path)
    introduce(client, "anna")
    assert client.get("/review.json?verdict=unsure").json()["left"] == 0
    assert client.get("/review.json?pick=random").json()["left"] == 6
    assert client.get("/review?verdict=perhaps").status_code == 400
    assert client.get("/review?explain=sometimes").status_code == 400


def test_the_page_asks_once_who_decides(place: Path) -> None:
    client = make_client(place)
    page = client.get("/review.json").json()
    assert (page["reviewer"], page["call"], page["left"]) == (None, None, 0)
    assert "Say who decides" in client.get("/review").text
    answer = introduce(client, " Zoë; <b>Ω</b> ", "/review?kind=llm")
    assert (answer.status_code, answer.headers["location"]) == (303, "/review?kind=llm")
    assert client.get("/review.json").json()["reviewer"] == "Zoë; <b>Ω</b>"
    assert "<b>Ω" not in client.get("/review").text
    for name in (" ", "x" * 101, "a\x07b"):
        assert introduce(client, name).status_code == 400
    assert client.get("/review.json").json()["reviewer"] == "Zoë; <b>Ω</b>"
    assert introduce(client, "Ben", "//evil.example").headers["location"] == "/"


def test_a_decision_from_a_page_is_kept_with_what_was_seen_and_how_long_it_took(place: Path) -> None:
    client = make_client(place)
    introduce(client, "anna")
    page = client.get("/review.json?kind=llm").json()
    answer = decide(client, page, "no", seconds="12.34", comment="too kind")
    assert (answer.status_code, answer.headers["location"]) == (303, "/review?kind=llm")
    with llm_trace.open_store(place) as store:
        (review,) = read_reviews(store)
    assert (review.reviewer, review.rating, review.value, review.seconds) == ("anna", "correct", False, 12.34)
    assert (review.mode, review.explained, review.saw, review.comment) == (
        "always", True, ("answer",), "too kind",
    )  # fmt: skip
    assert verify_reviews(place).problems == ()


def test_two_people_on_one_store_decide_apart_and_see_nothing_of_each_other(place: Path) -> None:
    anna, ben = make_client(place), make_client(place)
    introduce(anna, "anna")
    introduce(ben, "ben")
    page = anna.get("/review.json?kind=llm&others=yes").json()
    decide(anna, page, "yes")
    same = ben.get("/review.json?kind=llm&others=yes").json()
    assert (same["call"]["span_id"], same["left"]) == (page["call"]["span_id"], 3)
    assert same["scores"] == []
    assert anna.get("/review.json?kind=llm&others=yes").json()["left"] == 2
    assert ben.get("/review.json?kind=llm").json()["left"] == 2
    decide(ben, same, "no")
    with llm_trace.open_store(place) as store:
        assert [(r.reviewer, r.value) for r in read_reviews(store)] == [("anna", True), ("ben", False)]


def test_explanations_are_shown_or_hidden_as_they_were_drawn(path: Path) -> None:
    spans = record_calls(path, 7)
    explain(path, spans)
    send_to_person(path, "refunds", spans)
    client = make_client(path)
    names = (f"anna {number}" for number in itertools.count())  # ids are by chance
    anna = next(name for name in names if len({draw_explained("random", name, span) for span in spans}) == 2)
    introduce(client, anna)
    shown: dict[str, bool] = {}
    address = "/review.json?explain=random"
    for _ in spans:
        page = client.get(address).json()
        span_id = page["call"]["span_id"]
        shown[span_id] = page["explained"]
        html = client.get(address.replace(".json", "")).text
        assert bool(page["attributions"]) == page["explained"] == ("What mattered <" in html)
        assert (page["reason"] is not None) == page["explained"] == ("too little weight" in html)
        assert page["asked_by"] == "refunds"
        assert page["explained"] != ("Without explanations this time" in html)
        assert page["explained"] == ("Explain this call" in html)
        decide(client, page, "yes")
    assert shown == {span: draw_explained("random", anna, span) for span in spans}
    with llm_trace.open_store(path) as store:
        assert {r.span_id: r.saw == ("answer", "heat map") for r in read_reviews(store)} == shown


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"value": " "}, 400),
        ({"call": "f" * 16}, 400),
        ({"rating": " "}, 400),
        ({"explain": "sometimes"}, 400),
        ({"seconds": "soon"}, 400),
        ({"seconds": "nan"}, 400),
        ({"seconds": "-1"}, 400),
        ({"comment": "x" * 10_001}, 400),
        ({"comment": "x" * 70_000}, 413),
    ],
    ids=["empty", "no-call", "no-score", "mode", "word", "nan", "negative", "comment", "form"],
)
def test_a_decision_that_cannot_be_meant_is_said_and_keeps_nothing(
    place: Path, form: dict[str, str], status: int
) -> None:
    client = make_client(place)
    introduce(client, "anna")
    page = client.get("/review.json?kind=llm").json()
    assert decide(client, page, "yes", **form).status_code == status
    with llm_trace.open_store(place) as store:
        assert read_reviews(store) == []


def test_nobody_decides_without_a_name_or_from_elsewhere(place: Path) -> None:
    client = make_client(place)
    span_id = llm_trace.open_store(place).calls(kind="llm")[0].span_id
    form = {"call": span_id, "rating": "correct", "value": "yes", "explain": ""}
    answer = client.post("/review", data=form, headers=ORIGIN)
    assert (answer.status_code, "say your name" in answer.text) == (400, True)
    assert client.post("/review", data=form).status_code == 403
    assert client.post("/review/name", data={"reviewer": "eve"}).status_code == 403


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


def test_the_page_of_worth_says_what_is_known_and_why_the_rest_is_not(place: Path) -> None:
    client = make_client(place)
    introduce(client, "anna")
    page = client.get("/review.json?kind=llm").json()
    decide(client, page, "yes", seconds="4")
    figures = {
        figure["name"]: figure
        for topic in client.get("/worth.json?hourly=40").json()["topics"]
        for figure in topic["figures"]
    }
    assert (figures["Seconds of a review"]["value"], figures["Seconds of a review"]["shown"]) == (
        4.0,
        "4.0 s",
    )
    assert figures["Errors prevented"]["value"] is None
    html = client.get("/worth?score=correct&prompt=greet").text
    assert "not known" in html
    assert "no gate or rule has decided about a call" in html
    for hostile in ("hourly=soon", "hourly=-1", "hourly=nan"):
        assert client.get(f"/worth?{hostile}").status_code == 400
    assert client.get("/worth?prompt='%20OR%201=1&score=%3Cb%3E").status_code == 200
