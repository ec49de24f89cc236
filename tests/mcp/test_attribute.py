"""The tool `attribute` with the embedded model: bounds, what is kept, and what cannot be explained."""

from __future__ import annotations

from pathlib import Path

import pytest

import llm_trace
from llm_trace.demo import desk
from tests.helpers.mcp_toys import Door


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("attribute") / "traces.duckdb"
    llm_trace.configure(path)
    desk.handle("The lamp came broken 75 days ago.", version="v2")
    llm_trace.trace(name="plain")(lambda: 1)()
    llm_trace.shutdown()
    return path


def test_the_strongest_segment_comes_first_with_bounds_and_is_kept(place: Path) -> None:
    door = Door(place)
    with llm_trace.open_store(place) as store:
        (outer,), (inner,) = store.calls(name="handle"), store.calls(name="ask")
    answer = door.call("attribute", id=outer.span_id, segments="line", most=2, wait_s=300)
    segments = answer["recorded"]["segments"]
    assert segments[0]["stands_out"]
    assert abs(segments[0]["effect"]) >= abs(segments[1]["effect"])
    assert f"the strongest is segment {segments[0]['segment']}: " in answer["verdict"]
    assert answer["more"][0]["arguments"] == {"most": 4}
    with llm_trace.open_store(place) as store:
        (kept,) = store.attributions(inner.span_id)
    strongest = segments[0]["segment"]
    assert kept.segments[strongest].text == segments[0]["text"]
    assert kept.values[strongest] == pytest.approx(segments[0]["effect"], rel=1e-3)
    assert kept.bounds == answer["recorded"]["bounds"] == "exact"
    assert " nats (exact), which makes the answer " in answer["verdict"]
    again = door.call("attribute", id=outer.span_id, segments="line", most=2)
    assert again["recorded"]["time"] == answer["recorded"]["time"]
    assert len(door.call("show", id=inner.span_id)["recorded"]["explanations"]) == 1


def test_a_call_of_no_model_is_not_explained(place: Path) -> None:
    with llm_trace.open_store(place) as store:
        (plain,) = store.calls(name="plain")
    error = Door(place).fail("attribute", id=plain.span_id)
    assert error.startswith(f"AttributionError: call {plain.span_id} cannot be explained itself: ")
    assert error.endswith("Such calls inside it: none")
