"""Lone surrogates, as file names and broken emoji have them: nothing around them is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import llm_trace
from llm_trace import trace
from llm_trace.errors import ReplayError
from tests.conftest import Recorded

BAD = os.fsdecode(b"caf\xe9.txt")
"""How Python names a file whose name is in Latin-1."""
SHOWN = "caf\\udce9.txt"


@pytest.mark.parametrize("redact", [None, True], ids=["plain", "redacted"])
def test_a_lone_surrogate_in_a_key_loses_nothing(recorded: Recorded, redact: Any) -> None:
    llm_trace.configure(recorded.path, redact=redact)

    @trace(kind="llm")
    def ask(messages: list[Any], meta: Any) -> Any:
        return {"answer": "yes", "files": {BAD: 3}}

    ask([{"role": "user", "content": "important"}], {"files": {BAD: 3}, "n": 1})
    call = recorded.one()
    assert call.input == {
        "messages": [{"role": "user", "content": "important"}],
        "meta": {"files": {SHOWN: 3}, "n": 1},
    }
    assert call.output == {"answer": "yes", "files": {SHOWN: 3}}
    assert [m.parts[0].content for m in call.messages_in] == ["important"]
    assert llm_trace.flush().ok


@pytest.mark.parametrize("redact", [None, True], ids=["plain", "redacted"])
def test_names_tags_messages_and_configurations_stay_texts(recorded: Recorded, redact: Any) -> None:
    llm_trace.configure(recorded.path, redact=redact)
    prompt = llm_trace.Prompt("p", f"{BAD} {{v}}")
    with (
        llm_trace.start_run(BAD, config={BAD: 1}, tags=[BAD]),
        llm_trace.using_session(BAD, user=BAD, tags=[BAD], metadata={BAD: 1}),
        llm_trace.span(f"name {BAD}", input={BAD: 1}, model=BAD) as span,
    ):
        span.set(metadata={"k": 2})
        llm_trace.log_score("good", 1.0, comment=BAD)
    trace(lambda messages: None)([{"role": "user", "content": f"read {BAD}"}])
    trace(
        lambda text: None,
    )(prompt.format(v=BAD))
    call = recorded.calls(name=f"name {SHOWN}")[0]
    assert (call.session, call.user, call.model) == (SHOWN, SHOWN, SHOWN)
    assert set(call.tags) == {SHOWN}
    assert call.metadata == {SHOWN: 1, "k": 2}
    assert call.input == {SHOWN: 1}
    (run,) = recorded.runs()
    assert (run.name, run.config, run.tags) == (SHOWN, {SHOWN: 1}, (SHOWN,))
    assert [score.comment for score in recorded.scores(call.span_id)] == [SHOWN]
    (version,) = recorded.prompts()
    assert version.template == f"{SHOWN} {{v}}"
    texts = [part.content for c in recorded.calls() for m in c.messages_in for part in m.parts]
    assert texts == [f"read {SHOWN}"]
    assert llm_trace.flush().ok


def test_a_value_whose_key_was_written_otherwise_is_not_replayed_as_if_it_were_whole(store: Recorded) -> None:
    @trace(kind="tool")
    def look() -> Any:
        return {BAD: 3}

    @trace
    def root() -> Any:
        return look()

    root()
    (top,) = store.calls(name="root")
    with pytest.raises(ReplayError, match="keys"):
        llm_trace.replay(top.span_id, store=store.path, functions=[root])


def test_import_keeps_answers_beside_lone_surrogates(tmp_path: Path) -> None:
    from llm_trace.cli.app import build_app

    records = [
        {
            "id": "1",
            "prompt": "x",
            "response": {BAD: "the answer"},
            "model": BAD,
            "tags": [BAD],
            "session": BAD,
        },
        {
            "id": "2",
            "messages": [{"role": "user", "content": BAD}, {"role": "assistant", "content": f"see {BAD}"}],
        },
    ]
    file = tmp_path / "calls.jsonl"
    file.write_text("\n".join(map(json.dumps, records)))
    result = CliRunner().invoke(build_app(), ["import", str(file), "--store", str(tmp_path / "t.duckdb")])
    assert "2 new calls" in result.output
    with llm_trace.open_store(tmp_path / "t.duckdb") as store:
        calls = {json.dumps(call.input): call for call in store.calls()}
    plain = calls['{"prompt": "x"}']
    assert (plain.output, plain.model, plain.session, plain.tags) == (
        {SHOWN: "the answer"},
        SHOWN,
        SHOWN,
        (SHOWN,),
    )
    (chat,) = (call for call in calls.values() if call is not plain)
    assert [m.parts[0].content for m in (*chat.messages_in, *chat.messages_out)] == [SHOWN, f"see {SHOWN}"]
