"""Sampling per trace."""

from __future__ import annotations

import pytest

import llm_trace
from llm_trace import Sample, trace
from llm_trace.capture.sampling import TraceStart
from llm_trace.errors import ConfigurationError
from tests.conftest import Recorded


@trace
def child(fails: bool) -> None:
    if fails:
        raise ValueError("x")


@trace
def root(fails: bool = False) -> None:
    try:
        child(fails)
    except ValueError:
        pass


def test_a_ratio_keeps_whole_traces(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, sample=0.3)
    for _ in range(300):
        root()
    calls = recorded.calls(limit=1000)
    traces = {c.trace_id for c in calls}
    assert 50 < len(traces) < 140
    assert len(calls) == 2 * len(traces)


@pytest.mark.parametrize("ratio", [0, 0.0])
def test_nothing_is_kept_at_zero_and_the_function_still_works(recorded: Recorded, ratio: float) -> None:
    llm_trace.configure(recorded.path, sample=ratio, run="so that there is a store")
    root()
    assert recorded.calls() == []


def test_errors_can_be_kept_with_their_whole_trace(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, sample=Sample(0.0, keep_errors=True))
    root()
    root(fails=True)
    child_call, root_call = recorded.calls()
    assert (root_call.name, root_call.status) == ("root", "ok")
    assert (child_call.name, child_call.status, child_call.parent_id) == ("child", "error", root_call.span_id)


def test_a_function_decides_by_what_it_is_told(recorded: Recorded) -> None:
    asked: list[TraceStart] = []

    def keep(start: TraceStart) -> bool:
        asked.append(start)
        return start.user == "ann"

    llm_trace.configure(recorded.path, sample=keep)
    for user in ("ann", "bob"):
        with llm_trace.using_session("s", user=user):
            root()
    assert {c.user for c in recorded.calls()} == {"ann"}
    assert [(s.name, s.user) for s in asked] == [("root", "ann"), ("root", "bob")]


def test_a_sampling_function_that_fails_keeps_the_trace(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, sample=lambda start: 1 / 0 > 1)
    root()
    assert len(recorded.calls()) == 2


def test_a_ratio_outside_zero_to_one_is_refused(recorded: Recorded) -> None:
    with pytest.raises(ConfigurationError, match="1.5"):
        llm_trace.configure(recorded.path, sample=1.5)
