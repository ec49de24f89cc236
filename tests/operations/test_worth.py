"""What it is worth: figures with bounds that known histories come to, and what is not known says so."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.errors import ConfigurationError, StoreNotFoundError
from llm_trace.operations import Figure, OperationLog, Worth, worth
from llm_trace.operations.reviews import draw_explained
from llm_trace.operations.worth_fixes import AskedQuestion, FixedFailure, list_failed_calls
from tests.helpers.cli_toys import answer, invoke
from tests.helpers.review_toys import decide, explain, record_calls
from tests.helpers.spool_toys import BEGIN, HandWriter, span

MINUTE = 60


def find(result: Worth, name: str) -> Figure:
    (figure,) = [figure for figure in result.figures if figure.name == name]
    return figure


def score_calls(path: Path, scores: dict[str, Any], name: str = "correct", source: Any = "code") -> None:
    llm_trace.configure(path)
    for span_id, value in scores.items():
        llm_trace.log_score(name, value, call=span_id, source=source)
    llm_trace.shutdown()


def ask(version: int, minute: int, passes: bool, question: str = "late?") -> AskedQuestion:
    return AskedQuestion("desk", question, minute * MINUTE * 10**9, version, passes)


def test_a_failure_ends_with_the_first_right_answer_of_a_later_version() -> None:
    history = [
        ask(1, 0, True), ask(1, 5, False), ask(1, 6, True), ask(1, 7, False), ask(2, 10, False),
        ask(2, 12, True), ask(2, 13, True), ask(2, 20, False), ask(3, 26, False),
    ]  # fmt: skip
    minute = MINUTE * 10**9
    assert list_failed_calls([*history, ask(1, 1, False, "other?")]) == [
        FixedFailure(5 * minute, 12 * minute, is_fixed=True),
        FixedFailure(20 * minute, 26 * minute, is_fixed=False),
        FixedFailure(1 * minute, 1 * minute, is_fixed=False),
    ]


def record_versions(path: Path, rows: Iterable[tuple[int, str, str, bool]]) -> None:
    """Record scored calls: (minute, version, question, right), each inside a call that holds the score."""
    writer = HandWriter(path.with_name(path.name + ".spool"))
    for number, (minute, version, question, right) in enumerate(rows):
        start, ids = BEGIN + minute * MINUTE * 10**9, {"trace_id": f"{number + 1:032x}"}
        writer.event("prompt", name="desk", version=version, template=version, time_ns=start)
        writer.start(2 * number, start_ns=start, kind="chain", name="desk", **ids)
        writer.start(
            2 * number + 1, start_ns=start, parent_id=span(2 * number), **ids,
            prompt={"name": "desk", "version": version, "variables": {"question": question}},
        )  # fmt: skip
        for each in (2 * number + 1, 2 * number):
            writer.event("end", span_id=span(each), end_ns=start + 10**9, status="ok", output="no")
        writer.event(
            "score", id=span(90_000 + number), span_id=span(2 * number), name="correct", value=right,
            source="code", time_ns=start,
        )  # fmt: skip
    writer.close()


def test_the_time_to_the_fix_is_that_by_which_half_of_the_failures_are_fixed(path: Path) -> None:
    record_versions(
        path,
        [
            (0, "aa", "q1", False), (0, "aa", "q2", False), (0, "aa", "q3", False), (0, "aa", "q4", True),
            (5, "aa", "q5", False),
            (30, "bb", "q1", True), (30, "bb", "q2", False), (30, "bb", "q3", False), (30, "bb", "q4", False),
            (90, "cc", "q2", True), (90, "cc", "q3", False), (100, "cc", "q4", True),
        ],
    )  # fmt: skip
    result = worth(path)
    median = find(result, "Median time to the fix")
    # q1 after 30 minutes, q4 after 70, q2 after 90, q3 not within 90; q5 was not asked again
    assert (median.value, median.n, median.shown) == (70 * MINUTE, 4, "1 h 10 min")
    assert [find(result, f"Failures {state}").value for state in (
        "fixed by a later version", "that later versions still have", "that no later version was asked about",
    )] == [3, 1, 1]  # fmt: skip
    assert find(worth(path, prompt="none"), "Median time to the fix").value is None


@pytest.mark.parametrize(
    ("later", "why"),
    [
        ([], "no later version was asked any of the questions that failed"),
        ([(9, "bb", "q", False)], "none of 1 failure that a later version was asked about is fixed"),
    ],
    ids=["not-asked", "still-wrong"],
)
def test_without_a_fix_the_time_to_it_is_not_known_and_the_reason_is_said(
    path: Path, later: list[tuple[int, str, str, bool]], why: str
) -> None:
    record_versions(path, [(0, "aa", "q", False), *later])
    median = find(worth(path), "Median time to the fix")
    assert (median.value, median.words) == (None, why)


def test_half_that_is_not_fixed_yet_is_not_known(path: Path) -> None:
    record_versions(
        path,
        [(0, "aa", q, False) for q in "abc"] + [(9, "bb", q, q == "a") for q in "abc"],
    )
    median = find(worth(path), "Median time to the fix")
    assert (median.value, median.shown) == (None, "not known")
    assert "fewer than half are fixed so far" in median.words


def operate(path: Path, spans: list[str], subject: str, **body: Any) -> None:
    with OperationLog(path) as log:
        for span_id in spans:
            log.append("decision", subject, body, span_id)


def test_errors_prevented_are_those_of_the_shadow_stage_less_those_that_still_go_out(path: Path) -> None:
    spans = record_calls(path, 300)
    shadow, act = spans[:100], spans[100:]
    operate(path, shadow, "refunds", action="automate", effect="note")
    operate(path, act[:80], "refunds", action="check", effect="act")
    operate(path, act[80:100], "refunds", action="check", audit=True, effect="act")
    operate(path, act[100:], "refunds", action="automate", effect="act")
    score_calls(path, {s: i >= 20 for i, s in enumerate(shadow)})  # 20 % wrong in shadow
    score_calls(path, {s: i >= 30 for i, s in enumerate(act[:60])}, source="human")  # 30 caught, 20 unchecked
    score_calls(path, {s: i >= 1 for i, s in enumerate(act[80:100])}, source="human")  # 5 % of the audited
    result = worth(path)
    caught = find(result, "Errors caught before they went out, by refunds")
    assert (caught.value, caught.n) == (31, 80)
    prevented = find(result, "Errors prevented against the shadow stage, by refunds")
    assert prevented.value == pytest.approx(200 * 0.2 - 100 * 0.05)
    assert prevented.low is not None
    assert prevented.high is not None
    assert 10 < prevented.low < 35 < prevented.high < 60
    time = find(result, "Reviewers' time that calls which ran alone did not take")
    assert (time.value, time.n) == (None, 100)
    assert "how long a review takes is not known" in time.words


def test_the_audits_that_a_gate_was_told_of_count_like_scores_and_give_way_to_these(path: Path) -> None:
    spans = record_calls(path, 30)
    operate(path, spans[:10], "desk", action="automate", effect="note")
    operate(path, spans[10:20], "desk", action="check", audit=True, effect="act")
    operate(path, spans[20:], "desk", action="automate", effect="act")
    with OperationLog(path) as log:
        for i, span_id in enumerate(spans[10:20]):
            log.append("audit", "desk", {"gate": "aa", "right": i >= 4}, span_id)
            log.append("audit", "other", {"gate": "bb", "right": False}, span_id)
    score_calls(path, {s: i >= 5 for i, s in enumerate(spans[:10])})
    assert find(worth(path), "Errors caught before they went out, by desk").value == 4
    score_calls(path, {spans[10]: True}, source="human")
    result = worth(path)
    assert find(result, "Errors caught before they went out, by desk").value == 3
    prevented = find(result, "Errors prevented against the shadow stage, by desk")
    assert prevented.value == pytest.approx(20 * 0.5 - 10 * 0.3)


@pytest.mark.parametrize(
    ("scored", "why"),
    [
        ([], "no call of the stages shadow and advise has a correct"),
        (range(10), "10 calls ran alone, and none of the audited ones has a correct"),
    ],
    ids=["nothing", "no-audits"],
)
def test_without_the_shadow_stage_or_audits_nothing_is_claimed(
    path: Path, scored: Iterable[int], why: str
) -> None:
    spans = record_calls(path, 20)
    operate(path, spans[:10], "refunds", action="automate", effect="note")
    operate(path, spans[10:], "refunds", action="automate", effect="act")
    score_calls(path, {spans[i]: i > 2 for i in scored})
    prevented = find(worth(path), "Errors prevented against the shadow stage, by refunds")
    assert (prevented.value, prevented.low, why in prevented.words) == (None, None, True)
    assert find(worth(path), "Errors caught before they went out, by refunds").value is None


def test_reviewers_compare_with_and_without_explanations_where_these_were_drawn(path: Path) -> None:
    spans = record_calls(path, 60)
    explain(path, spans)
    truths = {s: i % 2 == 0 for i, s in enumerate(spans)}
    score_calls(path, truths)
    drawn = [draw_explained("random", "anna", span_id) for span_id in spans]
    # with explanations always right, else two of three times
    right_of = {s: truths[s] == (drawn[i] or i % 3 > 0) for i, s in enumerate(spans)}
    seconds = [{"seconds": (4.0 if explained else 9.0) + i % 2} for i, explained in enumerate(drawn)]
    decide(
        path, *((s, "anna", right_of[s], each) for s, each in zip(spans, seconds, strict=True)), mode="random"
    )
    decide(path, (spans[0], "ben", not truths[spans[0]]), mode="always", seconds=900.0)
    result = worth(path)
    shown, hidden, difference = (
        find(result, f"Seconds of a review{part}")
        for part in (", with explanations", ", without explanations", ": difference that explanations make")
    )
    assert shown.n + hidden.n == difference.n == 60
    assert shown.value == pytest.approx(4.5, abs=0.3)
    assert hidden.value == pytest.approx(9.5, abs=0.3)
    assert difference.value == pytest.approx(shown.value - hidden.value)
    assert difference.high is not None
    assert difference.high < -4
    assert difference.words.endswith("explanations make people faster")
    right = find(result, "Right decisions: difference that explanations make")
    assert find(result, "Right decisions, with explanations").value == 1.0
    assert right.low is not None
    assert right.high is not None
    assert 0 < right.low < 0.33 < right.high
    assert right.words.endswith("explanations make people more often right")
    assert find(result, "Agreement of reviewers (alpha)").value is None


def test_what_runs_alone_saves_the_time_that_reviews_take_and_its_price(path: Path) -> None:
    spans = record_calls(path, 40)
    operate(path, spans[10:], "refunds", action="automate", effect="act")
    decide(path, *((s, "anna", True, {"seconds": 8.0 + i % 5}) for i, s in enumerate(spans[:10])))
    result = worth(path, hourly_usd=36)
    time = find(result, "Reviewers' time that calls which ran alone did not take")
    money = find(result, "What that time would have cost")
    assert time.value == pytest.approx(300)
    assert money.value == pytest.approx(3.0)
    assert time.low is not None
    assert money.low == pytest.approx(time.low / 100)
    assert find(worth(path), "What that time would have cost").value is None
    assert find(result, "Right decisions").value is None
    assert "a program" in find(result, "Right decisions").words


def test_an_optimized_prompt_counts_from_when_it_is_in_use(path: Path) -> None:
    better, worse = llm_trace.Prompt("desk", "Be fair: {q}"), llm_trace.Prompt("desk", "{q}")
    llm_trace.configure(path)
    record_prompt(worse)
    llm_trace.shutdown()
    with OperationLog(path) as log:
        note = {"what": "optimize", "version": worse.version, "winner": worse.version, "gain": 0.1}
        log.append("note", "desk", note | {"status": "undecided", "low": -0.1, "high": 0.3})
    name = "Better grades by optimized prompts"
    assert find(worth(path), name).words == "no template was shown to be better in 1 optimization"
    with OperationLog(path) as log:
        gain = {"status": "better", "gain": 0.2, "low": 0.125, "high": 0.25}
        log.append("note", "desk", note | {"winner": better.version} | gain)
    unused = find(worth(path), f"{name}, prompt desk")
    assert (unused.value, "not in use yet" in unused.words) == (None, True)
    llm_trace.configure(path)
    record_prompt(better)
    llm_trace.shutdown()
    figure = find(worth(path), f"{name}, prompt desk")
    assert (figure.shown, figure.n) == ("+20.0 points (+12.5 points to +25.0 points)", 1)
    assert "1 call of the winner since" in figure.words
    assert find(worth(path, prompt="other"), name).value is None


def record_prompt(prompt: llm_trace.Prompt) -> None:
    """Record a call of a prompt."""

    @llm_trace.trace(kind="llm", model="toy")
    def ask(prompt: str) -> str:
        return "yes"

    ask(prompt.format(q="late?"))


def test_in_a_store_where_nothing_was_operated_nothing_is_known(path: Path) -> None:
    record_calls(path, 2)
    result = worth(path)
    assert result.known == []
    assert {figure.shown for figure in result.figures} == {"not known"}
    assert {figure.topic for figure in result.figures} == {"fixing", "errors", "savings", "reviewing"}
    printed = invoke(path, "worth")
    assert (printed.exit_code, "none of it is known yet" in printed.stderr) == (3, True)
    assert " 0;" not in str(result)


def test_the_command_prints_figures_for_people_and_programs(path: Path) -> None:
    spans = record_calls(path, 4)
    decide(path, *((s, "anna", True) for s in spans), seconds=3.0)
    assert "Seconds of a review: 3.0 s" in invoke(path, "worth").stdout
    figures = answer(path, "worth")["figures"]
    (seconds,) = [figure for figure in figures if figure["name"] == "Seconds of a review"]
    assert (seconds["value"], seconds["unit"], seconds["n"]) == (3.0, "seconds", 4)
    assert json.dumps(figures)


@pytest.mark.parametrize(
    "arguments",
    [
        {"confidence": 1.0},
        {"confidence": float("nan")},
        {"hourly_usd": -1},
        {"hourly_usd": float("nan")},
        {"passing": float("nan")},
        {"passing": float("inf")},
    ],
    ids=["certain", "nan", "negative", "no-price", "passing-nan", "passing-infinite"],
)
def test_numbers_that_cannot_be_meant_are_refused(path: Path, arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        worth(path, **arguments)


def test_a_store_that_is_not_there_is_said(path: Path) -> None:
    with pytest.raises(StoreNotFoundError):
        worth(path)


@pytest.mark.parametrize("value", ["wrong tone", float("1e300"), -5.0], ids=["label", "huge", "below"])
def test_odd_scores_and_decisions_break_nothing(path: Path, value: Any) -> None:
    spans = record_calls(path, 3)
    score_calls(path, dict.fromkeys(spans, value))
    operate(path, spans, "it's \"odd\" '; --", action="check", effect="act")
    operate(path, spans, "x", action=17, effect=["a"])
    decide(path, *((s, "anna", value) for s in spans), seconds=0.0)
    result = worth(path)
    assert find(result, "Seconds of a review").value == 0.0
    assert str(result)
