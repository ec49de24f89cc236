"""Monitors say what moved, with which version and model, once, whatever they are given."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.errors import ConfigurationError, StoreNotFoundError
from llm_trace.operations import alarms, monitors_reader, read_operations, watch
from llm_trace.operations.monitors import Movement
from llm_trace.operations.monitors_values import is_refusal
from tests.helpers.explained import make_attribution
from tests.helpers.loopback import Loopback
from tests.helpers.spool_toys import BEGIN, HandWriter, span

PROMPT = "Policy: {policy}\nQuestion: {question}"
N, AT = 560, 360


@pytest.fixture(autouse=True)
def _fresh() -> None:
    alarms._submitted.clear()


def write_calls(
    writer: HandWriter,
    n: int = N,
    first: int = 0,
    end: Callable[[int], dict[str, Any]] | None = None,
    **start: Any,
) -> None:
    for i in range(first, first + n):
        writer.start(i, **start)
        writer.end(i, **(end(i) if end else {}))


def write_prompts(writer: HandWriter) -> None:
    for number, version in enumerate(("aaa", "bbb")):
        writer.event(
            "prompt", name="refund", version=version, template=PROMPT + "!" * number, time_ns=BEGIN + number
        )


def write_explained(writer: HandWriter, rng: random.Random, n: int = N, at: int = AT) -> None:
    """Record calls whose weight moves from the policy to the question with the prompt's second version."""
    write_prompts(writer)
    values = {"policy": "14 days", "question": "mine is broken"}
    for i in range(n):
        version = "aaa" if i < at else "bbb"
        writer.call(i, prompt={"name": "refund", "version": version, "variables": values})
        share = (0.4 if i < at else 0.12) + rng.uniform(-0.1, 0.1)
        prompt = PROMPT.format(**values)
        scores = [0.0, share / 2, share / 2, 0.0, 0.5 - share / 2, 0.0, 0.5 - share / 2]
        attribution = make_attribution(prompt, scores[: len(prompt.split())])
        writer.event(
            "attribution", id=span(i), span_id=span(i), trace_id=f"{i:032x}", start_ns=BEGIN + i * 10**9,
            time_ns=BEGIN + i * 10**9 + 9, method="occlusion", config_hash="c", status="ok",
            attribution=attribution.model_dump(mode="json"),
        )  # fmt: skip


def test_the_weight_that_left_the_policy_is_said_with_the_version_that_did_it(
    path: Path, writer: HandWriter
) -> None:
    write_explained(writer, random.Random(0))
    watching = watch(path)
    moved = {each.metric: each for each in watching.movements}
    policy = moved["weight refund=policy"]
    when = time.strftime("%Y-%m-%d at %H:%M", time.localtime(policy.change_ns / 1e9))
    assert policy.text == (
        "The share of the weight on 'policy' in 'refund' fell from 40 to "
        f"{100 * policy.after:.0f} % on {when}, with prompt refund v2."
    )
    assert policy.before == pytest.approx(0.4, abs=0.01)
    assert policy.after == pytest.approx(0.12, abs=0.03)
    assert policy.causes == ("prompt refund v2",)
    assert policy.span_id == span(AT)
    assert 0 < policy.delay < 60
    assert moved["weight refund=question"].text.startswith(
        "The share of the weight on 'question' in 'refund' rose"
    )
    assert set(moved) == {"weight refund=policy", "weight refund=question"}


def test_errors_are_said_with_the_model_that_came_with_them(path: Path, writer: HandWriter) -> None:
    rng = random.Random(1)

    def end(i: int) -> dict[str, Any]:
        failed = rng.random() < (0.02 if i < AT else 0.4)
        return {"model": "small-1" if i < AT else "small-2", "status": "error" if failed else "ok"}

    write_calls(writer, end=end)
    (movement,) = watch(path).movements
    assert movement.metric == "errors ask"
    assert movement.text.startswith("The rate of errors of 'ask' rose from ")
    assert movement.text.endswith(", with model small-2.")
    assert abs(int(movement.span_id, 16) - AT) < 25


METRICS: dict[str, tuple[Callable[[bool, random.Random], dict[str, Any]], str]] = {
    "latency": (
        lambda late, rng: {"took": rng.lognormvariate(0, 0.4) * (3 if late else 1)},
        "The median latency of 'ask' rose from 1.0 s to 2.",
    ),
    "cost": (
        lambda late, rng: {"cost_usd": rng.choice([0.001, 0.002]) / (4 if late else 1)},
        "The median cost of a call of 'ask' fell from $0.00",
    ),
    "refusals": (
        lambda late, rng: {
            "output": "I'm sorry, but I can't help." if late and rng.random() < 0.5 else "Yes."
        },
        "The rate of refusals of 'ask' rose from 0 to ",
    ),
}


@pytest.mark.parametrize("metric", METRICS)
def test_each_metric_of_calls_is_followed(metric: str, path: Path, writer: HandWriter) -> None:
    draw, text = METRICS[metric]
    rng = random.Random(2)

    def end(i: int) -> dict[str, Any]:
        fields = draw(i >= AT, rng)
        took = int(fields.pop("took", 0.5) * 10**9)
        return {"end_ns": BEGIN + i * 10**9 + took, **fields}

    write_calls(writer, end=end)
    (movement,) = watch(path).movements
    assert movement.metric == f"{metric} ask"
    assert movement.text.startswith(text)
    assert 0 < movement.delay < 120


SCORES: dict[str, tuple[Callable[[bool, random.Random], Any], str, str]] = {
    "yes or no": (
        lambda late, rng: rng.random() < (0.3 if late else 0.8),
        "score tone",
        "The rate of 'tone' fell from ",
    ),
    "from 0 to 1": (
        lambda late, rng: rng.betavariate(2, 4) if late else rng.betavariate(4, 2),
        "score tone",
        "The mean of 'tone' fell from 0.6",
    ),
    "stars": (
        lambda late, rng: rng.choice([1, 2, 3]) if late else rng.choice([3, 4, 5]),
        "score tone",
        "The median of 'tone' fell from 4 to ",
    ),
    "a label": (
        lambda late, rng: "rude" if rng.random() < (0.6 if late else 0.1) else "kind",
        "score tone=rude",
        "The rate of 'rude' among the scores 'tone' rose from ",
    ),
}


@pytest.mark.parametrize("kind", SCORES)
def test_scores_of_each_kind_are_followed(kind: str, path: Path, writer: HandWriter) -> None:
    draw, metric, text = SCORES[kind]
    rng = random.Random(3)
    write_calls(writer)
    for i in range(N):
        value = draw(i >= AT, rng)
        writer.event(
            "score", id=span(i), span_id=span(i), name="tone", value=value, time_ns=BEGIN + i * 10**9
        )
    moved = {each.metric: each for each in watch(path).movements}
    assert moved[metric].text.startswith(text)
    assert abs(int(moved[metric].span_id, 16) - AT) < 25


def test_a_label_that_was_never_there_before_is_noticed(path: Path, writer: HandWriter) -> None:
    write_calls(writer)
    for i in range(N):
        value = "toxic" if i >= AT and i % 3 == 0 else "fine"
        writer.event(
            "score", id=span(i), span_id=span(i), name="tone", value=value, time_ns=BEGIN + i * 10**9
        )
    moved = {each.metric for each in watch(path).movements}
    assert "score tone=toxic" in moved


def test_a_score_at_the_call_around_counts_too(path: Path, writer: HandWriter) -> None:
    for i in range(N):
        writer.call(2 * i, kind="chain", name="desk", trace_id=f"{i:032x}")
        writer.call(2 * i + 1, trace_id=f"{i:032x}", parent_id=span(2 * i), model="m1" if i < AT else "m2")
        value = i % 3 > 0 if i < AT else i % 3 == 0
        writer.event("score", id=span(i), span_id=span(2 * i), name="right", value=value, time_ns=BEGIN + i)
    (movement,) = watch(path).movements
    assert movement.text.startswith("The rate of 'right' fell from 67 to ")
    assert movement.causes == ("model m2",)


def test_verdicts_and_decisions_are_followed(path: Path, writer: HandWriter) -> None:
    write_calls(writer)
    for i in range(N):
        late = i >= AT
        attribution = make_attribution("a b", [1.0, 2.0], verdict="redundant" if late and i % 2 else "ok")
        writer.event(
            "attribution", id=span(i), span_id=span(i), time_ns=BEGIN + i, method="smile", config_hash="c",
            status="ok", attribution=attribution.model_dump(mode="json"),
        )  # fmt: skip
        action = "automate" if (i % 4 == 0 if late else i % 4 > 0) else "check"
        writer.event(
            "operation", id=span(i), kind="decision", subject="desk", span_id=span(i), time_ns=BEGIN + i,
            body={"action": action},
        )  # fmt: skip
    moved = {each.metric: each.text for each in watch(path).movements}
    assert set(moved) == {
        "verdict ask=ok", "verdict ask=redundant", "decision desk=automate", "decision desk=check",
    }  # fmt: skip
    assert moved["decision desk=automate"].startswith(
        "The rate of 'automate' among the decisions of 'desk' fell"
    )


def test_an_alarm_is_sent_once_whoever_watches_again(path: Path, writer: HandWriter) -> None:
    write_explained(writer, random.Random(0))
    with Loopback() as server:
        for _ in range(2):
            watching = watch(path, targets=[f"{server.url}/hook"])
            for sending in watching.sendings:
                assert {d.state for d in sending.wait(60)} <= {"sent", "already"}
            alarms._submitted.clear()
        texts = {request.json()["text"] for request in server.received}
        assert len(server.received) == len(texts) == 2
    assert texts == {each.text for each in watching.movements}


def test_the_same_change_found_from_another_beginning_is_not_sent_again(
    path: Path, writer: HandWriter
) -> None:
    write_explained(writer, random.Random(0))
    with Loopback() as server:
        for since in (None, BEGIN + 100 * 10**9):
            watching = watch(path, targets=[f"{server.url}/hook"], since=since)
            for sending in watching.sendings:
                sending.wait(60)
        assert len(watching.movements) == len(server.received) == 2
    with llm_trace.open_store(path) as store:
        assert sum(o.body["state"] == "raised" for o in read_operations(store, kind="alarm")) == 2


def test_a_second_look_reads_only_what_is_new(path: Path, writer: HandWriter) -> None:
    write_calls(writer, AT)
    watching = watch(path)
    (errors,) = [state for state in watching.states if state.metric == "errors ask"]
    assert errors.values == AT
    assert watching.look() == []
    write_calls(writer, 60, AT, end=lambda i: {"status": "error"})
    (movement,) = watching.look()
    assert (movement.metric, movement.span_id) == ("errors ask", span(AT))
    assert watching.look() == []
    assert watching.movements == [movement]


def test_looks_in_pieces_find_what_one_look_does(path: Path, writer: HandWriter) -> None:
    rng = random.Random(5)
    failed = [rng.random() < (0.05 if i < AT else 0.5) for i in range(N)]
    watching = None
    for first in range(0, N, 140):
        write_calls(writer, 140, first, end=lambda i: {"status": "error" if failed[i] else "ok"})
        watching = watching or watch(path)
        watching.look()
    assert watching is not None

    def drop(movement: Movement) -> dict[str, Any]:
        return movement.model_dump()

    assert list(map(drop, watching.movements)) == list(map(drop, watch(path).movements))


def test_a_clock_that_is_put_back_hides_nothing(path: Path, writer: HandWriter) -> None:
    write_calls(writer, AT)
    watching = watch(path)
    for i in range(AT, AT + 60):
        back = BEGIN + (i - 300) * 10**9 + 5
        writer.start(i, start_ns=back)
        writer.end(i, end_ns=back + 9, status="error")
    assert [each.metric for each in watching.look()] == ["errors ask"]


def test_numbers_that_are_none_are_left_out_and_counted(path: Path, writer: HandWriter) -> None:
    write_calls(writer, 10)
    for i in range(10):
        line = {"event": "score", "id": span(i), "span_id": span(i), "name": "tone", "time_ns": BEGIN + i}
        value = "1e999" if i % 2 else "0.5"
        writer.raw(json.dumps({**line, "value": "X"}).replace('"X"', value).encode() + b"\n")
    watching = watch(path)
    (scores,) = [state for state in watching.states if state.metric == "score tone"]
    assert (scores.values, watching.left_out) == (5, 5)


def test_a_clock_put_back_during_a_call_gives_no_latency(path: Path, writer: HandWriter) -> None:
    write_calls(writer, 10, end=lambda i: {"end_ns": BEGIN + i * 10**9 - 7} if i == 4 else {})
    watching = watch(path)
    assert {state.metric: state.values for state in watching.states} == {"errors ask": 10, "latency ask": 9}
    assert watching.left_out == 1


def test_what_comes_too_late_to_be_told_from_earlier_calls_is_counted(
    path: Path, writer: HandWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitors_reader, "REMEMBERED", 100)
    write_calls(writer, 300)
    watching = watch(path)
    for i, second in enumerate((210, 220, 20, 30, 40), start=300):  # of the calls after 200 the ids are known
        writer.start(i, start_ns=BEGIN + second * 10**9 + 1)
        writer.end(i, end_ns=BEGIN + second * 10**9 + 2)
    watching.look()
    assert (watching.states[0].values, watching.missed) == (302, 3)


def test_a_constant_metric_never_alarms(path: Path, writer: HandWriter) -> None:
    write_calls(writer, 1500, end=lambda i: {"cost_usd": 0.002})
    watching = watch(path, false_alarms=0.01)
    assert watching.movements == []
    assert {state.values for state in watching.states} == {1500}


def test_few_calls_are_learnt_from(path: Path, writer: HandWriter) -> None:
    write_calls(writer, 3)
    watching = watch(path)
    assert all(state.is_learning and state.values == 3 for state in watching.states)
    assert watching.movements == []


def test_other_calls_are_not_watched(path: Path, writer: HandWriter) -> None:
    write_calls(writer, 5, end=lambda i: {"output": "yes"})
    write_calls(writer, 5, 5, name="other", kind="tool")
    assert {state.metric for state in watch(path).states} == {"errors ask", "refusals ask", "latency ask"}
    assert "errors other" in {state.metric for state in watch(path, kind=None, name="other").states}
    assert watch(path, prompt="none").states == []


@pytest.mark.parametrize(
    "setting",
    [{"false_alarms": 0.0}, {"false_alarms": 0.5}, {"learn": 3}, {"smallest": 0.9}, {"targets": ["nowhere"]}],
    ids=["never", "always", "learn", "smallest", "target"],
)
def test_a_setting_that_cannot_work_is_refused(
    setting: dict[str, Any], path: Path, writer: HandWriter
) -> None:
    write_calls(writer, 1)
    with pytest.raises(ConfigurationError):
        watch(path, **setting)


def test_no_store_is_said(path: Path) -> None:
    with pytest.raises(StoreNotFoundError):
        watch(path)


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I’m sorry, I cannot do this", True),
        ("Unfortunately, I am unable to answer.", True),
        ("I won't do that.", True),
        ("As an AI language model, I cannot say.", True),
        ("Sorry for the delay! Your refund is on its way.", False),
        ("I can help with that.", False),
        ("No.", False),
        ("", False),
        ("You can't miss it.", False),
    ],
)
def test_refusals_are_known_by_how_they_begin(text: str, refuses: bool) -> None:
    assert is_refusal(text) is refuses
