"""Text to segments and masks back to text."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace.attribution.question.segments import Region, segment
from llm_trace.errors import AttributionError
from llm_trace.record import Segment


def texts(text: str, spec: object) -> list[str]:
    return [s.text for s in segment(text, spec).segments]  # type: ignore[arg-type]


def dropped(text: str, spec: object, *gone: int) -> str:
    cut = segment(text, spec)  # type: ignore[arg-type]
    keep = np.ones(len(cut.segments), dtype=bool)
    keep[list(gone)] = False
    return cut.render(keep)


def test_a_word_is_deleted_with_one_adjoining_space() -> None:
    text = "a b  c d\ne f"
    assert texts(text, "word") == ["a", "b", "c", "d", "e", "f"]
    assert dropped(text, "word", 0) == "b  c d\ne f"
    assert dropped(text, "word", 1) == "a  c d\ne f"
    assert dropped(text, "word", 3) == "a b  c\ne f"
    assert dropped(text, "word", 4) == "a b  c d\nf"
    assert dropped(text, "word", 5) == "a b  c d\ne"
    assert dropped("a b c", "word", 0, 1, 2) == ""


def test_sentences_end_at_marks_and_lines_but_not_at_abbreviations() -> None:
    text = 'Dr. Who paid 3.50 today. "Really?" Yes! e.g. twice\nNew line. 今日は。はい。'
    assert texts(text, "sentence") == [
        "Dr. Who paid 3.50 today.",
        '"Really?"',
        "Yes!",
        "e.g. twice",
        "New line.",
        "今日は。",
        "はい。",
    ]


def test_phrases_lines_and_paragraphs() -> None:
    assert texts("When late, deny; else approve.", "phrase") == ["When late,", "deny;", "else approve."]
    assert texts("a\nb\n\n\nc d", "paragraph") == ["a\nb", "c d"]
    assert dropped("a\nb\n\nc\n\nd", "paragraph", 1) == "a\nb\n\nd"
    assert dropped("a\n\nb", "paragraph", 1) == "a"
    assert texts("a\n\nb c\n", "line") == ["a", "b c"]


def test_phrases_of_scripts_without_spaces() -> None:
    pytest.importorskip("budoux")
    assert texts("今日は天気です。明日は雨が降るでしょう、傘を持つ。", "phrase") == [
        "今日は", "天気です。", "明日は", "雨が", "降るでしょう、", "傘を", "持つ。",
    ]  # fmt: skip
    assert texts("我们去北京学习中文 with Tom, and friends.", "phrase") == [
        "我们", "去", "北京", "学习", "中文", "with Tom,", "and friends.",
    ]  # fmt: skip


def test_without_a_segmenter_punctuation_ends_the_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_trace.attribution.question.segmenters.find_spec", lambda name: None)
    assert texts("今日は天気です。明日は雨が降る", "phrase") == ["今日は天気です。", "明日は雨が降る"]


def test_patterns_spans_functions_and_variables() -> None:
    text = "Customer: 75 days, gold"
    assert texts(text, re.compile(r"\d+|gold")) == ["75", "gold"]
    assert dropped(text, [(10, 12), (19, 23, "tier")], 0) == "Customer:  days, gold"
    assert segment(text, [(19, 23, "tier")]).segments == (
        Segment(start=19, end=23, text="gold", kind="span", name="tier"),
    )
    assert texts(text, lambda t: [(0, 8)]) == ["Customer"]
    found = segment(text, {"days": 75, "tier": "gold", "none": "", "other": "silver"})
    assert [(s.name, s.text, s.kind) for s in found.segments] == [
        ("days", "75", "variable"),
        ("tier", "gold", "variable"),
    ]
    assert len(found.notes) == 2


def test_the_value_of_one_variable_inside_another_is_not_counted_twice() -> None:
    found = segment("x: red ball, y: red", {"y": "red", "x": "red ball"})
    assert [(s.name, s.start) for s in found.segments] == [("x", 3), ("y", 16)]


def test_what_overlaps_or_leaves_the_text_is_refused() -> None:
    with pytest.raises(AttributionError, match="overlap"):
        segment("abc def", [(0, 4), (3, 6)])
    with pytest.raises(AttributionError, match="leaves the prompt"):
        segment("abc", [(0, 4)])
    with pytest.raises(AttributionError, match="empty"):
        segment("  ", "word")
    with pytest.raises(AttributionError, match="choose one of word"):
        segment("abc", "wrod")
    with pytest.raises(AttributionError, match="chat messages"):
        segment("abc", "message")
    with pytest.raises(AttributionError, match="no segment"):
        segment("abc", re.compile(r"\d"))


def test_nothing_outside_the_regions_is_changed() -> None:
    text = "<u> a b <e><u> c <e>"
    cut = segment(text, "word", regions=[Region(4, 7, "user"), Region(15, 16, "user")])
    assert [(s.text, s.name) for s in cut.segments] == [("a", "user"), ("b", "user"), ("c", "user")]
    assert cut.render(np.array([False, False, False])) == "<u>  <e><u>  <e>"
    assert cut.render(np.array([True, False, True])) == "<u> a <e><u> c <e>"


@given(st.text(min_size=1), st.sampled_from(["word", "sentence", "phrase", "line", "paragraph"]), st.data())
def test_offsets_hold_and_masks_render(text: str, spec: str, data: st.DataObject) -> None:
    try:
        cut = segment(text, spec)
    except AttributionError:
        return
    n = len(cut.segments)
    assert all(s.text == text[s.start : s.end] for s in cut.segments)
    assert cut.render(np.ones(n, dtype=bool)) == text
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    shown = cut.render(keep)
    rest = iter(shown.split()) if spec == "word" else iter(())
    assert spec != "word" or [s.text for s, k in zip(cut.segments, keep, strict=True) if k] == list(rest)
    blacked = cut.render(keep, "\x00")
    assert blacked.count("\x00") - text.count("\x00") <= int((~keep).sum())
