"""CometLLM: what its offline mode leaves behind, and what a project holds, come in and leave by the
exporter as they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import llm_trace
from llm_trace.cli.app import build_app
from llm_trace.errors import ConfigurationError
from llm_trace.exporters.comet import CometExporter
from llm_trace.exporters.comet.settings import CometSettings
from llm_trace.exporters.protocol import Event
from llm_trace.imports import Imported, Origin
from llm_trace.imports.comet import calls, recognises
from llm_trace.imports.comet_download import download
from llm_trace.record import Call
from tests.helpers.standins.comet import KEY, Comet
from tests.helpers.standins.sending import call, run, send
from tests.recorded.record import ANSWER, METADATA, PROMPT, START_S, TEMPLATE, VARIABLES

OFFLINE = Path(__file__).parents[1] / "recorded" / "comet_llm_offline.jsonl"
ORIGIN = Origin("0" * 64, 0)


@pytest.fixture
def server() -> Iterator[Comet]:
    with Comet() as server:
        yield server


def exporter(server: Comet) -> CometExporter:
    return CometExporter(CometSettings(KEY, "team", "demo", "demo-runs", server.url))


def records() -> list[dict[str, Any]]:
    return [json.loads(line) for line in OFFLINE.read_text().splitlines()]


def events(imported: list[Imported]) -> list[Event]:
    """Return imported calls as an exporter gets them."""
    lines = []
    for item in imported:
        prompt = {"prompt": {**item.prompt, **item.call["prompt"]}} if item.prompt is not None else {}
        lines.append(Event("call", item.call["span_id"], {**item.call, **prompt}))
    return lines


def test_an_offline_prompt_is_a_model_call_with_its_template() -> None:
    (imported,) = calls(records()[0], ORIGIN)
    told = Call.model_validate(imported.call)
    start = round(START_S * 1e9)
    assert (told.kind, told.input, told.output, told.model) == ("llm", {"prompt": PROMPT}, ANSWER, "tiny")
    assert (told.start_ns, told.end_ns, told.tags, told.metadata) == (
        start,
        start + 250_000_000,
        ("a", "b"),
        METADATA,
    )
    assert told.usage is not None
    assert (told.usage.input_tokens, told.usage.output_tokens) == (4, 3)
    assert told.prompt is not None
    assert imported.prompt is not None
    assert (told.prompt.variables, imported.prompt["template"]) == (VARIABLES, TEMPLATE)
    assert imported.unknown == {"experiment_info_": {"workspace": "team", "project_name": "demo"}}


def test_an_offline_chain_is_a_tree_of_calls() -> None:
    root, tool, ask = [Call.model_validate(i.call) for i in calls(records()[1], ORIGIN)]
    assert [c.kind for c in (root, tool, ask)] == ["chain", "tool", "llm"]
    assert (tool.parent_id, ask.parent_id) == (root.span_id, tool.span_id)
    assert (tool.output, root.output, root.metadata) == (["Here"], {"answer": "Here"}, {"user": "ann"})
    assert len({c.trace_id for c in (root, tool, ask)}) == 1


@pytest.mark.parametrize("record", records())
def test_what_came_in_leaves_as_it_was(server: Comet, record: dict[str, Any]) -> None:
    message = record["message"]
    before = message.get("prompt_asset_data") or message["chain_data"]
    send(exporter(server), events(list(calls(record, ORIGIN))))
    after = server.experiments[message["id"]].asset
    assert after is not None
    for asset in (before, after):
        for node in asset["chain_nodes"]:
            node["metadata"].pop("prompt", None)
        asset["metadata"].pop("prompt", None)
    if before["category"] == "single_prompt":  # the platform's own prompts have no end
        for whole in (before, before["chain_nodes"][0]):
            whole["end_timestamp"] += 250
        before["chain_duration"] = before["chain_nodes"][0]["duration"] = 250
    assert after == before


def test_reading_twice_gives_the_same_ids() -> None:
    first, again = ([i.call for i in calls(records()[1], ORIGIN)] for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    "record",
    [
        {"type": "PromptMessage", "message": {}},
        {"type": "ChainMessage", "message": {"chain_data": {"chain_nodes": [], "version": 4}}},
        {"type": "ChainMessage", "message": {"chain_data": {"chain_nodes": [{}], "start_timestamp": 1.0}}},
        {"type": "ChainMessage", "message": {"chain_data": {"chain_nodes": [], "start_timestamp": "now"}}},
        {
            "type": "PromptMessage",
            "message": {"prompt_asset_data": {"chain_nodes": [], "category": "single_prompt"}},
        },
    ],
)
def test_a_broken_record_says_why(record: dict[str, Any]) -> None:
    assert recognises(record)
    with pytest.raises(ValueError, match="."):
        list(calls(record, ORIGIN))


def test_a_project_is_downloaded_by_comet_mls_api(
    server: Comet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("everett", reason="comet_ml is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COMET_API_KEY", KEY)
    monkeypatch.setenv("COMET_URL_OVERRIDE", f"{server.url}/clientlib/")
    monkeypatch.chdir(tmp_path)
    send(exporter(server), [call(input={"prompt": PROMPT}, output=ANSWER, tags=["a"]), run()])
    done = CliRunner().invoke(build_app(), ["import", "comet://team/demo", "--store", "t.duckdb"])
    assert done.exit_code == 0, done.output
    with llm_trace.open_store("t.duckdb") as store:
        (told,) = store.calls()
    assert (told.name, told.input, told.output) == ("ask", {"prompt": PROMPT}, ANSWER)
    assert (told.duration_ns, told.tags) == (250_000_000, ("a",))
    assert (tmp_path / "comet-team-demo.jsonl").exists()
    with pytest.raises(ConfigurationError, match="comet://workspace/project"):
        download("comet://team", tmp_path)


def test_the_files_of_the_offline_mode_come_in_by_the_command(tmp_path: Path) -> None:
    file = tmp_path / "messages_1.jsonl"
    file.write_bytes(OFFLINE.read_bytes())
    done = CliRunner().invoke(
        build_app(), ["import", str(file), "--store", str(tmp_path / "t.duckdb"), "--json"]
    )
    assert (done.exit_code, json.loads(done.stdout)[0]["format"]) == (0, "comet"), done.output
    with llm_trace.open_store(tmp_path / "t.duckdb") as store:
        assert sorted(c.kind for c in store.calls()) == ["chain", "llm", "llm", "tool"]
        assert [p.template for p in store.prompts()] == [TEMPLATE]
