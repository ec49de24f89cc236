"""The pairs that got worse stand in the record, the table and the page."""

from __future__ import annotations

import html
from pathlib import Path

import pytest

import llm_trace
from llm_trace import compare
from llm_trace.comparison.comparison import Comparison
from llm_trace.comparison.records import Loss
from tests.conftest import Recorded
from tests.helpers.comparison_toys import record


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    path = tmp_path_factory.mktemp("comparison") / "traces.duckdb"
    record(path, 40)
    return compare("try v1", "try v2", store=path, slices=())


def test_the_pairs_that_got_worse_are_named_with_question_and_answers(found: Comparison) -> None:
    losses = [loss for loss in found.losses if loss.metric == "accuracy"]
    assert [(loss.a, loss.b) for loss in losses] == list(found.metric("accuracy").worst)
    for loss in losses:
        assert (loss.before, loss.after) == (1.0, 0.0)
        assert int(loss.output_b) % 5 == 0
        assert f'"question":"number {loss.output_b}"' in loss.input
    assert {loss.metric for loss in found.losses} == {
        m.name for m in found.metrics if m.name == "accuracy" or m.verdict == "worse"
    }


def test_the_table_and_the_page_show_the_pairs_that_got_worse(found: Comparison, tmp_path: Path) -> None:
    text, page = str(found), found.to_html(tmp_path / "page.html")
    for loss in found.losses:
        assert f"{loss.metric} " in text
        assert f"a {loss.a}  {loss.output_a}" in text
        assert f"b <code>{loss.b}</code>" in page
        assert html.escape(loss.input) in page


def test_a_call_that_failed_and_what_would_steer_a_terminal_are_shown_as_text(store: Recorded) -> None:
    @llm_trace.trace(kind="llm")
    def ask(messages: list[dict[str, str]]) -> str:
        if failing:
            raise TimeoutError
        llm_trace.log_score("quality", 1.0)
        return "<b>\x1b[31mred\x1b[0m</b>\n" + 200 * "x"

    for run in "ab":
        with llm_trace.start_run(run):
            for i in range(3):
                failing = run == "b" and i == 1
                try:
                    ask([{"role": "user", "content": f"Question {i}"}])
                except TimeoutError:
                    continue
    found = compare("a", "b", store=store.path)
    loss = next(loss for loss in found.losses if loss.metric == "quality")
    assert (loss.before, loss.after, loss.input, loss.output_b) == (1.0, 0.0, "Question 1", "TimeoutError")
    assert (loss.output_a[:16], len(loss.output_a)) == ("<b> [31mred [0m<", 160)
    assert "\x1b" not in str(found)
    assert "<b> [31mred" not in found.to_html()
    assert isinstance(loss, Loss)
