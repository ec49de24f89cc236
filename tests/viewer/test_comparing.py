"""The page Compare: which side is better, what was changed, and the answers, filtered by the address."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import llm_trace
from tests.conftest import Recorded
from tests.helpers.comparison_toys import record
from tests.helpers.explained import keep_attributions, make_attribution
from tests.helpers.viewer_toys import make_client, read


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("comparing") / "t.duckdb"
    record(path, 40)
    return path


def address(page: str = "/compare.json", **asked: Any) -> str:
    return f"{page}?{urlencode({'a': 'try v1', 'b': 'try v2', **asked})}"


def list_questions(data: dict[str, Any]) -> list[str]:
    return [entry["asked"].partition(" · ")[0] for entry in data["pairs"]]


HARD = {f"question: number {i}" for i in range(0, 40, 5)}


def test_the_page_says_first_which_side_is_better_and_how_sure_that_is(place: Path) -> None:
    client = make_client(place)
    data = client.get(address()).json()
    assert data["conclusion"].startswith("run try v2 is worse than run try v1: accuracy 1 → 0.8 (95 % sure: ")
    assert data["costs"].startswith("An answer of B takes input_tokens ")
    page = read(client.get(address("/compare")))
    assert data["conclusion"] in page.text
    assert page.list_values("svg", "aria-label") == [
        f"{row['metric']['low']:+.3g} to {row['metric']['high']:+.3g}" for row in data["rows"] if row["range"]
    ]


def test_what_was_changed_is_shown_word_by_word(place: Path) -> None:
    changes = make_client(place).get(address()).json()["changes"]
    assert [(entry["change"]["what"], entry["change"]["name"]) for entry in changes] == [
        ("prompt", "qa"),
        ("model", ""),
    ]
    assert changes[0]["diff"] == [
        {"change": "new", "text": "Be brief.\n"},
        {"change": "same", "text": "Question: {question}"},
    ]
    assert (changes[1]["change"]["a"], changes[1]["change"]["b"]) == ("big", "small")


def test_pairs_that_got_worse_come_first_and_the_others_stand_behind_links(place: Path) -> None:
    client = make_client(place)
    data = client.get(address()).json()
    assert (data["asked"]["show"], data["asked"]["metric"]) == ("worse", "accuracy")
    assert set(list_questions(data)) == HARD
    assert {tuple(entry["changed"]["accuracy"]) for entry in data["pairs"]} == {(1.0, 0.0)}
    for tab in data["tabs"]:
        shown = client.get(tab["link"].replace("/compare", "/compare.json")).json()
        assert len(shown["pairs"]) == min(tab["pairs"], 20), tab
        assert (shown["asked"]["show"], shown["asked"]["metric"]) == (tab["show"], tab["metric"])
    assert {tab["show"]: tab["pairs"] for tab in data["tabs"]}["all"] == 40


def test_a_slice_is_a_link_that_filters_numbers_and_pairs(place: Path) -> None:
    client = make_client(place)
    slices = {part["name"]: part for part in client.get(address()).json()["slices"]}
    assert {name: part["pairs"] for name, part in slices.items()} == {"": 40, "tag easy": 32, "tag hard": 8}
    hard = client.get(slices["tag hard"]["link"].replace("/compare", "/compare.json")).json()
    (accuracy,) = [row["metric"] for row in hard["rows"] if row["metric"]["name"] == "accuracy"]
    assert (accuracy["n"], accuracy["a"], accuracy["b"]) == (8, 1, 0)
    easy = client.get(address(slice="tag easy", show="all")).json()
    assert len(list_questions(easy)) == 20
    assert not HARD & set(list_questions(easy))


def test_all_pairs_come_page_by_page_each_once(place: Path) -> None:
    client, link, shown = make_client(place), address("/compare", show="all"), list[str]()
    while link:
        data = client.get(link.replace("/compare", "/compare.json")).json()
        shown += list_questions(data)
        link = data["next"]
    assert sorted(shown) == sorted(f"question: number {i}" for i in range(40))


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"show": "nicer"}, 400),
        ({"slice": "tag none"}, 404),
        ({"show": "worse", "metric": "none"}, 404),
        ({"b": "nobody"}, 404),
        ({"slices": "weather"}, 400),
    ],
)
def test_an_address_that_cannot_be_meant_is_said(place: Path, asked: dict[str, str], status: int) -> None:
    answer = make_client(place).get(address("/compare", **asked))
    assert (answer.status_code, 'class="problem"' in answer.text) == (status, True)


def test_answers_stand_side_by_side_with_the_words_that_only_one_has(store: Recorded) -> None:
    ask: Any = llm_trace.trace(kind="llm")(lambda question, run: f"{run} says <b>{question}</b>")
    for run in ("old", "new"):
        with llm_trace.start_run(run):
            ask("why", run=run)
            ask("how", run=run)
    page = read(make_client(store.path).get("/compare?a=old&b=new"))
    assert [tag for tag, _ in page.tags if tag in ("del", "ins", "b")] == ["del", "ins"] * 2
    assert page.text.count("says <b>why</b>") == 2
    assert "no score was given to both" in page.text


def test_words_that_weigh_otherwise_are_told_from_the_attributions_in_the_store(place: Path) -> None:
    with llm_trace.open_store(place) as store:
        calls = store.calls(kind="llm", limit=None)
    for call in calls:
        words = str(call.input["prompt"]).split()
        weights = [2.0 if word == "number" and call.model == "small" else 0.1 for word in words]
        keep_attributions(place, call, make_attribution(call.input["prompt"], weights))
    data = make_client(place).get(address()).json()
    (number,) = [word for word in data["shift"]["words"] if word["word"] == "number"]
    assert (number["part"], number["answer"], number["n"], number["verdict"]) == (
        "question",
        "own",
        40,
        "gained",
    )
    assert (number["a"], number["b"]) == (pytest.approx(0.1), pytest.approx(2.0))
    assert all(len(entry["mattered"]) == 2 for entry in data["pairs"])
