"""Documents that retrievers' and rerankers' spans tell of, whichever convention they follow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_trace import semconv
from llm_trace.semconv.documents import find_documents

GOLD = {"content": "gold melts", "id": "d1", "score": 0.5, "metadata": {"page": 3}}


def told(prefix: str) -> dict[str, Any]:
    return {
        f"{prefix}.0.document.content": "gold melts", f"{prefix}.0.document.id": "d1",
        f"{prefix}.0.document.score": 0.5, f"{prefix}.0.document.metadata": '{"page":3}',
    }  # fmt: skip


RETRIEVER = {"openinference.span.kind": "RETRIEVER"}
LANGCHAIN = [{"page_content": "gold melts", "id": "d1", "metadata": {"page": 3}, "type": "Document"}]
SPANS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "openinference": ({**RETRIEVER, **told("retrieval.documents")}, [GOLD]),
    "beside an output in other words": (
        {**RETRIEVER, **told("retrieval.documents"), "output.value": "1 hit"}, [GOLD],
    ),
    "reranker": (
        {
            "openinference.span.kind": "RERANKER", **told("reranker.output_documents"),
            "reranker.input_documents.0.document.content": "silver melts",
        },
        [GOLD],
    ),
    "an output of LangChain's": (
        {**RETRIEVER, "output.value": json.dumps({"documents": LANGCHAIN})},
        [{"content": "gold melts", "id": "d1", "metadata": {"page": 3}}],
    ),
    "opentelemetry": (
        {"gen_ai.operation.name": "retrieval", "gen_ai.retrieval.documents": json.dumps([GOLD])}, [GOLD],
    ),
    "opentelemetry, ids and scores only": (
        {
            "gen_ai.operation.name": "retrieval",
            "gen_ai.retrieval.documents": '[{"id":"d1","score":0.5}]',
        },
        [{"id": "d1", "score": 0.5}],
    ),
    "a memory": (
        {
            "gen_ai.operation.name": "search_memory",
            "gen_ai.memory.records": '[{"id":"m1","content":"vegan","score":0.9}]',
        },
        [{"content": "vegan", "id": "m1", "score": 0.9}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("span", SPANS)
def test_a_span_of_a_retriever_has_its_documents(span: str) -> None:
    attributes, documents = SPANS[span]
    assert find_documents(semconv.call_fields("search", attributes)) == documents


def test_what_a_tool_returns_is_no_document() -> None:
    attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.call.result": json.dumps(LANGCHAIN)}
    assert find_documents(semconv.call_fields("search", attributes)) == []


@pytest.mark.parametrize("kind", ["retriever", "reranker"])
def test_documents_come_back_from_our_own_spans(kind: str) -> None:
    call = {"name": "search", "kind": kind, "output": [GOLD]}
    for openinference in (False, True):
        attributes = semconv.span_attributes(call, content=True, openinference=openinference)
        assert find_documents(semconv.call_fields("search", attributes)) == [GOLD]
