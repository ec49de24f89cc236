"""What a retriever or reranker returned, as OpenInference's documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm_trace.semconv import names
from llm_trace.semconv.values import dump_json, list_items

_LISTS = (
    "documents", "source_nodes", "nodes", "results", "matches", "hits", "chunks", "points", "data",
    "source_documents", "retrieved_documents", "retrievalResults",
)  # fmt: skip
_TEXTS = (
    "page_content", "content", "text", "document", "chunk", "body", "passage", "snippet", "page_text", "title"
)  # fmt: skip
_IDS = ("id", "id_", "doc_id", "document_id", "_id", "node_id", "key")
_SCORES = ("score", "relevance_score", "similarity", "@search.score", "_score", "rerank_score", "distance")
_INSIDE = ("node", "document", "payload", "_source", "doc", "entity")
"""Under which a document stands beside its score."""


def build_document_attributes(output: Any, *, kind: str) -> dict[str, Any]:
    """Return OpenInference's attributes of the documents in an output; none where it holds no documents.

    Takes lists of texts, of LangChain's documents, LlamaIndex's nodes with scores, pairs of a document and
    its score, answers of vector stores and rerankers, and these below `documents`, `results`, `matches` and
    so on.
    """
    start = names.OI_RERANKED if kind == "reranker" else names.OI_DOCUMENTS
    flat: dict[str, Any] = {}
    for index, document in enumerate(_list_documents(output)):
        for name, value in document.items():
            flat[f"{start}.{index}.document.{name}"] = value
    return flat


def _list_documents(output: Any) -> Iterator[dict[str, Any]]:
    listed = output
    if isinstance(output, Mapping):
        listed = next((output[name] for name in _LISTS if list_items(output.get(name))), None)
    for entry in list_items(listed):
        if document := _build_document(entry):
            yield document


def _build_document(entry: Any) -> dict[str, Any]:
    if isinstance(entry, str):
        return {"content": entry}
    if isinstance(entry, (list, tuple)):  # a document with its score
        inner, score = (*entry, None, None)[:2]
        return _with_score(_build_document(inner), score) if not isinstance(inner, (list, tuple)) else {}
    if not isinstance(entry, Mapping):
        return {}
    score = next((entry[name] for name in _SCORES if entry.get(name) is not None), None)
    inner = next((entry[name] for name in _INSIDE if isinstance(entry.get(name), Mapping)), None)
    if inner is not None and (document := _build_document(inner)):
        return _with_score({**_get_identity(entry), **document}, score)
    content = next((entry[name] for name in _TEXTS if isinstance(entry.get(name), str)), None)
    metadata = entry.get("metadata") or entry.get("extra_info")
    if content is None and isinstance(metadata, Mapping):  # vector stores keep the text there
        content = next((metadata[name] for name in _TEXTS if isinstance(metadata.get(name), str)), None)
    if content is None and score is None:
        return {}
    fields = {
        **_get_identity(entry),
        "content": content,
        "metadata": dump_json(metadata) if metadata else None,
    }
    return _with_score({name: value for name, value in fields.items() if value is not None}, score)


def _get_identity(entry: Mapping[str, Any]) -> dict[str, Any]:
    identity = next((entry[name] for name in _IDS if isinstance(entry.get(name), (str, int))), None)
    return {} if identity is None else {"id": str(identity)}


def _with_score(document: dict[str, Any], score: Any) -> dict[str, Any]:
    number = isinstance(score, (int, float)) and not isinstance(score, bool)
    return {**document, "score": float(score)} if document and number else document
