"""Forks: the record up to a call, one thing changed there, the rest live."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.errors import DivergenceError, NotFoundError, ReplayError
from llm_trace.imports.importer import ImportTarget, import_file
from llm_trace.replays.forks import fork
from llm_trace.settings import build_spool_writer, resolve_settings
from tests.conftest import Recorded
from tests.helpers.cli_toys import invoke


@dataclass
class Desk:
    """An agent that reads an order and refunds where it is damaged; its model is a rule."""

    calls: list[str] = field(default_factory=list)
    """What really ran."""
    question: str = "my order 7 is broken"

    def __post_init__(self) -> None:
        self.decide: Any = llm_trace.trace(name="decide", kind="llm")(self._decide)
        self.lookup = llm_trace.trace(name="lookup", kind="tool")(self._lookup)
        self.refund = llm_trace.trace(name="refund", kind="tool")(self._refund)
        self.solve = llm_trace.trace(name="solve", kind="agent")(self._solve)

    def _decide(self, messages: list[dict[str, str]]) -> str:
        self.calls.append("decide")
        text = " ".join(message["content"] for message in messages)
        if "order 7 is" in text and "status" not in text:
            return "lookup 7"
        if "refunded" in text:
            return "You have your money back."
        return "refund 7" if "damaged" in text else "Nothing is wrong with it."

    def _lookup(self, order: str) -> dict[str, str]:
        self.calls.append("lookup")
        return {"status": "damaged", "order": order}

    def _refund(self, order: str) -> str:
        self.calls.append("refund")
        return f"refunded {order}"

    def _solve(self, question: str) -> Any:
        messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": self.question}]
        while True:
            answer = self.decide(messages)
            word, _, order = answer.partition(" ")
            messages.append({"role": "assistant", "content": answer})
            if word not in ("lookup", "refund"):
                return answer
            tool = self.lookup if word == "lookup" else self.refund
            messages.append({"role": "user", "content": json.dumps(tool(order))})


@pytest.fixture
def desk(store: Recorded) -> Desk:
    """A desk that has solved one case, in the run `first`."""
    desk = Desk()
    with llm_trace.start_run("first"):
        desk.solve("why?")
    desk.calls.clear()
    return desk


def find(store: Recorded, name: str, index: int = 0) -> str:
    """Return the `span_id` of a call of the run `first`."""
    calls = sorted(store.calls(run="first", name=name), key=lambda call: call.start_ns)
    return str(calls[index].span_id)


def steps(store: Recorded, run: llm_trace.record.Run) -> list[tuple[str, Any, Any]]:
    """Return name, output and source of the calls of a run in their order."""
    calls = sorted(store.calls(run=run, limit=None), key=lambda call: call.start_ns)
    return [(call.name, call.output, call.metadata.get("replay")) for call in calls]


def test_what_was_before_is_answered_from_the_record_and_what_comes_after_runs(
    store: Recorded, desk: Desk
) -> None:
    at = find(store, "lookup")
    run = llm_trace.replay("first", fork_at=at, set={"output": {"status": "fine"}}, functions=desk.solve,
                           live=["refund"])  # fmt: skip
    assert steps(store, run) == [
        ("solve", "Nothing is wrong with it.", None),
        ("decide", "lookup 7", "recorded"),
        ("lookup", {"status": "fine"}, "altered"),
        ("decide", "Nothing is wrong with it.", None),
    ]
    assert desk.calls == ["decide"]
    (first,) = (each for each in store.runs() if each.name == "first")
    assert (run.fork_of, run.replay_of, run.name) == (first.id, None, "fork of solve")
    assert run.config["fork"] == {
        "at": at, "name": "lookup", "set": {"output": {"status": "fine"}}, "repeat": 1,
    }  # fmt: skip
    assert run.config["replay"] == {"mode": "fork", "served": 1, "live": 1, "roots": 1, "equal": 0}
    assert [each.fork_of for each in store.runs() if each.id == run.id] == [first.id]


@pytest.mark.parametrize(
    ("name", "index", "change", "end"),
    [
        ("lookup", 0, {"output_text": {"damaged": "fine"}}, "Nothing is wrong with it."),
        ("decide", 1, {"output": "Sorry, no."}, "Sorry, no."),
        ("decide", 0, {"messages": {1: "hello"}}, "Nothing is wrong with it."),
        ("decide", 0, {"messages": {-1: None}}, "Nothing is wrong with it."),
        ("decide", 1, {"messages": {3: {"damaged": "fine"}}}, "Nothing is wrong with it."),
        ("decide", 1, {"input_text": {"damaged": "fine"}}, "Nothing is wrong with it."),
        ("decide", 1, {"arguments": {"messages": []}}, "Nothing is wrong with it."),
    ],
    ids=["output text", "output", "message", "no message", "part", "input text", "argument"],
)
def test_one_thing_is_changed(
    store: Recorded, desk: Desk, name: str, index: int, change: dict[str, Any], end: str
) -> None:
    run = llm_trace.replay("first", fork_at=find(store, name, index), set=change, functions=desk.solve,
                           live=["lookup", "refund"])  # fmt: skip
    assert steps(store, run)[0] == ("solve", end, None)


def test_runs_with_and_without_the_change_are_judged_in_pairs(store: Recorded, desk: Desk) -> None:
    change = {"output_text": {"damaged": "fine"}}
    result = fork("first", find(store, "lookup"), change, repeats=8, control=True, functions=desk.solve,
                  live=["refund"])  # fmt: skip
    estimate = result.estimate
    assert estimate is not None
    assert (estimate.a, estimate.b, estimate.n, estimate.p_value) == (1.0, 0.0, 8, 0.0078125)
    assert desk.calls.count("refund") == 8
    assert len(result.runs) == 8
    assert result.reruns[0].divergence is not None
    assert (
        result.reruns[0].divergence.splitlines()[0]
        == "1 call after the fork: decide was asked something else"
    )
    assert result.control[0].divergence is None
    assert str(result) == (
        f"Forked at lookup ({find(store, 'lookup')}) with its output text changed: 0 of 8 runs ended as "
        "recorded, without the change 8 of 8 (a difference of -100%, -100% to -35%, p = 0.0078). It first "
        "went another way: 1 call after the fork: decide was asked something else (8 of 8)."
    )
    kept = [
        run.config["fork"].get("summary") for run in store.runs() if run.fork_of and run.config["fork"]["set"]
    ]
    assert [text for text in kept if text] == [str(result)]


def test_tools_are_refused_before_anything_runs_unless_they_are_named(store: Recorded, desk: Desk) -> None:
    at, change = find(store, "decide", 0), {"input_text": {"broken": "late"}}
    with pytest.raises(ReplayError, match=r"lookup \(1 calls\), refund \(1 calls\) would run, and tools may"):
        llm_trace.replay("first", fork_at=at, set=change, functions=desk.solve)
    assert desk.calls == []
    assert len(store.runs()) == 1
    llm_trace.replay("first", fork_at=at, set=change, functions=desk.solve, live=["lookup"], serve=["refund"])
    assert desk.calls == ["decide", "lookup", "decide", "decide"]


def test_a_tool_that_only_the_fork_comes_to_is_not_run(store: Recorded, desk: Desk) -> None:
    at = find(store, "decide", 2)
    result = fork("first", at, {"output": "lookup 8"}, functions=desk.solve)
    (message,) = result.run.config["replay"]["not_replayable"]
    assert message == (
        "lookup was called after the fork and not run, for it may have effects: name it in live "
        "(live=['lookup']), or in serve, to answer it from the record where it is asked the same"
    )
    assert str(result).endswith(
        "1 of 1 asked for a tool that was not to run: see config['replay'] of the runs."
    )
    assert desk.calls == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "a fork changes one thing, and set has none: set one of output, output_text"),
        ({"output": 1, "arguments": {}}, "set has 'output', 'arguments'"),
        ({"answer": 1}, "set has 'answer'"),
        ({"messages": "x"}, "set={'messages': …} takes what to change by name, not 'x'"),
        ({"messages": {1: {"green": "x"}}}, "'green' is not in message 1 of decide"),
        ({"messages": {9: "x"}}, "has 4 messages, so none of index 9: choose 0 to 3"),
        ({"input_text": {"unheard": "x"}}, "'unheard' is not in what decide"),
        ({"output_text": {"unheard": "x"}}, "'unheard' is not in what decide"),
        ({"arguments": {"unheard": "x"}}, "takes no argument 'unheard'"),
    ],
    ids=["nothing", "two", "unknown", "no names", "part", "index", "input", "output", "argument"],
)
def test_a_change_that_cannot_be_made_is_said_before_anything_runs(
    store: Recorded, desk: Desk, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ReplayError) as raised:
        llm_trace.replay("first", fork_at=find(store, "decide", 1), set=change, functions=desk.solve,
                         live=["refund"])  # fmt: skip
    assert message in str(raised.value)
    assert (desk.calls, len(store.runs())) == ([], 1)


def test_what_cannot_be_forked_is_said_before_anything_runs(store: Recorded, desk: Desk) -> None:
    at, change = find(store, "lookup"), {"output": "x"}
    with llm_trace.start_run("second"):
        desk.decide([{"role": "user", "content": "hi"}])
    desk.calls.clear()
    with pytest.raises(NotFoundError, match=r"is no call of 'second'"):
        llm_trace.replay("second", fork_at=at, set=change, functions=desk.solve)
    with pytest.raises(NotFoundError, match="no call '0000000000000000'"):
        llm_trace.replay("first", fork_at="0" * 16, set=change, functions=desk.solve)
    with pytest.raises(ReplayError, match="functions are only called when named"):
        llm_trace.replay("first", fork_at=at, set=change, live=["refund"])
    with pytest.raises(ReplayError, match="a fork has no mode 'live'"):
        llm_trace.replay("first", fork_at=at, set=change, mode="live", functions=desk.solve)
    with pytest.raises(ReplayError, match="say at which call, fork_at=SPAN_ID"):
        llm_trace.replay("first", set=change, functions=desk.solve)
    with pytest.raises(ReplayError, match="the override 'variables' changes what the program was called"):
        llm_trace.replay("first", fork_at=at, set=change, functions=desk.solve,
                         overrides={"variables": {"x": 1}})  # fmt: skip
    desk.question = "my order 8 is late"
    with pytest.raises(DivergenceError, match="before the fork the program went another way: decide, inside"):
        llm_trace.replay("first", fork_at=at, set=change, functions=desk.solve, live=["refund"])
    assert desk.calls == []
    assert not [run for run in store.runs() if run.fork_of]


def test_a_program_that_swallows_everything_is_ended_at_the_fork_while_it_is_tried(
    store: Recorded,
) -> None:
    asked = []

    @llm_trace.trace(kind="llm")
    async def ask(prompt: str) -> str:
        asked.append(prompt)
        return prompt.upper()

    @llm_trace.trace
    async def both(word: str) -> list[Any]:
        first = await ask(word)
        return await asyncio.gather(*(ask(first + each) for each in "xy"), return_exceptions=True)

    with llm_trace.start_run("first"):
        asyncio.run(both("a"))
    asked.clear()
    run = llm_trace.replay("first", fork_at=find(store, "ask", 1), set={"output": "B"}, functions=both)
    assert [output for name, output, _ in steps(store, run) if name == "both"] == [["B", "AY"]]
    assert asked == ["Ay"]


def test_a_call_inside_a_tool_is_forked_by_running_the_tool(store: Recorded) -> None:
    @llm_trace.trace(kind="llm")
    def ask(prompt: str) -> str:
        return prompt.upper()

    @llm_trace.trace(kind="tool")
    def summarise(text: str) -> str:
        return f"In short: {ask(text)}"

    @llm_trace.trace(kind="agent")
    def work(text: str) -> str:
        return summarise(text)

    with llm_trace.start_run("first"):
        work("abc")
    run = llm_trace.replay("first", fork_at=find(store, "ask"), set={"output": "nothing"}, functions=work)
    assert steps(store, run)[0] == ("work", "In short: nothing", None)


APP = """
import llm_trace

@llm_trace.trace(kind="llm")
def ask(messages):
    return messages[-1]["content"].upper()

@llm_trace.trace
def answer(question):
    first = ask([{"role": "user", "content": question}])
    return ask([{"role": "system", "content": first}, {"role": "user", "content": "and?"}])
"""


def test_a_fork_is_made_and_judged_from_the_command_line(
    store: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "forked_app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    app = importlib.import_module("forked_app")
    with llm_trace.start_run("first"):
        app.answer("why?")
    at = find(store, "ask", 1)
    options = ("--fork-at", at[:12], "-f", "forked_app:answer")
    shown = invoke(store.path, "replay", "first", *options, "--set", "messages.1=17", "--repeats", "2")
    summary = (
        f"Forked at ask ({at}) with its messages changed: 0 of 2 runs ended as recorded. It first went "
        "another way: at the fork: ask answered something else (2 of 2)."
    )
    assert shown.output.splitlines()[:3] == [
        summary,
        "at the fork: ask answered something else",
        "--- answered then",
    ]
    answer = invoke(
        store.path, "replay", "first", *options, "--set", 'output={"a": 1}', "--control", "--json"
    )
    (run,) = json.loads(answer.stdout)["runs"]
    assert run["config"]["fork"]["set"] == {"output": {"a": 1}}
    assert len(json.loads(answer.stdout)["control"]) == 1
    sys.modules.pop("forked_app")


def test_a_fork_is_kept_by_export_and_import(store: Recorded, desk: Desk, tmp_path: Path) -> None:
    run = llm_trace.replay("first", fork_at=find(store, "lookup"), set={"output": "x"}, functions=desk.solve,
                           live=["refund"])  # fmt: skip
    assert invoke(store.path, "export", "--to", "parquet", "--out", str(tmp_path / "t")).exit_code == 0
    again = tmp_path / "again.duckdb"
    spool, encoder = build_spool_writer(resolve_settings({}), again)
    import_file(tmp_path / "t", ImportTarget(spool, encoder, lambda _: set()))
    spool.close()
    with llm_trace.open_store(again) as opened:
        assert {each.id: each.fork_of for each in opened.runs()}[run.id] == run.fork_of
