"""A new version of a prompt gets a share of the traffic until a test that may end early has decided."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llm_trace
from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.operations import (
    Canary,
    OperationLog,
    choose_version,
    end_canary,
    judge_canary,
    read_operations,
    start_canary,
)
from llm_trace.operations.canary import compare_arms, find_canary
from llm_trace.stores.duckdb import Store
from tests.helpers.spool_toys import HandWriter, span

CANARY = Canary(prompt="refund", control="aaa", candidate="bbb", score="right", share=0.5)


@pytest.fixture
def store(path: Path, writer: HandWriter) -> Iterator[Store]:
    writer.call(0)
    with llm_trace.open_store(path) as opened:
        yield opened


def write_traffic(
    writer: HandWriter, store: Store, canary: Canary, rates: tuple[float, float], n: int = 300, **score: Any
) -> None:
    """Record scored calls in turn with each version, right so often."""
    rng, begin = random.Random(0), canary.start_ns or 0
    for i in range(1, n + 1):
        version, start = i % 2, begin + i * 10**9
        prompt = {"name": "refund", "version": (canary.control, canary.candidate)[version], "variables": {}}
        writer.start(i, start_ns=start, prompt=prompt)
        writer.end(i, end_ns=start + 9)
        event = {"name": "right", "value": rng.random() < rates[version], "time_ns": start + 10, **score}
        writer.event("score", id=span(i), span_id=span(i), **event)
    store.ingest()


def test_a_worse_version_is_ended_and_its_traffic_goes_back(store: Store, writer: HandWriter) -> None:
    canary = start_canary(store, CANARY)
    write_traffic(writer, store, canary, (0.9, 0.4))
    result = judge_canary(store, "refund")
    assert (result.verdict, result.share, result.has_ended) == ("worse", 0.0, True)
    assert (result.control, result.candidate) == (150, 150)
    assert result.high < 0
    assert result.text.startswith(
        "bbb of 'refund' against aaa: it is worse and gets no more traffic; 'right' "
    )
    assert judge_canary(store, "refund") == result
    events = [o.body["action"] for o in read_operations(store, kind="stage", subject="canary refund")]
    assert events == ["start", "end"]
    assert start_canary(store, CANARY).start_ns != canary.start_ns


def test_before_any_score_nothing_is_decided(store: Store) -> None:
    start_canary(store, CANARY)
    result = judge_canary(store, "refund")
    assert (result.verdict, result.difference, result.has_ended, result.share) == (
        "undecided",
        None,
        False,
        0.5,
    )
    assert result.text == "bbb of 'refund' against aaa: undecided, with 0 scores of 'right' against 0."


def test_a_call_that_failed_counts_as_the_worst_score(store: Store, writer: HandWriter) -> None:
    canary = start_canary(store, CANARY)
    write_traffic(writer, store, canary, (1.0, 1.0), 40)
    for i in range(41, 141):
        start = (canary.start_ns or 0) + i * 10**9
        prompt: dict[str, object] = {"name": "refund", "version": "bbb" if i % 2 else "aaa", "variables": {}}
        writer.start(i, start_ns=start, prompt=prompt)
        writer.end(i, end_ns=start + 9, status="error" if i % 2 else "ok")
        if not i % 2:
            writer.event("score", id=span(i), span_id=span(i), name="right", value=True, time_ns=start)
    store.ingest()
    result = judge_canary(store, "refund")
    assert result.verdict == "worse"
    assert (result.control, result.candidate) == (70, 70)


def test_a_running_canary_is_ended_by_hand_with_a_reason(store: Store) -> None:
    start_canary(store, CANARY)
    with pytest.raises(ConfigurationError, match="is running: bbb against aaa; end it first"):
        start_canary(store, CANARY)
    with pytest.raises(ConfigurationError, match="it is empty"):
        end_canary(store, "refund", " ")
    result = end_canary(store, "refund", "the law changed")
    assert (result.share, result.has_ended) == (0.0, True)
    assert result.text.endswith("Ended: the law changed")
    assert judge_canary(store, "refund") == result
    with pytest.raises(NotFoundError, match="no canary that is running"):
        end_canary(store, "refund", "twice")


def test_a_prompt_without_canary_is_said(store: Store) -> None:
    with pytest.raises(NotFoundError, match="llm-trace stages canary refund A B --score NAME"):
        judge_canary(store, "refund")
    assert find_canary(store, "refund") is None


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            {"low": 1.0, "high": 0.0},
            "high=0.0 of the canary of 'refund' cannot be: give a number above low=1",
        ),
        ({"low": float("-inf")}, "high=1.0 of the canary"),
        ({"margin": 1.0}, "margin=1.0 of the canary of 'refund' cannot be: give 0 or more, and below 1"),
        ({"prompt": " "}, "the prompt of a canary has the name ' '"),
        ({"score": ""}, "the score of a canary has the name ''"),
    ],
    ids=["reversed", "endless", "margin", "no prompt", "no score"],
)
def test_the_setting_that_cannot_be_is_the_one_that_is_named(
    setting: dict[str, Any], words: str, store: Store
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        start_canary(store, CANARY.model_copy(update=setting))
    assert str(refused.value).startswith(words)


@pytest.mark.parametrize(
    ("value", "message"),
    [(7, "is 7, outside 0 to 1"), ("good", "which is no number")],
    ids=["range", "label"],
)
def test_scores_that_cannot_be_compared_are_refused(
    value: Any, message: str, store: Store, writer: HandWriter
) -> None:
    write_traffic(writer, store, start_canary(store, CANARY), (1, 1), 4, value=value)
    with pytest.raises(ConfigurationError, match=message):
        judge_canary(store, "refund")


@pytest.mark.parametrize(
    "setting",
    [{"share": 0.0}, {"share": 1.0}, {"margin": -0.1}, {"margin": 1}, {"confidence": 0.2}, {"high": 0.0},
     {"candidate": "aaa"}],
    ids=["no share", "all", "margin", "wide", "confidence", "range", "same"],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(setting: dict[str, Any], store: Store) -> None:
    with pytest.raises(ConfigurationError, match="cannot be"):
        start_canary(store, CANARY.model_copy(update=setting))
    assert find_canary(store, "refund") is None


def test_a_session_gets_one_version_and_about_its_share_the_new_one(path: Path) -> None:
    canary = CANARY.model_copy(update={"share": 0.2})
    first = [choose_version(path, canary, f"session {i}") for i in range(500)]
    assert first == [choose_version(path, canary, f"session {i}") for i in range(500)]
    assert 60 <= first.count("bbb") <= 145


def judge(rates: tuple[float, float], n: int, seed: int, **fields: Any) -> str:
    rng = np.random.default_rng(seed)
    canary = CANARY.model_copy(update=fields)
    arms = [(rng.random(size) < rate).astype(float) for rate, size in zip(rates, (n, n), strict=True)]
    return compare_arms(canary, arms[0], arms[1]).verdict


def test_each_outcome_comes_where_it_is_true() -> None:
    assert judge((0.5, 0.9), 200, 0) == "better"
    assert judge((0.5, 0.9), 200, 0, lower_is_better=True) == "worse"
    assert judge((0.9, 0.9), 3000, 0, margin=0.1) == "not worse"
    assert judge((0.9, 0.9), 20, 0) == "undecided"


def test_the_same_version_twice_is_seldom_called_better_or_worse_at_any_look() -> None:
    wrong = sum(
        any(judge((0.7, 0.7), n, seed, margin=0.0) in ("better", "worse") for n in (60, 240))
        for seed in range(40)
    )
    assert wrong <= 5


def test_shares_of_traffic_do_not_bias_the_difference() -> None:
    rng = np.random.default_rng(0)
    control, candidate = rng.random(900), rng.random(100)
    result = compare_arms(CANARY.model_copy(update={"share": 0.1}), control, candidate)
    assert result.difference == pytest.approx(candidate.mean() - control.mean())
    assert result.low < 0 < result.high


def test_a_canary_ends_and_begins_after_the_clock_was_put_back(store: Store) -> None:
    with OperationLog(store.path) as log:
        hour_ahead = time.time_ns() + 3600 * 10**9
        body = {"action": "start", **CANARY.model_dump(exclude={"start_ns"})}
        log.append("stage", CANARY.subject, body, after_ns=hour_ahead)
    store.ingest()
    ended = end_canary(store, "refund", "the law changed")
    assert judge_canary(store, "refund") == ended
    again = start_canary(store, CANARY.model_copy(update={"share": 0.25}))
    running = find_canary(store, "refund")
    assert running == (again, None)
