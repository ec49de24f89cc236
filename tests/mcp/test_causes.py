"""`why` and `bisect` through the door: what is to blame by number, its words as data, and the cost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import llm_trace
from llm_trace.mcp.limits import TOKENS, estimate_tokens
from tests.helpers.cause_toys import DAMAGED, record_causes
from tests.helpers.cli_toys import ROOT
from tests.helpers.mcp_toys import Door

TOYS = "tests.helpers.cause_toys"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("causes") / "traces.duckdb"
    record_causes(path)
    return path


def open_door(place: Path, *functions: str) -> Door:
    return Door(place, functions=[f"{TOYS}:{name}" for name in functions], folder=str(ROOT))


def find_refund(place: Path) -> str:
    with llm_trace.open_store(place) as store:
        return store.calls(name="refund", run="agent")[0].span_id


def test_the_tool_result_that_caused_a_refund_is_named_by_its_number_and_quoted_as_data(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAID_FILE", str(tmp_path / "paid"))
    refund = find_refund(place)
    answer = open_door(place, "solve").call("why", id=refund, wait_s=120)
    assert answer["verdict"].startswith(
        "With everything as it was 10 of 10 reruns decide so. Shown to have caused it, 95% sure over all "
        "steps: step 1 (tool): without it 0 of 5 decide so (effect +100%, +"
    )
    assert re.search(r" It took \d+ calls of the model\.$", answer["verdict"])
    with llm_trace.open_store(place) as store:
        (agent,) = {call.run for call in store.calls(run="agent")}
        assert {run.fork_of for run in store.runs() if "why" in run.config.get("fork", {})} == {agent}
    step = answer["recorded"]["steps"][0]
    assert (step["number"], step["kind"], step["text"], step["without"]) == (1, "tool", DAMAGED, "0 of 5")
    assert 0 < step["low"] < step["high"] <= 1
    assert not (tmp_path / "paid").exists()  # the model decided for a refund often, and nothing was paid
    own = json.dumps({key: value for key, value in answer.items() if key != "recorded"})
    assert "damaged" not in own
    assert "inspect" not in own
    gave = open_door(place).call(answer["more"][1]["tool"], **answer["more"][1]["arguments"])
    assert gave["recorded"]["call"]["name"] == "inspect"


def test_the_line_that_broke_the_answers_is_blamed_with_bounds_and_cost(place: Path) -> None:
    answer = open_door(place, "reply").call("bisect", a="v1", b="v2", wait_s=120)
    (hunk,) = answer["recorded"]["hunks"]
    assert (hunk["kind"], hunk["after"]) == ("line", "Never pay.\n")
    assert answer["verdict"].startswith(
        f"1 of 3 hunks broke it, 95% sure: number {hunk['number']} raises the loss by 1.00 (0."
    )
    assert " live calls, " in answer["verdict"]
    (more,) = answer["more"]
    assert open_door(place).call(more["tool"], **more["arguments"])["recorded"]["calls"]
    assert "Never" not in json.dumps({key: value for key, value in answer.items() if key != "recorded"})
    assert estimate_tokens(json.dumps(answer, separators=(",", ":"))) <= TOKENS


def test_a_bisection_that_takes_long_is_asked_for_by_its_job(place: Path) -> None:
    door = open_door(place, "reply")
    begun = door.call("bisect", a="v2", b="v1", metric="none such", wait_s=0)
    (more,) = begun["more"]
    assert (more["tool"], begun["verdict"][:13]) == ("bisect", "It still runs")
    assert door.fail("bisect", **more["arguments"], wait_s=120).startswith("ReplayError: ")


def test_what_may_not_run_or_cannot_decide_is_refused_before_anything_is_paid(place: Path) -> None:
    refund = find_refund(place)
    for named in ((), ("reply",)):
        error = open_door(place, *named).fail("why", id=refund)
        assert error.startswith(f"ConfigurationError: call {refund} is of no function that may run, nor is")
    error = open_door(place).fail("bisect", a="v1", b="v2")
    assert error.startswith("ConfigurationError: nothing may run: the user names functions when starting")
    error = open_door(place, "nobody").fail("bisect", a="v1", b="v2", wait_s=120)
    assert error.startswith(f"ReplayError: '{TOYS}' has no function 'nobody'")
    poor = open_door(place, "reply").fail("bisect", a="v1", b="v2", budget=2, wait_s=120)
    assert poor.startswith("ReplayError: budget=2 is too small to prove anything: ")
    assert open_door(place, "reply").fail("bisect", a="v1") == (
        "ConfigurationError: name a, which is good, and b, which is worse, or a job"
    )
