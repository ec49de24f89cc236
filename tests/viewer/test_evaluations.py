"""The pages of evaluations: each quality with bounds, public against fresh, failures that lead to traces."""

from __future__ import annotations

from pathlib import Path

import llm_trace
from llm_trace import evaluate, start_run
from llm_trace.evaluation import exact
from tests.conftest import Recorded
from tests.helpers.evaluation_toys import EDITS, PUBLIC, make_desk, remember
from tests.helpers.spool_toys import BEGIN, HandWriter, spool_of
from tests.helpers.viewer_toys import make_client, read

GROUPS = {"name": {"women": ["Emma", "Mei"], "men": ["Omar", "Hans"]}}


def test_an_evaluation_is_shown_with_bounds_the_gap_in_words_and_failures_that_open(store: Recorded) -> None:
    evaluation = evaluate(
        remember, make_desk(**EDITS, public=PUBLIC, groups=GROUPS), exact, n=30, name="<b>nightly</b>"
    )
    client = make_client(store.path)
    address = f"/evaluation/{evaluation.run.id}"
    data, page = client.get(f"{address}.json").json(), read(client.get(address))
    assert (data["answered"], data["planned"]) == (evaluation.answered, evaluation.planned)
    shown = [(d["name"], d["slice"], d["value"], d["low"], d["high"], d["n"]) for d in data["dimensions"]]
    assert shown == [(d.name, d.slice, d.value, d.low, d.high, d.n) for d in evaluation.dimensions]
    (gap,) = data["gaps"]
    assert gap["verdict"] == "memorised"
    assert "it remembers" in gap["sentence"]
    assert gap["sentence"] in page.text
    assert "<b>nightly</b>" in page.text
    assert [probe["sentence"] for probe in data["probes"]] == [str(each) for each in evaluation.bias_probes]
    assert str(evaluation.bias_probes[0]) in page.text
    failure, *_ = evaluation.failures
    first = data["failures"][0]
    assert (first["instance"], first["span_id"]) == (failure.instance, failure.span_id)
    link = f"/trace/{first['trace_id']}?call={first['span_id']}"
    assert link in {attributes.get("href") for _, attributes in page.tags}
    assert client.get(link).status_code == 200


def test_failures_come_a_page_at_a_time_and_by_what_says_so(store: Recorded) -> None:
    evaluation = evaluate(remember, make_desk(**EDITS), exact, n=30)
    client = make_client(store.path)
    address = f"/evaluation/{evaluation.run.id}"
    seen, next_ = [], f"{address}?show=exact+wrong"
    while next_:
        data = client.get(next_.replace("?", ".json?")).json()
        seen += [(each["instance"], each["kind"]) for each in data["failures"]]
        next_ = data["next"]
    assert seen == [(each.instance, "wrong") for each in evaluation.failures]
    assert len(seen) > 25
    answer = client.get(f"{address}?show=timeout")
    assert answer.status_code == 400
    assert "there are exact wrong" in answer.text


def test_the_list_has_evaluations_alone_and_says_how_to_make_one(store: Recorded) -> None:
    with start_run("other"):
        pass
    llm_trace.flush()
    assert "llm-trace eval" in read(make_client(store.path).get("/evaluations")).text
    evaluation = evaluate(remember, make_desk(), exact, n=3)
    client = make_client(store.path)
    (run,) = client.get("/evaluations.json").json()["evaluations"]
    assert run["id"] == evaluation.run.id
    assert "remember" in read(client.get("/evaluations")).text
    assert client.get("/evaluation/nothing").status_code == 404


def test_runs_without_tags_are_no_evaluations(path: Path) -> None:
    writer = HandWriter(spool_of(path))
    writer.event("run", id="a" * 16, name="bare", start_ns=BEGIN)
    writer.close()
    client = make_client(path)
    assert client.get("/evaluations.json").json() == {"evaluations": []}
    assert [run["tags"] for run in client.get("/runs.json").json()["runs"]] == [[]]
