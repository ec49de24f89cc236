from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace.comparison.alignment import align_steps, describe_divergence, find_parting
from llm_trace.rendering.steps import AgentStep
from llm_trace.rendering.tool_requests import ToolRequest

TOOL = AgentStep(
    span_id="", kind="tool", name="", model=None, status="ok", start_ns=0, duration_ns=1,
    first_token_ns=None, cost_usd=None, text=None, requests=(), input=None, output=None, error=None,
    attempt=1, resent=0,
)  # fmt: skip


def run(name: str, given_input: Any = None, output: Any = None, **fields: Any) -> AgentStep:
    return replace(TOOL, name=name, input=given_input, output=output, **fields)


def say(text: str) -> AgentStep:
    return replace(TOOL, kind="llm", name="chat", text=text)


def ask_for(*names: str, **arguments: Any) -> AgentStep:
    return replace(TOOL, kind="llm", name="chat", requests=tuple(ToolRequest(n, arguments) for n in names))


def pair(left: list[AgentStep], right: list[AgentStep]) -> list[tuple[str, int | None, int | None]]:
    return [(step.change, step.left, step.right) for step in align_steps(left, right)]


def test_steps_are_the_same_changed_or_of_one_side_alone() -> None:
    left = [run("find", 1), run("read", 1), say("yes")]
    right = [run("find", 1), run("list"), run("read", 2), say("yes"), run("save")]
    assert pair(left, right) == [
        ("same", 0, 0),
        ("right", None, 1),
        ("changed", 1, 2),
        ("same", 2, 3),
        ("right", None, 4),
    ]


def test_what_both_began_with_is_paired_before_any_longer_stretch() -> None:
    a, b, c = (run(name) for name in "abc")
    assert pair([a, b, c], [a, a, b, c])[:2] == [("same", 0, 0), ("right", None, 1)]


def test_time_cost_and_retries_make_no_difference() -> None:
    slow = replace(say("yes"), duration_ns=10**9, start_ns=7, cost_usd=1.0, attempt=3, span_id="x")
    assert pair([say("yes")], [slow]) == [("same", 0, 0)]


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [
        ([say("a")], [say("a")], "They do not part: both took the same step."),
        ([], [], "They do not part: both took the same 0 steps."),
        ([run("a"), ask_for("refund")], [run("a"), say("no")],
         "They part at step 2: the left called `refund`, the right answered."),
        ([ask_for("a", "b")], [ask_for("c")],
         "They part at step 1: the left called `a` and `b`, the right called `c`."),
        ([ask_for("a", order=1)], [ask_for("a", order=2)],
         "They part at step 1: both called `a`, with another choice of arguments."),
        ([run("a", 1)], [run("a", 2)], "They part at step 1: both ran `a`, with another input."),
        ([run("a", 1, 3)], [run("a", 1, 4)], "They part at step 1: both ran `a`, with another result."),
        ([say("a")], [say("b")], "They part at step 1: both answered, with another text."),
        ([run("a"), run("b")], [run("a")], "They part at step 2: the left ran `b`, the right had ended."),
        ([run("a", error="E: no", status="error")], [run("a")],
         "They part at step 1: the left ran `a` and failed (E: no), the right ran `a`."),
    ],
    ids=["same", "none", "answer", "tools", "arguments", "input", "result", "text", "ended", "failed"],
)  # fmt: skip
def test_the_first_divergence_is_said_in_words(
    left: list[AgentStep], right: list[AgentStep], words: str
) -> None:
    assert describe_divergence(left, right) == words


STEPS = st.lists(st.builds(run, st.sampled_from("abc"), st.integers(0, 1)), max_size=8)


@given(STEPS, STEPS)
def test_every_step_stands_once_in_order_and_pairs_are_what_they_say(
    left: list[AgentStep], right: list[AgentStep]
) -> None:
    pairs = align_steps(left, right)
    assert [p.left for p in pairs if p.left is not None] == list(range(len(left)))
    assert [p.right for p in pairs if p.right is not None] == list(range(len(right)))
    for p in pairs:
        if p.left is not None and p.right is not None:
            a, b = left[p.left], right[p.right]
            assert (p.change == "same") == (a == b)
            assert a.name == b.name
    first = next((i for i, p in enumerate(pairs) if p.change != "same"), len(pairs))
    assert first == find_parting(left, right)
