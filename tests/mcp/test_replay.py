"""Calls run again through the door: only what the user named, in a process of its own, with a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import llm_trace
from tests.helpers import comparison_toys
from tests.helpers.cli_toys import ROOT
from tests.helpers.mcp_toys import Door

ASK = "tests.helpers.comparison_toys:ask"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "traces.duckdb"
    comparison_toys.record(path, 4)
    return path


def open_door(place: Path, *functions: str) -> Door:
    return Door(place, functions=functions, folder=str(ROOT))


def list_calls(place: Path, name: str) -> list[Any]:
    return list(llm_trace.open_store(place).calls(name=name, run="try v1"))


def test_calls_run_again_with_another_prompt_and_those_mended_are_counted(place: Path) -> None:
    door = open_door(place, ASK)
    calls = list_calls(place, "ask")
    ids = [call.span_id for call in calls]
    same = door.call("replay", ids=ids, wait_s=120)
    assert same["verdict"].startswith("0 of 4 calls answer otherwise than then (0% to 60% of such calls")
    name = calls[0].prompt.name
    changed = door.call(
        "replay", ids=ids, prompts={name: "{question} if you please"}, wait_s=120,
        expected={ids[0]: calls[0].output, **dict.fromkeys(ids[1:], "otherwise")},
    )  # fmt: skip
    assert changed["verdict"].startswith("4 of 4 calls answer otherwise than then (40% to 100% of such calls")
    assert " Right: 1 of 4 then, 0 of 4 now; 0 mended, 1 broken (" in changed["verdict"]
    assert [pair["same"] for pair in changed["recorded"]["pairs"]] == [False] * 4
    assert changed["recorded"]["pairs"][0]["then"] == calls[0].output
    (more,) = changed["more"]
    again = door.call(more["tool"], **more["arguments"])["recorded"]["calls"]
    assert {call["id"] for call in again} == {pair["new"] for pair in changed["recorded"]["pairs"]}


def test_only_functions_that_were_named_run(place: Path) -> None:
    ask = list_calls(place, "ask")[0].span_id
    for named in ((), ("tests.helpers.comparison_toys:nobody",)):
        error = open_door(place, *named).fail("replay", ids=[ask])
        assert error.startswith(f"ConfigurationError: call {ask} is of no function that may run, nor is one")
    error = open_door(place, ASK).fail("replay", ids=[ask], function="os:system")
    assert error == "function: Extra inputs are not permitted"


def test_a_call_inside_one_that_may_run_is_run_by_that_one(place: Path) -> None:
    door = open_door(place, "tests.helpers.comparison_toys:answer")
    (call,) = list_calls(place, "ask")[:1]
    answer = door.call("replay", ids=[call.span_id], mode="recorded", wait_s=120)
    (pair,) = answer["recorded"]["pairs"]
    (outer,) = [c for c in list_calls(place, "answer") if c.span_id == call.parent_id]
    assert (pair["id"], pair["then"], pair["same"]) == (call.span_id, outer.output, True)


def test_work_that_takes_long_is_asked_for_by_its_job(place: Path) -> None:
    door = open_door(place, ASK)
    ids = [list_calls(place, "ask")[0].span_id]
    begun = door.call("replay", ids=ids, wait_s=0)
    (more,) = begun["more"]
    assert begun["verdict"] == f"It still runs, as job {more['arguments']['job']}: nothing is decided yet."
    done = door.call("replay", **more["arguments"], wait_s=120)
    assert done["verdict"].startswith("0 of 1 call answer otherwise")


def test_what_breaks_in_the_process_is_said_as_data(place: Path) -> None:
    door = open_door(place, "tests.helpers.none:ask")
    error = door.fail("replay", ids=[list_calls(place, "ask")[0].span_id], wait_s=120)
    assert error.startswith("ReplayError: there is no module 'tests.helpers.none'")
    refused = open_door(place, ASK).fail(
        "replay", ids=[list_calls(place, "ask")[0].span_id], mode="recorded", model="other"
    )
    assert refused.startswith(
        "ConfigurationError: where all is answered from the record no change has an effect"
    )


def test_a_wrong_name_of_a_function_is_refused_at_the_start(place: Path) -> None:
    with pytest.raises(llm_trace.errors.ConfigurationError, match="'app' is no module:function"):
        open_door(place, "app")
