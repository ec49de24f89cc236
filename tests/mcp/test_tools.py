"""Every tool through the official client: verdicts, what is recorded, how to ask for more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import llm_trace
from llm_trace.mcp.answers import NOTICE
from llm_trace.mcp.limits import TOKENS, estimate_tokens
from llm_trace.mcp.log import ToolLog, name_tool_log
from llm_trace.mcp.tools import TOOLS
from tests.helpers.cli_toys import record
from tests.helpers.fork_toys import OLD, write_forked_runs
from tests.helpers.mcp_toys import Door


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mcp") / "traces.duckdb"
    record(path)
    for version in (1, 2):
        prompt = llm_trace.Prompt(
            "tidy", "Answer.\nBe brief.\n{q}" if version == 1 else "Answer.\nShout.\n{q}"
        )
        llm_trace.configure(path)

        @llm_trace.trace(kind="llm", model="toy-1")
        def tidy(prompt: str, loud: bool = version == 2) -> str:
            return prompt.upper() if loud else prompt

        with llm_trace.start_run(f"tidy v{version}"):
            for number in range(12):
                tidy(prompt=prompt.format(q=f"q{number}"))
                llm_trace.log_score("calm", version == 1)
        llm_trace.shutdown()
    return path


@pytest.fixture
def door(place: Path) -> Iterator[Door]:
    opened = Door(place)
    yield opened
    opened.bench.close()


def test_the_tools_are_those_of_the_table_and_each_says_whether_it_only_reads(door: Door) -> None:
    listed = door.talk(lambda session: session.list_tools()).tools
    assert [(tool.name, tool.description) for tool in listed] == [(t.name, t.description) for t in TOOLS]
    assert {tool.name for tool in listed if not tool.annotations.readOnlyHint} == {
        "attribute",
        "bisect",
        "replay",
        "why",
    }
    assert all(tool.inputSchema["additionalProperties"] is False for tool in listed)


def test_runs_are_listed_newest_first_and_page_by_page(door: Door) -> None:
    first = door.call("runs", limit=3)
    assert [run["name"] for run in first["recorded"]["runs"]] == ["tidy v2", "tidy v1", "second"]
    assert first["verdict"] == "3 runs, newest first; 1 run with calls that failed."
    (more,) = first["more"]
    assert more == {
        "gives": "those from number 4 on", "tool": "runs", "arguments": {"offset": 3}, "same_otherwise": True,
    }  # fmt: skip
    rest = door.call("runs", limit=3, **more["arguments"])
    assert ([run["name"] for run in rest["recorded"]["runs"]], rest["more"]) == (["first"], [])


def test_calls_are_filtered_and_what_they_come_to_is_the_verdict(door: Door) -> None:
    answer = door.call("calls", name="answer", status="error")
    assert answer["verdict"].startswith("1 call matches, 1 failed, ")
    (call,) = answer["recorded"]["calls"]
    assert (call["name"], call["status"], call["input"]) == ("answer", "error", "bad")
    assert call["output"] == "ValueError: no answer [red]to that[/red]"
    assert answer["notice"] == NOTICE
    assert door.call("calls", name="nobody")["verdict"] == "No call matches."


def test_a_call_is_shown_with_its_trace_and_a_long_part_of_it_piece_by_piece(
    place: Path, door: Door, tmp_path: Path
) -> None:
    with llm_trace.open_store(place) as store:
        failed = store.calls(name="answer", status="error")[0].span_id
    answer = door.call("show", id=failed[:12])
    assert answer["verdict"] == (f"Call {failed} ended error; 2 calls in its trace, 1 score, 0 explanations.")
    assert json.loads(answer["recorded"]["call"]["error"])["type"] == "ValueError"
    assert [row["name"] for row in answer["recorded"]["trace"]] == ["answer", "ask"]

    long = tmp_path / "long.duckdb"
    llm_trace.configure(long)
    llm_trace.trace(kind="llm", name="read")(lambda text: "ok")(text=(text := "wörter " * 9000))
    llm_trace.shutdown()
    other = Door(long)
    (more,) = other.call("show")["more"]
    pieces = []
    while True:
        part = other.call("show", **more["arguments"])
        pieces.append(part["recorded"]["input"])
        if not part["more"]:
            break
        (more,) = part["more"]
    assert json.loads("".join(pieces)) == {"text": text}
    assert len(pieces) > 3


def test_reruns_that_were_made_alike_are_one_row_that_says_how_many_and_of_which_run(tmp_path: Path) -> None:
    opened = Door(write_forked_runs(tmp_path / "t.duckdb"))
    answer = opened.call("runs")
    rows = answer["recorded"]["runs"]
    assert [(row["name"], row.get("reruns"), row.get("fork_of")) for row in rows[:4]] == [
        ("new", None, None),
        ("fork of nightly", None, "9" * 32),
        ("20 reruns at look_up", 20, OLD),
        ("why: 50 reruns", 50, OLD),
    ]
    assert (rows[3]["calls"], rows[3]["failed"], rows[3]["cost_usd"]) == (50, 1, 0.5)
    assert answer["verdict"] == "75 runs in 7 rows, newest first; 1 row with calls that failed."
    first = opened.call("runs", limit=3)
    rest = opened.call("runs", limit=10, **first["more"][0]["arguments"])
    assert first["recorded"]["runs"] + rest["recorded"]["runs"] == rows


def test_two_runs_are_compared_with_bounds_and_the_pairs_that_got_worse(door: Door) -> None:
    answer = door.call("compare", a="tidy v1", b="tidy v2", by="variables.q")
    first = answer["recorded"]["metrics"][0]
    assert (first["name"], first["verdict"], first["a"], first["b"]) == ("calm", "worse", 1.0, 0.0)
    assert answer["verdict"].startswith("12 pairs, 95% sure: b is worse in 1 metric, better in 0, ")
    assert "1 in a, 0 in b, difference -1 (" in answer["verdict"]
    (change,) = [c for c in answer["recorded"]["changes"] if c["what"] == "prompt"]
    assert [line for line in change["diff"] if line[1:] in ("Be brief.", "Shout.")] == [
        "-Be brief.",
        "+Shout.",
    ]
    worse = door.call("compare", a="tidy v1", b="tidy v2", by="variables.q", **answer["more"][0]["arguments"])
    assert worse["recorded"]["metric"] == "calm"
    assert len(worse["recorded"]["pairs"]) == 10
    assert worse["more"][0]["arguments"] == {"offset": 10}


def test_a_comparison_is_made_anew_once_more_was_recorded(tmp_path: Path) -> None:
    place = tmp_path / "traces.duckdb"
    record(place)
    opened = Door(place)
    sides = {"a": "first", "b": "second", "by": "session"}
    before = opened.call("compare", **sides)
    assert opened.call("compare", **sides) == before
    names = [metric["name"] for metric in before["recorded"]["metrics"]]
    llm_trace.configure(place)
    with llm_trace.open_store(place) as store:
        calls = [store.calls(run=run, order="oldest", limit=1)[0] for run in ("first", "second")]
    for number, call in enumerate(calls):
        llm_trace.log_score("later", number, call=call)
    llm_trace.shutdown()
    after = opened.call("compare", **sides)["recorded"]["metrics"]
    assert [metric["name"] for metric in after if metric["name"] not in names] == ["later"]


def test_prompts_are_listed_shown_and_held_against_each_other(door: Door) -> None:
    assert door.call("prompts")["verdict"] == "2 prompts with 3 versions."
    named = door.call("prompts", name="tidy")
    assert [v["mean_scores"] for v in named["recorded"]["versions"]] == [{"calm": 1.0}, {"calm": 0.0}]
    diff = door.call("prompts", **named["more"][0]["arguments"])
    assert diff["verdict"] == "v1 to v2: 1 line added, 1 line removed."
    assert diff["recorded"]["diff"][-3:] == ["-Be brief.", "+Shout.", " {q}"]
    whole = door.call("prompts", name="tidy", version="v2")
    assert whole["recorded"]["prompt"]["template"] == "Answer.\nShout.\n{q}"


def test_doctor_says_what_is_lost_and_what_the_server_may_do(place: Path) -> None:
    answer = Door(place, functions=["app:answer"]).call("doctor")
    assert answer["verdict"].startswith("Nothing is known to be lost; ")
    assert answer["verdict"].endswith("May run again: app:answer. Models that explain: demo.")


def test_a_store_that_is_not_there_yet_is_said_and_found_once_it_is(tmp_path: Path) -> None:
    door = Door(tmp_path / "later.duckdb")
    assert door.fail("runs").startswith("StoreNotFoundError: there is no store at ")
    assert door.call("doctor")["recorded"]["store"]["exists"] is False
    record(tmp_path / "later.duckdb")
    assert len(door.call("runs")["recorded"]["runs"]) == 2


def test_what_is_logged_after_the_start_is_seen(tmp_path: Path) -> None:
    door = Door(tmp_path / "t.duckdb")
    for count in (1, 2):
        llm_trace.configure(tmp_path / "t.duckdb")
        llm_trace.trace(name="ask")(lambda: None)()
        llm_trace.shutdown()
        assert len(door.call("calls")["recorded"]["calls"]) == count


@pytest.mark.parametrize(
    ("tool", "arguments", "error"),
    [
        ("calls", {"nme": "ask"}, "nme: Extra inputs are not permitted"),
        ("calls", {"since": "yesterday"}, "ConfigurationError: 'yesterday' is no time: give 30m, 2h"),
        ("calls", {"status": "bad"}, "status: Input should be 'ok', 'error', 'cancelled'"),
        ("show", {"id": "zz"}, "ConfigurationError: 'zz' is no id"),
        ("show", {"id": "0123456789"}, "NotFoundError: no call or trace begins with '0123456789'"),
        ("compare", {"a": "first", "b": "none"}, "NotFoundError: "),
        ("prompts", {"version": "v1"}, "ConfigurationError: a version is one of a prompt"),
        ("prompts", {"name": "none"}, "NotFoundError: no prompt is called 'none'"),
        ("attribute", {"model": "gpt2"}, "ConfigurationError: model 'gpt2' was not named when the server"),
        ("replay", {}, "ConfigurationError: name calls by ids, or a job"),
        ("replay", {"job": "ab"}, "NotFoundError: there is no job 'ab'"),
        ("delete", {}, "NotFoundError: there is no tool 'delete': there are runs, calls, show"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_what_cannot_be_meant_is_an_error_that_says_what_to_do(
    door: Door, tool: str, arguments: dict[str, str], error: str
) -> None:
    assert door.fail(tool, **arguments).startswith(error)


def test_each_call_of_a_tool_is_traced_beside_the_store_that_is_read(place: Path) -> None:
    before = place.read_bytes()
    with ToolLog(name_tool_log(place), place) as log:
        door = Door(place, log)
        door.call("calls", name="answer")
        door.fail("show", id="zz")
    with llm_trace.open_store(place.with_name("traces.mcp.duckdb")) as logged:
        failed, listed = logged.calls(run="mcp")
    assert (listed.name, listed.kind, listed.status) == ("mcp.calls", "tool", "ok")
    assert listed.input == {"name": "answer"}
    assert listed.output["verdict"].startswith("3 calls match, 1 failed")
    assert (failed.name, failed.status, failed.input) == ("mcp.show", "error", {"id": "zz"})
    assert failed.error is not None
    assert str(failed.error.message).startswith("ConfigurationError: 'zz' is no id")
    assert place.read_bytes() == before


def test_an_answer_is_never_longer_than_its_room(tmp_path: Path) -> None:
    path = tmp_path / "long.duckdb"
    llm_trace.configure(path)
    texts = ["word " * 5000, "字" * 20000, "9f3a" * 8000, "😀" * 9000, "}{" * 9000, "\n" * 20000]
    for text in texts:
        with llm_trace.start_run(text[:900], config={text[:3000]: text[:3000]}):
            prompt = llm_trace.Prompt(text[:2000], text.replace("{", "{{").replace("}", "}}"))

            @llm_trace.trace(name=text[:500], kind="llm", tags=[text[:900]] * 40)
            def ask(messages: list[dict[str, str]], reply: str = text) -> str:
                return reply

            ask([{"role": "user", "content": prompt.format()}])
            for number in range(30):
                llm_trace.log_score(f"{text[:200]}{number}", number, comment=text)
    llm_trace.shutdown()
    door = Door(path)
    with llm_trace.open_store(path) as store:
        spans = [call.span_id for call in store.calls()]
    answers = [
        *(door.call(tool) for tool in ("runs", "calls", "prompts", "doctor")),
        *(door.call("show", id=span) for span in spans),
        *(door.call("show", id=span, part="messages_in") for span in spans),
        door.call("sql", query="SELECT * FROM calls", limit=200),
        door.call("sql", query="SELECT * FROM messages", limit=200),
        door.call("compare", a=spans[0], b=spans[0]),
    ]
    sizes = [estimate_tokens(json.dumps(a, ensure_ascii=False, separators=(",", ":"))) for a in answers]
    assert max(sizes) <= TOKENS
    assert any("shortened" in answer for answer in answers)


def test_the_skill_is_a_prompt_of_the_server(door: Door) -> None:
    (prompt,) = door.talk(lambda session: session.list_prompts()).prompts
    result = door.talk(lambda session: session.get_prompt(prompt.name))
    text = result.messages[0].content.text
    assert text.startswith("---\nname: llm-trace\ndescription: ")
    assert all(f"`{tool.name}`" in text or f"`{tool.name} " in text for tool in TOOLS)
