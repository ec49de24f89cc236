"""`llm-trace attach` beside Langfuse, Opik and LangSmith: calls come once, and findings go back once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.operations.log import OperationLog
from llm_trace.platforms import attach as attaching
from llm_trace.record import Usage
from tests.conftest import Recorded
from tests.helpers.cli_toys import answer, invoke
from tests.helpers.explained import keep_attributions, make_attribution
from tests.helpers.loopback import Fault, Loopback, Received, Reply
from tests.imports.test_tools import spoken
from tests.platforms.hosted import LONG, Hosted
from tests.platforms.langfuse_standin import Langfuse
from tests.platforms.langsmith_standin import Langsmith
from tests.platforms.opik_standin import Opik

WORDS = "Is the sky blue?"
PLATFORMS: dict[str, type[Hosted]] = {"langfuse": Langfuse, "opik": Opik, "langsmith": Langsmith}
HOUR_S = 3600.0


@pytest.fixture(params=list(PLATFORMS))
def desk(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Hosted, Loopback, str]]:
    """Yield a project with three traces of two calls, its server and its address."""
    project = PLATFORMS[request.param](3)
    for setting, key in project.keys.items():
        monkeypatch.setenv(setting, key)
    monkeypatch.setattr(f"llm_trace.platforms.{request.param}.PAGE", 4)
    with Loopback(project.answer) as server:
        yield project, server, f"{request.param}://{server.address}/desk"


def counts(report: dict[str, Any]) -> tuple[int, int, int]:
    return report["calls"], report["known"], report["written"]


def list_names(store: Path) -> list[str]:
    return sorted(call.name for call in Recorded(store).calls() if call.kind == "llm")


def test_calls_come_once_with_what_they_say(tmp_path: Path, desk: tuple[Hosted, Loopback, str]) -> None:
    project, _, address = desk
    store = tmp_path / "t.duckdb"
    assert counts(answer(store, "attach", address)) == (6, 0, 0)
    project.add(2)
    assert counts(answer(store, "attach", address)) == (4, 0, 0)
    assert counts(answer(store, "attach", address)) == (0, 0, 0)
    assert list_names(store) == [f"ask {number}" for number in range(1, 6)]
    calls = Recorded(store).calls()
    ask = next(call for call in calls if call.name == "ask 1")
    pipeline = next(call for call in calls if call.span_id == ask.parent_id)
    assert spoken(ask) == ([("user", WORDS)], [("assistant", "Yes.")])
    assert (ask.model, ask.usage, ask.cost_usd) == ("small-1", Usage(input_tokens=12, output_tokens=3), 0.25)
    assert (pipeline.name, pipeline.input, pipeline.session) == ("pipeline", {"q": "sky"}, "s1")
    assert pipeline.metadata["policy"] == LONG
    assert (pipeline.trace_id, pipeline.tags) == (ask.trace_id, ("prod",))
    assert pipeline.metadata["import"]["from"] == address


def test_a_call_comes_when_it_has_ended(tmp_path: Path, desk: tuple[Hosted, Loopback, str]) -> None:
    project, _, address = desk
    store = tmp_path / "t.duckdb"
    project.add(1, running=True)
    assert counts(answer(store, "attach", address)) == (6, 0, 0)
    project.end()
    assert counts(answer(store, "attach", address)) == (2, 0, 0)
    assert counts(answer(store, "attach", address)) == (0, 0, 0)


def test_a_host_whose_clock_is_ahead_hides_no_other_call(
    tmp_path: Path, desk: tuple[Hosted, Loopback, str]
) -> None:
    project, _, address = desk
    store = tmp_path / "t.duckdb"
    project.add(1, begin_s=time.time() + 5 * HOUR_S)
    assert counts(answer(store, "attach", address)) == (8, 0, 0)
    project.add(1, begin_s=time.time())
    assert counts(answer(store, "attach", address)) == (2, 0, 0)
    assert counts(answer(store, "attach", address)) == (0, 0, 0)


def test_later_rounds_ask_for_nothing_that_was_read_an_hour_before(
    tmp_path: Path, desk: tuple[Hosted, Loopback, str]
) -> None:
    project, server, address = desk
    store = tmp_path / "t.duckdb"
    project.add(20)
    project.add(1, begin_s=1_777_629_600 + 2 * HOUR_S)
    assert counts(answer(store, "attach", address)) == (48, 0, 0)
    asked = len(server.received)
    assert counts(answer(store, "attach", address)) == (0, 0, 0)
    assert len(server.received) - asked <= 2


def attach_and_kill(store: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attach, and be killed when the second page is in the spool."""
    save, saved = attaching.AttachState.save, iter((True, False))

    def save_once(self: attaching.AttachState) -> None:
        if not next(saved):
            raise SystemExit(137)
        save(self)

    with monkeypatch.context() as patch:
        patch.setattr(attaching.AttachState, "save", save_once)
        assert invoke(store, "attach", address).exit_code == 137


def test_what_a_killed_reader_had_read_comes_once(
    tmp_path: Path, desk: tuple[Hosted, Loopback, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _, address = desk
    store = tmp_path / "t.duckdb"
    project.add(5)
    attach_and_kill(store, address, monkeypatch)
    report = answer(store, "attach", address)
    assert report["calls"] + report["known"] == 12  # the first page was not asked for again
    assert list_names(store) == [f"ask {number}" for number in range(1, 9)]


def test_a_place_that_the_platform_forgot_begins_the_round_anew(
    tmp_path: Path, desk: tuple[Hosted, Loopback, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, server, address = desk
    store = tmp_path / "t.duckdb"
    project.add(5)
    attach_and_kill(store, address, monkeypatch)
    forgotten = [True]

    def forget(received: Received) -> Reply | Fault:
        asked = received.path.encode() + received.body
        if forgotten and (b"cursor" in asked or b"last_retrieved_id" in asked):
            forgotten.pop()
            return Reply(400, b'{"message": "unknown cursor"}')
        return project.answer(received)

    server.answer = forget
    report = answer(store, "attach", address)
    assert report["calls"] + report["known"] == 12
    assert list_names(store) == [f"ask {number}" for number in range(1, 9)]


def explain(store: Path) -> None:
    """Keep an attribution and a score of each model's call, as `llm-trace attribute` and the host would."""
    for call in Recorded(store).calls():
        if call.kind == "llm":
            keep_attributions(store, call, make_attribution(WORDS, [0.0, 0.1, 0.5, 2.0]))
        llm_trace.configure(store)
        llm_trace.log_score("helpful", 0.123456, call=call, comment="short")
        llm_trace.shutdown()


def test_verdict_words_and_chosen_scores_stand_on_their_spans_once(
    tmp_path: Path, desk: tuple[Hosted, Loopback, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _, address = desk
    store = tmp_path / "t.duckdb"
    answer(store, "attach", address)
    explain(store)
    options = ("attach", address, "--score", "helpful")
    with monkeypatch.context() as patch:  # killed when they stand there and are not noted yet
        patch.setattr(OperationLog, "append", lambda *_: (_ for _ in ()).throw(SystemExit(137)))
        assert invoke(store, *options).exit_code == 137
    assert counts(answer(store, *options)) == (0, 0, 9)
    assert counts(answer(store, *options)) == (0, 0, 0)
    shown = project.list_shown()
    assert len(shown) == 9
    spans = {row["id"]: row["name"] for row in project.rows}
    for (span_id, name), (value, explanation) in shown.items():
        if name == "llm_trace.attribution":
            assert spans.pop(span_id).startswith("ask")
            assert value == "ok"
            assert "blue?" in explanation
        else:
            assert (name, round(value, 4), explanation) == ("helpful", 0.1235, "short")
    assert set(spans.values()) == {"pipeline"}


def test_a_span_that_is_gone_keeps_no_other_back(tmp_path: Path, desk: tuple[Hosted, Loopback, str]) -> None:
    project, _, address = desk
    store = tmp_path / "t.duckdb"
    answer(store, "attach", address)
    explain(store)
    project.gone = {row["id"] for row in project.rows if row["name"] == "ask 2"}
    result = answer(store, "attach", address)
    assert (result["written"], result["refused"]) == (2, 1)
    project.gone = set()
    assert counts(answer(store, "attach", address)) == (0, 0, 1)


def test_a_key_that_is_missing_or_expired_is_named(
    tmp_path: Path, desk: tuple[Hosted, Loopback, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _, address = desk
    settings = " and ".join(project.keys)
    for setting in project.keys:
        monkeypatch.setenv(setting, "old")
    result = invoke(tmp_path / "t.duckdb", "attach", address)
    assert f"401 to the key in {settings}: it may be expired" in " ".join(result.stderr.split())
    for setting in project.keys:
        monkeypatch.delenv(setting)
    result = invoke(tmp_path / "t.duckdb", "attach", address)
    assert f"answers 401: set {settings}" in " ".join(result.stderr.split())
    assert result.exit_code == 1


def test_keys_of_another_project_of_langfuse_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Langfuse(1)
    for setting, key in project.keys.items():
        monkeypatch.setenv(setting, key)
    with Loopback(project.answer) as server:
        result = invoke(tmp_path / "t.duckdb", "attach", f"langfuse://{server.address}/other")
    assert "are those of 'desk', not of 'other'" in " ".join(result.stderr.split())
