"""The table of calls: its columns, orders, choices and exports."""

from __future__ import annotations

import csv
import io
import json
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from tests.conftest import Recorded
from tests.helpers.cli_toys import record
from tests.helpers.spool_toys import BEGIN, HandWriter, span
from tests.helpers.viewer_toys import PART, make_client, read


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("calls") / "t.duckdb"
    record(path)
    return path


def test_columns_are_chosen_and_stay_in_every_link(place: Path) -> None:
    client = make_client(place)
    address = "/calls?kind=chain&column=scores&column=run&column=user&column=name"
    page = read(client.get(address))
    shown = "column=name&column=scores&column=run&column=user"
    assert f"/export/calls.csv?kind=chain&{shown}" in page.list_values("a", "href")
    assert page.list_values("tbody", "data-rows") == [f"/calls/rows?kind=chain&{shown}"]
    headings = re.findall(r'<th scope="col"[^>]*>([^<]+)<', client.get(address).text)
    assert headings == ["Name", "Scores", "Run", "User"]
    first = client.get(address.replace("/calls", "/calls.json")).json()["calls"][-1]
    assert (first["run_name"], first["user"], first["scores"]) == (
        "first",
        "anna",
        [{"name": "kind", "value": 0.5}],
    )


def test_headings_lead_to_the_orders_of_the_table(place: Path) -> None:
    page = read(make_client(place).get("/calls?status=ok"))
    links = page.list_values("a", "href")
    for order in ("oldest", "slowest", "largest", "dearest"):
        assert f"/calls?status=ok&order={order}" in links
    assert page.list_values("th", "aria-sort") == ["descending"]


def test_the_filters_offer_what_calls_have(place: Path) -> None:
    choices = make_client(place).get("/calls/choices.json").json()["choices"]
    version = llm_trace.open_store(place).prompts()[0].version
    run = llm_trace.open_store(place).runs()[0]
    assert choices["name"] == [["answer", ""], ["ask", ""]]
    assert choices["run"][0] == [run.name, run.id]
    assert choices["version"] == [[version, "greet"]]
    values = {field: [value for value, _ in pairs] for field, pairs in choices.items()}
    assert [values[field] for field in ("model", "prompt", "tag", "user", "score")] == [
        ["toy-1"], ["greet"], ["fast"], ["anna"], ["kind"],
    ]  # fmt: skip


def test_a_time_that_was_dragged_is_shown_as_people_write_it_and_means_the_same(
    writer: HandWriter, path: Path
) -> None:
    for number in range(4):
        writer.start(number, start_ns=BEGIN + number * 1000)
    client = make_client(path)
    page = read(client.get(f"/calls?since={BEGIN + 2000}"))
    (shown,) = [value for value in page.list_values("input", "value") if value.startswith("2025")]
    assert shown == time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(BEGIN // 10**9)) + ".000002"
    rows = client.get("/calls.json", params={"since": shown}).json()["calls"]
    assert [int(row["span_id"], 16) for row in rows] == [3, 2]


def export(path: Path, name: str, query: str) -> Any:
    answer = make_client(path).get(f"/export/{name}?{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    return answer


def test_what_is_filtered_is_exported_as_lines_table_and_parquet(place: Path, tmp_path: Path) -> None:
    store, query = llm_trace.open_store(place), "kind=chain&min_score=0.5&run=first"
    wanted = [call.span_id for call in store.calls(kind="chain", run="first")]
    lines = [json.loads(line) for line in export(place, "calls.jsonl", query).text.splitlines()]
    assert [line["span_id"] for line in lines if "event" not in line] == wanted
    assert {line["event"] for line in lines if "event" in line} == {"run", "score"}
    table = list(csv.DictReader(io.StringIO(export(place, "calls.csv", query).text)))
    assert [(row["span_id"], row["model"], row["output"]) for row in table] == [(*wanted, "", "hello one")]
    with zipfile.ZipFile(io.BytesIO(export(place, "calls.parquet.zip", query).content)) as file:
        file.extractall(tmp_path)
    parquet = store.sql(f"SELECT span_id FROM '{tmp_path}/calls/calls.parquet'").fetchall()
    assert parquet == [(wanted[0],)]


def test_an_exported_cell_is_no_formula_of_a_spreadsheet(store: Recorded) -> None:
    ask: Any = llm_trace.trace(kind="llm")(lambda question: question)
    for text in ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)"):
        with llm_trace.using_session(text):
            ask(text)
    cells = [
        cell for row in csv.reader(io.StringIO(export(store.path, "calls.csv", "").text)) for cell in row
    ]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert {"'=1+1", "'-2+3"} < set(cells)


@pytest.mark.parametrize("name", ["calls.jsonl", "calls.csv", "calls.parquet.zip"])
def test_an_export_with_a_wrong_filter_says_so_and_is_no_file(place: Path, name: str) -> None:
    answer = make_client(place).get(f"/export/{name}?min_cost=much")
    assert (answer.status_code, answer.text) == (400, "min_cost 'much' is no number\n")
    assert make_client(place, known=False).get(f"/export/{name}").status_code == 401


def test_tokens_and_cost_are_drawn_over_time(writer: HandWriter, path: Path) -> None:
    for number in range(8):
        writer.start(number, start_ns=BEGIN + number * 10**9, **({"parent_id": span(0)} if number else {}))
        writer.end(
            number, end_ns=BEGIN + 9 * 10**9, usage={"output_tokens": number or None}, cost_usd=number / 2
        )
    summary = make_client(path).get("/calls/summary.json").json()["summary"]
    assert (summary["output_tokens"], summary["cost_usd"]) == (28, 0)
    assert sum(bar["output_tokens"] or 0 for bar in summary["bars"]) == 28
    lines = read(make_client(path).get("/calls/summary", headers=PART)).list_values("polyline", "points")
    assert [len(points.split()) for points in lines] == [60, 60]
