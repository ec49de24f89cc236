"""`Dataset`: where examples come from, what a version is, and comparing by it."""

from __future__ import annotations

from pathlib import Path

import pytest

import llm_trace
from llm_trace import Dataset, compare
from llm_trace.comparison.dataset import Example
from llm_trace.errors import ConfigurationError
from tests.conftest import Recorded
from tests.helpers.comparison_toys import answer

SMALL = Dataset(
    "small",
    (Example(input={"question": "number 1"}, expected="1", tags=("odd",)), Example(input={"question": "é"})),
)


def test_a_dataset_is_saved_and_read_back_as_the_same_version(tmp_path: Path) -> None:
    SMALL.save(tmp_path / "small.jsonl")
    found = Dataset.load(tmp_path / "small.jsonl")
    assert (found, found.version, len(found)) == (SMALL, SMALL.version, 2)


def test_any_change_of_content_is_another_version() -> None:
    first, second = SMALL.examples
    others = [
        Dataset("small", (first,)),
        Dataset("small", (second, first)),
        Dataset("small", (first.model_copy(update={"tags": ()}), second)),
    ]
    assert len({SMALL.version, *(other.version for other in others)}) == 4
    assert Dataset("renamed", SMALL.examples).version == SMALL.version


def test_a_table_is_a_dataset(tmp_path: Path) -> None:
    file = tmp_path / "small.csv"
    file.write_text("question,expected,tags\nnumber 1,1,odd\né,,\n")
    assert Dataset.load(file) == SMALL


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("x.jsonl", '{"input": {}}\nno\n', "line 2: "),
        ("x.jsonl", '{"question": "1"}\n', "line 1: input: Field required"),
        ("x.jsonl", '{"input": {"q": 1}}\n\n{"input": {"q": 1}}\n', "line 3: the same input as in line 1"),
        ("x.csv", "question,expected\n1,2,3\n", "line 2: it has not as many cells"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=told):
        Dataset.load(tmp_path / name)


def test_calls_of_a_store_become_examples(store: Recorded) -> None:
    for i in (0, 1, 1):
        answer(f"number {i}", "v1")
    with llm_trace.open_store(store.path) as opened:
        found = Dataset.from_calls("seen", opened, name="answer", expected=True)
    assert [(e.input["question"], e.expected, e.tags) for e in found] == [
        ("number 0", "0", ("hard",)),
        ("number 1", "1", ("easy",)),
    ]


def test_calls_pair_by_the_example_they_are_about(store: Recorded) -> None:
    examples = [
        Example(
            input={"question": f"number {i}"},
            expected=str(i) if i else "none",
            tags=("low" if i < 6 else "high",),
        )
        for i in range(12)
    ]
    for version in ("v1", "v2"):
        with llm_trace.start_run(version):
            for i in range(14):
                answer(f"number {i}", version)
    found = compare("v1", "v2", store=store.path, by=Dataset("numbers", tuple(examples)))
    metric = found.metric("as_expected")
    assert (found.pairs, metric.verdict) == (12, "same")
    assert metric.a == metric.b == pytest.approx(11 / 12)
    assert {"tag low", "tag high"} <= {part.name for part in found.slices}
    assert [(left.side, left.calls) for left in found.unpaired] == [("a", 2), ("b", 2)]


def test_cells_of_a_table_stand_for_the_numbers_that_they_spell(store: Recorded, tmp_path: Path) -> None:
    @llm_trace.trace
    def double(n: int, version: str) -> int:
        return n * 2 if version == "b" else n + 1

    for version in "ab":
        with llm_trace.start_run(version):
            for n in range(8):
                double(n, version)
    file = tmp_path / "table.csv"
    file.write_text("n,expected\n" + "".join(f"{n},{2 * n}\n" for n in range(8)))
    found = compare("a", "b", store=store.path, by=Dataset.load(file))
    metric = found.metric("as_expected")
    assert (found.pairs, metric.a, metric.b) == (8, 1 / 8, 1.0)


def test_a_byte_order_mark_is_no_part_of_an_example(tmp_path: Path) -> None:
    file = tmp_path / "marked.jsonl"
    file.write_text("\ufeff" + '{"input": {"n": 1}}\n', encoding="utf-8")
    assert Dataset.load(file).examples == (Example(input={"n": 1}),)
