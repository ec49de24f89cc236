"""Lines, queries and texts that mean harm: each costs itself at most."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from llm_trace import open_store
from llm_trace.errors import StoreError
from llm_trace.record import Attribution, Segment
from llm_trace.rendering import heatmap
from llm_trace.stores.purge import purge
from tests.helpers.cli_toys import invoke
from tests.helpers.spool_toys import HandWriter, bodies, span, spool_of

LEAST, MOST = -(2**63), 2**63 - 1
HI = bodies({"role": "user", "content": "hi"})
EVIL = "\x1b]0;owned\x07\x9b31m"


def deep(opening: str, closing: str, levels: int = 5000) -> str:
    return opening * levels + "1" + closing * levels


BAD: dict[str, dict[str, Any]] = {
    "starts before 1970": {"start_ns": LEAST},
    "a million messages": {"messages_in": [[0, 10**6]], "messages": HI},
    "a thousand million messages": {"messages_in": [[0, 10**9]], "messages": HI},
    "many ranges": {"messages_in": [[0, 10**4]] * 11, "messages": HI},
    "a range to the end of numbers": {"messages_out": [[LEAST, MOST]], "messages": HI},
    "the last number": {"messages_in": [[MOST, MOST]], "messages": HI},
}
DEEP = {
    "lists": f'"output":{deep("[", "]")}',
    "objects": f'"metadata":{deep(chr(123) + chr(34) + "a" + chr(34) + ":", "}")}',
    "a message": f'"messages":[{{"n":0,"body":{deep("[", "]")}}}]',
    "a list after brackets in a text": f'"name":"]]]]\\"]]]]","output":{deep("[", "]", 400)}',
}


@pytest.mark.parametrize("name", BAD)
def test_a_hostile_start_sets_aside_itself_only(path: Path, writer: HandWriter, name: str) -> None:
    writer.call(1)
    writer.start(2, **BAD[name])
    writer.call(3)
    store = open_store(path)
    assert [call.span_id for call in store.calls()] == [span(3), span(1)]
    assert store.sql("SELECT bad_lines FROM _files").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "ranges",
    [[[0, 10**12]], [[LEAST, MOST]], [["a", "b"]], [[1]], 5],
    ids=["many", "every", "texts", "one", "number"],
)
def test_hostile_ranges_in_a_file_that_an_exporter_still_needs_do_not_keep_purge_from_its_work(
    path: Path, writer: HandWriter, ranges: Any
) -> None:
    (spool_of(path) / "cursors").mkdir(parents=True)
    (spool_of(path) / "cursors" / "slow.json").write_text(
        json.dumps({"time_ns": time.time_ns(), "positions": {}})
    )
    writer.call(1, user="anna", messages=[*HI, {"n": [1], "body": None}])
    writer.start(2, messages_in=ranges)
    writer.close()
    assert purge(path, user="anna").spool_lines == 2
    assert b"anna" not in writer.path.read_bytes()


def test_a_call_of_which_only_the_end_can_be_read_is_shown_in_its_trace(
    path: Path, writer: HandWriter
) -> None:
    trace = "ab" * 16
    writer.start(1, trace_id=trace, **BAD["a million messages"])
    writer.end(1, trace_id=trace)
    result = invoke(path, "show", span(1))
    assert (result.exit_code, result.stdout.splitlines()[0].split()[:2]) == (0, ["trace", trace])
    assert "unknown" in result.stdout
    assert "None" not in result.stdout


@pytest.mark.parametrize("name", DEEP)
def test_a_line_nested_thousands_of_levels_deep_sets_aside_itself_only(
    path: Path, writer: HandWriter, name: str
) -> None:
    writer.call(1)
    line = f'{{"event":"start","span_id":"{span(2)}","start_ns":5,{DEEP[name]}}}'.encode()
    writer.raw(line + b"\n")
    writer.call(3, output=json.loads(deep("[", "]", 250)))
    assert [call.span_id for call in open_store(path).calls()] == [span(3), span(1)]
    assert (spool_of(path) / "quarantine" / writer.path.name).read_bytes() == line + b"\n"


def test_brackets_in_a_text_are_no_depth(path: Path, writer: HandWriter) -> None:
    text = "[" * 5000 + '"' + "{" * 5000 + "\\"
    writer.call(1, output=text)
    assert open_store(path).call(span(1)).output == text


def test_places_stand_for_no_more_messages_than_a_call_has_wherever_it_is_read(
    path: Path, writer: HandWriter, tmp_path: Path
) -> None:
    messages = [{"role": "user", "content": f"{n}"} for n in range(200)]
    place: dict[str, Any] = {"$messages": [0, 200]}
    arguments = {"first": {"$messages": [0, 150]}, "again": [place] * 500, "rest": {"$messages": [150, 2000]}}
    writer.start(1, input=arguments, messages_in=[[0, 199]], messages=bodies(*messages))
    writer.end(1, output="ok")
    filled = {"first": messages[:150], "again": [place] * 500, "rest": messages[150:]}
    assert open_store(path).call(span(1)).input == filled
    out = tmp_path / "calls.jsonl"
    result = invoke(path, "export", "--to", "jsonl", "--out", str(out))
    assert result.exit_code == 0, result.stderr
    assert json.loads(out.read_text())["input"] == filled
    other = tmp_path / "other.duckdb"
    assert invoke(other, "import", str(out)).exit_code == 0
    assert open_store(other).call(span(1)).input == filled


@pytest.mark.parametrize(
    "place",
    [[-1, 1], [0, 10**12], ["a", "b"], [True, 1], [0.0, 1.0]],
    ids=["before", "far", "texts", "truth", "parts"],
)
def test_a_place_of_no_positions_stays_as_it_is(
    path: Path, writer: HandWriter, tmp_path: Path, place: list[Any]
) -> None:
    arguments = {"m": {"$messages": place}}
    writer.start(1, input=arguments, messages_in=[[0, 0]], messages=HI)
    assert open_store(path).call(span(1)).input == arguments
    out = tmp_path / "calls.jsonl"
    assert invoke(path, "export", "--to", "jsonl", "--out", str(out)).exit_code == 0
    assert json.loads(out.read_text())["input"] == arguments


def test_times_far_from_now_are_read(path: Path, writer: HandWriter) -> None:
    for number, (start, end) in enumerate([(0, MOST), (MOST, 0), (MOST, MOST), (5, LEAST)]):
        writer.start(number, start_ns=start)
        writer.end(number, end_ns=end)
    times = {call.span_id: (call.start_ns, call.end_ns) for call in open_store(path).calls()}
    assert times == {span(0): (0, MOST), span(1): (MOST, 0), span(2): (MOST, MOST), span(3): (5, None)}


@pytest.mark.parametrize(
    "query",
    [
        "COPY calls TO '{out}'",
        "COPY (SELECT 1) TO '{out}' (FORMAT parquet)",
        "EXPORT DATABASE '{out}'",
        "ATTACH '{out}'",
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM '{secret}'",
        "SELECT * FROM glob('{secret}')",
        "SET enable_external_access = true",
    ],
    ids=["copy", "copy-parquet", "export", "attach", "read", "read-by-name", "list", "open-again"],
)
def test_sql_is_read_only_and_has_no_access_to_files_unless_told(
    path: Path, writer: HandWriter, tmp_path: Path, query: str
) -> None:
    writer.call(1)
    out, secret = tmp_path / "out", tmp_path / "secret.csv"
    secret.write_text("a\nb\n")
    asked = query.format(out=out, secret=secret)
    for options in ((), ("--json",), ("--limit", "0")):
        result = invoke(path, "sql", asked, *options)
        assert (result.exit_code, result.stdout, out.exists()) == (1, "", False)
    with pytest.raises(StoreError):
        open_store(path).sql(asked, files=False)


def test_sql_write_lets_a_query_write_files_and_leaves_the_store(
    path: Path, writer: HandWriter, tmp_path: Path
) -> None:
    writer.call(1)
    out = tmp_path / "out.csv"
    assert invoke(path, "sql", f"COPY (SELECT span_id FROM calls) TO '{out}'", "--write").exit_code == 0
    assert out.read_text().split() == ["span_id", span(1)]
    assert invoke(path, "sql", "DELETE FROM calls", "--write").exit_code == 1
    assert len(open_store(path).calls()) == 1


def test_the_catalog_lists_the_tables_of_the_store_only(path: Path, writer: HandWriter) -> None:
    writer.call(1)
    query = (
        "SELECT DISTINCT table_name FROM information_schema.tables WHERE NOT starts_with(table_name, '_') "
        "ORDER BY 1"
    )
    names = [row[0] for row in open_store(path).sql(query)]
    public = ["attributions", "calls", "messages", "operations", "prompts", "runs", "scores"]
    assert names == sorted([*public, "attribution_segments", "call_messages"])


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1"]


def test_csv_holds_no_formula_of_a_prompt_or_an_answer(path: Path, writer: HandWriter) -> None:
    for number, formula in enumerate(FORMULAS):
        writer.call(number, name=formula, output=formula)
    exported = list(csv.DictReader(io.StringIO(invoke(path, "export", "--to", "csv").stdout, newline="")))
    assert [(row["name"], row["output"]) for row in reversed(exported)] == [
        (f"'{f}", f"'{f}") for f in FORMULAS
    ]
    asked = invoke(
        path, "sql", "SELECT name, -1 AS n, '=a' AS \"=b\" FROM calls ORDER BY start_ns", "--csv"
    ).stdout
    head, *rows = csv.reader(io.StringIO(asked, newline=""))
    assert head == ["name", "n", "'=b"]
    assert rows == [[f"'{f}", "-1", "'=a"] for f in FORMULAS]


def test_heat_maps_and_summaries_show_control_characters_instead_of_sending_them() -> None:
    fields: dict[str, Any] = {
        "method": "occlusion",
        "unit": "nats",
        "target": EVIL,
        "warnings": (EVIL,),
        "bounds": "exact",
        "baseline": "delete",
    }
    attribution = Attribution(
        span_id=span(1), prompt=EVIL, response=EVIL,
        segments=(Segment(start=0, end=len(EVIL), text=EVIL, kind="word"),), values=(1.0,),
        verdict="redundant", **fields,
    )  # fmt: skip
    shown = heatmap.render_terminal(attribution).plain + attribution.summary()
    assert not any(sign in shown for sign in "\x1b\x07\x9b")
    assert shown.count("␛]0;owned␇") >= 3
