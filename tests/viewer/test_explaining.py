"""A call explained from its page: the price first, then a job that can be watched and cancelled."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.attribution.models import at_hand
from llm_trace.attribution.models.at_hand import list_models_at_hand
from llm_trace.record import Call
from tests.helpers.cli_toys import record
from tests.helpers.explained import record_explained
from tests.helpers.viewer_toys import HOST, make_client, read

ORIGIN = {"origin": f"http://{HOST}"}
QUESTION = {"action": "price", "model": "demo", "method": "occlusion", "segments": "word"}


def send(client: Any, call: Call, **form: str) -> Any:
    return client.post(
        "/explain", data={"call": call.span_id, **form}, headers=ORIGIN, follow_redirects=False
    )


def watch(client: Any, call: Call, *stages: str) -> dict[str, Any]:
    """Look at the page until the job has come so far."""
    for _ in range(600):
        page: dict[str, Any] = client.get(f"/call/{call.span_id}/explain.json").json()
        if page["job"]["stage"] in stages:
            return page
        time.sleep(0.2)
    raise AssertionError(f"the job did not come to {stages}: {page['job']}")


@pytest.fixture
def place(path: Path) -> Path:
    record(path)
    return path


def test_a_call_is_explained_after_its_price_and_one_at_a_time(path: Path) -> None:
    call = record_explained(path, "Customer: I bought it 75 days ago. Answer:", output=" DENY")
    record(path)
    client = make_client(path)
    assert "What does it cost?" in read(client.get(f"/call/{call.span_id}/explain")).text
    answer = send(client, call, **QUESTION)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/call/{call.span_id}/explain")
    with llm_trace.open_store(path) as store:
        other = store.calls(kind="llm", status="ok", limit=1)[0]
    refusal = send(client, other, **QUESTION)
    assert (refusal.status_code, f"call {call.span_id} is being explained" in refusal.text) == (400, True)
    assert "Another call is being explained" in client.get(f"/call/{other.span_id}/explain").text
    price = watch(client, call, "priced")["job"]["price"]
    assert (price["segments"], price["evaluations"]) == (8, 8 + 1 + 10)
    assert price["duration_ns"] > 0
    assert "Up to about 19 runs of the model" in read(client.get(f"/call/{call.span_id}/explain")).text
    assert llm_trace.open_store(path).attributions(call.span_id) == []
    send(client, call, action="begin")
    page = watch(client, call, "done", "failed")
    assert page["job"]["stage"] == "done", page["job"]
    assert page["result"]["method"] == "occlusion"
    (attribution,) = llm_trace.open_store(path).attributions(call.span_id)
    assert (attribution.model, len(attribution.values)) == ("demo", 8)
    assert client.get(f"/call/{call.span_id}.json").json()["attributions"][0]["method"] == "occlusion"


def test_a_job_that_is_cancelled_keeps_nothing(path: Path) -> None:
    call = record_explained(path, "Is it so?")
    client = make_client(path)
    send(client, call, **QUESTION)
    send(client, call, action="cancel")
    page = client.get(f"/call/{call.span_id}/explain.json").json()
    assert (page["job"]["stage"], page["result"]) == ("cancelled", None)
    assert "Cancelled; nothing was kept." in client.get(f"/call/{call.span_id}/explain").text
    assert llm_trace.open_store(path).attributions(call.span_id) == []


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({**QUESTION, "model": "/etc"}, "model '/etc' is none of demo"),
        ({**QUESTION, "method": "guess"}, "method 'guess' is none of auto"),
        ({**QUESTION, "segments": "chunk"}, "segments 'chunk' is none of word"),
        ({"action": "begin"}, "ask for its price first"),
        ({"action": "cancel"}, "ask for its price first"),
        ({}, "ask for its price first"),
    ],
    ids=["model", "method", "segments", "begin", "cancel", "nothing"],
)
def test_what_cannot_be_meant_is_said_and_starts_nothing(
    place: Path, form: dict[str, str], problem: str
) -> None:
    (call, *_) = llm_trace.open_store(place).calls(kind="llm")
    client = make_client(place)
    answer = send(client, call, **form)
    assert (answer.status_code, problem in answer.text) == (400, True)
    assert client.get(f"/call/{call.span_id}/explain.json").json()["job"] is None


def test_only_the_viewers_own_pages_may_explain(place: Path) -> None:
    (call, *_) = llm_trace.open_store(place).calls(kind="llm")
    for headers in ({}, {"origin": "https://evil.example"}):
        answer = make_client(place).post("/explain", data={"call": call.span_id, **QUESTION}, headers=headers)
        assert answer.status_code == 403
    assert make_client(place, known=False).post("/explain", headers=ORIGIN).status_code == 401


def test_what_cannot_be_explained_here_says_what_to_do(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = llm_trace.open_store(place)
    (failed,) = store.calls(status="error")
    client = make_client(place)
    page = read(client.get(f"/call/{failed.span_id}/explain")).text
    assert "Only a call that ended well" in page
    monkeypatch.setattr(at_hand, "find_spec", lambda name: None)
    (call, *_) = store.calls(kind="llm")
    page = read(client.get(f"/call/{call.span_id}/explain")).text
    assert "torch and transformers not installed: pip install 'llm-trace[local]'" in page


def test_models_at_hand_are_those_of_the_call_of_policies_and_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("hub/models--org--small/snapshots/1", "folder", "queue/policies"):
        (tmp_path / place).mkdir(parents=True)
    for place in ("hub/models--org--small/snapshots/1/config.json", "folder/config.json"):
        (tmp_path / place).write_text("{}")
    (tmp_path / "hub" / "models--org--begun").mkdir()
    (tmp_path / "queue/policies/1.json").write_text(f'{{"model": "{tmp_path / "folder"}"}}')
    (tmp_path / "queue/policies/2.json").write_text("not JSON")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    models = list_models_at_hand(["gpt-4o", None, "org/small"], tmp_path / "queue")
    assert models[:3] == ["org/small", str(tmp_path / "folder"), "demo"]
    assert not {"gpt-4o", "org/begun"} & set(models)
