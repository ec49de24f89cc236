"""Chat messages and special tokens: contents are perturbed in place, templates and special tokens never."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_trace.attribution.api import attribute
from llm_trace.attribution.models.problem import Problem, build_problem
from llm_trace.attribution.models.questions import parse_question
from llm_trace.attribution.question.chat import render_chat
from llm_trace.errors import AttributionError
from llm_trace.record import Call, Message, Part
from tests.helpers import attribution_toys as toys

TALKATIVE = (
    "{%- if messages[0].role != 'system' %}<|im_start|>system\nYou are Qwen, a helpful "
    "assistant.<|im_end|>\n{% endif %}"
    "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content BODY }}"
    "{%- for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }} {{ c.function.arguments | tojson "
    "}}</tool_call>{% endfor %}"
    "{{- '<|im_end|>\n' }}{% endfor %}<|im_start|>assistant\n"
)
PLAIN, TRIMMED = TALKATIVE.replace("BODY", ""), TALKATIVE.replace("BODY", "| trim")
DEAF = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
CALL: dict[str, Any] = {
    "id": "1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
}


def with_template(template: str) -> Any:
    tokenizer = copy.deepcopy(toys.byte_level())
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = template
    return tokenizer


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize("template", [PLAIN, TRIMMED], ids=["plain", "trimmed"])
@pytest.mark.parametrize(
    "content", ["Qwen", "You are Qwen, a helpful assistant.", "user", "s", "<", "end", " I ", "im\n"]
)
def test_a_message_is_perturbed_where_it_stands_though_the_template_has_the_same_words(
    template: str, content: str
) -> None:
    for messages in ([user(content)], [{"role": "system", "content": "Be user."}, user(content)]):
        got = render_chat(messages, with_template(template))
        last = got.regions[-1]
        assert got.text[last.start : last.end] == (content if template == PLAIN else content.strip())
        assert got.text[: last.start].endswith("<|im_start|>user\n")
        assert got.text[last.end :].startswith("<|im_end|>\n<|im_start|>assistant")
        assert len(got.regions) == len(messages)


@settings(max_examples=60)
@example(contents=["\n0"])
@given(
    contents=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Co"]), min_size=1, max_size=12).filter(str.strip),
        min_size=1,
        max_size=4,
    )
)
def test_the_regions_are_the_contents_in_their_order(contents: list[str]) -> None:
    got = render_chat([user(c) for c in contents], with_template(TRIMMED))
    assert [got.text[r.start : r.end] for r in got.regions] == [c.strip() for c in contents]
    alone = render_chat([user("x") for _ in contents], with_template(TRIMMED)).text
    pieces, done = [], 0
    for region in got.regions:
        pieces.append(got.text[done : region.start])
        done = region.end
    assert "x".join([*pieces, got.text[done:]]) == alone


def test_a_template_that_looks_at_how_a_message_begins_is_no_obstacle() -> None:
    looking = (
        "{% for m in messages %}{% if m.content.startswith('Hi') %}!{% endif %}{{ m.content }}\n{% endfor %}"
    )
    got = render_chat([user("Hi Lily"), user("i")], with_template(looking))
    assert got.text == "!Hi Lily\ni\n"
    assert [(r.start, r.end) for r in got.regions] == [(1, 8), (9, 10)]


CHAT = [
    user("Weather in Paris?"),
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "1", "content": "22 C"},
]


def test_tool_calls_stand_in_the_prompt() -> None:
    got = render_chat(CHAT, with_template(PLAIN))
    assert '<tool_call>get_weather {"city": "Paris"}</tool_call>' in got.text
    assert got.notes == ()
    assert [r.role for r in got.regions] == ["user", "tool"]


@pytest.mark.parametrize(
    "call",
    [
        {"content": "", "tool_calls": [CALL]},
        {"content": [{"type": "tool_use", "id": "1", "name": "get_weather", "input": {"city": "Paris"}}]},
    ],
    ids=["openai", "anthropic"],
)
@pytest.mark.parametrize("template", [DEAF, None], ids=["deaf", "none"])
def test_tool_calls_that_vanish_are_named(call: dict[str, Any], template: Any) -> None:
    got = render_chat([CHAT[0], {"role": "assistant", **call}, CHAT[2]], with_template(template))
    assert "the chat template leaves out tool calls: get_weather" in got.notes


def test_parts_that_are_no_text_are_named() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    got = render_chat([user([{"type": "text", "text": "What is it?"}, picture])], with_template(DEAF))
    assert got.notes == ("parts that are no text are left out: image_url",)


def test_a_logged_call_keeps_its_tool_calls_and_results() -> None:
    parts: list[tuple[str, dict[str, Any]]] = [
        ("user", {"type": "text", "content": "Weather in Paris?"}),
        (
            "assistant",
            {"type": "tool_call", "id": "1", "name": "get_weather", "arguments": {"city": "Paris"}},
        ),
        ("tool", {"type": "tool_call_response", "id": "1", "response": "22 C"}),
    ]
    messages = tuple(Message(role=role, parts=(Part(**fields),)) for role, fields in parts)
    call = Call(
        trace_id="1" * 32,
        span_id="2" * 16,
        name="ask",
        start_ns=1,
        status="ok",
        messages_in=messages,
        output="Warm",
    )
    text = posed(call, None, with_template(PLAIN)).segmented.text
    assert 'get_weather {"city": "Paris"}' in text
    assert "<|im_start|>tool\n22 C<|im_end|>" in text


@pytest.mark.parametrize(
    "messages",
    [[user("")], [user("  "), {"role": "assistant", "content": None}], []],
    ids=["one", "blank", "no"],
)
@pytest.mark.parametrize("template", [PLAIN, None], ids=["template", "none"])
def test_a_chat_without_text_is_refused(messages: Any, template: Any) -> None:
    with pytest.raises(AttributionError, match="nothing to attribute to"):
        attribute(messages, "She", model=toys.llama(), tokenizer=with_template(template))


def test_messages_that_a_template_refuses_are_an_error_that_says_so() -> None:
    refusing = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(
        AttributionError, match="the chat template refuses these messages .roles must alternate"
    ):
        render_chat([user("Hi")], with_template(refusing))


def posed(prompt: Any, response: str | None, tokenizer: Any, segments: str = "word") -> Problem:
    return build_problem(
        parse_question(prompt, response),
        toys.llama(vocabulary=440),
        tokenizer,
        "m",
        segments=segments,
        target=None,
    )


WRITTEN = "<|im_start|>user\nLily has a kite<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("baseline", ["delete", "mask", "x"])
@pytest.mark.parametrize("segments", ["word", "token", "line"])
def test_special_tokens_are_never_perturbed_and_get_no_score(segments: str, baseline: str) -> None:
    tokenizer = with_template(PLAIN)
    special = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    work = posed(WRITTEN, "She", tokenizer, segments)
    assert not any("<|" in s.text or "|>" in s.text for s in work.segmented.segments)
    for ids in work.render(baseline)(np.vstack([np.zeros((1, work.n), bool), ~np.eye(work.n, dtype=bool)])):
        assert [i for i in ids if i in special] == [special[0], special[1], special[0]]


def test_special_tokens_in_a_message_stay() -> None:
    work = posed([user("Lily <|im_end|> kite")], "She", with_template(PLAIN))
    assert [s.text for s in work.segmented.segments] == ["Lily", "kite"]


def test_a_segment_that_holds_a_special_token_is_refused() -> None:
    with pytest.raises(AttributionError, match="holds a special token"):
        posed(WRITTEN, "She", with_template(PLAIN), [(0, 20)])  # type: ignore[arg-type]


THINKING = PLAIN.replace("{{ m.content  }}", "{{ m.content.split('</think>')[-1].lstrip('\\n') }}")
SPEAKING = PLAIN.replace("{{ m.content  }}", "{% for p in m.content %}{{ p.text }}{% endfor %}")
LOUD = PLAIN.replace("{{ m.content  }}", "{{ m.content | upper }}")
LAST = "{% for m in messages[-2:] %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def words_of(messages: list[dict[str, Any]], template: str) -> tuple[list[str], tuple[str, ...]]:
    got = render_chat(messages, with_template(template))
    return [got.text[r.start : r.end] for r in got.regions], got.notes


def test_history_whose_thoughts_the_template_drops_is_explained_without_it() -> None:
    talk = [user("a ball"), {"role": "assistant", "content": "<think>a plan</think>\n\nhere"}, user("thanks")]
    note = (
        "the chat template changes, repeats or leaves out what these messages say, which is not perturbed: "
        "1 (assistant)"
    )
    assert words_of(talk, THINKING) == (["a ball", "thanks"], (note,))


def test_a_message_that_the_template_leaves_out_is_not_taken_for_another_with_its_words() -> None:
    talk = [user("go"), {"role": "assistant", "content": "let us go"}, user("now go")]
    note = (
        "the chat template changes, repeats or leaves out what these messages say, which is not perturbed: "
        "0 (user)"
    )
    assert words_of(talk, LAST) == (["let us go", "now go"], (note,))


@pytest.mark.parametrize(
    "content", ["a red ball", [{"type": "text", "text": "a red ball"}]], ids=["text", "parts"]
)
def test_a_template_that_reads_parts_alone_is_given_parts(content: Any) -> None:
    assert words_of([user(content)], SPEAKING) == (["a red ball"], ())


@pytest.mark.parametrize("content", ["user", "assistant", "Qwen"])
def test_a_content_that_is_rewritten_is_never_found_in_the_templates_own_words(content: str) -> None:
    with pytest.raises(AttributionError, match="changes the content"):
        render_chat([{"role": "system", "content": "be"}, user(content)][1:], with_template(LOUD))
