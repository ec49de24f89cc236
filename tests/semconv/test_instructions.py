"""A system prompt that is given beside the messages is a message of the call."""

from __future__ import annotations

from typing import Any

import pytest

import llm_trace
from tests.conftest import Recorded

ASKED = [{"role": "user", "content": "hello"}]
PARTS = [{"role": "user", "parts": [{"text": "hello"}]}]
ANSWER = {"choices": [{"message": {"role": "assistant", "content": "hi"}}], "model": "m"}


@llm_trace.trace(kind="llm")
def ask(**request: Any) -> dict[str, Any]:
    return ANSWER


@pytest.mark.parametrize(
    "request_",
    [
        {"model": "m", "system": "Be kind", "messages": ASKED},
        {"model": "m", "system": [{"type": "text", "text": "Be kind"}], "messages": ASKED},
        {
            "modelId": "m", "system": [{"text": "Be kind"}],
            "messages": [{"role": "user", "content": [{"text": "hello"}]}],
        },
        {"model": "m", "instructions": "Be kind", "input": ASKED},
        {"model": "m", "contents": PARTS, "config": {"system_instruction": "Be kind"}},
        {"model": "m", "contents": PARTS, "systemInstruction": {"parts": [{"text": "Be kind"}]}},
        {"model": "m", "system_prompt": "Be kind", "messages": ASKED},
    ],
    ids=["text", "blocks", "bedrock", "responses", "gemini-config", "gemini-body", "own-name"],
)  # fmt: skip
def test_it_is_in_the_messages_their_table_and_the_search(store: Recorded, request_: dict[str, Any]) -> None:
    ask(**request_)
    call = store.one()
    assert [(message.role, message.text) for message in call.messages_in] == [
        ("system", "Be kind"),
        ("user", "hello"),
    ]
    assert call.input == {"request": request_}
    query = "SELECT role, text FROM call_messages WHERE direction = 'in' ORDER BY position"
    assert store.sql(query).fetchall() == [("system", "Be kind"), ("user", "hello")]
    assert len(store.calls(text="be kind")) == 1


def test_what_is_no_text_is_no_system_prompt(store: Recorded) -> None:
    for switch in (True, None, {"os": "linux"}, ""):
        ask(system=switch, messages=ASKED)
    assert {tuple(m.role for m in call.messages_in) for call in store.calls()} == {("user",)}


def test_two_system_prompts_can_still_be_compared_on_the_same_questions(store: Recorded) -> None:
    @llm_trace.trace(kind="llm")
    def answer(system: str, messages: list[dict[str, str]]) -> dict[str, Any]:
        return {**ANSWER, "usage": {"prompt_tokens": len(system)}}

    for name, system in (("a", "Be kind"), ("b", "Be very kind")):
        with llm_trace.start_run(name):
            for question in ("one", "two", "three"):
                answer(system, [{"role": "user", "content": question}])
    compared = llm_trace.compare("a", "b", store=store.path)
    assert {metric.name: metric.n for metric in compared.metrics}["input_tokens"] == 3
