"""Mutants from attribution, and a failure that becomes a permanent test in one command."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import duckdb  # noqa: F401
import pytest
import scipy.stats  # noqa: F401

import llm_trace
import llm_trace.evaluation.failure_tests
from llm_trace.errors import ConfigurationError
from llm_trace.evaluation import make_mutants
from llm_trace.evaluation.failure_tests import write_failure_test
from tests.helpers.cli_toys import invoke
from tests.helpers.explained import keep_attributions, make_attribution

# What is imported above stays: pytester unloads what a run inside this process imports.
pytest_plugins = ["pytester"]

MESSAGE = "Hello, I bought this lamp 75 days ago. Thanks."
PROMPT = f"Decide.\n\nCustomer: {MESSAGE}\n\nAnswer:"


def weigh(**values: float) -> list[float]:
    """Return a value for each word of the prompt, 0.01 where none is given."""
    return [values.get(word.strip(".,:").lower(), 0.01) for word in PROMPT.replace("75", "days75").split()]


def test_words_that_mattered_must_flip_the_answer_and_others_must_not() -> None:
    attribution = make_attribution(PROMPT, weigh(days75=5.0, lamp=0.8, decide=9.0), full=-0.01, unit="nats")
    mutants = make_mutants(attribution, {"message": MESSAGE, "n": 3}, most=4)
    assert [(m.name, m.flips) for m in mutants] == [
        ("without 75", True), ("without I", False), ("without this", False), ("without ago.", False),
    ]  # fmt: skip
    assert mutants[0].input == {"message": "Hello, I bought this lamp days ago. Thanks.", "n": 3}
    assert all(m.input["n"] == 3 for m in mutants)


def test_without_what_spoke_against_the_answer_it_must_stay() -> None:
    attribution = make_attribution(PROMPT, weigh(days75=2.0, lamp=-9.0, hello=0.5), full=-7.0, unit="nats")
    mutants = make_mutants(attribution, {"message": MESSAGE}, most=4)
    assert [(m.name, m.flips) for m in mutants[:2]] == [("without 75", True), ("without lamp", False)]


def test_words_that_stand_in_for_each_other_go_together() -> None:
    message = "I am gold and VIP, 45 days"
    values = [0.0, 0.0, 0.1, 0.0, 0.1, 3.0, 0.0]
    attribution = make_attribution(message, values, groups=((2, 4),), full=-0.1)
    mutants = make_mutants(attribution, {"messages": [{"role": "user", "content": message}]}, most=4)
    assert [(m.name, m.flips) for m in mutants] == [
        ("without 45", True), ("without gold VIP,", True), ("without am", False), ("without days", False),
    ]  # fmt: skip
    assert mutants[1].input == {"messages": [{"role": "user", "content": "I am and 45 days"}]}


WRONG: dict[str, tuple[Any, str]] = {
    "another prompt": ({"message": "Something else"}, "no part of the attribution's prompt"),
    "no text": ({"n": 75}, "no part of the attribution's prompt"),
    "nothing mattered": ({"message": "this lamp"}, "no word of the input made a difference"),
}


@pytest.mark.parametrize("case", WRONG)
def test_where_no_mutant_can_be_made_it_is_said(case: str) -> None:
    arguments, words = WRONG[case]
    values = [0.0 if word in ("this", "lamp") else 1.0 for word in PROMPT.split()]
    with pytest.raises(ConfigurationError, match=words):
        make_mutants(make_attribution(PROMPT, values), arguments)


APP = """
import re
import llm_trace

@llm_trace.trace(kind="llm", model="toy")
def ask(prompt):
    days = re.search(r"\\d+", prompt)
    if "lamp" in prompt and "Lamps do not matter" not in prompt:
        return "APPROVE"
    return "ASK" if days is None else "DENY" if int(days[0]) > 30 else "APPROVE"

RULES = "Decide."

@llm_trace.trace
def answer(message):
    return ask(f"{RULES}\\n\\nCustomer: {message}\\n\\nAnswer:")
"""


def test_a_failure_becomes_a_permanent_test_in_one_command(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyfile(mutant_app=APP)
    monkeypatch.syspath_prepend(str(pytester.path))
    place = pytester.path / "t.duckdb"
    llm_trace.configure(place)
    importlib.import_module("mutant_app").answer(MESSAGE)
    llm_trace.shutdown()
    with llm_trace.open_store(place) as store:
        (asked,) = store.calls(name="ask")
        (failed,) = store.calls(name="answer")
    arguments = ("eval", "mutant_app:answer", "--from-call", failed.span_id[:8], "--right", "DENY")
    file = pytester.path / "tests" / "test_lamp.py"
    refused = invoke(place, *arguments, "--to", str(file))
    assert (refused.exit_code, "has no attribution of 'DENY'" in refused.stderr) == (1, True)
    assert not file.exists()
    keep_attributions(place, asked, make_attribution(PROMPT, weigh(days75=5.0, lamp=-4.0), response="DENY"))
    result = invoke(place, *arguments, "--to", str(file))
    assert result.exit_code == 0, result.output
    sys.modules.pop("mutant_app")
    assert_outcomes(pytester, "replay", passed=2, failed=5)  # it answers as it did: wrong
    pytester.makepyfile(mutant_app=APP.replace('"Decide."', '"Decide. Lamps do not matter."'))
    assert_outcomes(pytester, "record", passed=7, failed=0)
    pytester.makepyfile(mutant_app=APP.replace('"Decide."', '"Decide within 90 days. Lamps do not matter."'))
    assert_outcomes(pytester, "live", passed=6, failed=1)  # the first number counts now: 75 no longer does


def test_an_agents_mutants_are_those_of_the_call_that_gave_the_answer(tmp_path: Path) -> None:
    @llm_trace.trace(kind="llm")
    def choose(prompt: str) -> str:
        return "APPROVE" if "lamp found" in prompt else "look_up(lamp)"

    @llm_trace.trace
    def solve(message: str) -> str:
        choose(PROMPT.replace(MESSAGE, message))
        return choose(f"lamp found\n\n{PROMPT.replace(MESSAGE, message)}")

    place = tmp_path / "t.duckdb"
    llm_trace.configure(place)
    solve(MESSAGE)
    llm_trace.shutdown()
    with llm_trace.open_store(place) as store:
        asked = {call.output: call for call in store.calls(name="choose")}
        (failed,) = store.calls(name="solve")
    for output, values in (("look_up(lamp)", weigh(hello=5.0)), ("APPROVE", weigh(days75=5.0))):
        keep_attributions(place, asked[output], make_attribution(PROMPT, values, response="DENY"))
    with llm_trace.open_store(place) as store:
        file = tmp_path / "test_solve.py"
        assert write_failure_test(file, store, failed, "app:solve", solve, right="DENY") == []
    assert re.findall(r"without (\S+)': .*True", file.read_text()) == ["75"]


def assert_outcomes(pytester: pytest.Pytester, mode: str, **outcomes: int) -> None:
    """Run the test and compare how many passed and failed."""
    result = pytester.runpytest_inprocess(
        "-p", "no:cacheprovider", "-p", "no:randomly", "tests/test_lamp.py", f"--llm-trace={mode}"
    )
    result.assert_outcomes(**outcomes)
