"""`Comparison.attribution`: the embedded model's known cause is found by comparing two prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

import llm_trace
from llm_trace import compare
from llm_trace.comparison.result import Comparison
from llm_trace.comparison.shift import Shift
from llm_trace.errors import ConfigurationError

pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Five customers who are late with something broken, answered with and without the example line."""
    from llm_trace.demo import desk
    from llm_trace.demo.world import customers

    path: Path = tmp_path_factory.mktemp("shift") / "traces.duckdb"
    llm_trace.configure(path)
    for version in ("v1", "v2"):
        with llm_trace.start_run(version):
            for customer in customers(25, desk.SEED)[::5]:
                desk.handle(customer.message, version=version)
    llm_trace.shutdown()
    return compare("refund v1", "refund v2", store=path)


@pytest.fixture(scope="module")
def shift(comparison: Comparison) -> Shift:
    return comparison.attribution(model="demo")


def test_the_word_that_example_and_message_share_gains_weight(shift: Shift) -> None:
    word = next(w for w in shift.words if (w.word, w.part, w.answer) == ("broken", "message", "b"))
    assert (shift.pairs, word.n) == (5, 5)
    assert word.b - word.a == pytest.approx(word.difference)
    assert word.difference > 3


def test_the_new_line_of_the_template_weighs_nothing_before(shift: Shift) -> None:
    word = next(w for w in shift.words if (w.word, w.part, w.answer) == ("approve", "template", "b"))
    assert word.a <= word.b
    added = next(w for w in shift.words if (w.word, w.part, w.answer) == ("broken", "template", "b"))
    assert added.a == 0.0


def test_the_words_go_to_json_and_back(shift: Shift) -> None:
    assert Shift.model_validate_json(shift.model_dump_json()) == shift
    assert shift.summary().startswith("Over 5 pairs: ")


def test_a_comparison_from_json_says_that_its_calls_are_not_at_hand(comparison: Comparison) -> None:
    with pytest.raises(ConfigurationError, match="make it again"):
        Comparison.from_json(comparison.to_json()).attribution(model="demo")
