"""`llm-trace attribute` with the embedded model, and how `show` prints what it found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.demo.world import TEMPLATE_V1
from llm_trace.record import Attribution
from tests.helpers.cli_toys import answer, invoke

PROMPT = TEMPLATE_V1.format(message="Hello, I bought this lamp 75 days ago. Thanks.")


@pytest.fixture
def recorded(written: Path, tmp_path: Path) -> Path:
    """A copy of the store for each test: explaining writes to it."""
    return shutil.copytree(written.parent, tmp_path / "own") / written.name


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three calls that say what the embedded model says, one that failed, one without words."""
    path = tmp_path_factory.mktemp("attribute") / "traces.duckdb"
    llm_trace.configure(path)

    @llm_trace.trace(kind="llm", model="demo")
    def ask(prompt: str) -> str:
        return " DENY"

    @llm_trace.trace(kind="llm")
    def fails(prompt: str) -> str:
        raise ValueError("down")

    @llm_trace.trace(kind="tool")
    def add(a: int, b: int) -> int:
        return a + b

    for _ in range(3):
        ask(PROMPT)
    with pytest.raises(ValueError, match="down"):
        fails(PROMPT)
    add(1, 2)
    llm_trace.shutdown()
    return path


def ids(store: Path, name: str) -> list[str]:
    return [call["span_id"] for call in answer(store, "ls", "--name", name)]


def test_it_explains_the_calls_that_are_not_explained_yet(recorded: Path) -> None:
    first = answer(recorded, "attribute", "--method", "occlusion", "--limit", "2")
    (newest,) = (Attribution.model_validate(event["attribution"]) for event in first)
    assert newest.span_id == ids(recorded, "ask")[0]
    words = {s.text: v for s, v in zip(newest.segments, newest.values, strict=True)}
    assert max(words, key=lambda word: words[word]) == "75"
    again = answer(recorded, "attribute", "--method", "occlusion", "--name", "ask")
    assert [event["span_id"] for event in again] == ids(recorded, "ask")[1:]
    assert answer(recorded, "attribute", "--method", "occlusion", "--name", "ask") == []
    assert (
        len(answer(recorded, "attribute", "--method", "occlusion", "--name", "ask", "--again", "-n", "1"))
        == 1
    )
    counts = answer(
        recorded, "sql", "SELECT count(*) AS n, count(DISTINCT span_id) AS calls FROM attributions"
    )
    assert counts == [{"n": 3, "calls": 3}]


def test_one_call_is_printed_with_coloured_words_bars_and_a_sentence(recorded: Path) -> None:
    (span, *_) = ids(recorded, "ask")
    result = invoke(recorded, "attribute", span[:10], "--segments", "sentence")
    assert result.exit_code == 0
    assert "→ DENY" in result.stdout
    assert "  Customer: Hello, I boug…   +" in result.stdout
    assert "█████" in result.stdout
    assert "this answer" in result.stdout
    assert "1 explained; " in result.stderr
    printed = invoke(recorded, "show", span)
    assert "\nwhat mattered " in printed.stdout
    assert "█████" in printed.stdout
    coloured = invoke(recorded, "show", span, NO_COLOR="", FORCE_COLOR="1", COLORTERM="truecolor")
    assert "\x1b[" in coloured.stdout


def test_a_call_that_cannot_be_explained_says_why(recorded: Path) -> None:
    (failed,) = ids(recorded, "fails")
    result = invoke(recorded, "attribute", failed)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "1 without a prompt and an answer in words" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--name", "nobody"], 3, "no call matches: choose others by --kind, --name or an id"),
        (["--model", "./no/such/folder"], 1, "llm-trace: the model './no/such/folder' cannot be loaded"),
        (["f" * 16], 3, "llm-trace: no call or trace begins with"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    recorded: Path, arguments: list[str], code: int, message: str
) -> None:
    result = invoke(recorded, "attribute", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(message)


def test_an_unknown_method_fails_for_each_call_with_its_reason(recorded: Path) -> None:
    (span, *_) = ids(recorded, "ask")
    result = invoke(recorded, "attribute", span, "--method", "magic", "--json")
    (event,) = json.loads(result.stdout)
    assert (result.exit_code, event["status"], event["attribution"]) == (1, "failed", None)
    assert "magic" in event["error"]


def test_several_calls_are_a_line_each(recorded: Path) -> None:
    result: Any = invoke(recorded, "attribute", *ids(recorded, "ask"), "--segments", "line", "--again")
    starts = [line[:13] for line in result.stdout.splitlines() if line[10:13] == "ask"]
    assert starts == [f"{span[:8]}  ask" for span in ids(recorded, "ask")]
    assert "3 explained; " in result.stderr


def test_several_processes_explain_the_same(recorded: Path) -> None:
    settings = ("--name", "ask", "--again", "--segments", "sentence", "--unit", "probability")
    alone = answer(recorded, "attribute", *settings)
    shared = answer(recorded, "attribute", *settings, "--workers", "2")
    values = {event["span_id"]: event["attribution"]["values"] for event in alone}
    assert len(values) == 3
    for event in shared:
        assert event["attribution"]["values"] == pytest.approx(values.pop(event["span_id"]), abs=1e-5)
    assert not values
    assert {event["attribution"]["unit"] for event in shared} == {"probability"}


def test_a_total_budget_leaves_calls_that_the_same_command_goes_on_with(recorded: Path) -> None:
    settings = ("--name", "ask", "--segments", "line", "--method", "lime", "--unit", "logit")
    first = invoke(recorded, "attribute", *settings, "--total-budget", "21")
    assert first.exit_code == 0
    assert "llm-trace: the total budget is spent, " in first.stderr
    second = invoke(recorded, "attribute", *settings)
    assert "explained before" in second.stderr
    assert " are left" not in second.stderr
    refused = invoke(recorded, "attribute", *settings, "--again", "--total-budget", "1")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "llm-trace: a total budget of 1 passes explains no call" in refused.stderr


def test_who_stops_keeps_what_is_done(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llm_trace.attribution.policy import pool

    settings = ("--name", "ask", "--segments", "line", "--method", "permutation")
    real = pool.iter_events

    def stop_after_one(*arguments: Any, **where: Any) -> Any:
        yield next(real(*arguments, **where))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pool, "iter_events", stop_after_one)
        stopped = invoke(recorded, "attribute", *settings)
    assert stopped.exit_code == 130
    assert "llm-trace: stopped, 2 calls are left: the same command goes on with them" in stopped.stderr
    again = invoke(recorded, "attribute", *settings)
    assert again.exit_code == 0
    assert "2 explained, 1 explained before" in again.stderr


def test_an_engine_that_is_none_is_named_before_anything_is_explained(recorded: Path) -> None:
    result = invoke(recorded, "attribute", "--name", "ask", "--again", "--on", "spark")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "llm-trace: engine 'spark' is unknown; choose one of local" in result.stderr
