"""Many calls explained at once: what each gets alone, in fewer passes, within the same budgets."""

from __future__ import annotations

import functools
import threading
import time
from typing import Any

import pytest

from llm_trace.attribution.policy.policy import AttributionPolicy, Hook
from llm_trace.attribution.policy.together import explain_together
from llm_trace.record import Call
from tests.helpers import attribution_toys as toys
from tests.helpers.question_toys import PROMPT, call

WORDS = PROMPT.replace(".", "").split()
NUMBERS = ("values", "matrix", "full", "empty", "completeness_gap", "low", "high", "p_values", "q_values")
COSTS = ("seconds", "time_ns", "tokens")


def some_calls(count: int = 7) -> list[Call]:
    """Return calls with prompts and answers of several lengths."""
    return [
        call(
            span_id=f"{i:016x}",
            input={"prompt": " ".join(WORDS[: 4 + 2 * i % 9]) + "."},
            output=" " + " ".join(WORDS[i % 3 : 3 + i]) + ".",
        )
        for i in range(count)
    ]


def make_hook(model: Any = None, **settings: Any) -> Hook:
    defaults = {"model": model or toys.llama(), "tokenizer": toys.byte_level(), "method": "occlusion"}
    return Hook(AttributionPolicy(**(defaults | settings)), now=lambda: 10**18, new_id=lambda: "e" * 16)


def flatten(numbers: Any) -> list[float]:
    if numbers is None:
        return []
    return [x for part in numbers for x in flatten(part)] if isinstance(numbers, list) else [numbers]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"method": "auto"},
        {"method": "kernel_shap", "budget": 60},
        {"method": "context_cite", "quality": True},
        {"segments": "hierarchy"},
        {"method": "input_x_gradient"},
        {"unit": "probability", "baseline": "mask"},
    ],
    ids=["occlusion", "auto", "kernel_shap", "context_cite", "hierarchy", "gradients", "probability"],
)
def test_each_call_gets_what_it_gets_alone(settings: dict[str, Any]) -> None:
    alone = {c.span_id: make_hook(**settings)(c) for c in some_calls()}
    together = {c.span_id: event for c, event in explain_together(make_hook(**settings), some_calls())}
    assert together.keys() == alone.keys()
    for span_id, event in alone.items():
        other = together[span_id]
        assert event is not None
        assert other is not None
        ours, theirs = other.pop("attribution"), event.pop("attribution")
        assert other == event
        for name in NUMBERS:
            assert flatten(ours[name]) == pytest.approx(flatten(theirs[name]), abs=2e-4), name
        for name in set(theirs) - {*NUMBERS, *COSTS, "faithfulness", "warnings"}:
            assert ours[name] == theirs[name], name


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the rows of each pass through the small model."""
    model, rows = toys.llama(), list[int]()
    forward = model.forward

    @functools.wraps(forward)
    def counting(input_ids: Any, **rest: Any) -> Any:
        rows.append(len(input_ids))
        return forward(input_ids, **rest)

    monkeypatch.setattr(model, "forward", counting)
    return rows


def test_prompts_of_several_calls_go_through_the_model_together(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, hook = count_passes(monkeypatch), make_hook()
    for each in some_calls():
        hook(each)
    alone = list(rows)
    rows.clear()
    list(explain_together(make_hook(), some_calls()))
    assert len(rows) < len(alone) / 2
    assert max(rows) > max(alone)


def test_what_one_call_cannot_is_said_of_that_call_alone() -> None:
    calls = some_calls(4)
    calls[1] = call(span_id="b" * 16, input={"prompt": "Lily " * 300})
    calls[2] = call(span_id="c" * 16, output="")
    events = {c.span_id: event for c, event in explain_together(make_hook(), calls)}
    assert {span_id: event and event["status"] for span_id, event in events.items()} == {
        "0" * 16: "ok",
        "b" * 16: "failed",
        "c" * 16: "failed",
        "0" * 15 + "3": "ok",
    }
    assert "the model reads 256" in str(events["b" * 16])


def test_a_pass_that_fails_for_all_is_tried_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = toys.llama(), some_calls(4)
    alone = [make_hook()(c) for c in calls]
    forward, largest = model.forward, 14

    @functools.wraps(forward)
    def fragile(input_ids: Any, **rest: Any) -> Any:
        if len(input_ids) > largest:
            raise ValueError("too many rows")
        return forward(input_ids, **rest)

    monkeypatch.setattr(model, "forward", fragile)
    events = {c.span_id: event for c, event in explain_together(make_hook(), calls)}
    for event in alone:
        assert event is not None
        other = events[event["span_id"]]
        assert other is not None
        assert other["attribution"]["values"] == pytest.approx(event["attribution"]["values"], abs=2e-4)


def test_who_stops_early_has_what_is_done_and_leaves_nothing_running() -> None:
    events = explain_together(make_hook(), some_calls())
    _, event = next(events)
    assert event is not None
    assert event["status"] == "ok"
    events.close()  # type: ignore[attr-defined]  # it is a generator
    assert [t.name for t in threading.enumerate() if t.name == "llm_trace-turn"] == []


def test_an_hourly_budget_is_exceeded_by_no_more_than_the_last_call() -> None:
    hook = make_hook(budget_per_hour=60)
    events = [event for _, event in explain_together(hook, [call(span_id=f"{i:016x}") for i in range(7)])]
    passes = [event["attribution"]["passes"] for event in events if event is not None]
    assert 60 <= sum(passes) < 60 + max(passes)
    assert hook.passed_over == events.count(None) == 7 - len(passes) > 0


def test_the_seconds_of_calls_explained_together_are_their_own() -> None:
    begin = time.monotonic()
    events = [event for _, event in explain_together(make_hook(), some_calls())]
    took = time.monotonic() - begin
    seconds = [event["attribution"]["seconds"] for event in events if event is not None]
    assert len(seconds) == 7
    assert min(seconds) > 0
    assert sum(seconds) <= took, "what others take is counted for these"
