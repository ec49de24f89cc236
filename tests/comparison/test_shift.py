"""`Comparison.attribution`: the embedded model's known cause is found by comparing two prompts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import llm_trace
from llm_trace import compare
from llm_trace.comparison.comparison import Comparison
from llm_trace.comparison.shift import Shift
from llm_trace.comparison.weights import weigh_words
from llm_trace.errors import ConfigurationError

pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Customers, answered with and without the example line: five late with something broken, four not."""
    from llm_trace.demo import desk
    from llm_trace.demo.world import make_customers

    path: Path = tmp_path_factory.mktemp("shift") / "traces.duckdb"
    llm_trace.configure(path)
    for version in ("v1", "v2"):
        with llm_trace.start_run(version):
            for customer in (*make_customers(25, desk.SEED)[::5], *make_customers(20, desk.SEED)[1::6]):
                desk.handle(customer.message, version=version)
    llm_trace.shutdown()
    return compare("refund v1", "refund v2", store=path)


@pytest.fixture(scope="module")
def shift(comparison: Comparison) -> Shift:
    return comparison.attribution(model="demo", pairs=5, method="occlusion")


def test_pairs_with_another_answer_come_first(comparison: Comparison, shift: Shift) -> None:
    assert (comparison.pairs, shift.pairs, shift.changed) == (9, 5, 5)


def test_words_whose_weight_changes_by_next_to_nothing_are_no_findings() -> None:
    rng = np.random.default_rng(1)

    def weights(
        changes: dict[str, float],
    ) -> tuple[dict[tuple[str, str], float], dict[tuple[str, str], float]]:
        before = {("template", word): float(rng.normal(1, 0.1)) for word in changes}
        return before, {key: before[key] + changes[key[1]] for key in before}

    pairs = [
        [
            weights({"please": 1e-5 * (1 + rng.random()), "gold": rng.normal(1, 0.2), "the": (-1.0) ** i})
            for _ in range(2)
        ]
        for i in range(20)
    ]
    found = {(w.word, w.answer): (w.verdict, w.p_value is None) for w in weigh_words(pairs)}
    assert found == {
        (word, answer): verdict
        for word, verdict in (
            ("please", ("negligible", True)),
            ("gold", ("gained", False)),
            ("the", ("unclear", False)),
        )
        for answer in "ab"
    }


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
    assert shift.summary().startswith("Over 5 pairs, 5 with another answer: ")


def test_a_comparison_from_json_says_that_its_calls_are_not_at_hand(comparison: Comparison) -> None:
    with pytest.raises(ConfigurationError, match="make it again"):
        Comparison.from_json(comparison.to_json()).attribution(model="demo")
