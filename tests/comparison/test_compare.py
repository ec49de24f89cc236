"""`compare`: what pairs, what is measured, what it says, and what it says when it cannot."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace import compare
from llm_trace.comparison.comparison import Comparison
from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.record import Call
from tests.conftest import Recorded
from tests.helpers.comparison_toys import PROMPTS, answer, ask, record


def tasted(number: int, score: float | None) -> None:
    """Record a call with a score that is no part of its input."""
    with llm_trace.span("taste", input=number):
        if score is not None:
            llm_trace.log_score("taste", score)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("comparison") / "traces.duckdb"
    record(path)
    return path


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("try v1", "try v2"),
        ("qa v1", "qa v2"),
        ("qa@1", f"qa@{PROMPTS['v2'].version[:6]}"),
        (PROMPTS["v1"].version, PROMPTS["v2"]),
        ("big", "small"),
        ({"run": "try v1", "name": "answer"}, {"run": "try v2", "name": "answer"}),
        ({"run": "try v1", "name": "ask"}, {"run": "try v2", "name": "ask"}),
    ],
)
def test_runs_prompts_models_and_filters_pair_by_what_was_asked(place: Path, a: Any, b: Any) -> None:
    found = compare(a, b, store=place)
    assert (found.pairs, found.calls, found.unpaired) == (60, (60, 60), ())
    assert found.metric("input_tokens").difference == len("Be brief.\n")


def test_a_score_of_the_calls_belongs_to_their_pair(place: Path) -> None:
    found = compare("try v1", "try v2", store=place)
    metric = found.metric("accuracy")
    assert (metric.kind, metric.n, metric.a, metric.b, metric.verdict) == ("yesno", 60, 1.0, 0.8, "worse")
    assert metric.low is not None
    assert metric.high is not None
    assert metric.low < -0.2 < metric.high < 0
    assert len(metric.worst) == 3
    with llm_trace.open_store(place) as store:
        for spans in metric.worst:
            assert all(store.call(span).tags == ("hard",) for span in spans)


def test_usage_is_summed_over_the_calls_inside(place: Path) -> None:
    found = compare("try v1", "try v2", store=place)
    assert found.metric("output_tokens").a == 3
    assert found.metric("cost_usd").difference == pytest.approx(0.010)
    assert found.metric("cost_usd").verdict == "worse"


def test_slices_show_what_the_average_hides(place: Path) -> None:
    found = compare("try v1", "try v2", store=place)
    hard, easy = found.metric("accuracy", "tag hard"), found.metric("accuracy", "tag easy")
    assert (hard.n, hard.b, hard.verdict) == (12, 0.0, "worse")
    assert (easy.n, easy.verdict) == (48, "same")


def test_the_same_comparison_gives_the_same_bytes_and_counts_once(place: Path) -> None:
    first, again = (compare("try v1", "try v2", store=place) for _ in range(2))
    assert first.to_json() == again.to_json()
    assert Comparison.from_json(first.to_json()).to_json() == first.to_json()


def test_many_tries_on_the_same_inputs_are_counted(store: Recorded) -> None:
    for run in ("base", "one", "two"):
        with llm_trace.start_run(run):
            for i in range(40):
                answer(f"number {i}", "v1")
    assert compare("base", "one", store=store.path).tried == 1
    found = compare("base", "two", store=store.path)
    assert found.tried == 2
    assert any("not used yet" in warning for warning in found.warnings)


def test_repeats_of_an_input_count_once(store: Recorded) -> None:
    for run, times in (("a", 3), ("b", 2)):
        with llm_trace.start_run(run):
            for i in range(10 * times):
                tasted(i % 10, i // 10)
    found = compare("a", "b", store=store.path)
    assert (found.pairs, found.metric("taste").a, found.metric("taste").b) == (10, 1.0, 0.5)
    assert any("several times" in note for note in found.notes)
    assert any("Only 10 pairs" in warning for warning in found.warnings)


def test_pairs_of_one_session_count_as_dependent(store: Recorded) -> None:
    for run in ("a", "b"):
        with llm_trace.start_run(run):
            for i in range(40):
                with llm_trace.using_session(f"{run} {i // 4}"):
                    ask(f"number {i}", "m")
    assert any("10 sessions" in note for note in compare("a", "b", store=store.path).notes)


def test_a_key_that_the_user_names_pairs_calls_of_other_input(store: Recorded) -> None:
    for run in ("a", "b"):
        with llm_trace.start_run(run):
            for i in range(5):
                with llm_trace.span("turn", input=f"{run} {i}", metadata={"example": i}):
                    pass
    with pytest.raises(NotFoundError, match=r"no input in common.*metadata\.example"):
        compare("a", "b", store=store.path)
    found = compare("a", "b", store=store.path, by="metadata.example")
    assert (found.pairs, found.paired_by) == (5, "metadata.example")


def test_a_changed_system_message_is_not_part_of_the_input(store: Recorded) -> None:
    @llm_trace.trace(kind="llm")
    def chat(messages: list[dict[str, str]]) -> str:
        return messages[-1]["content"]

    for run, system in (("a", "Be kind."), ("b", "Be brief.")):
        with llm_trace.start_run(run):
            for i in range(6):
                chat([{"role": "system", "content": system}, {"role": "user", "content": f"number {i}"}])
    assert compare("a", "b", store=store.path).pairs == 6


def test_a_script_that_is_one_call_is_opened(store: Recorded) -> None:
    @llm_trace.trace
    def main(version: str) -> None:
        for i in range(6):
            answer(f"number {i}", version)

    main("v1")
    main("v2")
    assert compare("qa v1", "qa v2", store=store.path).pairs == 6


def test_what_did_not_pair_is_told_with_the_reason(store: Recorded) -> None:
    @llm_trace.trace
    def other(question: str) -> None: ...

    with llm_trace.start_run("a"):
        for i in range(6):
            ask(f"number {i}", "m")
        other("?")
    with llm_trace.start_run("b"):
        for i in range(1, 8):
            ask(f"number {i}", "m")
    told = [(u.side, u.calls, u.reason) for u in compare("a", "b", store=store.path).unpaired]
    assert told == [
        ("a", 1, "b has no finished call of ask with the same input"),
        ("a", 1, "b has no call of other"),
        ("b", 2, "a has no finished call of ask with the same input"),
    ]


def test_errors_refusals_and_broken_json_are_counted(store: Recorded) -> None:
    @llm_trace.trace(kind="llm")
    def reply(i: int, bad: bool) -> str:
        if bad and i % 4 == 0:
            raise ValueError("no")
        if bad and i % 4 == 1:
            return "I'm sorry, but I can't help with that."
        return '{"answer": 1}'

    for run in ("a", "b"):
        with llm_trace.start_run(run):
            for i in range(40):
                try:
                    reply(i, bad=run == "b")
                except ValueError:
                    continue
    found = compare("a", "b", store=store.path)
    shown = {
        name: (found.metric(name).a, found.metric(name).b) for name in ("errors", "refusals", "valid_json")
    }
    assert shown == {
        "errors": (0, 0.25),
        "refusals": (0, pytest.approx(1 / 3)),
        "valid_json": (1, pytest.approx(2 / 3)),
    }
    assert {found.metric(name).verdict for name in shown} == {"worse"}
    assert found.metric("output_changed").b == pytest.approx(1 / 3)


def test_a_function_of_both_calls_is_a_metric(place: Path) -> None:
    def length(a: Call, b: Call) -> tuple[float, float]:
        return len(a.output), len(b.output)

    found = compare("try v1", "try v2", store=place, metrics=["accuracy", length], slices=())
    assert [m.name for m in found.metrics] == ["accuracy", "length"]
    named = compare("try v1", "try v2", store=place, metrics={"size": length}, slices=())
    assert [(m.name, m.verdict) for m in named.metrics] == [("size", "same")]


def test_a_score_that_is_better_when_lower_is_judged_so(place: Path) -> None:
    assert compare("try v1", "try v2", store=place, lower=["accuracy"]).metric("accuracy").verdict == "better"


def test_outputs_are_compared_by_the_meaning_that_is_given(place: Path) -> None:
    def embed(texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]

    assert compare("try v1", "try v2", store=place, embed=embed).metric("output_similarity").b == 1.0


def test_a_score_on_one_side_only_is_said(store: Recorded) -> None:
    for run in ("a", "b"):
        with llm_trace.start_run(run):
            for i in range(4):
                tasted(i, 1.0 if run == "a" else None)
    found = compare("a", "b", store=store.path)
    assert any("taste is known in a and not in b: score b as well" in warning for warning in found.warnings)
    assert "taste" not in [m.name for m in found.metrics]


def test_what_cannot_be_meant_is_refused_with_what_to_do(store: Recorded, place: Path) -> None:
    with llm_trace.start_run("empty"):
        pass
    with llm_trace.start_run("full"):
        ask("x", "m")
    with pytest.raises(NotFoundError, match="run empty has no calls"):
        compare("empty", "full", store=store.path)
    with pytest.raises(NotFoundError, match=r"'try v3'.*did you mean 'try v2' or 'try v1'"):
        compare("try v3", "try v2", store=place)
    with pytest.raises(ConfigurationError, match="'qa v1', 'qa v2'"):
        compare("qa", "qa v2", store=place)
    with pytest.raises(ConfigurationError, match="same calls"):
        compare("try v1", "try v1", store=place)
    with pytest.raises(ConfigurationError, match="'speed' is no place"):
        compare("try v1", "try v2", store=place, by="speed")
    with pytest.raises(ConfigurationError, match="no call has a metric 'speed'"):
        compare("try v1", "try v2", store=place, metrics=["speed"])
    with pytest.raises(ConfigurationError, match="is no filter"):
        compare({"colour": "red"}, "try v2", store=place)


def test_a_condition_reads_metrics_and_slices_and_nothing_else(place: Path) -> None:
    found = compare("try v1", "try v2", store=place)
    assert found.fails("accuracy.low < -0.02")
    assert not found.fails("accuracy.difference >= 0")
    assert found.fails("accuracy[tag hard].verdict == worse")
    with pytest.raises(NotFoundError, match="'speed' was compared: there are accuracy"):
        found.fails("speed.low < 0")
    with pytest.raises(ConfigurationError, match="is no condition"):
        found.fails("__import__('os').system('true')")
    with pytest.raises(ConfigurationError, match="cannot be judged"):
        found.fails("errors.p_value < 0.05")


def test_a_page_stands_alone_and_escapes(store: Recorded, tmp_path: Path) -> None:
    for run in ("<script>a", "b"):
        with llm_trace.start_run(run):
            ask("x", "m")
    page = compare("<script>a", "b", store=store.path).to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == page
    assert "<script>" not in page
    assert html.escape("run <script>a") in page


def test_a_data_frame_has_a_row_for_each_metric_and_slice(place: Path) -> None:
    pytest.importorskip("pandas")
    frame = compare("try v1", "try v2", store=place).to_frame()
    row = frame[(frame["slice"] == "tag hard") & (frame["name"] == "accuracy")].iloc[0]
    assert (row["n"], row["difference"], row["verdict"]) == (12, -1.0, "worse")
