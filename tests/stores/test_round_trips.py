"""Our own exports are a full round trip: a part of a store is the same in another, table by table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import llm_trace
from tests.conftest import Recorded
from tests.helpers.cli_toys import invoke, record

TABLES = {
    "calls": "* EXCLUDE (messages_in, messages_out)",
    "call_messages": "* EXCLUDE (message_id)",
    "messages": "role, text, body",
    "attributions": "*",
    "scores": "*",
    "runs": "*",
    "prompts": "*",
    "_same": "*",
}
"""What is compared: all but the messages' numbers and when each was first seen, which differ."""


def tables(store: Recorded, chosen: str = "true") -> dict[str, list[str]]:
    """Return the rows of each table that belong to the calls chosen."""
    calls = f"(SELECT * FROM calls WHERE {chosen})"
    about = f"span_id IN (SELECT span_id FROM {calls})"
    where = {
        "runs": f"id IN (SELECT run FROM {calls})",
        "prompts": f"(name, version) IN (SELECT (prompt_name, prompt_version) FROM {calls})",
        "messages": f"id IN (SELECT message_id FROM call_messages WHERE {about})",
        "_same": f"kept IN (SELECT span_id FROM {calls})",
    }
    if chosen == "true":
        where = dict.fromkeys(TABLES, "true")
    return {
        name: sorted(
            map(str, store.sql(f"SELECT {columns} FROM {name} WHERE {where.get(name, about)}").fetchall())
        )
        for name, columns in TABLES.items()
    }


def moved(store: Recorded, folder: Path, form: str, *options: str) -> Recorded:
    """Return another store that has what an export of this one says."""
    out = folder / ("calls.jsonl" if form == "jsonl" else "tables")
    assert invoke(store.path, "export", "--to", form, "--out", str(out), *options).exit_code == 0
    other = Recorded(folder / "other.duckdb")
    for _ in range(2):
        result = invoke(other.path, "import", str(out))
        assert (result.exit_code, "broken" in result.output) == (0, False), result.output
    return other


@pytest.fixture
def rich(recorded: Recorded) -> Recorded:
    """A store with everything that a store can have."""
    record(recorded.path)
    llm_trace.configure(recorded.path)

    @llm_trace.trace(kind="llm", model="m", tags=["a"])
    def ask(messages: list[dict[str, Any]], **given: Any) -> Any:
        return {"choices": [{"message": {"role": "assistant", "content": "ja, „gern“ \u2028 €"}}]}

    @llm_trace.trace
    def steps(n: int) -> Any:
        yield from ("aß", "b", "c")[:n]

    system = {"role": "system", "content": 'say "hi"\n\t\\'}
    ask([system, {"role": "user", "content": "ü"}], temperature=0.5, seed=2**70)
    ask([system, {"role": "user", "content": [{"type": "text", "text": "look"}]}], more={"$messages": [0, 1]})
    ask(
        [{"role": "user", "content": "again"}, {"role": "user", "content": "ü"}],
        deep={"list": [(1, 2), None]},
    )
    ask([])
    list(steps(3))
    with llm_trace.span("step", kind="chain", metadata={"nan": float("nan")}) as step:
        step.set(output=[1, None, "x"])
    with llm_trace.start_run("empty", config={"k": [1]}, tags=["t"]):
        pass
    llm_trace.shutdown()
    _append(
        recorded.path,
        {
            "event": "start", "span_id": "d" * 16, "trace_id": "e" * 32, "start_ns": 5, "name": "lost",
            "input": 1,
        },
        {"event": "end", "span_id": "c" * 16, "end_ns": 7, "status": "ok", "output": "no start"},
        {"event": "start", "span_id": "a" * 16, "trace_id": "e" * 32, "start_ns": 8, "name": "both"},
        {
            "event": "end", "span_id": "a" * 16, "end_ns": 9, "status": "ok", "same": ["b" * 16],
            "tags": [], "params": {},
        },
        {
            "event": "score", "id": "f" * 16, "span_id": "a" * 16, "name": "label", "value": "good",
            "time_ns": 3,
        },
        {
            "event": "attribution", "id": "9" * 16, "span_id": "a" * 16, "method": "m",
            "config_hash": "h", "time_ns": 3, "status": "failed", "error": "no model",
        },
    )  # fmt: skip
    return recorded


def _append(path: Path, *events: dict[str, Any]) -> None:
    """Leave events of a writer that has gone in the spool of a store."""
    folder = path.with_name(path.name + ".spool")
    header = {
        "event": "file",
        "format": 1,
        "writer": "0" * 16,
        "pid": 1,
        "host": "h",
        "version": "0",
        "time_ns": 1,
    }
    text = "".join(json.dumps(event) + "\n" for event in (header, *events))
    (folder / f"{'0' * 16}.00000001.jsonl").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_whole_store_comes_back_equal_in_every_table(rich: Recorded, tmp_path: Path, form: str) -> None:
    before = tables(rich)
    assert all(before.values())
    assert tables(moved(rich, tmp_path, form)) == before


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_part_of_a_store_comes_back_equal_with_what_belongs_to_it(
    rich: Recorded, tmp_path: Path, form: str
) -> None:
    before = tables(rich, "kind = 'llm'")
    assert len(before["runs"]) == len(before["prompts"]) + 1 == 2
    assert tables(moved(rich, tmp_path, form, "--kind", "llm")) == before


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("\ud83d"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["role", "content", "$messages"]), inner, max_size=3
        )
        | st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": inner}), max_size=3)
    ),
    max_leaves=10,
)


def _drawn(count: int) -> list[Any]:
    """Return pairs of an input and an output, always the same."""
    pairs = []

    @settings(max_examples=count, derandomize=True, database=None, phases=[Phase.generate], deadline=None)
    @given(VALUES, VALUES)
    def draw(before: Any, after: Any) -> None:
        pairs.append((before, after))

    draw()
    return pairs


def test_whatever_goes_into_a_call_comes_back_equal(recorded: Recorded, tmp_path: Path) -> None:
    llm_trace.configure(recorded.path)
    for before, after in _drawn(40):
        llm_trace.trace(kind="llm")(lambda value, after=after: after)({"messages": before, "more": before})
    llm_trace.shutdown()
    for form in ("jsonl", "parquet"):
        (tmp_path / form).mkdir()
        assert tables(moved(recorded, tmp_path / form, form)) == tables(recorded)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_an_import_of_our_own_masks_and_leaves_out_what_its_settings_say(
    rich: Recorded, tmp_path: Path, form: str
) -> None:
    llm_trace.configure(rich.path)

    @llm_trace.trace(kind="llm")
    def ask(messages: list[dict[str, str]]) -> Any:
        return iter(["ann@exam", "ple.com"])

    list(ask([{"role": "user", "content": "I am ann@example.com"}]))
    llm_trace.shutdown()
    out = tmp_path / "out"
    assert invoke(rich.path, "export", "--to", form, "--out", str(out)).exit_code == 0
    masked, empty = Recorded(tmp_path / "masked.duckdb"), Recorded(tmp_path / "empty.duckdb")
    assert invoke(masked.path, "import", str(out), LLM_TRACE_REDACT="true").exit_code == 0
    assert "ann@" not in str(tables(masked))
    assert invoke(empty.path, "import", str(out), LLM_TRACE_CAPTURE_CONTENT="0").exit_code == 0
    left = tables(empty)
    assert (left["messages"], left["prompts"], left["attributions"]) == ([], [], [])
    assert len(left["calls"]) == len(tables(rich)["calls"])
    assert not any(word in str(left["calls"]) for word in ("ann@", "hello", "gern"))
