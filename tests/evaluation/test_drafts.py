"""From production back to scenarios: a logged call becomes a file that an expert completes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llm_trace
from llm_trace.errors import ConfigurationError, ScenarioError
from llm_trace.evaluation import Scenario, draft_scenarios, load_scenarios
from llm_trace.evaluation.draft_slots import DraftSlots
from llm_trace.record import Call
from tests.conftest import Recorded

FILLED = "'APPROVE' if days <= 30 else 'DENY'"


def make_call(**fields: Any) -> Call:
    return Call(trace_id="0" * 32, span_id="abcdef0123456789", name="answer", start_ns=1, **fields)


def fill(path: Path, text: str, expected: str = FILLED) -> tuple[Scenario, ...]:
    """Write a draft in which the expert has filled what is blank, and load it."""
    path.write_text(text.replace("FILL_IN  #", "#").replace("expected: FILL_IN", f'expected: "{expected}"'))
    scenarios: tuple[Scenario, ...] = load_scenarios(path)
    return scenarios


def test_a_call_becomes_a_scenario_with_what_may_vary_as_slots(store: Recorded, tmp_path: Path) -> None:
    prompt = llm_trace.Prompt("desk", "A {member} member asks: {message}")

    @llm_trace.trace(kind="llm")
    def answer(prompt: str, waited: int, city: str) -> str:
        return "DENY"

    message = "I am Emma. I bought 2 lamps 75 days ago, on 2025-03-01."
    answer(prompt.format(member="gold", message=message), waited=75, city="Graz")
    text = draft_scenarios(store.calls())
    with pytest.raises(ScenarioError, match=r"d.yaml', line \d+: .*'FILL_IN' in 'FILL_IN' is no slot"):
        (tmp_path / "d.yaml").write_text(text)
        load_scenarios(tmp_path / "d.yaml")
    (scenario,) = fill(tmp_path / "d.yaml", text)
    assert scenario.input == {
        "prompt": "A {{ member }} member asks: I am {{ name }}. I bought {{ lamps }} lamps {{ days }} days "
        "ago, on {{ day }}.",
        "waited": "{{ days }}",
        "city": "{{ city }}",
    }
    kinds = {
        name: slot.model_dump(exclude_defaults=True, mode="json") for name, slot in scenario.slots.items()
    }
    assert kinds == {
        "member": {"choice": ["gold"]},
        "name": {"names": "women"},
        "lamps": {"integer": [1, 10]},
        "days": {"integer": [1, 150]},
        "day": {"date": ["2025-01-01", "2025-12-31"]},
        "city": {"choice": ["Graz"]},
    }
    for instance in scenario.make_instances(5):
        assert instance.input["waited"] == instance.slots["days"]
        assert instance.expected == ("APPROVE" if instance.slots["days"] <= 30 else "DENY")


TEXTS = st.text(st.sampled_from("{}%#\"'\\ \n\r\t:-|>é🎈\x00\x85\u2028Emma75.,0123456789xy"), max_size=25)
VALUES = st.recursive(
    TEXTS | st.integers(-20, 20) | st.booleans() | st.none() | st.floats(0, 9, width=16),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


@given(arguments=st.dictionaries(st.sampled_from(["message", "a b", "role"]), VALUES, min_size=1))
@settings(max_examples=20, deadline=None)
def test_a_draft_loads_when_filled_and_its_own_values_give_back_the_input(
    arguments: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    seen: list[DraftSlots] = []
    with pytest.MonkeyPatch.context() as patch:
        build = DraftSlots.__init__

        def watch(slots: DraftSlots) -> None:
            build(slots)
            seen.append(slots)

        patch.setattr(DraftSlots, "__init__", watch)
        text = draft_scenarios([make_call(input=arguments, output=arguments)])
    (scenario,) = fill(tmp_path_factory.getbasetemp() / "any.yaml", text, "1")
    assert scenario._render(seen[0].values) == arguments


def test_several_calls_are_several_scenarios_and_none_is_an_error(tmp_path: Path) -> None:
    calls = [make_call(input={"question": f"What is {i} and {i + 20} more?"}) for i in (11, 12)]
    calls[1] = calls[1].model_copy(update={"span_id": "f" * 16})
    first, second = fill(tmp_path / "d.yaml", draft_scenarios(calls), "1")
    assert (first.id, second.id) == ("answer abcdef01", "answer ffffffff")
    assert json.dumps(first.input) == '{"question": "What is {{ number }} and {{ number_2 }} more?"}'
    with pytest.raises(ConfigurationError, match="no call matches"):
        draft_scenarios([])
    with pytest.raises(ConfigurationError, match="has no input that was kept"):
        draft_scenarios([make_call()])
