"""ls, show, runs, prompts and sql over a small store."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.cli.times import parse_moment_option
from tests.helpers.cli_toys import answer, invoke, record
from tests.helpers.fork_toys import write_forked_runs
from tests.helpers.spool_toys import BEGIN, HandWriter, spool_of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "traces.duckdb"
    record(path)
    return path


def lines(text: str) -> list[list[str]]:
    """Return the columns of each printed line; they are two blanks apart."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def test_ls_prints_the_newest_calls_first(place: Path) -> None:
    header, *rows = lines(invoke(place, "ls", COLUMNS="200").stdout)
    assert header == [
        "time",
        "id",
        "name",
        "kind",
        "model",
        "status",
        "took",
        "tokens",
        "cost",
        "input",
        "output",
    ]
    assert [[row[2], *row[-2:]] for row in rows] == [
        ["ask", "three", "hello three"],
        ["answer", "three", "hello three"],
        ["ask", "bad", "hello bad"],
        ["answer", "bad", "ValueError: no answer [red]to that[/red]"],
        ["ask", "one", "hello one"],
        ["answer", "one", "hello one"],
    ]
    assert rows[0][3:6] == ["llm", "toy-1", "ok"]
    assert rows[0][7:9] == ["9→2", "$0.00012"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["--run", "second"], ["ask", "answer"]),
        (["--kind", "llm", "--tag", "fast", "--model", "toy-1", "--limit", "2"], ["ask", "ask"]),
        (["--status", "error", "--since", "1h"], ["answer"]),
        (["--session", "s1", "--user", "anna", "--text", "HELLO ONE"], ["ask", "answer"]),
        (["--where", 'cost_usd > 0 AND "user" IS NULL'], ["ask"]),
    ],
)
def test_ls_takes_the_filters_of_the_store(place: Path, filters: list[str], found: list[str]) -> None:
    assert [call["name"] for call in answer(place, "ls", *filters)] == found


def test_ls_as_json_gives_whole_calls(place: Path) -> None:
    with llm_trace.open_store(place) as store:
        (call,) = store.calls(kind="llm", run="first")
    assert answer(place, "ls", "--kind", "llm", "--run", "first") == [call.model_dump(mode="json")]


def test_nothing_found_is_exit_code_3(place: Path, tmp_path: Path) -> None:
    empty = invoke(place, "ls", "--name", "nobody")
    assert (empty.exit_code, empty.stdout, empty.stderr) == (3, "", "no call matches\n")
    as_json = invoke(place, "ls", "--name", "nobody", "--json")
    assert (as_json.exit_code, as_json.stdout, as_json.stderr) == (3, "[]\n", "")
    missing = invoke(tmp_path / "none.duckdb", "ls")
    assert (missing.exit_code, missing.stdout) == (3, "")
    assert missing.stderr.startswith(f"llm-trace: there is no store at '{tmp_path / 'none.duckdb'}'")
    assert not (tmp_path / "none.duckdb").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ls", "--status", "fine"], "'fine' is none of ok, error, cancelled, interrupted, open"),
        (["ls", "--kind", "robot"], "'robot' is none of llm, chain"),
        (["ls", "--since", "yesterday"], "'yesterday' is no time: give 30m, 2h, 3d"),
        (["show", "xyz"], "'xyz' is no id"),
        (["sql", "SELECT 1", "--csv", "--json"], "choose one of --csv and --json"),
    ],
)
def test_wrong_usage_is_exit_code_2(place: Path, arguments: list[str], message: str) -> None:
    result = invoke(place, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(re.sub(r"[│╭╮╰╯─]", " ", result.stderr).split())


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_tables_stay_within_the_terminal(place: Path, width: int) -> None:
    for command in (["ls"], ["runs"], ["prompts"], ["show", "last"], ["sql", "FROM calls"]):
        result = invoke(place, *command, COLUMNS=str(width))
        assert result.exit_code == 0
        printed = result.stdout.splitlines()
        assert max(map(len, printed)) <= width
        assert all(line == line.rstrip() for line in printed if command != ["show", "last"])


def test_show_prints_the_tree_and_the_call_that_failed(place: Path) -> None:
    (failed,) = answer(place, "ls", "--status", "error")
    printed = invoke(place, "show", failed["trace_id"]).stdout
    tree = [line.split() for line in printed.splitlines()[1:3]]
    assert [line[:3] for line in tree] == [["answer", "chain", "error"], ["└──", "ask", "llm"]]
    assert tree[0][-1] == failed["span_id"]
    assert tree[1][-3:-1] == ["9→2", "$0.00012"]
    assert f"run       second {failed['run']}\nsession   s1\nuser      anna\n" in printed
    assert "\ninput\nquestion: bad\n" in printed
    assert "ValueError: no answer [red]to that[/red]\n" in printed
    assert "\nscores\n  kind = 0.5  code  so so\n" in printed


def test_show_finds_a_call_by_the_beginning_of_its_id(place: Path) -> None:
    (call,) = answer(place, "ls", "--run", "first", "--kind", "llm")
    shown = answer(place, "show", call["span_id"][:7])
    assert shown["call"] == call
    assert [row["name"] for row in shown["trace"]] == ["answer", "ask"]
    assert (shown["trace_id"], shown["calls"], shown["attributions"], shown["scores"]) == (
        call["trace_id"],
        2,
        [],
        [],
    )


def test_show_last_takes_the_newest_trace_and_its_model_call(place: Path) -> None:
    newest = answer(place, "ls", "--limit", "1")[0]
    assert answer(place, "show")["call"] == newest
    assert newest["name"] == "ask"


def test_show_names_media_and_size_instead_of_printing_base64(tmp_path: Path) -> None:
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 12).decode()
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}
    store = tmp_path / "t.duckdb"
    llm_trace.configure(store)

    @llm_trace.trace(kind="llm")
    def chat(messages: list[dict[str, Any]]) -> str:
        return f"drawn: data:image/png;base64,{picture}."

    @llm_trace.trace(kind="tool")
    def draw(image: str, source: dict[str, str]) -> dict[str, str]:
        return {"image": picture, "long": "x" * 300}

    chat([{"role": "user", "content": [{"type": "text", "text": "What is it?"}, url]}])
    draw(picture, source={"media_type": "image/webp", "data": picture[20:]})
    llm_trace.shutdown()
    for name, count in (("chat", 2), ("draw", 2)):
        (call,) = answer(store, "ls", "--name", name)
        assert picture in json.dumps(call)
        shown = invoke(store, "show", call["span_id"], "--full", COLUMNS="400").stdout
        assert (shown.count("[image/png, 3.1 kB]"), picture[30:60] in shown) == (count, False)
        assert ("[image/webp, 3.1 kB]" in shown, "x" * 300 in shown) == (name == "draw", name == "draw")


def test_show_of_an_unknown_id_is_exit_code_3(place: Path) -> None:
    result = invoke(place, "show", "0" * 16)
    assert (result.exit_code, result.stdout) == (3, "")
    assert (
        result.stderr
        == f"llm-trace: no call or trace begins with '{'0' * 16}': llm-trace ls lists the newest calls\n"
    )


def test_show_of_an_ambiguous_beginning_lists_what_there_is(tmp_path: Path) -> None:
    spool(tmp_path / "t.duckdb", [("aa01", None), ("aa02", None)])
    result = invoke(tmp_path / "t.duckdb", "show", "aa0")
    assert result.exit_code == 2
    assert "several begin with 'aa0'" in result.stderr.replace("│", " ")


def test_a_circle_of_parents_is_still_shown(tmp_path: Path) -> None:
    spool(tmp_path / "t.duckdb", [("aa01", "bb02"), ("bb02", "aa01"), ("cc03", "cc03")])
    printed = invoke(tmp_path / "t.duckdb", "show", "aa01").stdout
    assert [line.split()[-1][:4] for line in printed.splitlines()[1:4]] == ["aa01", "bb02", "cc03"]


def spool(store: Path, calls: list[tuple[str, str | None]]) -> None:
    """Write calls of one trace straight into a spool."""
    folder = store.with_name(store.name + ".spool")
    folder.mkdir()
    events: list[dict[str, Any]] = [{"event": "file", "format": 1, "writer": "f" * 16, "time_ns": 1}]
    for number, (span, parent) in enumerate(calls):
        ids = {"span_id": span.ljust(16, "0"), "trace_id": "d" * 32}
        above = {} if parent is None else {"parent_id": parent.ljust(16, "0")}
        events.append(
            {"event": "start", **ids, **above, "start_ns": 10 + number, "name": "f", "kind": "chain"}
        )
        events.append(
            {"event": "end", **ids, "end_ns": 20 + number, "status": "ok", "output": "\x1b[31mred\x07"}
        )
    text = "".join(json.dumps(event) + "\n" for event in events)
    (folder / f"{'f' * 16}.00000001.jsonl").write_text(text)


def test_what_was_logged_cannot_drive_the_terminal(tmp_path: Path) -> None:
    spool(tmp_path / "t.duckdb", [("aa01", None)])
    for command in (["ls"], ["show", "last"], ["sql", "SELECT output ->> '$' FROM calls"]):
        printed = invoke(tmp_path / "t.duckdb", *command).stdout
        assert "\x1b" not in printed
        assert "␛[31mred␇" in printed


def test_runs_count_calls_failures_tokens_and_cost(place: Path) -> None:
    runs = answer(place, "runs")
    figures = [
        (
            r["name"],
            r["calls"],
            r["failed"],
            r["input_tokens"],
            r["output_tokens"],
            r["cost_usd"],
            r["config"],
        )
        for r in runs
    ]
    assert figures == [
        ("second", 2, 1, 9, 2, 0.00012, {"temperature": 0.5}),
        ("first", 2, 0, 9, 2, 0.00012, {"temperature": 0.5}),
    ]
    assert lines(invoke(place, "runs").stdout)[1][2:5] == ["second", "2", "1"]


def test_forks_stand_below_the_run_that_they_fork_and_those_made_alike_in_one_line(tmp_path: Path) -> None:
    place = write_forked_runs(tmp_path / "t.duckdb")
    header, *rows = lines(invoke(place, "runs", COLUMNS="300").stdout)
    assert header == ["started", "id", "name", "calls", "failed", "took", "tokens", "cost", "config"]
    assert [row[1:-1] for row in rows[1:]] == [
        ["00000000", "fork of nightly", "0", "1.0 s"],
        ["aaaaaaaa", "nightly", "0"],
        ["f0000000", "└ 20 reruns at look_up", "0", "20.0 s"],
        ["e0000000", "└ why: 50 reruns", "50", "1", "50.0 s", "100→?", "$0.5"],
        ["bbbbbbbb", "└ fork of nightly", "0", "1.0 s"],
        ["cccccccc", "└ fork of nightly", "0", "1.0 s"],
    ]
    assert "without" not in rows[4][-1]
    assert [r["name"] for r in answer(place, "runs", "--limit", "21")] == ["new", *["fork of nightly"] * 20]
    assert answer(place, "runs")[1]["fork_of"] == "9" * 32


def test_the_newest_lines_come_with_the_runs_that_they_fork(tmp_path: Path) -> None:
    place = write_forked_runs(tmp_path / "t.duckdb")
    rows = lines(invoke(place, "runs", "--limit", "3", COLUMNS="300").stdout)[1:]
    assert [row[1:3] for row in rows] == [
        ["dddddddd", "new"],
        ["00000000", "fork of nightly"],
        ["aaaaaaaa", "nightly"],
        ["f0000000", "└ 20 reruns at look_up"],
    ]


def test_runs_that_fork_each_other_in_a_circle_are_all_listed(tmp_path: Path) -> None:
    writer = HandWriter(spool_of(tmp_path / "t.duckdb"))
    for number, (run, other) in enumerate([("a", "b"), ("b", "a"), ("c", "c")]):
        writer.event(event="run", id=run * 32, name=run, start_ns=BEGIN + number, fork_of=other * 32)
    writer.close()
    rows = lines(invoke(tmp_path / "t.duckdb", "runs").stdout)[1:]
    assert [row[1:3] for row in rows] == [["cccccccc", "c"], ["bbbbbbbb", "b"], ["aaaaaaaa", "└ a"]]


def test_runs_count_what_a_step_reports_of_the_calls_inside_it_once(tmp_path: Path) -> None:
    store = tmp_path / "agent.duckdb"
    llm_trace.configure(store)

    @llm_trace.trace(kind="llm")
    def ask(question: str) -> str:
        llm_trace.update_current_call(usage={"input_tokens": 100, "output_tokens": 10}, cost_usd=0.25)
        return question

    @llm_trace.trace
    def step(question: str) -> str:
        return ask(question)

    @llm_trace.trace(kind="agent")
    def agent(question: str) -> None:
        step(ask(question))
        llm_trace.update_current_call(usage={"input_tokens": 210}, cost_usd=0.5)

    for name in ("first", "second"):
        with llm_trace.start_run(name):
            agent("q")
            ask("alone")
    llm_trace.shutdown()
    runs = answer(store, "runs")
    assert [(r["calls"], r["input_tokens"], r["output_tokens"], r["cost_usd"]) for r in runs] == [
        (5, 310, 30, 0.75),
        (5, 310, 30, 0.75),
    ]


def test_prompts_lists_versions_and_shows_what_changed(place: Path, tmp_path: Path) -> None:
    (version,) = answer(place, "prompts")
    assert (version["name"], version["number"], version["calls"]) == ("greet", 1, 3)
    assert invoke(place, "prompts", "nobody").exit_code == 3
    store = tmp_path / "two.duckdb"
    llm_trace.configure(store)
    llm_trace.Prompt("p", "Rule.\nAsk {q}").format(q="a")
    llm_trace.Prompt("p", "Rule.\nBe brief.\nAsk {q}").format(q="a")
    llm_trace.shutdown()
    printed = invoke(store, "prompts", "p").stdout
    assert "\nRule.\nAsk {q}\n" in printed
    assert "\n+Be brief.\n" in printed


def test_sql_prints_a_table_json_and_csv(place: Path) -> None:
    query = (
        "SELECT name, count(*) AS calls, sum(cost_usd) AS usd, NULL AS none FROM calls GROUP BY name ORDER "
        "BY name"
    )
    assert invoke(place, "sql", query).stdout == (
        "name    calls      usd  none\nanswer      3        ·  ·\nask         3  0.00036  ·\n"
    )
    assert answer(place, "sql", query) == [
        {"name": "answer", "calls": 3, "usd": None, "none": None},
        {"name": "ask", "calls": 3, "usd": pytest.approx(0.00036), "none": None},
    ]
    assert list(csv.reader(io.StringIO(invoke(place, "sql", query, "--csv").stdout)))[1] == [
        "answer",
        "3",
        "",
        "",
    ]
    assert invoke(place, "sql", "-", "--csv", stdin="SELECT [1, 2] AS a").stdout == 'a\n"[1, 2]"\n'
    assert answer(place, "sql", "SELECT 1 AS a WHERE false") == []


def test_sql_prints_so_many_rows_and_says_how_many_more(place: Path) -> None:
    assert invoke(place, "sql", "FROM range(5)", "--limit", "2").stdout.splitlines() == [
        "range",
        "    0",
        "    1",
        "… and more: the first 2 rows are shown; --limit 0, --csv or --json print all",
    ]
    assert len(invoke(place, "sql", "FROM range(300)", "--limit", "0").stdout.splitlines()) == 301


@pytest.mark.parametrize("width", [30, 80, 120])
def test_sql_cuts_no_number_and_says_which_texts_it_cuts(place: Path, width: int) -> None:
    numbers = [1234567.891, 0.123456789, 12345678901234, *range(10, 15)]
    columns = ", ".join(f"{value} AS n{i}" for i, value in enumerate(numbers))
    query = f"SELECT {columns}, repeat('x', 90) AS first, repeat('y', 90) AS second"
    result = invoke(place, "sql", query, COLUMNS=str(width))
    assert all(str(value) in result.stdout.split() for value in numbers)
    assert re.search("x…", result.stdout)
    assert re.search("y…", result.stdout)
    assert result.stderr == "… cut: first, second: --wide or --json shows all\n"
    whole = invoke(place, "sql", query, "--wide", COLUMNS=str(width))
    assert whole.stdout.splitlines()[1].split() == [*map(str, numbers), "x" * 90, "y" * 90]
    assert whole.stderr == ""


def test_ls_says_which_columns_it_cuts_or_leaves_out(place: Path) -> None:
    result = invoke(place, "ls", COLUMNS="60")
    assert result.stderr == (
        "… not shown: kind, cost, model, tokens; cut: output: --wide or --json shows all\n"
    )
    whole = invoke(place, "ls", "--wide", COLUMNS="60")
    assert (whole.stdout, whole.stderr) == (invoke(place, "ls", COLUMNS="200").stdout, "")


@pytest.mark.parametrize("text", [[], ["--text", "call"]], ids=["all", "text"])
@pytest.mark.parametrize(
    ("order", "names"),
    [("newest", "fedcba"), ("slowest", "bdfaec"), ("dearest", "eacfdb")],
    ids=["newest", "slowest", "dearest"],
)
def test_ls_sorts_and_pages(ordered: Path, order: str, names: str, text: list[str]) -> None:
    pages = [answer(ordered, "ls", "--sort", order, "-n", "4", "--page", str(n), *text) for n in (1, 2)]
    assert ["".join(call["name"] for call in page) for page in pages] == [names[:4], names[4:]]
    printed = invoke(ordered, "ls", "--sort", order, "-n", "4", *text, COLUMNS="200")
    assert printed.stderr == "… and more: --page 2\n"
    beyond = invoke(ordered, "ls", "-n", "4", "--page", "3", *text)
    assert (beyond.exit_code, beyond.stdout) == (3, "")


@pytest.fixture(scope="module")
def ordered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record calls a to f that took 30, 60, no end yet, 50, 20 and 40, and cost 5, nothing, 4, 2, 6 and 3."""
    path = tmp_path_factory.mktemp("ordered") / "t.duckdb"
    folder = path.with_name(path.name + ".spool")
    folder.mkdir()
    events: list[dict[str, Any]] = [{"event": "file", "format": 1, "writer": "f" * 16, "time_ns": 1}]
    for number, (name, took, cost) in enumerate(
        zip("abcdef", (30, 60, None, 50, 20, 40), (5.0, None, 4.0, 2.0, 6.0, 3.0), strict=True)
    ):
        ids = {"span_id": f"{number:016x}", "trace_id": "d" * 32}
        begin = {"event": "start", **ids, "start_ns": 1000 + number, "name": name, "kind": "llm"}
        events.append({**begin, "input": {"prompt": f"call {name}"}, "cost_usd": cost})
        if took is not None:
            end = {"event": "end", **ids, "end_ns": 1000 + number + took, "status": "ok"}
            events.append({**end, "cost_usd": cost})
    text = "".join(json.dumps(event) + "\n" for event in events)
    (folder / f"{'f' * 16}.00000001.jsonl").write_text(text)
    return path


def test_sql_prints_wide_rows_below_each_other(place: Path) -> None:
    first, *rest = invoke(
        place,
        "sql",
        "SELECT name, kind, output, input, model, run, session FROM calls ORDER BY start_ns",
        COLUMNS="60",
    ).stdout.splitlines()
    assert first == "row 1"
    assert rest[:2] == ["  name     answer", "  kind     chain"]


@pytest.mark.parametrize(
    "query", ["SELEC 1", "SELECT nothing FROM calls", "DELETE FROM calls", "DROP TABLE runs"]
)
def test_sql_that_fails_is_one_error_on_stderr(place: Path, query: str) -> None:
    result = invoke(place, "sql", query)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("llm-trace: the query failed: ")
    assert answer(place, "sql", "SELECT count(*) AS n FROM calls") == [{"n": 6}]


def test_moments_are_ago_or_iso() -> None:
    assert parse_moment_option("2h", "--since", now_ns=7_200_000_000_005) == 5
    assert parse_moment_option("1.5m", "--since", now_ns=100 * 10**9) == 10 * 10**9
    assert parse_moment_option("1970-01-01T00:00:01.5+00:00", "--since") == 1_500_000_000
    assert parse_moment_option(None, "--since") is None


def test_sql_as_json_spells_what_json_has_no_number_for(place: Path) -> None:
    query = "SELECT 'nan'::DOUBLE a, ['-inf'::DOUBLE, 1.5] b, {'x': 'inf'::DOUBLE} c"
    expected = {"a": "NaN", "b": ["-Infinity", 1.5], "c": {"x": "Infinity"}}
    assert json.loads(invoke(place, "sql", query, "--json").stdout) == [expected]
    (row,) = csv.DictReader(io.StringIO(invoke(place, "sql", query, "--csv").stdout))
    assert (json.loads(row["b"]), json.loads(row["c"])) == (expected["b"], expected["c"])
