"""Gates and rules go from shadow to advice to action by evidence, and back at once."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.operations import (
    OperationLog,
    PromotionError,
    StageGuard,
    promote,
    read_operations,
    read_stage,
    roll_back,
)
from llm_trace.operations.stages import Stage, is_in_share, list_stages, read_effect
from llm_trace.operations.stages_evidence import measure_evidence, read_stage_evidence
from llm_trace.stores.duckdb import Store
from tests.helpers.spool_toys import BEGIN, HandWriter, span


@pytest.fixture
def store(path: Path, writer: HandWriter) -> Iterator[Store]:
    writer.call(0)
    writer.event(
        "operation",
        id="dec1de0000000000",
        kind="decision",
        subject="refunds",
        span_id=span(0),
        time_ns=BEGIN,
        body={"by": "gate"},
    )
    with llm_trace.open_store(path) as opened:
        yield opened


def write_audits(
    writer: HandWriter, store: Store, right: int, wrong: int = 0, first: int = 0, **body: Any
) -> None:
    for i in range(right + wrong):
        number = first + i
        writer.event(
            "operation", id=span(number), kind="audit", subject="refunds", span_id=span(number),
            time_ns=BEGIN + number, body={"right": i < right, **body},
        )  # fmt: skip
    store.ingest()


def test_what_was_never_promoted_is_in_shadow(store: Store) -> None:
    stage = read_stage(store, "refunds")
    assert stage == Stage(subject="refunds", stage="shadow")
    assert read_effect(stage, store.path, "any") == "note"


def test_a_promotion_without_evidence_is_refused_with_what_is_missing(
    store: Store, writer: HandWriter
) -> None:
    write_audits(writer, store, 12)
    with pytest.raises(
        PromotionError, match=r"18 more checked decisions \(12 of 30\); force it with a reason"
    ):
        promote(store, "refunds")
    write_audits(writer, store, 28, first=12)
    assert promote(store, "refunds").stage == "advise"
    with pytest.raises(PromotionError) as refusal:
        promote(store, "refunds")
    assert "'refunds' stays in advise: for act at 5% it lacks 60 more checked decisions" in str(refusal.value)
    assert "an error rate that is shown to be below 5.0% (0 of 40 were wrong: at most " in str(refusal.value)
    assert [o.body["to"] for o in read_operations(store, kind="stage")] == ["advise"]


def test_a_forced_promotion_keeps_its_reason_and_what_was_missing(store: Store) -> None:
    stage = promote(store, "refunds", force="the desk asked for it")
    assert str(stage) == "refunds: advise for 100% of the traffic (the desk asked for it)"
    assert stage.is_forced
    (event,) = read_operations(store, kind="stage")
    assert event.body["missing"] == ["30 more checked decisions (0 of 30)"]
    assert (event.body["from"], event.body["to"], event.body["evidence"]["checked"]) == (
        "shadow",
        "advise",
        0,
    )
    with pytest.raises(ConfigurationError, match="reason"):
        promote(store, "refunds", force=" ")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("refund", "did you mean 'refunds'?"), ("", "llm-trace stages lists them")],
    ids=["near", "empty"],
)
def test_a_name_that_nothing_decides_by_is_not_promoted_by_force_either(
    store: Store, name: str, remedy: str
) -> None:
    with pytest.raises(NotFoundError, match=re.escape(f"no gate or rule {name!r} has decided")) as refusal:
        promote(store, name, force="the desk asked for it")
    assert str(refusal.value).endswith(remedy)
    assert read_operations(store, kind="stage") == []


def test_evidence_leads_from_shadow_to_all_of_the_traffic(store: Store, writer: HandWriter) -> None:
    write_audits(writer, store, 498, 2)
    steps = [promote(store, "refunds") for _ in range(4)]
    assert [(s.stage, s.share) for s in steps] == [("advise", 1), ("act", 0.05), ("act", 0.25), ("act", 1)]
    assert not any(s.is_forced for s in steps)
    assert list_stages(store) == [steps[-1]]
    with pytest.raises(PromotionError, match="at the end of its plan"):
        promote(store, "refunds")


def test_many_errors_keep_a_gate_from_acting_however_many_were_checked(
    store: Store, writer: HandWriter
) -> None:
    write_audits(writer, store, 540, 60)
    assert promote(store, "refunds").stage == "advise"
    with pytest.raises(PromotionError, match=r"below 5.0% \(60 of 600 were wrong"):
        promote(store, "refunds")


def test_a_roll_back_keeps_its_reason_and_evidence_begins_anew(store: Store, writer: HandWriter) -> None:
    write_audits(writer, store, 200)
    promote(store, "refunds")
    promote(store, "refunds")
    back = roll_back(store, "refunds", "complaints", to="advise")
    assert str(back) == "refunds: advise for 100% of the traffic (complaints)"
    assert read_stage(store, "refunds") == back
    assert read_stage_evidence(store, "refunds") == measure_evidence(0, 0)
    assert roll_back(store, "refunds", "more complaints").stage == "shadow"
    with pytest.raises(ConfigurationError, match="no step back"):
        roll_back(store, "refunds", "again")
    with pytest.raises(ConfigurationError, match="it is empty"):
        roll_back(store, "refunds", "")


def test_only_audits_of_the_gate_that_was_fitted_last_count_by_its_own_level(
    store: Store, writer: HandWriter
) -> None:
    for number, error in enumerate((0.05, 0.1)):
        writer.event(
            "operation", id=f"gate{number}", kind="gate", subject="refunds", time_ns=BEGIN + number,
            body={"error": error, "confidence": 0.9},
        )  # fmt: skip
    write_audits(writer, store, 40, gate="gate0")
    write_audits(writer, store, 9, 1, first=40, gate="gate1")
    assert read_stage_evidence(store, "refunds") == measure_evidence(10, 1, error=0.1, confidence=0.9)
    assert [stage.stage for stage in list_stages(store)] == ["shadow"]


def test_a_share_of_traffic_is_the_same_for_the_same_and_grows(path: Path) -> None:
    units = [f"session {i}" for i in range(1000)]
    few = {unit for unit in units if is_in_share(path, "refunds", unit, 0.05)}
    many = {unit for unit in units if is_in_share(path, "refunds", unit, 0.25)}
    others = {unit for unit in units if is_in_share(path, "returns", unit, 0.25)}
    assert few < many
    assert 20 <= len(few) <= 85
    assert 190 <= len(many) <= 310
    assert others != many
    assert few == {unit for unit in units if is_in_share(path, "refunds", unit, 0.05)}
    assert all(is_in_share(path, "refunds", unit, 1.0) for unit in units)


@pytest.mark.parametrize(("stage", "inside", "outside"), [("advise", "show", "note"), ("act", "act", "show")])
def test_outside_its_share_a_decision_means_one_step_less(
    stage: Any, inside: str, outside: str, path: Path
) -> None:
    def read(share: float) -> str:
        return read_effect(Stage(subject="refunds", stage=stage, share=share), path, "one")

    assert (read(1.0), read(0.0)) == (inside, outside)


def test_a_damaged_stage_acts_for_nobody(store: Store, writer: HandWriter) -> None:
    writer.event(
        "operation",
        id="a",
        kind="stage",
        subject="refunds",
        time_ns=BEGIN,
        body={"to": "act", "share": "all"},
    )
    store.ingest()
    assert read_stage(store, "refunds").share == 0.0


def join_refresh() -> None:
    for thread in threading.enumerate():
        if thread.name == "llm-trace stage":
            thread.join(60)


def test_a_roll_back_reaches_who_asks_in_the_path_of_requests(store: Store) -> None:
    now = [0.0]
    promote(store, "refunds", force="a test")
    guard = StageGuard(store.path, "refunds", refresh_s=30, clock=lambda: now[0])
    roll_back(store, "refunds", "complaints")
    assert guard.weigh("one") == "show"  # nothing is read within 30 seconds
    now[0] = 31.0
    guard.weigh("one")
    join_refresh()
    assert guard.weigh("one") == "note"


def test_a_stage_that_cannot_be_read_for_long_is_shadow(store: Store, path: Path) -> None:
    now = [0.0]
    promote(store, "refunds", force="a test")
    guard = StageGuard(path, "refunds", refresh_s=1, clock=lambda: now[0])
    path.write_bytes(b"no store any more")
    now[0] = 5.0
    assert guard.weigh("one") == "show"
    join_refresh()
    now[0] = 10.0
    assert guard.weigh("one") == "note"
    assert "its stage cannot be read: " in (guard.stage.reason or "")
    join_refresh()


@pytest.mark.parametrize(
    "level", [{"error": float("nan")}, {"error": 7}, {"error": 0}, {"confidence": 1}], ids=str
)
def test_a_level_that_is_no_share_is_refused(store: Store, level: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="must lie between 0 and 1"):
        read_stage_evidence(store, "refunds", **level)


def test_a_roll_back_after_the_clock_was_put_back_counts(store: Store) -> None:
    with OperationLog(store.path) as log:
        hour_ahead = time.time_ns() + 3600 * 10**9
        log.append("stage", "refunds", {"action": "promote", "to": "act", "share": 1.0}, after_ns=hour_ahead)
    store.ingest()
    assert read_stage(store, "refunds").stage == "act"
    back = roll_back(store, "refunds", "it sent money twice")
    assert read_stage(store, "refunds") == back
    assert back.stage == "shadow"
