"""Whose words made a model decide so: the user's, or what came from outside."""

from __future__ import annotations

import json
from typing import Any

import pytest

import llm_trace
from llm_trace.attribution.proxies.model import Proxied
from llm_trace.demo.world import RULES
from llm_trace.errors import AttributionError, NotFoundError
from llm_trace.record import Attribution
from tests.conftest import Recorded
from tests.helpers import attribution_toys as toys

CUE = "I bought this lamp 12 days ago."
"""What the embedded model approves."""
CHATTER = "The weather in Oslo is sunny today."
DESK = llm_trace.Prompt("desk", RULES + "\n\nCustomer: {question} {page}\n\nAnswer:", {"page": "outside"})
CALL = {"name": "refund", "arguments": {"order": "A17"}}
TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}CALL {{ c.function.name }} {{ c.function.arguments.order }}{% endfor %}"
    "\n"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def ask_desk(question: str, page: str, **settings: Any) -> Attribution:
    settings = {"model": "demo"} | settings
    return llm_trace.provenance(DESK.format(question=question, page=page), " APPROVE", **settings)


def weigh(attribution: Attribution) -> dict[str | None, float]:
    return {weight.origin: weight.value for weight in attribution.origins}


def test_outside_text_that_decides_outweighs_the_user_and_the_sentence_is_named() -> None:
    attribution = ask_desk(CHATTER, f"{CUE} The box is here.")
    weights = weigh(attribution)
    assert weights["outside"] > 5 > 1 > abs(weights["user"])
    assert attribution.verdict == "ok"
    strongest = max(range(len(attribution.values)), key=lambda i: attribution.values[i])
    segment = attribution.segments[strongest]
    assert (segment.text, segment.origin) == (CUE, "outside")
    assert "times more likely by outside text (" in attribution.summary()


def test_the_users_own_words_outweigh_outside_text_that_decides_nothing() -> None:
    weights = weigh(ask_desk(CUE, CHATTER))
    assert weights["user"] > 2 > weights["outside"]


def test_the_weights_of_origins_and_the_scores_of_their_sentences_add_up() -> None:
    attribution = ask_desk(CUE, CHATTER)
    assert attribution.full is not None
    assert attribution.empty is not None
    for weight in attribution.origins:
        own = [
            value
            for value, segment in zip(attribution.values, attribution.segments, strict=True)
            if segment.origin == weight.origin
        ]
        assert sum(own) == pytest.approx(weight.value)
        assert weight.low <= weight.value <= weight.high
    change = attribution.full - attribution.empty
    assert sum(weight.value for weight in attribution.origins) == pytest.approx(change)


def test_many_sentences_are_sampled_and_have_bounds() -> None:
    attribution = ask_desk(f"{CHATTER} My sister likes your shop.", f"{CUE} The box is here.")
    assert len(attribution.segments) == 10
    assert attribution.low is not None
    assert attribution.high is not None
    at = next(i for i, segment in enumerate(attribution.segments) if segment.text == CUE)
    assert 0 < attribution.low[at] <= attribution.values[at] <= attribution.high[at]


def test_a_proxied_model_is_explained_by_its_proxy() -> None:
    proxied = Proxied(oracle=lambda prompt: " APPROVE", proxy="demo")
    assert weigh(ask_desk(CUE, CHATTER, model=proxied)) == weigh(ask_desk(CUE, CHATTER))


def test_a_model_that_cannot_be_opened_is_refused_with_what_to_pass() -> None:
    with pytest.raises(AttributionError, match="pass an open model that stands in for it"):
        ask_desk(CUE, CHATTER, model=lambda prompt: " APPROVE")


ASKED = [{"role": "user", "content": "Lily had a ball."}, {"role": "tool", "content": "Tom came to play."}]


def record_agent(answer: Any) -> None:
    """Record an agent that asks a model, which looks up a page, and then a tool."""

    @llm_trace.trace(kind="llm")
    def chat(messages: list[dict[str, Any]]) -> Any:
        return answer

    @llm_trace.trace(kind="tool")
    def refund(order: str) -> str:
        return "done"

    @llm_trace.trace(kind="agent")
    def agent() -> None:
        chat(ASKED)
        refund("A17")

    agent()


def build_answer(*calls: dict[str, Any]) -> dict[str, Any]:
    parts = [
        {"id": "1", "type": "function", "function": {**c, "arguments": json.dumps(c["arguments"])}}
        for c in calls
    ]
    message = {"role": "assistant", "content": None, "tool_calls": parts}
    return {"object": "chat.completion", "model": "m", "choices": [{"index": 0, "message": message}]}


def explain(call: Any, **settings: Any) -> Attribution:
    settings = {"model": toys.llama(), "tokenizer": toys.byte_level()} | settings
    return llm_trace.provenance(call, **settings)


def test_a_call_of_a_tool_is_explained_by_the_call_of_the_model_that_asked_for_it(store: Recorded) -> None:
    record_agent(build_answer({"name": "look_up", "arguments": {}}, CALL))
    (decision,), (tool,) = store.calls(kind="llm"), store.calls(kind="tool")
    attribution = explain(tool, store=store.path)
    assert attribution.span_id == decision.span_id
    assert attribution.response == '{"name": "refund", "arguments": {"order": "A17"}}'
    assert "the model has no form for tool calls: they are written as JSON" in attribution.notes
    assert [weight.origin for weight in attribution.origins] == ["user", "tool"]
    assert explain(tool).values == attribution.values  # the configured store has it


def test_a_tool_call_is_written_as_the_models_chat_template_does(store: Recorded) -> None:
    record_agent(build_answer(CALL))
    tokenizer = toys.byte_level()
    tokenizer = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|end|>")
    tokenizer.chat_template = TEMPLATE
    (decision,) = store.calls(kind="llm")
    assert explain(decision, tokenizer=tokenizer).response == "CALL refund A17"


def test_a_tool_that_an_answer_in_words_names_is_explained_by_these_words(store: Recorded) -> None:
    record_agent("refund A17")
    (tool,) = store.calls(kind="tool")
    assert explain(tool, store=store.path).response == "refund A17"


def test_origins_may_be_named_by_a_tool_of_the_trace(store: Recorded) -> None:
    @llm_trace.trace(kind="tool", name="Web.search")
    def search() -> str:
        return ASKED[1]["content"]

    @llm_trace.trace(kind="agent")
    def agent() -> None:
        search()
        record_agent(build_answer(CALL))

    agent()
    (decision,) = store.calls(kind="llm")
    attribution = explain(decision, store=store.path, origins={"search": "outside"})
    assert [weight.origin for weight in attribution.origins] == ["user", "outside"]


def test_a_tool_that_no_model_asked_for_is_refused(store: Recorded) -> None:
    @llm_trace.trace(kind="tool")
    def refund(order: str) -> str:
        return "done"

    refund("A17")
    with pytest.raises(NotFoundError, match="no call of a model ended before the tool call"):
        explain(store.one(), store=store.path)
