"""The page of runs: forks as a tree, reruns of one kind as one line that leads to each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_trace.evaluation.evaluation import TAG
from llm_trace.viewer.runs import MOST
from tests.helpers.fork_toys import DEEPER, FORK, NEW, OLD, RERUNS, write_forked_runs
from tests.helpers.spool_toys import BEGIN, HandWriter, spool_of
from tests.helpers.viewer_toys import make_client, read


def test_one_why_is_one_line_below_the_run_that_it_explains(tmp_path: Path) -> None:
    client = make_client(write_forked_runs(tmp_path / "t.duckdb"))
    runs = client.get("/runs.json").json()["runs"]
    assert [(run["id"], run["title"], run["depth"], run["count"]) for run in runs] == [
        (NEW, "new", 0, 1),
        ("0" * 32, "fork of nightly", 0, 1),
        (OLD, "nightly", 0, 1),
        (f"f{0:031}", "20 reruns at look_up", 1, 20),
        (f"e{0:031}", "why: 50 reruns", 1, RERUNS),
        (FORK, "fork of nightly", 1, 1),
        (DEEPER, "fork of nightly", 2, 1),
    ]
    why = runs[4]
    assert (why["calls"], why["failed"], why["input_tokens"]) == (RERUNS, 1, 2 * RERUNS)
    assert "without" not in why["config"]["fork"]
    assert f'href="/runs?like={why["id"]}">why: 50 reruns' in client.get("/runs").text


def test_a_line_of_reruns_leads_to_each_of_them(tmp_path: Path) -> None:
    client = make_client(write_forked_runs(tmp_path / "t.duckdb"))
    runs = client.get(f"/runs.json?like=e{0:031}").json()["runs"]
    assert [run["id"] for run in runs] == [f"e{number:031}" for number in reversed(range(RERUNS))]
    assert runs[-1]["config"]["fork"]["without"] == ["tool result 0"]
    assert client.get("/runs.json?like=nobody").json()["runs"] == []


def test_a_comparison_offers_no_rerun_among_many_as_a_side(tmp_path: Path) -> None:
    client = make_client(write_forked_runs(tmp_path / "t.duckdb"))
    runs = client.get("/compare.json").json()["runs"]
    assert [run["id"] for run in runs] == [NEW, "0" * 32, DEEPER, FORK, OLD]


def test_reruns_push_no_evaluation_off_its_page(tmp_path: Path) -> None:
    place = write_forked_runs(tmp_path / "t.duckdb", why_reruns=MOST, tags=[TAG])
    evaluations = make_client(place).get("/evaluations.json").json()["evaluations"]
    assert [run["id"] for run in evaluations] == [OLD]


RUNS = (("v1", "answer", ""), ("v2", "answer", ""), ("other", "rank", ""), ("empty", "", ""))
"""Of each run its name, the function that it began with, and the run that it replays."""


@pytest.mark.parametrize(
    ("more", "pair"),
    [((), ["v1", "v2"]), ((("again", "answer", "v1"),), ["v1", "again"])],
    ids=["one function", "a replay"],
)
def test_runs_that_can_be_compared_are_chosen_at_first(
    tmp_path: Path, more: tuple[tuple[str, str, str], ...], pair: list[str]
) -> None:
    path = tmp_path / "t.duckdb"
    writer = HandWriter(spool_of(path))
    for number, (run, function, origin) in enumerate((*RUNS, *more)):
        replay = {"replay_of": origin} if origin else {}
        writer.event("run", id=run, name=run, start_ns=BEGIN + number, **replay)
        if function:
            writer.call(number, run=run, name=function)
    client = make_client(path)
    data = client.get("/runs.json").json()
    assert data["pair"] == pair
    tags = read(client.get("/runs")).tags
    chosen = [(about["name"], about["value"]) for _, about in tags if "checked" in about]
    assert sorted(chosen) == list(zip("ab", pair, strict=True))
