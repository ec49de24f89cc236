"""Scenario files: what an expert writes, and errors that name file, line and remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_trace.errors import ScenarioError
from llm_trace.evaluation import Scenario, load_scenarios

GOOD = """\
scenarios:
  - id: shop
    about: Totals of a bill.
    slots:
      price: {integer: [2, 90]}
      count: {integer: [2, 9]}
      day: {date: [2025-01-01, 2025-12-31]}
    constraints:
      - price != count
    input:
      question: On {{ day }} I bought {{ count }} mugs at {{ price }} dollars. How much is that?
    expected: price * count
    changing:
      - id: one more
        slots: {count: count + 1}
  - id: plain
    input: {question: "What is twice {{ x }}?"}
    slots:
      x: {integer: [1, 500]}
    expected: 2 * x
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "scenarios.yaml"
    path.write_text(text)
    return path


def test_a_file_gives_the_scenarios_that_python_would(tmp_path: Path) -> None:
    shop, plain = load_scenarios(write(tmp_path, GOOD))
    assert plain == Scenario(
        id="plain", input={"question": "What is twice {{ x }}?"}, slots={"x": {"integer": [1, 500]}},
        expected="2 * x",
    )  # fmt: skip
    assert plain.version == Scenario(**plain.model_dump()).version
    original, more = shop.make_instances(1)
    assert original.expected == original.slots["price"] * original.slots["count"]
    assert more.expected == original.expected + original.slots["price"]
    assert original.slots["day"] in original.input["question"]


WRONG = {
    "unknown slot": ("expected: 2 * x", "expected: 2 * y", 20, "'y' in '2 \\* y' is no slot"),
    "unknown key": ("    constraints:", "    constrains:", 8, "did you mean 'constraints'"),
    "unknown key of an edit": (
        "      - id: one more",
        "      - name: one more",
        14,
        "'name' is unknown here",
    ),
    "duplicate id": ("- id: plain", "- id: shop", 16, "the id 'shop' is that of line 2 already"),
    "duplicate key": ("    about: Totals of a bill.", "    id: bill", 3, "'id' stands in line 2 already"),
    "impossible constraint": ("price != count", "price > 90", 9, "'price > 90' was false"),
    "no answer": ("price * count", "price / (count - count)", 12, "division by zero"),
    "slot bounds": ("{integer: [2, 9]}", "{integer: [2]}", 6, "Field required|missing"),
    "no YAML": ("    slots:\n      x", "    slots: [\n      x", 20, "this is no YAML"),
    "top": ("scenarios:", "scenario:", 1, "begins with `scenarios:`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_error_names_file_line_and_remedy(case: str, tmp_path: Path) -> None:
    old, new, line, message = WRONG[case]
    assert old in GOOD
    with pytest.raises(ScenarioError, match=f"scenarios.yaml', line {line}: .*({message})"):
        load_scenarios(write(tmp_path, GOOD.replace(old, new)))


MEANT = {
    "country": "[NO, SE]", "sealed": "[yes, no, on]", "time": "['12:30', 13:45]", "pin": "['0123', 007]",
    "sign": "[=, +]", "million": "[1_000]",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:scenario")
def test_words_and_digits_that_people_mean_as_texts_stay_texts(tmp_path: Path) -> None:
    slots = "".join(f"      {name}: {{choice: {items}}}\n" for name, items in MEANT.items())
    texts = " ".join(f"{{{{ {name} }}}}" for name in MEANT)
    text = f"scenarios:\n  - id: a\n    slots:\n{slots}    input: {{q: '{texts}'}}\n    expected: time\n"
    (scenario,) = load_scenarios(write(tmp_path, text))
    drawn = scenario.make_instances(48)
    for name, items in MEANT.items():
        assert {each.slots[name] for each in drawn} == set(re.findall(r"[^\[\], ']+", items))


def test_files_of_windows_and_json_escapes_are_read(tmp_path: Path) -> None:
    text = GOOD.replace("How much is that?", "\\ud83d\\ude00").replace(
        "question: On", 'question: "On').replace("ude00", 'ude00"')  # fmt: skip
    public = '    public: {file: public.jsonl, input: {question: "{{ q }}"}, expected: a}\n'
    (tmp_path / "public.jsonl").write_bytes(b'\xef\xbb\xbf{"q": "twice?", "a": 10000000000000000000000}\r\n')
    path = tmp_path / "scenarios.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + (text + public).replace("\n", "\r\n").encode())
    shop, plain = load_scenarios(path)
    assert shop.make_instances(1)[0].input["question"].endswith(" dollars. 😀")
    assert plain.make_instances(1)[-1].expected == 10**22


def test_files_that_are_too_deep_or_repeat_without_end_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="scenarios.yaml', line 1: more than 50 lists"):
        load_scenarios(write(tmp_path, f"scenarios: {'[' * 60}{']' * 60}"))
    layers = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    layers += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefg", "bcdefgh", strict=True)]
    with pytest.raises(ScenarioError, match=r"line \d: more than 1,000,000 values"):
        load_scenarios(write(tmp_path, "\n".join(layers)))


def test_a_public_file_lies_beside_the_scenario_file_or_is_given(tmp_path: Path) -> None:
    public = '    public: {file: public.jsonl, input: {question: "{{ q }}"}, expected: a}\n'
    path = write(tmp_path, GOOD + public)
    with pytest.raises(ScenarioError, match="line 21: .*public.jsonl' cannot be read.*--public"):
        load_scenarios(path)
    (tmp_path / "public.jsonl").write_text('{"q": "twice 2?", "a": 4}\n')
    (tmp_path / "other.jsonl").write_text('{"q": "twice 3?", "a": 6}\n')
    for other, expected in ((None, 4), (tmp_path / "other.jsonl", 6)):
        last = load_scenarios(path, public=other)[-1].make_instances(1)[-1]
        assert (last.variant, last.expected) == ("public", expected)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="nowhere.yaml' cannot be read: No such file"):
        load_scenarios(tmp_path / "nowhere.yaml")


@given(data=st.data())
@settings(max_examples=40)
@pytest.mark.filterwarnings("ignore:scenario")
def test_a_file_that_was_tampered_with_is_read_or_refused_with_its_line(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    at = data.draw(st.integers(0, len(GOOD) - 1))
    end = data.draw(st.integers(at, min(len(GOOD), at + 12)))
    text = (
        GOOD[:at]
        + data.draw(st.sampled_from(["", " ", "{", "]", ":", "- ", "x", "\x00", "5", ".nan", "'"]))
        + GOOD[end:]
    )
    path = tmp_path_factory.getbasetemp() / "tampered.yaml"
    path.write_text(text)
    try:
        load_scenarios(path)
    except ScenarioError as exc:
        assert re.search(r"tampered.yaml', line \d+: ", str(exc))
