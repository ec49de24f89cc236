"""From spool to store: runs, prompts, scores and attributions, and what writers lost."""

from __future__ import annotations

from pathlib import Path

from llm_trace import open_store
from llm_trace.record import Environment, Run
from llm_trace.stores.ingest import ingest
from tests.helpers.spool_toys import BEGIN, HandWriter, span


def test_runs_merge_key_by_key(path: Path, writer: HandWriter) -> None:
    environment = {
        "python": "3.11",
        "platform": "Linux",
        "packages": {"a": "1"},
        "git_commit": None,
        "unknown": 1,
    }
    writer.event(
        "run", id=span(1), name="exp", config={"a": 1}, tags=["t"], environment=environment, start_ns=5
    )
    ingest(path)
    writer.event("run", id=span(1), end_ns=9)
    writer.event("run", id=span(2), name="next", start_ns=6)
    assert open_store(path).runs() == [
        Run(id=span(2), name="next", start_ns=6),
        Run(
            id=span(1),
            name="exp",
            config={"a": 1},
            tags=("t",),
            environment=Environment(python="3.11", platform="Linux", packages={"a": "1"}),
            start_ns=5,
            end_ns=9,
        ),
    ]


def test_prompt_versions_are_numbered_by_first_use(path: Path, writer: HandWriter) -> None:
    writer.event("prompt", name="p", version="bbb", template="B {x}", time_ns=BEGIN + 9)
    writer.event("prompt", name="p", version="aaa", template="A {x}", time_ns=BEGIN + 5)
    writer.event("prompt", name="p", version="bbb", template="B {x}", time_ns=BEGIN + 2)
    writer.call(1, prompt={"name": "p", "version": "bbb"})
    writer.call(2, prompt={"name": "p", "version": "bbb"})
    versions = [
        (p.version, p.number, p.template, p.first_ns, p.last_ns, p.calls) for p in open_store(path).prompts()
    ]
    assert versions == [
        ("bbb", 1, "B {x}", BEGIN + 2, BEGIN + 2 * 10**9, 2),
        ("aaa", 2, "A {x}", BEGIN + 5, BEGIN + 5, 0),
    ]


def test_the_later_attribution_of_a_kind_wins_and_failures_are_in_the_table(
    path: Path, writer: HandWriter
) -> None:
    record = {
        "method": "occlusion", "segments": [{"start": 0, "end": 2, "text": "hi"}], "values": [0.5],
        "bounds": "exact", "prompt": "hi", "response": "yes", "target": "the response",
        "baseline": "delete", "low": [0.4], "high": [0.6],
    }  # fmt: skip

    def attribution(number: int, **keys: object) -> None:
        fields = {
            "span_id": span(1),
            "method": "occlusion",
            "config_hash": "c",
            "time_ns": number,
            "status": "ok",
        }
        writer.event("attribution", id=span(number), **(fields | keys))

    writer.call(1)
    attribution(1, attribution=record)
    attribution(2, attribution=record | {"values": [0.7]})
    ingest(path)
    attribution(3, attribution=record | {"values": [0.9]})
    attribution(4, method="shapley", status="failed", error="out of memory")
    store = open_store(path)
    (latest,) = store.attributions(span(1))
    assert (latest.values, latest.span_id, latest.time_ns) == ((0.9,), span(1), 3)
    assert store.sql("SELECT status, error, verdict FROM attributions ORDER BY time_ns").fetchall() == [
        ("ok", None, None),
        ("failed", "out of memory", None),
    ]
    segments = "SELECT text, value, low, high FROM attribution_segments"
    assert store.sql(segments).fetchall() == [("hi", 0.9, 0.4, 0.6)]


def test_scores_keep_their_type(path: Path, writer: HandWriter) -> None:
    for number, value in enumerate((0.5, 3, True, "good")):
        writer.event(
            "score",
            id=span(number),
            span_id=span(1),
            name="s",
            value=value,
            source="human",
            comment="c",
            time_ns=number,
        )
    scores = open_store(path).scores(span(1))
    assert [(s.value, type(s.value)) for s in scores] == [
        (0.5, float),
        (3, float),
        (True, bool),
        ("good", str),
    ]
    numbers = open_store(path).sql("SELECT number FROM scores ORDER BY time_ns").fetchall()
    assert numbers == [(0.5,), (3.0,), (1.0,), (None,)]


def test_what_writers_lost_is_counted(path: Path, writer: HandWriter) -> None:
    writer.event("lost", count=3, reason="ENOSPC", time_ns=5)
    assert open_store(path).sql("SELECT count, reason FROM _lost").fetchall() == [(3, "ENOSPC")]
