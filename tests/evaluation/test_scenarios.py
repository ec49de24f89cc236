"""Scenarios: fresh instances with computed answers, their variants, and what can be wrong with them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_trace.errors import ScenarioError
from llm_trace.evaluation import GeneratorScenario, Instance, Scenario

DESK: dict[str, Any] = {
    "id": "desk",
    "slots": {
        "name": {"names": "people"},
        "item": {"choice": ["kettle", "lamp", "chair", "radio"]},
        "price": {"number": [5, 200]},
        "waited": {"integer": [1, 90]},
        "late": {"compute": "waited > 30"},
    },
    "constraints": ["waited != 30"],
    "input": {
        "message": "I am {{ name }}. The {{ item }} for {{ price }} came {{ waited }} days ago. Return it?",
        "waited": "{{ waited }}",
    },
    "expected": "'DENY' if late else 'APPROVE'",
    "decisive": ["waited"],
}


def surfaces(instances: list[Instance]) -> set[bytes]:
    return {orjson.dumps(each.input, option=orjson.OPT_SORT_KEYS) for each in instances}


def test_fresh_instances_have_their_answers_computed() -> None:
    for instance in Scenario(**DESK).make_instances(20, seed=3):
        assert instance.expected == ("DENY" if instance.slots["waited"] > 30 else "APPROVE")
        assert instance.input["waited"] == instance.slots["waited"]  # a number, no text
        assert f"came {instance.slots['waited']} days ago" in instance.input["message"]
        assert instance.decisive == (str(instance.slots["waited"]),)
        assert instance.slots["waited"] != 30


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 6))
def test_equal_seeds_give_equal_bytes_and_fewer_are_the_first_of_more(seed: int, n: int) -> None:
    scenario = Scenario(**DESK)
    once = [each.model_dump_json() for each in scenario.make_instances(n, seed)]
    assert once == [each.model_dump_json() for each in Scenario(**DESK).make_instances(n, seed)]
    assert once == [each.model_dump_json() for each in scenario.make_instances(n + 3, seed)][:n]
    assert len(surfaces(scenario.make_instances(n, seed))) == n


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), apart=st.integers(1, 7))
def test_neighbouring_seeds_share_no_surface_form(seed: int, apart: int) -> None:
    scenario = Scenario(**{**DESK, "slots": {**DESK["slots"], "price": {"choice": [10, 20]}}})
    one, other = (surfaces(scenario.make_instances(8, each)) for each in (seed, seed + apart))
    assert not one & other


def test_a_scenario_with_too_few_forms_says_so() -> None:
    scenario = Scenario(
        id="small", input={"x": "{{ x }}"}, expected="x + 1", slots={"x": {"integer": [1, 20]}}
    )
    with pytest.warns(UserWarning, match="only 20 different instances of the 50.*other seeds may make too"):
        assert len(scenario.make_instances(50)) == 20


SLOTS: dict[str, tuple[dict[str, Any], Any]] = {
    "choice": ({"choice": [1, "two"]}, lambda x: x in (1, "two")),
    "weights": ({"choice": ["a", "b"], "weights": [0, 1]}, lambda x: x == "b"),
    "integer": ({"integer": [4, 10], "step": 3}, lambda x: x in (4, 7, 10)),
    "bound by a slot": ({"integer": ["first", "first + 1"]}, lambda x: x in (5, 6)),
    "number": ({"number": [0.5, 1], "digits": 3}, lambda x: 0.5 <= x <= 1 and x == round(x, 3)),
    "steps": ({"number": [0, 1], "step": 0.1}, lambda x: x in [round(i / 10, 1) for i in range(11)]),
    "date": ({"date": ["2024-02-28", "2024-02-29"]}, lambda x: x in ("2024-02-28", "2024-02-29")),
    "names": ({"names": "women"}, lambda x: isinstance(x, str) and x.istitle()),
    "sample": ({"sample": [1, 2, 3], "size": 2}, lambda x: len(set(x)) == 2 and {1, 2, 3} >= set(x)),
    "shuffle": ({"shuffle": "range(first)"}, lambda x: sorted(x) == [0, 1, 2, 3, 4]),
    "compute": ({"compute": "[first, first / 2]"}, lambda x: x == [5, 2.5]),
}  # fmt: skip


@pytest.mark.parametrize("kind", SLOTS)
@pytest.mark.filterwarnings("ignore:scenario")
def test_slots_of_every_kind_draw_what_they_say(kind: str) -> None:
    slot, holds = SLOTS[kind]
    scenario = Scenario(
        id="one", slots={"first": {"compute": "5"}, "x": slot}, input={"x": "{{ x }}"}, expected="x"
    )
    drawn = scenario.make_instances(8)
    assert drawn
    assert all(holds(each.slots["x"]) and each.input == {"x": each.expected} for each in drawn)


EDITED: dict[str, Any] = {
    **DESK,
    "preserving": [
        {"id": "blunt", "input": {"message": "{{ item }}, {{ price }}, {{ waited }} days old: return?"}},
        {"distractors": {"into": "message", "sentences": ["It rains.", "My cat is well."], "count": 2}},
    ],
    "changing": [
        {"id": "older", "slots": {"waited": "waited + 100"}},
        {
            "id": "negated",
            "replace": {"message": {"Return it?": "I do not want to return it."}},
            "expected": "'NOTHING' if expected else expected",
        },
    ],
    "groups": {"name": {"women": ["Emma", "Mei"], "men": ["Omar", "Hans"]}},
}


def test_variants_follow_their_instance_each_with_its_answer() -> None:
    instances = Scenario(**EDITED).make_instances(12, seed=5)
    for original in (each for each in instances if each.variant == "fresh"):
        late = original.expected == "DENY"
        variants = {each.edit or "": each for each in instances if each.of == original.id and not each.group}
        assert list(variants) == ["blunt", "preserving 2", *([] if late else ["older"]), "negated"]
        assert variants["blunt"].expected == variants["preserving 2"].expected == original.expected
        sentences = re.split(r"(?<=[.?]) ", variants["preserving 2"].input["message"])
        assert {"It rains.", "My cat is well."} < set(sentences)
        sentences = [each for each in sentences if each not in ("It rains.", "My cat is well.")]
        assert " ".join(sentences) == original.input["message"]
        assert variants["negated"].expected == "NOTHING"
        assert variants["negated"].input["message"].endswith("I do not want to return it.")
        if not late:
            older = variants["older"]
            assert (older.expected, older.slots["late"]) == ("DENY", True)
            assert older.input["waited"] == original.slots["waited"] + 100
        swapped = [each for each in instances if each.of == original.id and each.group]
        assert [(each.group, each.variant) for each in swapped] == [("women", "swapped"), ("men", "swapped")]
        for each in swapped:
            name = each.slots["name"]
            assert name in EDITED["groups"]["name"][each.group]
            assert each.input["message"] == original.input["message"].replace(original.slots["name"], name)


def test_a_paraphrase_by_a_function_is_a_preserving_edit() -> None:
    def shout(arguments: dict[str, Any]) -> dict[str, Any]:
        return {"message": arguments["message"].upper()}

    scenario = Scenario(**{**DESK, "preserving": [{"id": "loud", "function": shout}]})
    original, loud = scenario.make_instances(1)
    assert (loud.variant, loud.edit) == ("preserved", "loud")
    assert loud.input == {**original.input, "message": original.input["message"].upper()}


def test_variants_that_would_be_the_question_again_are_left_out_and_edits_without_any_are_named() -> None:
    fields = {
        "input": {"message": "{% if late %}{{ name }}, late{% endif %} {{ waited }} {{ price }}"},
        "preserving": [
            {"id": "shout", "replace": {"message": {"late": "LATE"}}, "when": "late"},
            {"id": "same", "replace": {"message": {" ": " "}}},
            {"id": "never", "when": "waited > 1000", "input": {"message": "x"}},
        ],
        "groups": {"name": {"women": ["Emma", "Mei"], "men": ["Omar", "Hans"]}},
    }
    with pytest.warns(UserWarning, match="changes none of") as caught:
        instances = Scenario(**{**DESK, **fields}).make_instances(12)
    assert [re.findall("'(.*?)'", str(each.message))[1] for each in caught] == ["same", "never"]
    assert " of 12 instances" in str(caught[0].message)
    Scenario(**{**DESK, **fields}).make_instances(9)  # too few to say so
    for original in (each for each in instances if each.variant == "fresh"):
        variants = [each.variant for each in instances if each.of == original.id]
        assert variants == (["preserved", "swapped", "swapped"] if original.slots["late"] else [])


def test_no_fresh_question_is_a_public_one() -> None:
    public = [{"input": {"x": n}, "expected": n + 1} for n in range(1, 11)]
    scenario = Scenario(
        id="small", input={"x": "{{ x }}"}, expected="x + 1", slots={"x": {"integer": [1, 20]}}, public=public
    )
    with pytest.warns(UserWarning, match="only 10 different"):
        instances = scenario.make_instances(20)
    fresh = {each.input["x"] for each in instances if each.variant == "fresh"}
    assert fresh == set(range(11, 21))


def test_public_examples_come_as_they_are_from_the_scenario_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text(
        '{"question": "1+1?", "answer": "so\\n#### 2"}\n\n{"question": "2+2?", "answer": "#### 4"}\n'
    )
    mapping = {"input": {"q": "{{ question }}"}, "expected": "answer.split('#### ')[1] | int"}
    read = Scenario(id="sums", input={"q": "3+3?"}, expected="6", public={"file": str(file), **mapping})
    examples = [{"input": {"q": "1+1?"}, "expected": 2}, {"input": {"q": "2+2?"}, "expected": 4}]
    inline = Scenario(id="sums", input={"q": "3+3?"}, expected="6", public=examples)
    with pytest.warns(UserWarning, match="only 1 different"):
        public = [each for each in read.make_instances(5) if each.variant == "public"]
    assert [{"input": each.input, "expected": each.expected} for each in public] == examples
    with pytest.warns(UserWarning, match="only 1 different"):
        assert inline.make_instances(5)[-2:] == public


def test_the_version_tells_what_decides_the_instances(tmp_path: Path) -> None:
    version = Scenario(**DESK).version
    assert Scenario(**{**DESK, "about": "refunds"}).version == version
    assert Scenario(**{**DESK, "expected": "'DENY'"}).version != version
    file = tmp_path / "a.jsonl"
    file.write_text('{"q": 1}\n')
    public = {"file": str(file), "input": {"q": "{{ q }}"}}
    before = Scenario(**{**DESK, "public": public}).version
    file.write_text('{"q": 2}\n')
    assert Scenario(**{**DESK, "public": public}).version != before


def test_a_generator_function_is_a_scenario() -> None:
    def sums(draws: random.Random) -> Iterator[dict[str, Any]]:
        while True:
            a, b = draws.randint(1, 99), draws.randint(1, 99)
            yield {"input": {"q": f"{a}+{b}"}, "expected": a + b}

    scenario = GeneratorScenario(sums)
    instances = scenario.make_instances(3, seed=1)
    assert instances == scenario.make_instances(3, seed=1)
    assert [each.id for each in instances] == ["sums/1.0", "sums/1.1", "sums/1.2"]
    assert all(sum(map(int, each.input["q"].split("+"))) == each.expected for each in instances)


def test_blanks_that_are_taken_away_change_no_value() -> None:
    templates = {"a": "{{- waited -}}", "b": "{{+ name }}", "c": "{{-waited}}", "d": "{{ -waited }}"}
    for each in Scenario(**{**DESK, "input": templates}).make_instances(3):
        waited, name = each.slots["waited"], each.slots["name"]
        assert each.input == {"a": waited, "b": name, "c": waited, "d": -waited}


def test_texts_show_values_and_no_address_of_the_machine() -> None:
    template = "{{ items | map('upper') }}, {{ zip(items, items) }}, {{ {'a': 1}.keys() }}."
    scenario = Scenario(
        id="list", slots={"items": {"shuffle": ["x", "y"]}}, input={"q": template}, expected="1"
    )
    with pytest.warns(UserWarning, match="only 2 different"):
        texts = {each.input["q"] for each in scenario.make_instances(9)}
    assert texts == {
        "['X', 'Y'], [('x', 'x'), ('y', 'y')], ['a'].", "['Y', 'X'], [('y', 'y'), ('x', 'x')], ['a']."
    }  # fmt: skip


def test_integers_of_any_size_are_drawn_and_computed() -> None:
    scenario = Scenario(
        id="large", slots={"a": {"integer": [10**20, 10**21]}},
        input={"q": "{{ a }} squared?", "a": "{{ a }}"}, expected="a * a", decisive=["a"],
    )  # fmt: skip
    for each in scenario.make_instances(3):
        assert each.expected == each.input["a"] ** 2 > 10**39
        assert each.decisive == (str(each.input["a"]),)
    assert len(scenario.version) == 12


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown slot": ({"expected": "'DENY' if lte else 'OK'"}, "'lte' in .* did you mean 'late'"),
    "text as answer": ({"expected": "APPROVE"}, "for the text itself write \"'APPROVE'\""),
    "unknown key": ({"expectd": "1"}, "'expectd' is unknown here: did you mean 'expected'"),
    "unknown key of a slot": ({"slots": {"a": {"integer": [1, 2], "stp": 1}}}, "did you mean 'step'"),
    "later slot": (
        {"slots": {"a": {"compute": "b"}, "b": {"integer": [1, 2]}}},
        "'b' in 'b' comes later: .* move it below 'b'",
    ),
    "kind of slot": ({"slots": {"a": {"intger": [1, 2]}}}, "exactly one of choice, integer"),
    "name of a slot": ({"slots": {"max": {"integer": [1, 2]}}}, "meaning of its own in expressions: rename"),
    "constant as a slot": ({"slots": {"none": {"integer": [1, 2]}}}, "meaning of its own in expressions"),
    "part of Jinja as a slot": ({"slots": {"self": {"integer": [1, 2]}}}, "meaning of its own in express"),
    "template": ({"input": {"message": "Hi {{ name"}}, "the template cannot be read"),
    "random filter": ({"input": {"message": "{{ [1, 2] | random }}"}}, "No filter named 'random'"),
    "edit without effect": ({"preserving": [{"id": "x"}]}, "does nothing: give slots, input"),
    "edit without answer": ({"changing": [{"replace": {"message": {"a": "b"}}}]}, "add `expected`"),
    "edit of no argument": ({"preserving": [{"input": {"text": "x"}}]}, "'text' is no argument of input"),
    "a group that is not shown": (
        {"slots": {**DESK["slots"], "sex": {"choice": ["f", "m"]}}, "groups": {"sex": ["f", "m"]}},
        "'sex' does not stand in the input",
    ),
    "a value in two groups": (
        {"groups": {"name": {"a": ["Kim", "Max"], "b": ["Kim"]}}},
        "'Kim' is in the groups 'a' and 'b'",
    ),
    "one group": ({"groups": {"name": {"women": ["Emma"]}}}, "at least two groups"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_scenario_that_cannot_work_is_refused_with_the_remedy(case: str) -> None:
    fields, message = WRONG[case]
    with pytest.raises(ScenarioError, match=message):
        Scenario(**{**DESK, **fields})


UNMADE: dict[str, tuple[dict[str, Any], str, tuple[Any, ...]]] = {
    "impossible": ({"constraints": ["waited > 0", "waited > 100"]},
                   "'waited > 100' was false in 10,000", ("constraints", 1)),
    "no answer": ({"expected": "price / (waited - waited)"}, "ZeroDivisionError", ("expected",)),
    "no number": ({"expected": "'1,450' | float"}, "could not convert string to float", ("expected",)),
    "no whole number": ({"expected": "name | int"}, "could not convert string", ("expected",)),
    "not finite": ({"expected": "float('nan')"}, "nan is no JSON value", ("expected",)),
    "half a sign": ({"input": {"q": "x \ud83d"}}, "surrogates not allowed", ("input", "q")),
    "a function": ({"input": {"message": "Of {{ abs }}"}}, "'abs' is no text and no number", ("input",)),
    "missing field": ({"expected": "name.surname"}, "has no attribute 'surname'", ("expected",)),
    "not the same answer": ({"preserving": [{"slots": {"waited": "131 - waited"}}]},
                            "must leave the answer, but turns", ("preserving", 0)),
    "a group that matters": ({"groups": {"waited": [1, 90]}},
                             "must not matter, but turns", ("groups", "waited")),
    "the same question with another answer": (
        {"input": {"message": "I am {{ name }}."}, "changing": [{"slots": {"waited": "waited + 90"}}]},
        "and leaves the question as it is", ("changing", 0),
    ),
    "nothing to replace": ({"changing": [{"replace": {"message": {"Why?": "No."}}, "expected": "0"}]},
                           "does not stand in", ("changing", 0, "replace", "message")),
    "unsafe": ({"expected": "name.__class__.__mro__"}, "unsafe", ("expected",)),
    "huge": ({"expected": "'a' * 99999999999"}, "too large", ("expected",)),
}  # fmt: skip


@pytest.mark.parametrize("case", UNMADE)
def test_an_instance_that_cannot_be_made_is_an_error_with_its_place(case: str) -> None:
    fields, message, where = UNMADE[case]
    with pytest.raises(ScenarioError, match=message) as caught:
        Scenario(**{**DESK, **fields}).make_instances(8)
    assert caught.value.where[: len(where)] == where


def test_two_seeds_have_the_same_distribution_of_answers() -> None:
    shares = [
        sum(each.expected == "DENY" for each in Scenario(**DESK).make_instances(150, seed)) / 150
        for seed in (1, 2)
    ]
    assert all(0.55 < share < 0.79 for share in shares)  # 60 of 89 days are late; three standard errors


def test_an_edit_whose_function_returns_no_arguments_is_an_error() -> None:
    scenario = Scenario(**{**DESK, "preserving": [{"id": "loud", "function": lambda arguments: "HELLO"}]})
    with pytest.raises(ScenarioError, match="returned 'HELLO', and no arguments by name"):
        scenario.make_instances(1)
