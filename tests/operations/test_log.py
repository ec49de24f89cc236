"""Decisions are events beside the calls they are about: kept, exported, imported and purged with them."""

from __future__ import annotations

from pathlib import Path

import pytest

import llm_trace
from llm_trace.errors import StoreError
from llm_trace.operations import OperationLog, read_operations
from tests.helpers.cli_toys import invoke, record

BODY = {
    "action": "check",
    "bound": 0.25,
    "reason": "no “gold” in it",
    "shares": {"gold": 0.5},
    "seen": [1, True],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a store with calls and two operations, one of them about a call."""
    path = tmp_path / "desk.duckdb"
    record(path)
    with llm_trace.open_store(path) as store:
        span_id = store.calls(limit=1)[0].span_id
    with OperationLog(path) as log:
        log.append("decision", "refunds", BODY, span_id)
        log.append("stage", "refunds", {"to": "shadow"})
    return path


def test_operations_are_read_as_they_were_written(path: Path) -> None:
    with llm_trace.open_store(path) as store:
        decision, stage = read_operations(store)
        assert (decision.kind, decision.subject, decision.body) == ("decision", "refunds", BODY)
        assert stage.span_id is None
        assert decision.span_id is not None
        assert read_operations(store, kind="stage") == [stage]
        assert read_operations(store, span_id=decision.span_id) == [decision]
        assert read_operations(store, subject="another") == []


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_operations_come_back_from_an_export(path: Path, tmp_path: Path, form: str) -> None:
    to = tmp_path / f"out.{form}"
    assert invoke(path, "export", "--to", form, "--out", str(to)).exit_code == 0
    other = tmp_path / "other.duckdb"
    assert invoke(other, "import", str(to)).exit_code == 0
    with llm_trace.open_store(path) as store, llm_trace.open_store(other) as copy:
        assert read_operations(copy) == read_operations(store)


def test_an_export_without_operations_is_read(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "out"
    assert invoke(path, "export", "--to", "parquet", "--out", str(to)).exit_code == 0
    (to / "operations.parquet").unlink()
    other = tmp_path / "other.duckdb"
    assert invoke(other, "import", str(to)).exit_code == 0
    with llm_trace.open_store(other) as copy:
        assert copy.calls()
        assert read_operations(copy) == []


def test_what_was_decided_about_a_purged_call_goes_with_it(path: Path) -> None:
    with llm_trace.open_store(path) as store:
        span_id = read_operations(store, kind="decision")[0].span_id
    llm_trace.purge(path, id=span_id)
    with llm_trace.open_store(path) as store:
        assert [operation.kind for operation in read_operations(store)] == ["stage"]


def test_an_import_without_content_leaves_decisions_out(path: Path, tmp_path: Path) -> None:
    to, other = tmp_path / "out.jsonl", tmp_path / "other.duckdb"
    assert invoke(path, "export", "--to", "jsonl", "--out", str(to)).exit_code == 0
    assert invoke(other, "import", str(to), LLM_TRACE_CAPTURE_CONTENT="false").exit_code == 0
    with llm_trace.open_store(other) as copy:
        assert copy.calls()
        assert read_operations(copy) == []


def test_a_spool_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "desk.duckdb"
    (tmp_path / "desk.duckdb.spool").write_text("a file where the folder should be")
    with OperationLog(path) as log, pytest.raises(StoreError, match="the stage of 'refunds' was not kept"):
        log.append("stage", "refunds", {})
