"""What a retriever or reranker returned, as documents: text, id, score, metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm_trace.semconv import names
from llm_trace.semconv.shapes import AttributeDict, Attributes, CallFields, Json
from llm_trace.semconv.unflatten import nest_attributes
from llm_trace.semconv.values import (
    dump_json,
    get_field,
    get_text,
    list_fields,
    list_items,
    list_mappings,
    load_container,
)

RETRIEVING = ("retriever", "reranker")
"""Kinds of calls whose output is documents."""
_LISTS = (
    "documents", "source_nodes", "nodes", "results", "matches", "hits", "chunks", "points", "data",
    "source_documents", "retrieved_documents", "retrievalResults", "memories", "records",
)  # fmt: skip
_TEXTS = (
    "page_content", "content", "text", "document", "chunk", "body", "passage", "snippet", "page_text",
    "memory", "title",
)  # fmt: skip
_IDS = ("id", "id_", "doc_id", "document_id", "_id", "node_id", "key")
_SCORES = ("score", "relevance_score", "similarity", "@search.score", "_score", "rerank_score", "distance")
_INSIDE = ("node", "document", "payload", "_source", "doc", "entity", "text_resource", "content")
"""Under which a document, or its text, stands beside its score."""


def find_documents(call: CallFields) -> list[Json]:
    """Return the documents of a retriever's or reranker's call: those in its output, else those that its span
    names; none of other calls.
    """
    if call.get("kind") not in RETRIEVING:
        return []
    output = list_documents(call.get("output"))
    if any("content" in document for document in output):
        return output
    otel = list_fields(list_fields(call.get("metadata")).get("otel"))
    return _list_told(list_fields(otel.get("attributes"))) or output


def _list_told(attributes: Attributes) -> list[Json]:
    """Return the documents in a span's attributes, of a reranker those that it put out."""
    for prefix in (names.OI_RERANKED, names.OI_DOCUMENTS):
        entries = list_mappings(nest_attributes(attributes, prefix))
        if documents := list_documents([get_field(entry, "document") or entry for entry in entries]):
            return documents
    return list_documents(load_container(attributes.get(names.RETRIEVAL_DOCUMENTS)))


def list_documents(output: Any) -> list[Json]:
    """Return the documents in an output, each with those of `content`, `id`, `score` and `metadata` that it
    has; none where it holds no documents.

    Takes lists of texts, of LangChain's documents, LlamaIndex's nodes with scores, pairs of a document and
    its score, answers of vector stores and rerankers, and these below `documents`, `results`, `matches` and
    so on; as JSON values or as the libraries' own objects.
    """
    return list(_iter_documents(output))


def build_document_attributes(output: Any, *, kind: str) -> AttributeDict:
    """Return OpenInference's attributes of the documents in an output; none where it holds no documents."""
    start = names.OI_RERANKED if kind == "reranker" else names.OI_DOCUMENTS
    flat: AttributeDict = {}
    for index, document in enumerate(_iter_documents(output)):
        for name, value in document.items():
            flat[f"{start}.{index}.document.{name}"] = dump_json(value) if name == "metadata" else value
    return flat


def build_retrieval_attributes(call: CallFields) -> AttributeDict:
    """Return the convention's attributes of a retriever's call: what was sought, and what was found."""
    if call.get("kind") != "retriever":
        return {}
    documents = list_documents(call.get("output"))
    sought = call.get("input")
    texts = [sought] if isinstance(sought, str) else [*filter(get_text, list_fields(sought).values())]
    return {
        names.RETRIEVAL_QUERY: texts[0] if len(texts) == 1 else None,
        names.RETRIEVAL_DOCUMENTS: dump_json(documents) if documents else None,
    }


def _iter_documents(output: Any) -> Iterator[Json]:
    listed = output
    if not list_items(output):
        source = list_fields(output)
        listed = next((source[name] for name in _LISTS if list_items(source.get(name))), None)
    for entry in list_items(listed):
        if document := _build_document(entry):
            yield document


def _build_document(entry: Any) -> Json:
    if isinstance(entry, str):
        return {"content": entry}
    if isinstance(entry, (list, tuple)):  # a document with its score
        inner, score = (*entry, None, None)[:2]
        return _with_score(_build_document(inner), score) if not isinstance(inner, (list, tuple)) else {}
    source = list_fields(entry)
    if not source:
        return {}
    score = next((source[name] for name in _SCORES if source.get(name) is not None), None)
    inner = next((source[name] for name in _INSIDE if _is_object(source.get(name))), None)
    if inner is not None and (document := _build_document(inner)):
        return _with_score({**_get_identity(source), **_get_metadata(source), **document}, score)
    content = next((source[name] for name in _TEXTS if isinstance(source.get(name), str)), None)
    metadata = _get_metadata(source)
    if content is None and metadata:  # vector stores keep the text there
        inside = metadata["metadata"]
        content = next((inside[name] for name in _TEXTS if isinstance(inside.get(name), str)), None)
    if content is None and score is None:
        return {}
    text = {} if content is None else {"content": content}
    return _with_score({**_get_identity(source), **text, **metadata}, score)


def _is_object(value: Any) -> bool:
    return bool(list_fields(value))


def _get_metadata(source: Mapping[str, Any]) -> Json:
    metadata = list_fields(load_container(source.get("metadata") or source.get("extra_info")))
    return {"metadata": dict(metadata)} if metadata else {}


def _get_identity(source: Mapping[str, Any]) -> Json:
    identity = next((source[name] for name in _IDS if isinstance(source.get(name), (str, int))), None)
    return {} if identity is None else {"id": str(identity)}


def _with_score(document: Json, score: Any) -> Json:
    number = isinstance(score, (int, float)) and not isinstance(score, bool)
    return {**document, "score": float(score)} if document and number else document
