"""Running a call again from its page: only what was named, in a process of its own, compared at the end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.errors import ConfigurationError
from tests.helpers import comparison_toys
from tests.helpers.spool_toys import BEGIN, HandWriter, span, spool_of
from tests.helpers.viewer_toys import HOST, make_client, read

ORIGIN = {"origin": f"http://{HOST}"}
ASK, ANSWER, CHAT, NOBODY = (
    f"tests.helpers.comparison_toys:{name}" for name in ("ask", "answer", "chat", "nobody")
)


@pytest.fixture
def place(path: Path) -> Path:
    comparison_toys.record(path, 2)
    return path


def find_call(place: Path, name: str) -> Any:
    return llm_trace.open_store(place).calls(name=name, run="try v1")[0]


def begin(client: Any, span_id: str, **form: str) -> str:
    """Send the form as a browser does, with the fields as shown unless told; return where it leads."""
    fields = client.get(f"/replay/{span_id}.json").json()["fields"]
    shown = {f"{f['what']}.{f['index']}.{f['name']}": f["text"].replace("\n", "\r\n") for f in fields}
    sent = client.post(f"/replay/{span_id}", data={**shown, **form}, headers=ORIGIN, follow_redirects=False)
    assert sent.status_code == 303, sent.text
    return str(sent.headers["location"])


def wait_for_end(client: Any, address: str) -> dict[str, Any]:
    for _ in range(3000):
        job: dict[str, Any] = client.get(f"{address}.json").json()
        if not job["running"]:
            return job
        time.sleep(0.02)
    raise AssertionError("the replay did not end")


def test_a_call_runs_again_with_another_prompt_variable_and_model_and_is_compared(place: Path) -> None:
    call, client = find_call(place, "ask"), make_client(place, functions=[ASK])
    form = read(client.get(f"/replay/{call.span_id}"))
    assert form.list_values("textarea", "name") == [
        "params", "prompt.-1.qa", "variable.-1.question", "argument.-1.model",
    ]  # fmt: skip
    changes = {"prompt.-1.qa": "Be kind.\r\nQ: {question}", "variable.-1.question": "number 7"}
    job = wait_for_end(client, begin(client, call.span_id, function=ASK, model="medium", **changes))
    assert (job["answer"]["problem"], job["changes"]) == (None, ["model", "prompt", "variables"])
    again = llm_trace.open_store(place).call(job["answer"]["span_id"])
    assert (again.input["prompt"], again.output) == ("Be kind.\nQ: number 7", "7")
    assert (again.model, again.replay_of, again.run) == ("medium", call.span_id, job["answer"]["run"])
    comparison = read(client.get(job["comparison"])).text
    assert "prompt qa" in comparison
    assert "big → medium" in " ".join(comparison.split())
    assert "Another answer. One input says little about which side is better" in comparison
    assert "Asked otherwise: prompt:" in " ".join(comparison.split())
    assert "compare with the call that it repeats" in client.get(f"/call/{again.span_id}").text


def test_messages_and_arguments_can_be_changed_and_what_goes_wrong_is_said(path: Path) -> None:
    llm_trace.configure(path)
    comparison_toys.chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}], 1)
    llm_trace.shutdown()
    (call,) = llm_trace.open_store(path).calls()
    client = make_client(path, functions=[CHAT, NOBODY])
    changes = {"message.1.messages": "bye", "argument.-1.times": "3"}
    places = [begin(client, call.span_id, function=function, **changes) for function in (CHAT, NOBODY)]
    changed, failed = (wait_for_end(client, place) for place in places)
    again = llm_trace.open_store(path).call(changed["answer"]["span_id"])
    assert (again.input["messages"][0]["content"], again.output) == ("Be brief.", "bye bye bye")
    assert "has no function 'nobody'" in failed["answer"]["problem"]
    assert failed["comparison"] is None


def test_the_page_of_a_model_call_leads_to_the_call_around_it_that_may_run(place: Path) -> None:
    call, client = find_call(place, "ask"), make_client(place, functions=[ANSWER])
    page = read(client.get(f"/replay/{call.span_id}"))
    assert f"/replay/{find_call(place, 'answer').span_id}" in page.list_values("a", "href")


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"function": "os:system"}, "'os:system' may not run"),
        ({"function": ""}, "may not run"),
        ({"function": ASK, "mode": "fast"}, "mode 'fast' is none of"),
        ({"function": ASK, "params": "hot"}, "'hot' is no NAME=VALUE"),
        ({"function": ASK, "mode": "recorded", "model": "other"}, "no change has an effect"),
    ],
)
def test_a_request_runs_nothing_that_was_not_named_and_no_form_that_cannot_be_meant(
    place: Path, form: dict[str, str], problem: str
) -> None:
    call, client = find_call(place, "ask"), make_client(place, functions=[ASK])
    before = len(llm_trace.open_store(place).runs())
    answer = client.post(f"/replay/{call.span_id}", data=form, headers=ORIGIN, follow_redirects=False)
    assert (answer.status_code, problem in answer.text) == (400, True)
    assert client.post(f"/replay/{call.span_id}", data={"function": ASK}).status_code == 403
    assert len(llm_trace.open_store(place).runs()) == before


def test_where_nothing_may_run_the_page_says_what_to_do(place: Path) -> None:
    call, client = find_call(place, "ask"), make_client(place)
    assert f"llm-trace view --replay {ASK}" in read(client.get(f"/replay/{call.span_id}")).text
    refused = client.post(f"/replay/{call.span_id}", data={"function": ASK}, headers=ORIGIN)
    assert (refused.status_code, "may not run" in refused.text) == (400, True)
    assert client.get("/replays/1").status_code == 404


def test_a_name_that_is_no_function_is_refused_when_the_viewer_starts(place: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no module:function"):
        make_client(place, functions=["app.py"])


@pytest.mark.parametrize("template", ["{% include x %}", "{", "{doc.title}", "{doc:d}"])
def test_a_call_whose_template_is_none_of_ours_shows_its_form_without_the_variables(
    path: Path, template: str
) -> None:
    writer = HandWriter(spool_of(path))
    writer.event("prompt", name="qa", version="v1", template=template, time_ns=BEGIN)
    used = {"name": "qa", "version": "v1", "variables": {"doc": {"title": "T"}}}
    writer.call(1, input={"n": 1}, prompt=used)
    writer.close()
    form = read(make_client(path, functions=[ASK]).get(f"/replay/{span(1)}"))
    assert form.list_values("textarea", "name") == ["params", "prompt.-1.qa", "argument.-1.n"]


def test_calls_that_no_other_began_cannot_run_again_and_their_page_says_why(path: Path) -> None:
    writer = HandWriter(spool_of(path))
    writer.call(1, parent_id=span(2), trace_id="a" * 32)
    writer.call(2, parent_id=span(1), trace_id="a" * 32)
    writer.end(3, output="late")
    writer.close()
    client = make_client(path, functions=[ASK])
    answers = [client.get(f"/replay/{span(number)}") for number in (1, 2, 3)]
    assert [(a.status_code, "cannot run again" in a.text) for a in answers] == [(503, True)] * 3
