"""Characters and tokens, with tokenizers of every family."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from llm_trace.attribution.api import attribute
from llm_trace.attribution.models.problem import build_problem
from llm_trace.attribution.models.questions import parse_question
from llm_trace.attribution.question.renders import render, segment_prompt
from llm_trace.attribution.question.tokenization import Codec
from llm_trace.errors import AttributionError
from tests.helpers import attribution_toys as toys

FAMILIES = ["byte_level", "sentence_piece", "word_piece"]
PROMPT = "Lily had a 🙂 naïve red ball."


@pytest.fixture(params=FAMILIES)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return getattr(toys, request.param)()


def test_the_response_is_the_continuation_of_the_prompt(tokenizer: Any) -> None:
    codec = Codec(tokenizer)
    found = codec.response(PROMPT, " One day she came.")
    joint = codec.ids(PROMPT + " One day she came.")
    assert [*codec.ids(PROMPT), *found.ids] == joint
    assert found.note is None
    assert "".join(found.texts).replace(" ", "") == "Onedayshecame."
    assert codec.ids(PROMPT)[: len(codec.prefix)] == list(codec.prefix)


def test_a_token_across_the_border_is_not_used(tokenizer: Any) -> None:
    codec = Codec(tokenizer)
    found = codec.response("Once upon a ti", "me there")
    assert found.note is not None or [*codec.ids("Once upon a ti"), *found.ids] == codec.ids(
        "Once upon a time there"
    )
    spaced = codec.response("Once upon a ", "time there")
    assert spaced.ids[0] not in codec.ids("Once upon a")
    assert tokenizer.decode([*codec.ids("Once upon a "), *spaced.ids], skip_special_tokens=True) in (
        "Once upon a time there",
        "once upon a time there",
    )


def test_specials_are_added_once_and_never_perturbed(tokenizer: Any) -> None:
    codec = Codec(tokenizer)
    for spec in ("word", "token", "sentence"):
        cut = segment_prompt(PROMPT, spec, (), codec, own_special=False)
        for baseline in ("mask", "delete", "x"):
            none = render(cut, baseline, codec)(np.zeros((1, len(cut.segments)), dtype=bool))[0]
            assert none[: len(codec.prefix)] == codec.prefix
            assert all(none.count(i) == 1 for i in codec.prefix)
    if codec.prefix and tokenizer.bos_token:
        assert codec.ids(tokenizer.bos_token + PROMPT).count(codec.prefix[0]) == 1


def test_every_token_belongs_to_a_segment_and_the_full_mask_changes_nothing(tokenizer: Any) -> None:
    codec = Codec(tokenizer)
    for spec in ("word", "token", "sentence"):
        cut = segment_prompt(PROMPT, spec, (), codec, own_special=False)
        for baseline in ("mask", "delete", "x"):
            whole = render(cut, baseline, codec)(np.ones((1, len(cut.segments)), dtype=bool))[0]
            assert list(whole) == codec.ids(PROMPT)
        masked = render(cut, "mask", codec)(np.zeros((1, len(cut.segments)), dtype=bool))[0]
        assert len(masked) == len(codec.ids(PROMPT))
        kept = [i for i, (a, b) in enumerate(zip(masked, codec.ids(PROMPT), strict=True)) if a == b]
        assert all(codec.ids(PROMPT)[i] in (*codec.prefix, *codec.tail("x ", "x")) for i in kept)


def test_one_masked_word_changes_only_its_tokens(tokenizer: Any) -> None:
    codec = Codec(tokenizer)
    cut = segment_prompt(PROMPT, "word", (), codec, own_special=False)
    where = codec.tokens(PROMPT)
    for i, s in enumerate(cut.segments):
        keep = np.ones((1, len(cut.segments)), dtype=bool)
        keep[0, i] = False
        changed = [
            t
            for t, (a, b) in enumerate(zip(render(cut, "mask", codec)(keep)[0], where.ids, strict=True))
            if a != b
        ]
        assert changed
        assert all(where.spans[t][0] < s.end and where.spans[t][1] > s.start for t in changed)


def test_an_emoji_of_several_tokens_is_one_segment() -> None:
    codec = Codec(toys.byte_level())
    cut = segment_prompt(PROMPT, "token", (), codec, own_special=False)
    assert "🙂" in [s.text.strip() for s in cut.segments]


def test_a_tokenizer_without_offsets_is_decoded() -> None:
    slow = toys.transformers.ByT5Tokenizer()
    codec = Codec(slow)
    found = codec.tokens("naïve 🙂 x")
    assert [found.spans[i] for i in (0, 2, 3)] == [(0, 1), (2, 3), (2, 3)]
    assert found.spans[-1] == (8, 9)
    cut = segment_prompt("naïve 🙂 x", "word", (), codec, own_special=False)
    masked = render(cut, "mask", codec)(np.array([[True, False, True]]))[0]
    assert sum(a != b for a, b in zip(masked, found.ids, strict=True)) == 4


class Placeless:
    """A tokenizer that gives no places: empty offsets, or none and not the text again."""

    def __init__(self, own: Any, *, is_fast: bool) -> None:
        self._own, self.is_fast = own, is_fast

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def __call__(self, text: str, **settings: Any) -> Any:
        got = self._own(text, **settings)
        return {"input_ids": got["input_ids"], "offset_mapping": [(0, 0)] * len(got["input_ids"])}


def test_a_fast_tokenizer_with_empty_offsets_is_decoded() -> None:
    settings: dict[str, Any] = {"model": toys.llama(), "method": "occlusion", "baseline": "mask"}
    whole = attribute("Lily had a kite", " and a ball", tokenizer=toys.byte_level(), **settings)
    placeless = Placeless(toys.byte_level(), is_fast=True)
    assert attribute("Lily had a kite", " and a ball", tokenizer=placeless, **settings).values == whole.values


def test_a_tokenizer_that_does_not_give_the_text_back_deletes_and_says_why_it_cannot_mask() -> None:
    lossy = Placeless(toys.word_piece(), is_fast=False)  # lower case
    settings: dict[str, Any] = {"model": toys.llama(), "tokenizer": lossy, "method": "occlusion"}
    got = attribute("Lily had a kite", " And a ball", baseline="delete", **settings)
    plain = {**settings, "tokenizer": toys.word_piece()}
    whole = attribute("Lily had a kite", " And a ball", baseline="delete", **plain)
    assert got.values == pytest.approx(whole.values, abs=1e-5)
    assert any("it can be explained only as a whole" in note for note in got.notes)
    assert attribute("Lily had a kite", " And a ball", **settings).baseline == "delete"
    with pytest.raises(AttributionError, match="decoding does not give the prompt back"):
        attribute("Lily had a kite", " And a ball", baseline="mask", **settings)


def test_the_same_length_stand_in_is_named() -> None:
    codec = Codec(toys.byte_level())
    cut = segment_prompt("Lily had a ball", "word", (), codec, own_special=False)
    masks = render(cut, "mask", codec)
    assert masks.baseline == "mask: '_' for each token"
    ids = masks(np.array([[True, False, True, True]]))[0]
    assert toys.byte_level().decode(ids) == "Lily_ a ball"
    assert render(cut, "mask", Codec(toys.word_piece())).baseline.endswith("(mask token)")
    codec = Codec(toys.letters(), sample="A")
    cut = segment_prompt("ABC", "token", (), codec, own_special=False)
    with pytest.raises(AttributionError, match="use baseline='delete'"):
        render(cut, "mask", codec)


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def test_chat_segments_stand_in_the_rendered_text_and_the_template_stays() -> None:
    tokenizer = copy.deepcopy(toys.byte_level())
    tokenizer.chat_template = CHATML
    messages = [
        {"role": "system", "content": " Be kind. "},
        {"role": "user", "content": [{"type": "text", "text": "Hi Lily"}]},
    ]
    work = build_problem(
        parse_question(messages, "Hello"), toys.llama(), tokenizer, "m", segments="word", target=None
    )
    text = work.segmented.text
    assert text == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi Lily<|im_end|>\n<|im_start|>assistant\n"
    )
    assert [(s.text, s.name, text[s.start : s.end]) for s in work.segmented.segments] == [
        ("Be", "system", "Be"),
        ("kind.", "system", "kind."),
        ("Hi", "user", "Hi"),
        ("Lily", "user", "Lily"),
    ]
    none = work.render("delete")(np.zeros((1, 4), dtype=bool))[0]
    assert (
        tokenizer.decode(none)
        == "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n"
    )
    whole = build_problem(
        parse_question(messages, "Hello"), toys.llama(), tokenizer, "m", segments="message", target=None
    )
    assert [(s.kind, s.name, s.text) for s in whole.segmented.segments] == [
        ("message", "system", "Be kind."),
        ("message", "user", "Hi Lily"),
    ]


def test_a_template_that_rewrites_the_messages_is_refused() -> None:
    tokenizer = copy.deepcopy(toys.byte_level())
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"
    with pytest.raises(AttributionError, match="changes the content"):
        build_problem(
            parse_question([{"role": "user", "content": "hi"}], "x"),
            toys.llama(),
            tokenizer,
            "m",
            segments="word",
            target=None,
        )
