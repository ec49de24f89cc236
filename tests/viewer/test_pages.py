from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import llm_trace
from llm_trace.viewer import calls as calls_page
from llm_trace.viewer import page as page_module
from llm_trace.viewer import trace as trace_page
from tests.conftest import Recorded
from tests.helpers.cli_toys import record
from tests.helpers.hostile import record_hostile
from tests.helpers.instances import count_new_duckdbs
from tests.helpers.spool_toys import BEGIN, HandWriter, span
from tests.helpers.viewer_toys import PART, make_client, read


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("viewer") / "t.duckdb"
    record(path)
    return path


def list_addresses(path: Path) -> list[str]:
    call = llm_trace.open_store(path).calls(kind="llm")[0]
    pages = (
        "/",
        "/calls",
        "/calls/rows",
        "/calls/summary",
        "/runs",
        "/prompts",
        "/compare",
        "/compare?a=first&b=second&by=session",
        "/review",
        "/worth",
        "/health",
    )
    trace = f"/trace/{call.trace_id}"
    both = f"/traces?left={call.trace_id}&right={call.span_id}"
    assert call.prompt is not None
    return [
        *pages,
        f"/prompts/parts?name={call.prompt.name}&version={call.prompt.version}",
        *(f"/call/{call.span_id}{part}" for part in ("", "/attributions", "/explain")),
        *(trace, f"{trace}/lines", f"{trace}?view=steps", f"{trace}/steps"),
        *("/session/s1", "/traces", both, f"/replay/{call.span_id}"),
    ]


def test_every_page_has_the_same_data_as_json(place: Path) -> None:
    client = make_client(place)
    for address in list_addresses(place):
        path, _, query = address.partition("?")
        assert client.get(address).headers["content-type"].startswith("text/html"), address
        answer = client.get(f"{path if path != '/' else '/index'}.json?{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), address
        assert isinstance(answer.json(), dict)


def test_a_part_that_is_opened_by_itself_leads_to_its_page(place: Path) -> None:
    client = make_client(place)
    trace = llm_trace.open_store(place).calls(kind="llm")[0].trace_id
    wholes = {
        "/calls/rows?kind=llm&after=12-0": "/calls?kind=llm",
        "/calls/summary?text=a%26b": "/calls?text=a%26b",
        "/calls/choices": "/calls",
        f"/trace/{trace}/lines?from=250&call=7": f"/trace/{trace}?call=7",
        f"/trace/{trace}/steps": f"/trace/{trace}?view=steps",
        "/trace/a%26b/steps?from=50": "/trace/a%26b?view=steps",
    }
    assert {part: client.get(part, follow_redirects=False).headers["location"] for part in wholes} == wholes
    assert "<h2>Step by step</h2>" in client.get(f"/trace/{trace}/steps").text
    assert "<html" not in client.get(f"/trace/{trace}/steps", headers=PART).text


def test_pages_are_answered_by_the_duckdb_that_answered_before(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(place)
    addresses = [
        *list_addresses(place),
        "/calls?score=kind&score_below=2&min_cost=0&prompt=x&text=a&verdict=ok",
    ]
    for address in addresses:
        client.get(address, headers=PART)
    fresh = count_new_duckdbs(monkeypatch)
    assert {client.get(address, headers=PART).status_code for address in addresses} == {200}
    assert len(fresh) == 0


def test_the_table_says_of_each_call_what_the_store_says(place: Path) -> None:
    rows = make_client(place).get("/calls.json").json()["calls"]
    assert [row["span_id"] for row in rows] == [call.span_id for call in llm_trace.open_store(place).calls()]
    (failed,) = [row for row in rows if row["status"] == "error"]
    assert failed["output"] == "ValueError: no answer [red]to that[/red]"
    asked = [row for row in rows if row["kind"] == "llm"]
    assert {(row["input_tokens"], row["output_tokens"], row["cost_usd"]) for row in asked} == {
        (9, 2, 0.00012)
    }


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("kind=llm", 3),
        ("kind=llm&run=first", 1),
        ("status=error", 1),
        ("status=failed", 1),
        ("status=error&kind=llm", 0),
        ("text=three", 2),
        ("session=s1&user=anna", 4),
        ("prompt=greet", 3),
        ("min_cost=0.0001", 3),
        ("min_ms=60000", 0),
        ("score=kind&score_below=0.6", 3),
        ("score=kind&min_score=0.6", 0),
        ("min_score=0.5&max_ms=60000", 3),
        ("max_cost=0.001", 3),
        ("max_cost=0.0001", 0),
        ("max_ms=60000&kind=chain", 3),
        ("order=largest&user=anna&version=none", 0),
        ("order=oldest&column=run&column=scores", 6),
        ("since=2h&tag=fast", 3),
        ("until=2020-01-01", 0),
        ("order=dearest&model=toy-1", 3),
        ("name=it's", 0),
    ],
)
def test_filters_compose_and_the_totals_are_of_what_is_filtered(place: Path, query: str, count: int) -> None:
    client = make_client(place)
    assert len(client.get(f"/calls.json?{query}").json()["calls"]) == count
    assert client.get(f"/calls/summary.json?{query}").json()["summary"]["calls"] == count
    page = read(client.get(f"/calls?{query}")).text
    assert ("No call matches" in page) == (count == 0)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("kind=question", "kind 'question' is none of llm, chain"),
        ("since=soon", "'soon' is no time"),
        ("min_ms=1) OR (1=1", "min_ms '1) OR (1=1' is no number"),
        ("min_cost=nan", "min_cost 'nan' is no number"),
        ("order=1; DROP TABLE calls", "is none of newest"),
        ("column=name&column=secret", "column 'secret' is none of time"),
    ],
)
def test_a_filter_that_is_none_is_said_on_the_page(place: Path, query: str, problem: str) -> None:
    answer = make_client(place).get(f"/calls?{query}")
    assert answer.status_code == 400
    assert problem in read_text(answer.text)


def read_text(page: str) -> str:
    return re.sub(r"&#39;", "'", re.sub(r"&quot;", '"', page))


@pytest.mark.parametrize(
    "name", ["run", "name", "model", "tag", "session", "user", "text", "prompt", "score"]
)
def test_sql_in_a_filter_is_a_text_to_look_for(place: Path, name: str) -> None:
    client = make_client(place)
    for text in ("' OR '1'='1", "x'); DROP TABLE calls; --", "%", "\\", "\"; COPY calls TO '/tmp/x' --"):
        answer = client.get("/calls.json", params={name: text})
        assert answer.status_code in (200, 404), answer.text
        assert answer.json().get("calls", []) == []
    assert len(client.get("/calls.json").json()["calls"]) == 6


def test_pages_of_the_table_show_each_call_once_also_where_many_began_at_once(
    writer: HandWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = [10**18 + n // 7 for n in range(40)] + [10**18 + 9] * 25
    for number, start in enumerate(starts):
        writer.start(number, start_ns=start)
    monkeypatch.setattr(calls_page, "ROWS", 6)
    client = make_client(path)
    shown, address = [], "/calls.json"
    for _ in range(len(starts)):
        page = client.get(address).json()
        shown += [row["span_id"] for row in page["calls"]]
        if page["next"] is None:
            break
        address = page["next"].replace("/calls/rows", "/calls/rows.json")
    assert sorted(shown) == sorted(f"{number:016x}" for number in range(len(starts)))


def test_hostile_text_in_every_field_is_shown_and_does_nothing(recorded: Recorded) -> None:
    record_hostile(recorded.path)
    client = make_client(recorded.path)
    calls = [call for call in recorded.calls() if call.name != "fail" or "img" in call.input["text"]]
    addresses = [f"/trace/{call.trace_id}?call={call.span_id}" for call in calls]
    addresses += [f"/session/{quote(call.session or '', safe='')}" for call in calls[::2]]
    addresses += [f"/traces?left={a.span_id}&right={b.span_id}" for a, b in pairwise(calls[::8])]
    for address in [*addresses, "/", "/runs", "/prompts", "/compare", "/health", "/calls?text=%3Cscript%3E"]:
        page = client.get(address)
        elements = read(page)
        assert elements.list_values("script", "src") == ["/static/htmx.min.js", "/static/viewer.js"]
        assert {tag for tag, _ in elements.tags} & {
            "style",
            "iframe",
            "object",
            "img",
            "base",
            "embed",
        } == set()
        names = {name for _, attributes in elements.tags for name in attributes}
        assert not any(name.startswith("on") or name == "style" for name in names), names
        for link in elements.list_values("a", "href"):
            assert link.startswith(("/", "#", "https://evil.example")), link
        assert not set("\x00\x1b\u202e") & set(page.text)
        assert "runrunrunme" not in page.text


TREE = {1: (None, 0, 100), 2: (1, 0, 40), 3: (1, 10, 90), 4: (3, 20, 30), 5: (3, 35, 85), 6: (7, 95, 99)}
"""Of each call the call around it, its start and its end."""


def test_a_trace_is_a_tree_in_the_order_of_starts_with_what_its_end_waited_for(
    writer: HandWriter, path: Path
) -> None:
    for number, (parent, begin, end) in TREE.items():
        parent_id = {} if parent is None else {"parent_id": span(parent)}
        writer.start(number, trace_id="a" * 32, start_ns=BEGIN + begin, **parent_id)
        writer.end(number, end_ns=BEGIN + end)
    lines = make_client(path).get(f"/trace/{'a' * 32}.json").json()["lines"]
    shown = [(int(line["row"]["span_id"], 16), line["depth"], line["left"], line["width"]) for line in lines]
    assert shown == [
        (1, 0, 0, 1000), (2, 1, 0, 400), (3, 1, 100, 800), (4, 2, 200, 100), (5, 2, 350, 500),
        (6, 0, 950, 40),
    ]  # fmt: skip
    assert [int(line["row"]["span_id"], 16) for line in lines if line["critical"]] == [1, 3, 4, 5]


def test_a_call_without_an_end_has_a_bar_to_the_last_that_is_known(writer: HandWriter, path: Path) -> None:
    for number, begin in ((1, 0), (2, 60), (3, 100)):
        writer.start(number, trace_id="a" * 32, start_ns=BEGIN + begin)
    writer.start(4, trace_id="a" * 32, start_ns=BEGIN + 99)
    writer.end(4, end_ns=BEGIN + 100)
    writer.start(5, trace_id="b" * 32, start_ns=BEGIN)
    client = make_client(path)
    bars = [(line["left"], line["width"]) for line in client.get(f"/trace/{'a' * 32}.json").json()["lines"]]
    assert bars == [(0, 1000), (600, 400), (990, 10), (960, 40)]
    (alone,) = client.get(f"/trace/{'b' * 32}.json").json()["lines"]
    assert (alone["left"], alone["width"]) == (0, 1000)
    assert client.get(f"/trace/{'a' * 32}").text.count(" endless") == 3


def test_parents_that_go_in_a_circle_are_shown_once_each(writer: HandWriter, path: Path) -> None:
    for number, parent in ((1, 2), (2, 1), (3, 3)):
        writer.start(number, trace_id="b" * 32, parent_id=span(parent))
        writer.end(number)
    lines = make_client(path).get(f"/trace/{'b' * 32}.json").json()["lines"]
    assert [int(line["row"]["span_id"], 16) for line in lines] == [3, 1, 2]


def test_a_long_trace_comes_in_parts(writer: HandWriter, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_page, "LINES", 4)
    for number in range(1, 11):
        writer.start(number, trace_id="c" * 32, **({"parent_id": span(1)} if number > 1 else {}))
    client = make_client(path)
    page = client.get(f"/trace/{'c' * 32}.json").json()
    shown = page["lines"]
    while page["next"] is not None:
        page = client.get(f"/trace/{'c' * 32}/lines.json?from={page['next']}").json()
        shown += page["lines"]
    assert [int(line["row"]["span_id"], 16) for line in shown] == list(range(1, 11))


def test_a_text_that_was_cut_when_it_was_recorded_is_shown_as_text(store: Recorded) -> None:
    ask: Any = llm_trace.trace(kind="llm")(lambda messages: "well")
    ask([{"role": "user", "content": "lorem ipsum " * 100_000}])
    page = read(make_client(store.path).get(f"/call/{store.one().span_id}")).text
    assert "cut when it was recorded: it had 1,200,000 characters" in page
    assert '"__type__"' not in page.partition("Everything recorded")[0]


def test_a_long_system_message_is_folded_and_a_tools_answer_in_json_is_readable(store: Recorded) -> None:
    ask: Any = llm_trace.trace(kind="llm")(lambda messages: "well")
    asked = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    ask(
        [
            {"role": "system", "content": "Be kind. " * 500},
            {"role": "assistant", "content": None, "tool_calls": [asked]},
            {"role": "tool", "tool_call_id": "1", "content": '{"seats": {"free": 3}}'},
        ]
    )
    page = read(make_client(store.path).get(f"/call/{store.one().span_id}"))
    assert "4,500 characters" in page.text
    assert '"seats": {\n    "free": 3' in page.text


def test_a_table_says_which_tools_a_model_asked_for_that_said_nothing(store: Recorded) -> None:
    def ask(arguments: str, content: str | None = None) -> None:
        function = {"name": "look", "arguments": arguments}
        calls = [{"id": "1", "type": "function", "function": function}]
        answer = {"role": "assistant", "content": content, "tool_calls": calls}
        llm_trace.trace(kind="llm")(lambda messages: answer)([{"role": "user", "content": "seats?"}])

    for arguments in ('{"row": 7, "side": "left"}', "{}", "no JSON"):
        ask(arguments)
    ask("{}", "I look.")
    rows = make_client(store.path).get("/calls.json?order=oldest").json()["calls"]
    assert [row["output"] for row in rows] == [
        "asks for look(row: 7, side: left)", "asks for look()", "asks for look(no JSON)", "I look.",
    ]  # fmt: skip


def test_an_output_that_is_no_message_is_shown_below_the_messages(store: Recorded) -> None:
    ask: Any = llm_trace.trace(kind="llm")(lambda messages: {"verdict": "blue heron"})
    ask([{"role": "user", "content": "which bird?"}])
    page = read(make_client(store.path).get(f"/call/{store.one().span_id}")).text
    assert "which bird?" in page
    assert page.count("blue heron") == 2  # in the conversation, and in everything recorded


def test_what_is_logged_while_the_page_is_open_is_shown_with_the_next_one(
    store: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "FRESH_S", 0.0)
    ask: Any = llm_trace.trace(kind="llm")(lambda question: question)
    ask("one")
    client = make_client(store.path)
    assert len(client.get("/calls.json").json()["calls"]) == 1
    ask("two")
    assert [row["output"] for row in client.get("/calls.json").json()["calls"]] == ["two", "one"]


@pytest.mark.parametrize(
    "address", ["/call/ffffffffffffffff", f"/trace/{'f' * 32}", "/call/x.json", "/trace/%00"]
)
def test_what_is_not_there_is_said(place: Path, address: str) -> None:
    answer = make_client(place).get(address)
    assert answer.status_code == 404
    assert "no call" in answer.text or "no trace" in answer.text
