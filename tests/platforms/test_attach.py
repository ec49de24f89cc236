"""`llm-trace attach`: traces of Phoenix and MLflow come once, findings stand on their spans once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import llm_trace
from llm_trace.errors import ConfigurationError
from llm_trace.operations.log import OperationLog
from llm_trace.platforms import attach as attaching
from llm_trace.platforms.addresses import parse_platform_address
from llm_trace.platforms.client import PlatformClient
from llm_trace.stores.migrations import MIGRATIONS, migrate
from tests.conftest import Recorded
from tests.helpers.cli_toys import answer, invoke
from tests.helpers.explained import keep_attributions, make_attribution
from tests.helpers.loopback import Loopback, Reply
from tests.imports.test_tools import spoken
from tests.platforms.standins import Mlflow, Phoenix

WORDS = "Is the sky blue?"


@pytest.fixture
def phoenix() -> Iterator[tuple[Phoenix, Loopback, str]]:
    project = Phoenix(3)
    with Loopback(project.answer) as server:
        yield project, server, f"phoenix://{server.address}/desk"


@pytest.fixture
def mlflow() -> Iterator[tuple[Mlflow, Loopback, str]]:
    experiment = Mlflow(3)
    with Loopback(experiment.answer) as server:
        yield experiment, server, f"mlflow://{server.address}/desk"


def counts(report: dict[str, Any]) -> tuple[int, int, int]:
    return report["calls"], report["explained"], report["written"]


def test_spans_of_phoenix_come_once_and_go_on_where_reading_ended(
    tmp_path: Path, phoenix: tuple[Phoenix, Loopback, str]
) -> None:
    project, server, address = phoenix
    store = tmp_path / "t.duckdb"
    project.page = 2
    assert counts(answer(store, "attach", address)) == (3, 0, 0)
    asked = len(server.received)
    project.add(2)
    assert counts(answer(store, "attach", address)) == (2, 0, 0)
    assert counts(answer(store, "attach", address)) == (0, 0, 0)
    assert len(server.received) - asked <= 4
    calls = Recorded(store).calls()
    assert sorted(call.name for call in calls) == [f"ask {number}" for number in range(5)]
    assert spoken(calls[0]) == ([("user", WORDS)], [("assistant", "Yes.")])
    assert calls[0].metadata["import"] == {"format": "phoenix", "from": address}


def test_traces_of_mlflow_come_once_with_those_that_ended_late(
    tmp_path: Path, mlflow: tuple[Mlflow, Loopback, str]
) -> None:
    experiment, _, address = mlflow
    store = tmp_path / "t.duckdb"
    experiment.page = 2
    experiment.add(state="IN_PROGRESS")
    assert counts(answer(store, "attach", address)) == (3, 0, 0)
    experiment.traces[3]["trace_info"]["state"] = "ERROR"
    experiment.add(begin_s=1_777_629_600 - 1_800)  # began half an hour before the others, and ends only now
    assert counts(answer(store, "attach", address)) == (2, 0, 0)
    assert counts(answer(store, "attach", address)) == (0, 0, 0)
    calls = Recorded(store).calls()
    assert sorted(call.name for call in calls) == [f"ask {number}" for number in range(1, 6)]
    assert {call.usage.input_tokens for call in calls if call.usage} == {12}
    assert spoken(calls[0]) == ([("user", WORDS)], [("assistant", "Yes.")])


def test_a_page_that_was_read_before_a_crash_comes_once(
    tmp_path: Path, phoenix: tuple[Phoenix, Loopback, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, address = phoenix
    store = tmp_path / "t.duckdb"
    with monkeypatch.context() as patch:
        patch.setattr(attaching.AttachState, "save", lambda self: (_ for _ in ()).throw(SystemExit(137)))
        assert invoke(store, "attach", address).exit_code == 137
    report = answer(store, "attach", address)
    assert report["calls"] + report["known"] == 3
    assert len(Recorded(store).calls()) == 3


def explain_by_hand(store: Path) -> None:
    """Keep an attribution and a score of each call, as `llm-trace attribute` and the host would."""
    bounds = {"low": (-0.1, 0.0, 0.25, 1.5), "high": (0.1, 0.2, 0.75, 2.5), "bounds": "95 % of resamples"}
    for call in Recorded(store).calls():
        keep_attributions(store, call, make_attribution(WORDS, [0.0, 0.1, 0.5, 2.0], **bounds))
        llm_trace.configure(store)
        llm_trace.log_score("helpful", 1.0, call=call, comment="short")
        llm_trace.shutdown()


def test_phoenix_has_verdict_words_and_chosen_scores_once(
    tmp_path: Path, phoenix: tuple[Phoenix, Loopback, str]
) -> None:
    project, _, address = phoenix
    store = tmp_path / "t.duckdb"
    answer(store, "attach", address)
    explain_by_hand(store)
    assert counts(answer(store, "attach", address, "--score", "helpful")) == (0, 0, 6)
    assert counts(answer(store, "attach", address, "--score", "helpful")) == (0, 0, 0)
    by_name = {name: entry for (span, name, _), entry in project.annotations.items() if span == f"{1:016x}"}
    assert by_name.keys() == {"llm_trace.attribution", "helpful"}
    explained, scored = by_name["llm_trace.attribution"], by_name["helpful"]
    assert explained["annotator_kind"] == "CODE"
    assert explained["result"]["label"] == "ok"
    assert "blue?" in explained["result"]["explanation"]
    assert explained["metadata"]["top_words"].startswith("blue?, sky")
    assert explained["metadata"]["intervals"].startswith("blue? +1.5 to +2.5, sky +0.25 to +0.75")
    assert explained["metadata"]["bounds"] == "95 % of resamples"
    assert scored["result"] == {"score": 1.0, "explanation": "short"}


def test_mlflow_has_what_was_sent_before_a_crash_once(
    tmp_path: Path, mlflow: tuple[Mlflow, Loopback, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, _, address = mlflow
    store = tmp_path / "t.duckdb"
    answer(store, "attach", address)
    explain_by_hand(store)
    with monkeypatch.context() as patch:  # killed when they stand there and are not noted yet
        patch.setattr(OperationLog, "append", lambda *_: (_ for _ in ()).throw(SystemExit(137)))
        assert invoke(store, "attach", address).exit_code == 137
    assert counts(answer(store, "attach", address)) == (0, 0, 3)
    for number, trace in enumerate(experiment.traces, 1):
        (assessment,) = trace["trace_info"]["assessments"]
        assert (assessment["assessment_name"], assessment["span_id"]) == (
            "llm_trace.attribution",
            f"{number:016x}",
        )
        assert assessment["feedback"] == {"value": "ok"}
        assert assessment["source"] == {"source_type": "CODE", "source_id": "llm_trace"}


def test_new_calls_are_explained_by_the_model_that_is_named(
    tmp_path: Path, phoenix: tuple[Phoenix, Loopback, str]
) -> None:
    project, _, address = phoenix
    store = tmp_path / "t.duckdb"
    options = ("--model", "demo", "--limit", "2", "--where", "name <> 'ask 2'")
    assert counts(answer(store, "attach", address, *options)) == (3, 2, 2)
    assert {span for span, _, _ in project.annotations} == {f"{1:016x}", f"{2:016x}"}
    assert counts(answer(store, "attach", address, *options, "--read-only")) == (0, 0, 0)


def test_later_rounds_explain_what_earlier_ones_left(
    tmp_path: Path, phoenix: tuple[Phoenix, Loopback, str]
) -> None:
    _, _, address = phoenix
    store = tmp_path / "t.duckdb"
    options = ("--model", "demo", "--limit", "2")
    assert counts(answer(store, "attach", address, *options)) == (3, 2, 2)
    assert counts(answer(store, "attach", address, *options)) == (0, 1, 1)
    assert counts(answer(store, "attach", address, *options)) == (0, 0, 0)


def test_scores_that_came_from_a_platform_do_not_go_back(
    tmp_path: Path, mlflow: tuple[Mlflow, Loopback, str]
) -> None:
    experiment, _, address = mlflow
    store = tmp_path / "t.duckdb"
    helpful = {
        "assessment_id": "a-1", "assessment_name": "helpful", "feedback": {"value": True},
        "source": {"source_type": "HUMAN", "source_id": "anna"}, "create_time": "2026-05-01T11:00:00Z",
    }  # fmt: skip
    experiment.traces[0]["trace_info"]["assessments"].append(helpful)
    assert counts(answer(store, "attach", address, "--score", "helpful")) == (3, 0, 0)
    explain_by_hand(store)
    assert counts(answer(store, "attach", address, "--score", "helpful")) == (0, 0, 6)
    for state in tmp_path.glob("t.duckdb.mlflow-*.json"):
        state.unlink()
    assert counts(answer(store, "attach", address, "--score", "helpful")) == (0, 0, 0)
    assert len(Recorded(store).sql("SELECT id FROM scores")) == 4  # none is llm_trace's own, come back


def test_a_store_of_an_earlier_version_knows_which_calls_came_from_a_platform() -> None:
    with duckdb.connect() as connection:
        for number, migration in enumerate(MIGRATIONS[:6], 1):
            migration.apply(connection)
            connection.execute("INSERT INTO _migrations VALUES (?, ?, 0)", [number, str(number)])
        attached = json.dumps({"import": {"format": "phoenix", "from": "phoenix://host:6006/desk"}})
        rows = [("a", attached), ("b", "{}"), ("c", None)]
        connection.executemany("INSERT INTO calls (span_id, start_ns, metadata) VALUES (?, 0, ?)", rows)
        migrate(connection)
        shown = connection.execute("SELECT span_id, platform FROM calls ORDER BY span_id").fetchall()
    assert shown == [("a", "phoenix://host:6006/desk"), ("b", None), ("c", None)]


def test_follow_goes_on_after_the_platform_was_away(
    tmp_path: Path, phoenix: tuple[Phoenix, Loopback, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, server, address = phoenix
    rounds = iter((lambda: project.add(1), lambda: server.next.append(Reply(401)), lambda: project.add(2)))

    def wait(_: float) -> None:
        try:
            next(rounds)()
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr("llm_trace.cli.attach.sleep", wait)
    result = invoke(tmp_path / "t.duckdb", "attach", address, "--follow")
    assert result.exit_code == 0
    assert "set PHOENIX_API_KEY" in " ".join(result.stderr.split())
    assert len(Recorded(tmp_path / "t.duckdb").calls()) == 6


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("phoenix://127.0.0.1:6006", "must name host and project"),
        ("weave://host/project", "is no address of a platform"),
        ("phoenix://anna:secret@127.0.0.1/desk", "keys do not belong into an address"),
    ],
    ids=["no project", "unknown", "a key"],
)
def test_an_address_that_cannot_work_says_why(tmp_path: Path, address: str, reason: str) -> None:
    result = invoke(tmp_path / "t.duckdb", "attach", address)
    assert result.exit_code == 1
    assert reason in " ".join(result.stderr.split())
    assert "secret" not in result.stderr


def test_addresses_name_base_project_and_tls() -> None:
    address = parse_platform_address("phoenixs://trace.example:443/base/my%20project")
    assert address == ("phoenix", "https://trace.example:443/base", "my project")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(401, b"{}"), "set PHOENIX_API_KEY"),
        (Reply(404, b'{"detail": "Project not found"}'), "Project not found"),
        (Reply(200, b"<html>hi</html>", {"content-type": "text/html"}), "no JSON"),
    ],
    ids=["no key", "no project", "another server"],
)
def test_what_the_platform_refuses_is_said_with_its_setting(
    tmp_path: Path, reply: Reply, reason: str
) -> None:
    with Loopback(lambda _: reply) as server:
        result = invoke(tmp_path / "t.duckdb", "attach", f"phoenix://{server.address}/desk")
    assert result.exit_code == 1
    assert reason in " ".join(result.stderr.split())


def test_a_busy_platform_is_asked_again_as_soon_as_it_says() -> None:
    with Loopback() as server:
        server.next += [Reply(429, b"{}", {"Retry-After": "0"}), "reset", Reply(503, b"{}")]
        client = PlatformClient(server.url, settings=["KEY"], headers={}, first_wait_s=0.001)
        assert client.get("/x") == {}
        client.close()
    assert len(server.refused) == 3


def test_a_platform_that_stays_away_is_named_after_some_tries() -> None:
    with Loopback(lambda _: Reply(503, b"down")) as server:
        client = PlatformClient(server.url, settings=["KEY"], headers={}, first_wait_s=0.001)
        with pytest.raises(ConfigurationError, match="does not answer after 6 tries: it answered 503"):
            client.get("/x")
        client.close()


def test_a_platform_that_asks_for_an_hour_is_left_alone() -> None:
    with Loopback(lambda _: Reply(429, b"{}", {"Retry-After": "3600"})) as server:
        client = PlatformClient(server.url, settings=["KEY"], headers={})
        with pytest.raises(ConfigurationError, match="asks not to come back for 3,600 s"):
            client.get("/x")
        client.close()
    assert len(server.received) == 1


def test_a_phoenix_that_cannot_list_in_order_is_refused(
    tmp_path: Path, phoenix: tuple[Phoenix, Loopback, str]
) -> None:
    project, _, address = phoenix
    project.spans.reverse()
    result = invoke(tmp_path / "t.duckdb", "attach", address)
    assert result.exit_code == 1
    assert "upgrade its server" in " ".join(result.stderr.split())
