"""Why a tool was called: steps taken away, the decision made again, and nothing but the model called."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.causes.why_record import Causes
from llm_trace.demo.agent import handle_ticket
from llm_trace.demo.agent_cases import make_agent_cases
from llm_trace.demo.agent_model import MODEL
from llm_trace.errors import ConfigurationError, NotFoundError, ReplayError
from tests.conftest import Recorded
from tests.helpers.cli_toys import invoke

RESULTS = {"look_up": "A blue mug.", "inspect": "It came damaged.", "photos": "They show it broken."}
Rule = Callable[[Sequence[str]], bool]


@dataclass
class Agent:
    """Asks three tools in turn, then refunds where its rule says so."""

    rule: Rule
    ran: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.decide: Any = llm_trace.trace(name="decide", kind="llm")(self._decide)
        self.solve: Any = llm_trace.trace(name="solve", kind="agent")(self._solve)

    def _decide(self, messages: list[dict[str, str]]) -> str:
        self.ran.append("decide")
        asked = sum(message["role"] == "tool" for message in messages)
        if asked < len(RESULTS):
            return list(RESULTS)[asked]
        return "refund" if self.rule([message["content"] for message in messages]) else "decline"

    def _act(self, name: str) -> str:
        def act(order: int) -> str:
            self.ran.append(name)
            return RESULTS.get(name, "done")

        return str(llm_trace.trace(name=name, kind="tool")(act)(7))

    def _solve(self, question: str) -> str:
        messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": question}]
        while True:
            name = self.decide(messages)
            result = self._act(name)
            if name in ("refund", "decline"):
                return str(name)
            messages += [{"role": "assistant", "content": name}, {"role": "tool", "content": result}]


def damaged(texts: Sequence[str]) -> bool:
    return any("damaged" in text for text in texts)


def broken(texts: Sequence[str]) -> bool:
    return any("broken" in text for text in texts)


def explain(store: Recorded, rule: Rule, **options: Any) -> tuple[Causes, Agent]:
    """Let an agent refund, and ask why."""
    agent = Agent(rule)
    with llm_trace.start_run("first"):
        agent.solve("Order 7: money back.")
    agent.ran.clear()
    (refund,) = store.calls(run="first", name="refund")
    return llm_trace.why(refund, functions=agent.solve, **options), agent


def test_the_step_that_a_decision_came_from_is_named_and_nothing_but_the_model_runs(store: Recorded) -> None:
    causes, agent = explain(store, damaged)
    assert str(causes) == (
        "refund(order=7) came from tool result 2 (inspect): without it 0 of 5 reruns decide so, with it "
        "10 of 10."
    )
    first = causes.steps[0]
    assert (first.text, first.effect, first.together) == ("It came damaged.", 1.0, ())
    assert store.call(first.span_id).name == "inspect"
    assert first.low > 0
    assert first.q_value < 0.01
    assert [(step.label, str(step.without), step.effect) for step in causes.steps[1:]] == [
        ("tool result 3 (photos)", "5 of 5", 0.0),
        ("tool result 1 (look_up)", "5 of 5", 0.0),
        ("the user's words", "5 of 5", 0.0),
        ("the system prompt", "5 of 5", 0.0),
    ]
    assert causes.chain == (
        "refund(order=7)", "tool result 2 (inspect)", "text from outside", "asked for by the user's words",
    )  # fmt: skip
    assert agent.ran == ["decide"] * causes.calls
    assert causes.notes == (
        "what is taken away is replaced by '[removed]'",
        "3 messages of the agent itself ask for tools: they are left, with what they asked for",
    )


def test_the_calls_of_a_rerun_that_ends_where_the_decision_is_known_are_no_failures(store: Recorded) -> None:
    explain(store, damaged)
    assert [call.name for call in store.calls(status="error", limit=None)] == []
    assert {call.name for call in store.calls(status="cancelled", limit=None)} == {
        "solve",
        "refund",
        "decline",
    }


def test_the_chain_goes_back_over_the_call_whose_result_was_asked_with(store: Recorded) -> None:
    look_up: Any = llm_trace.trace(name="look_up", kind="tool")(lambda order: "Order 7 left in parcel B-17.")
    inspect: Any = llm_trace.trace(name="inspect", kind="tool")(lambda parcel: "It came damaged.")
    refund: Any = llm_trace.trace(name="refund", kind="tool")(lambda order: "done")

    @llm_trace.trace(kind="llm")
    def decide(messages: list[dict[str, str]]) -> str:
        texts = " ".join(message["content"] for message in messages)
        asked = sum(message["role"] == "tool" for message in messages)
        return ["look_up", "inspect", "refund" if "damaged" in texts else "decline"][asked]

    @llm_trace.trace(kind="agent")
    def solve(question: str) -> str:
        messages = [{"role": "user", "content": question}]
        while (name := decide(messages)) in ("look_up", "inspect"):
            result = look_up(7) if name == "look_up" else inspect("B-17")
            messages += [{"role": "assistant", "content": name}, {"role": "tool", "content": result}]
        return str(refund(7)) if name == "refund" else name

    with llm_trace.start_run("first"):
        solve("Order 7: money back.")
    (call,) = store.calls(run="first", name="refund")
    assert llm_trace.why(call, functions=solve).chain == (
        "refund(order=7)",
        "tool result 2 (inspect)",
        "text from outside",
        "asked for with 'B-17' of tool result 1 (look_up)",
        "text from outside",
        "asked for by the user's words",
    )


def test_steps_that_stand_in_for_each_other_are_found_together(store: Recorded) -> None:
    causes, _ = explain(store, lambda texts: damaged(texts) or broken(texts))
    assert {(step.label, step.together) for step in causes.significant} == {
        ("tool result 2 (inspect)", ("tool result 3 (photos)",)),
        ("tool result 3 (photos)", ("tool result 2 (inspect)",)),
    }
    assert str(causes).endswith("with them 10 of 10. Either of them suffices.")


def test_steps_that_stand_in_for_each_other_are_tried_first_by_attribution(store: Recorded) -> None:
    (case,) = make_agent_cases("redundant", 1, seed=1)
    with llm_trace.start_run("desk"):
        handle_ticket(case.name, case.ticket.message)
    (refund,) = store.calls(run="desk", name="refund")
    causes = llm_trace.why(refund, functions=handle_ticket, model=MODEL, budget=21)
    tried = {store.call(step.span_id).name for step in causes.steps if step.without.n}
    assert (causes.order, tried) == ("attribution", set(case.plants))


def test_steps_that_are_needed_together_are_both_named(store: Recorded) -> None:
    causes, _ = explain(store, lambda texts: damaged(texts) and broken(texts))
    assert {step.label for step in causes.significant} == {
        "tool result 2 (inspect)",
        "tool result 3 (photos)",
    }
    assert str(causes).endswith("It also needed tool result 2 (inspect).")


def test_a_decision_that_depends_on_nothing_accuses_no_step(store: Recorded) -> None:
    causes, _ = explain(store, lambda _: True)
    assert (causes.significant, causes.chain) == ((), ())
    assert str(causes) == (
        "No single step is shown to have caused refund(order=7): with everything as it was 10 of 10 reruns "
        "decide so."
    )


def test_a_model_that_no_longer_decides_so_is_said(store: Recorded) -> None:
    agent = Agent(damaged)
    with llm_trace.start_run("first"):
        agent.solve("Order 7: money back.")
    agent.rule = lambda _: False
    (refund,) = store.calls(run="first", name="refund")
    causes = llm_trace.why(refund, functions=agent.solve)
    assert causes.notes[-1] == (
        "only 0% of the reruns with everything as it was decide so: the model is not the recorded one, or "
        "decides by chance; no step was tried"
    )
    assert (causes.significant, causes.calls) == ((), 10)


def test_a_budget_is_kept_and_one_that_decides_nothing_is_refused(store: Recorded) -> None:
    causes, agent = explain(store, damaged, budget=30)
    assert causes.calls <= 30
    assert causes.significant[0].label == "tool result 2 (inspect)"
    assert causes.notes[-1] == "the budget reached 4 of 5 steps"
    agent.ran.clear()
    (refund,) = store.calls(run="first", name="refund")
    too_little: list[dict[str, Any]] = [{"budget": 8}, {"repeats": 2}]
    for options in too_little:
        with pytest.raises(ConfigurationError, match="cannot tell the effect of any of 5 steps from chance"):
            llm_trace.why(refund, functions=agent.solve, **options)
    with pytest.raises(ConfigurationError, match="costs is not known, so a budget in dollars counts nothing"):
        llm_trace.why(refund, functions=agent.solve, budget=llm_trace.attribution.Budget(usd=1))
    assert agent.ran == []


def test_what_cannot_be_asked_again_is_said_before_anything_runs(store: Recorded) -> None:
    _, agent = explain(store, damaged)
    agent.ran.clear()
    (refund,) = store.calls(run="first", name="refund")
    with pytest.raises(ReplayError, match="functions are only called when named"):
        llm_trace.why(refund)
    with pytest.raises(NotFoundError, match="before the agent call .* in its trace: choose a call of a tool"):
        llm_trace.why(store.calls(run="first", name="solve")[0], functions=agent.solve)
    assert agent.ran == []


def test_a_step_is_replaced_by_what_the_same_tool_gave_in_other_traces(
    store: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(lambda texts: not any("scratched" in text for text in texts))
    for text in ("It came scratched.", "It is scratched.", "It came damaged."):
        monkeypatch.setitem(RESULTS, "inspect", text)
        with llm_trace.start_run(text):
            agent.solve("Order 7: money back.")
    (refund,) = store.calls(run="It came damaged.", name="refund")
    removed = llm_trace.why(refund, functions=agent.solve)
    recorded = llm_trace.why(refund, functions=agent.solve, replace="recorded")
    assert (removed.significant, [step.label for step in recorded.significant]) == (
        (),
        ["tool result 2 (inspect)"],
    )
    assert recorded.notes[0] == (
        "what calls gave is replaced by what they gave in other traces (tool result 2 (inspect) by 2 "
        "values); 4 steps without such a value by '[removed]'"
    )
    with pytest.raises(
        ConfigurationError, match="replace='neutral' is unknown: choose one of 'removed', 'rec"
    ):
        llm_trace.why(refund, functions=agent.solve, replace="neutral")  # type: ignore[arg-type]


def test_a_program_that_goes_another_way_before_the_decision_is_said_before_anything_is_paid(
    store: Recorded,
) -> None:
    _, agent = explain(store, damaged)
    agent.ran.clear()
    (refund,) = store.calls(run="first", name="refund")
    days = iter(range(9))

    @llm_trace.trace(name="solve", kind="agent")
    def solve(question: str) -> Any:
        return agent._solve(f"{question} Day {next(days)}.")

    with pytest.raises(ReplayError, match="before the fork the program went another way"):
        llm_trace.why(refund, functions=solve)
    with pytest.raises(ReplayError, match="no_such_module"):
        llm_trace.why(refund, functions="no_such_module:solve")
    assert agent.ran == []


def test_a_single_call_of_a_model_is_explained_by_its_prompt(store: Recorded) -> None:
    prompt = llm_trace.Prompt("desk", "Be kind.\nNote: {note}\nCustomer: {name}")

    @llm_trace.trace(kind="llm")
    def ask(text: str) -> str:
        return "We send your money back today." if "damaged" in text else "Nothing is wrong with it, I think."

    ask(prompt.format(note="it came damaged", name="Ada Lovelace"))
    (call,) = store.calls(name="ask")
    causes = llm_trace.why(call, functions=ask)
    assert [(step.label, step.text) for step in causes.steps] == [
        ("variable 1", "it came damaged"),
        ("line 1", "Be kind."),
        ("variable 2", "Ada Lovelace"),
    ]
    assert str(causes) == (
        "the answer 'We send your money back today.' came from variable 1: without it 0 of 5 reruns decide "
        "so, with it 10 of 10."
    )


def test_the_document_and_the_command_say_why(
    store: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/why.md").read_text()
    example, agent = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (expected,) = re.findall(r"```\n(refund.*?)```", text, re.DOTALL)
    (tmp_path / "why_agent.py").write_text(agent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    exec(compile(example, "docs/why.md", "exec"), {})
    assert capsys.readouterr().out == expected
    there = tmp_path / "traces.duckdb"
    with llm_trace.open_store(there) as opened:
        (refund,) = opened.calls(run="tickets", name="refund")
    shown = invoke(there, "why", refund.span_id[:12], "--function", "why_agent:solve")
    assert shown.output.splitlines()[:2] == expected.splitlines()
    sys.modules.pop("why_agent")
