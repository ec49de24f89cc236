"""`llm-trace annotate`: scores from a person, one call after the other or from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

import llm_trace
from tests.helpers.cli_toys import answer, invoke


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "traces.duckdb"
    llm_trace.configure(path)
    for i in range(3):
        with llm_trace.span("ask", kind="llm", input=f"question {i}") as span:
            span.set(output=f"answer {i}")
    llm_trace.shutdown()
    return path


def scores(path: Path) -> list[tuple[object, ...]]:
    """Return every score with the answer it is about, in the order of the calls."""
    query = """SELECT c.output ->> '$', s.name, s.value ->> '$', s.source, s.comment
               FROM scores s JOIN calls c USING (span_id) ORDER BY c.start_ns, s.time_ns"""
    with llm_trace.open_store(path) as store:
        return store.sql(query).fetchall()


def test_calls_are_shown_and_scored_one_after_the_other(place: Path) -> None:
    result = invoke(place, "annotate", "--score", "helpful", stdin="y\nto the point\n\n0.5\n\n")
    assert result.exit_code == 0, result.output
    assert (
        result.stdout.index("question 2")
        < result.stdout.index("answer 2")
        < result.stdout.index("question 1")
    )
    assert scores(place) == [
        ("answer 0", "helpful", "0.5", "human", None),
        ("answer 2", "helpful", "true", "human", "to the point"),
    ]


def test_what_is_scored_is_skipped_and_q_leaves(place: Path) -> None:
    assert "1 score kept" in invoke(place, "annotate", stdin="4\n\nq\n").stdout
    again = invoke(place, "annotate", stdin="5\n\nq\n").stdout
    assert "2 calls without rating" in again
    assert "answer 2" not in again
    invoke(place, "annotate", stdin="1\n\n")
    assert invoke(place, "annotate").exit_code == 3


def test_the_end_of_the_input_leaves_too(place: Path) -> None:
    assert "0 scores kept" in invoke(place, "annotate", stdin="").stdout


def test_scores_come_in_from_a_file(place: Path, tmp_path: Path) -> None:
    with llm_trace.open_store(place) as store:
        spans = [call.span_id for call in store.calls()]
    lines = [f'{spans[0]},helpful,yes,"good, short"', f"{spans[1]},tone,formal,", f"{spans[2]},helpful,0.25,"]
    file = tmp_path / "scores.csv"
    file.write_text("\n".join(["span_id,name,value,comment", *lines]))
    assert answer(place, "annotate", "--csv", str(file)) == {"scores": 3}
    assert scores(place) == [
        ("answer 0", "helpful", "0.25", "human", None),
        ("answer 1", "tone", "formal", "human", None),
        ("answer 2", "helpful", "true", "human", "good, short"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("span,name,value\n", "line 1: it lacks the column 'span_id'"),
        ("span_id,name,value,colour\n", "line 1: it has a column 'colour'"),
        ("span_id,name,value\n{0},helpful,1\n{0},helpful,\n", "line 3: value is empty"),
        (
            "span_id,name,value\n0123456789abcdef,helpful,1\n",
            "line 2: the store has no call '0123456789abcdef'",
        ),
        ("span_id,name,value\n{0},helpful,1,so, so\n", "line 2: it has more cells"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_imported(
    place: Path, tmp_path: Path, text: str, told: str
) -> None:
    with llm_trace.open_store(place) as store:
        span = store.calls(limit=1)[0].span_id
    file = tmp_path / "scores.csv"
    file.write_text(text.format(span))
    result = invoke(place, "annotate", "--csv", str(file))
    assert (result.exit_code, told in result.stderr) == (1, True), result.stderr
    assert scores(place) == []
