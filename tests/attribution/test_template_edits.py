"""Templates in pieces: cut where sentences, examples and variables end, found in prompts, and shortened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_trace.attribution.studies.template_edits import (
    fill_tokens,
    find_filling,
    remove_stretches,
    shorten_template,
)
from llm_trace.attribution.studies.template_pieces import cut_template, parse_template
from llm_trace.capture.prompts import Prompt

PARTS = st.sampled_from(
    [
        "Be kind. ",
        "Say {{yes}}.",
        "\n\n",
        " ",
        "{a}",
        "{b}",
        "{a!r:>4}",
        "Q: x\nA: y\n",
        "- one\n",
        "日本。",
        "Q:",
    ]
)
TEMPLATES = st.lists(PARTS, max_size=12).map("".join)
VALUES = st.sampled_from(["", "gold", "Be kind. ", "{b}", "\n", "Q: x\nA: y\n"])


@given(TEMPLATES)
def test_pieces_are_stretches_of_the_template_in_order(template: str) -> None:
    pieces = cut_template(template)
    at = 0
    for piece in pieces:
        assert at <= piece.start < piece.end
        at = piece.end
        text = template[piece.start : piece.end]
        if piece.kind == "variable":
            assert text.strip("{}").startswith(piece.name)
        else:
            assert text.format() == piece.name


@given(TEMPLATES, VALUES, VALUES, st.sets(st.integers(0, 30)))
def test_a_prompt_without_pieces_is_the_shorter_template_filled_in(
    template: str, a: str, b: str, chosen: set[int]
) -> None:
    tokens, values = parse_template(template), {"a": a, "b": b}
    rendered = Prompt("any", template).format(**values)
    filling = find_filling(tokens, f"<s>{rendered}</s>", values)
    if not rendered.strip() or filling is None or (filling.start, filling.end) != (3, 3 + len(rendered)):
        return  # what stands elsewhere too, or ends the text, is only found where it can be told
    assert fill_tokens(tokens, [f"<s>{rendered}</s>"[x:y] for x, y in filling.values]) == rendered
    pieces = cut_template(template)
    removed = {i for i in chosen if i < len(pieces)}
    short = shorten_template(template, pieces, removed)
    fields = [i for i, piece in enumerate(pieces) if piece.kind == "variable"]
    texts = [f"<s>{rendered}</s>"[x:y] for x, y in filling.values]
    left = [text for i, text in zip(fields, texts, strict=True) if i not in removed]
    assert fill_tokens(parse_template(short), left) == Prompt("any", short).format(**values)


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("Example: a lamp -> YES\n\nCustomer: {m}", ["Example: a lamp -> YES"]),
        (
            "Example 1:\nInput: a\nOutput: b\n\nInput: c\nOutput: d",
            ["Example 1:\nInput: a\nOutput: b", "Input: c\nOutput: d"],
        ),
        ("User: hi\nAssistant: hello\nUser: {x}\nAssistant:", ["User: hi\nAssistant: hello"]),
        ("Question: {q}\nAnswer:", []),
        ("Q: {q}\nA: yes", []),
    ],
    ids=["one line", "blocks", "dialogue", "question", "with a variable"],
)
def test_a_worked_example_is_one_piece(template: str, names: list[str]) -> None:
    assert [piece.name for piece in cut_template(template) if piece.kind == "example"] == names


def test_the_number_of_an_item_goes_with_it() -> None:
    template = "Rules:\n1. Do this.\n2. Do that. And more.\n"
    pieces = cut_template(template)
    assert [piece.name for piece in pieces] == ["Rules:", "1. Do this.", "2. Do that.", "And more."]
    assert shorten_template(template, pieces, {1}) == "Rules:\n2. Do that. And more.\n"


@pytest.mark.parametrize(
    ("text", "gone", "left"),
    [
        ("A. B. C.", "B.", "A. C."),
        ("A. B.\nC.", "B.", "A.\nC."),
        ("A.\n\nB.\n\nC.", "B.", "A.\n\nC."),
        ("A.\nB.\nC.", "B.", "A.\nC."),
        ("A.\n\nB.", "B.", "A."),
        ("A. B.", "A.", "B."),
        ("B.", "B.", ""),
        ("xBy", "B", "xy"),
    ],
    ids=["between", "end of line", "paragraph", "line", "last", "first", "all", "in a word"],
)
def test_what_goes_takes_its_blanks_along(text: str, gone: str, left: str) -> None:
    at = text.index(gone)
    assert remove_stretches(text, [(at, at + len(gone))]) == left


def test_a_prompt_that_was_stripped_or_whose_variable_was_formatted_is_found() -> None:
    tokens = parse_template("\nAsk: {q!r:>8}. Now.\n")
    filling = find_filling(tokens, "x Ask:      'a'. Now. y", {"q": "a"})
    assert filling is not None
    assert ((filling.start, filling.end), filling.trimmed) == ((2, 21), True)
    assert find_filling(tokens, "Ask: 'a'. Later.", {"q": "a"}) is None
