"""Spans of frameworks' instrumentations as calls.

The attributes were recorded with OpenInference's instrumentations of LlamaIndex 0.14.25 (4.6.1), AutoGen
0.7.5 (0.1.22) and the Claude Agent SDK 0.2.189 (0.1.22), and shortened.
"""

from __future__ import annotations

from typing import Any

import pytest

from llm_trace import semconv
from llm_trace.semconv.documents import find_documents

DOCUMENTS = [
    {"id": "2610b40b", "content": "Llamas have two toes on each foot.", "score": 0.25},
    {"id": "fbb96ba1", "content": "Huascarán is in Peru.", "score": 1.0},
]


def test_llamaindex_prepares_a_chat_in_a_step_and_not_in_a_model_call() -> None:
    attributes = {
        "llm.model_name": "gpt-4o",
        "llm.provider": "openai",
        "input.value": '{"tools": ["<FunctionTool object>"], "user_msg": null}',
        "output.value": '{"messages": ["ChatMessage(role=user)"], "tool_choice": "auto"}',
        "openinference.span.kind": "LLM",
    }
    assert semconv.call_fields("OpenAI._prepare_chat_with_tools", attributes)["kind"] == "chain"
    assert semconv.call_fields("OpenAI.achat", attributes)["kind"] == "llm"


def test_a_retrievers_output_is_its_documents_and_not_their_names() -> None:
    attributes: dict[str, Any] = {
        "input.value": "How high is Huascarán?",
        "output.value": '["<NodeWithScore(node=TextNode(id_=2610b40b))>", "<NodeWithScore(node=TextNode)>"]',
        "output.mime_type": "application/json",
        "openinference.span.kind": "RETRIEVER",
    }
    for index, document in enumerate(DOCUMENTS):
        start = f"retrieval.documents.{index}.document."
        attributes |= {start + name: value for name, value in document.items()}
    fields = semconv.call_fields("VectorIndexRetriever.retrieve", attributes)
    assert (fields["kind"], fields["output"]) == ("retriever", DOCUMENTS)
    assert find_documents(fields) == DOCUMENTS


def test_answers_of_tools_that_autogen_puts_beside_a_message_belong_to_it() -> None:
    start = "llm.input_messages."
    attributes = {
        start + "0.message.role": "user",
        start + "0.message.content": "How high is Huascarán?",
        start + "1.message.role": "function",
        start + "1.function.0": '{"name": "get_height", "content": "6768 metres", "call_id": "call_1"}',
        start + "1.function.1": '{"name": "get_height", "content": "6655 metres", "call_id": "call_2"}',
        "openinference.span.kind": "LLM",
    }
    asked = semconv.call_fields("OpenAIChatCompletionClient.create", attributes)["messages_in"]
    assert [entry["role"] for entry in asked] == ["user", "tool"]
    assert asked[1]["parts"] == [
        {"type": "tool_call_response", "id": "call_1", "response": "6768 metres"},
        {"type": "tool_call_response", "id": "call_2", "response": "6655 metres"},
    ]


@pytest.mark.parametrize(
    ("value", "mime_type", "output"),
    [
        ('"6768 metres"', "application/json", "6768 metres"),
        ('"6768 metres"', "text/plain", '"6768 metres"'),
        ('"quoted" by a model', "application/json", '"quoted" by a model'),
    ],
    ids=["json", "text", "no-json"],
)
def test_text_in_quotes_is_read_as_json_where_the_span_says_so(
    value: str, mime_type: str, output: str
) -> None:
    attributes = {
        "tool.name": "get_height",
        "output.value": value,
        "output.mime_type": mime_type,
        "openinference.span.kind": "TOOL",
    }
    assert semconv.call_fields("get_height", attributes)["output"] == output
