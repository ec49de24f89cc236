"""Retrieved documents: found in the prompt, taken away as wholes, and scored beside the retriever's score."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import llm_trace
from llm_trace.attribution.question.chunks import Chunks, read_documents
from llm_trace.attribution.question.segments import Region, Segmented, segment
from llm_trace.demo.world import TEMPLATE_V1
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution, Document
from tests.conftest import Recorded
from tests.helpers.cli_toys import answer, invoke

GOLD = "Gold melts at 1,064 degrees,\nand silver far below that."
CATS = 'Cats sleep "twelve" hours & more each day, says Ann.'
LONG = "A long passage about rivers that begins like no other and then goes on and on about the same water."


def find(prompt: str, *documents: Document | str, regions: Any = ()) -> Segmented:
    chunks = Chunks(tuple(d if isinstance(d, Document) else Document(content=d) for d in documents))
    return segment(prompt, chunks, regions=regions)


def render_without(segmented: Segmented, *gone: int) -> str:
    keep = np.ones(len(segmented.segments), dtype=bool)
    keep[list(gone)] = False
    return segmented.render(keep)


def test_a_document_is_a_segment_with_the_retrievers_id_and_score() -> None:
    prompt = f"Facts:\n{GOLD}\n---\n{CATS}\nAnswer:"
    segmented = find(prompt, Document(content=GOLD, id="d1", score=0.9), Document(content=CATS, score=0.2))
    fields = [(s.text, s.kind, s.name, s.score, s.also) for s in segmented.segments]
    assert fields == [(GOLD, "chunk", "d1", 0.9, ()), (CATS, "chunk", "document 2", 0.2, ())]
    assert render_without(segmented, 0) == f"Facts:\n\n---\n{CATS}\nAnswer:"


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "without space around": str.strip,
    "wrapped anew": lambda text: "\n  ".join(text.split()),
    "json": lambda text: json.dumps([{"page_content": text}]),
    "json in unicode": lambda text: json.dumps({"text": text}, ensure_ascii=False),
    "html": html.escape,
    "python": lambda text: repr([text]),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_document_is_found_as_templates_and_tools_write_it(form: str) -> None:
    document = f"  Ännchen says:\n{CATS}\t{GOLD} "
    segmented = find(f"Facts: {FORMS[form](document)} Answer:", document)
    assert len(segmented.segments) == 1
    assert "Cats" not in render_without(segmented, 0)
    assert "silver" not in render_without(segmented, 0)
    assert segmented.notes == ()


def test_a_document_that_was_cut_off_is_found_by_its_beginning() -> None:
    segmented = find(f"Facts: {LONG[:60]}… Answer:", LONG)
    assert [s.text for s in segmented.segments] == [LONG[:60]]
    assert segmented.notes == (
        f"of the document 'document 1' only the first 60 of {len(LONG)} characters stand in the prompt",
    )


def test_a_beginning_that_two_documents_share_is_nobodys() -> None:
    twin = LONG[:70] + "but ends otherwise, in another sea."
    with pytest.raises(AttributionError, match="none of the 2 documents stands in the prompt"):
        find(f"Facts: {LONG[:60]}… Answer:", LONG, twin)


def test_documents_that_are_not_in_the_prompt_are_named() -> None:
    gone = Document(content="Nobody wrote this into the prompt.", id="d7")
    segmented = find(f"Facts: {CATS}", gone, CATS)
    assert [s.name for s in segmented.segments] == ["document 2"]
    assert segmented.notes == ("documents that do not stand in the prompt as they are: 'd7'",)


def test_a_document_that_stands_twice_goes_everywhere_at_once() -> None:
    segmented = find(f"{CATS} | x | {CATS} | {GOLD}", CATS, GOLD)
    assert [len(s.stretches) for s in segmented.segments] == [2, 1]
    assert render_without(segmented, 0) == f" | x |  | {GOLD}"
    assert segmented.notes == ("the document 'document 1' stands 2 times: it goes everywhere at once",)


def test_equal_documents_are_one_segment_with_both_names_and_the_better_score() -> None:
    same = [Document(content=CATS, id="a", score=0.3), Document(content=CATS, id="b", score=0.6)]
    segmented = find(f"{CATS}\n{CATS}", *same)
    (only,) = segmented.segments
    assert (only.name, only.score, only.stretches) == (
        "a, b", 0.6, ((0, len(CATS)), (len(CATS) + 1, 2 * len(CATS) + 1)),
    )  # fmt: skip
    assert "documents share text, which is a segment of its own: a, b" in segmented.notes


def test_what_overlapping_documents_share_is_a_segment_of_its_own() -> None:
    one, two, three = "The first sentence is here.", "The second is shared.", "The third ends it all."
    prompt = f"{one} {two} {three}"
    segmented = find(
        prompt, Document(content=f"{one} {two}", id="a"), Document(content=f"{two} {three}", id="b")
    )
    assert [(s.text, s.name) for s in segmented.segments] == [(one, "a"), (two, "a, b"), (three, "b")]
    assert render_without(segmented, 1) == f"{one}  {three}"


def test_a_document_inside_another_splits_it_and_keeps_it_together() -> None:
    outer = f"Before. {CATS} After that."
    segmented = find(f"x {outer} y", Document(content=outer, id="whole"), Document(content=CATS, id="part"))
    assert [(s.name, len(s.stretches)) for s in segmented.segments] == [("whole", 2), ("whole, part", 1)]
    assert render_without(segmented, 0) == f"x  {CATS}  y"


def test_a_document_found_again_by_a_reranker_has_its_latest_score() -> None:
    segmented = find(
        CATS, Document(content=CATS, id="a", score=0.2), Document(content=CATS, id="a", score=0.9)
    )
    assert [(s.name, s.score) for s in segmented.segments] == [("a", 0.9)]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (Document(content=" \n", id="d"), "is empty"),
        (Document(content="[redacted] [redacted]", id="d"), "was masked before it was logged"),
        (Document(id="d", score=0.5), "has no text in its record"),
    ],
    ids=["empty", "masked", "no-text"],
)
def test_what_cannot_be_looked_for_is_said(document: Document, reason: str) -> None:
    segmented = find(f"{CATS} [redacted] [redacted]", document, CATS)
    assert [s.name for s in segmented.segments] == ["document 2"]
    assert segmented.notes == (f"the document 'd' {reason}: left out",)


def test_a_partly_masked_document_is_found_by_what_is_left_of_it() -> None:
    masked = "Call Ann at [redacted] before noon."
    assert [s.text for s in find(f"x {masked} y", masked).segments] == [masked]


def test_documents_are_looked_for_in_every_message_and_not_across_them() -> None:
    first, second = f"Use this: {CATS}", f"{GOLD} What melts?"
    text = f"<a>{first}</a><b>{second}</b>"
    regions = [Region(3, 3 + len(first), "system"), Region(10 + len(first), 10 + len(first + second), "user")]
    across = Document(content=f"{CATS}</a><b>{GOLD}", id="across")
    segmented = find(text, CATS, GOLD, across, regions=regions)
    assert [s.text for s in segmented.segments] == [CATS, GOLD]
    assert segmented.notes == ("documents that do not stand in the prompt as they are: 'across'",)


def test_a_short_document_is_no_part_of_a_word() -> None:
    segmented = find("Parisian? Paris.", "Paris")
    assert [(s.start, s.end) for s in segmented.segments] == [(10, 15)]


WORDS = st.lists(st.sampled_from(["red", "green", "blue", "seven", "eight"]), min_size=8, max_size=14)


@given(st.lists(WORDS.map(" ".join), min_size=1, max_size=4, unique=True), st.sampled_from(["\n", " | "]))
def test_what_is_left_without_all_documents_is_the_template(bodies: list[str], gap: str) -> None:
    documents = [f"{i} {body} {i}" for i, body in enumerate(bodies)]
    segmented = find(f"Q {gap.join(documents)} A", *documents)
    assert [s.text for s in segmented.segments] == documents
    assert render_without(segmented, *range(len(documents))) == f"Q {gap * (len(documents) - 1)} A"


class Page(BaseModel):
    """As LangChain's documents."""

    id: str | None = None
    page_content: str
    metadata: dict[str, Any] = {}


class Node(BaseModel):
    """As LlamaIndex's nodes."""

    id_: str
    text: str


class NodeWithScore(BaseModel):
    node: Node
    score: float


SHAPES: dict[str, Any] = {
    "texts": [CATS],
    "dicts": [{"content": CATS, "id": 7, "score": 0.5, "metadata": {"page": 1}}],
    "langchain": [Page(id="p", page_content=CATS, metadata={"page": 1})],
    "langchain-with-score": [(Page(page_content=CATS), 0.5)],
    "llamaindex": [NodeWithScore(node=Node(id_="n", text=CATS), score=0.5)],
    "vector-store": [SimpleNamespace(id="v", score=0.5, payload={"text": CATS})],
}
READ = {
    "texts": Document(content=CATS),
    "dicts": Document(content=CATS, id="7", score=0.5, metadata={"page": 1}),
    "langchain": Document(content=CATS, id="p", metadata={"page": 1}),
    "langchain-with-score": Document(content=CATS, score=0.5),
    "llamaindex": Document(content=CATS, id="n", score=0.5),
    "vector-store": Document(content=CATS, id="v", score=0.5),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_documents_of_any_shape_may_be_given_as_segments(shape: str) -> None:
    assert read_documents(SHAPES[shape]) == (READ[shape],)


@pytest.mark.parametrize(
    "spans", [[(0, 4)], [(0, 4, "a")], [(np.int64(0), 4)]], ids=["plain", "named", "numpy"]
)
def test_offsets_are_no_documents(spans: Any) -> None:
    assert read_documents(spans) is None


@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "vector-store"])
def test_a_traced_retrievers_documents_are_on_its_call(recorded: Recorded, shape: str) -> None:
    llm_trace.configure(recorded.path, record_env=False)

    @llm_trace.trace(kind="retriever")
    def search(query: str) -> Any:
        return SHAPES[shape]

    search("cats")
    call = recorded.one()
    assert call.documents == (READ[shape].model_copy(update={"span_id": call.span_id}),)
    assert "documents" not in call.model_dump()


DATED, DOG, SHOP = "I bought the lamp 12 days ago.", "My neighbour has a nice dog.", "The shop was crowded."


def work() -> str:
    """Record a question that is answered with what a retriever found."""

    @llm_trace.trace(kind="retriever")
    def search(query: str) -> list[Any]:
        pages = {"a": (DOG, 0.9), "b": (DATED, 0.4), "c": (SHOP, 0.3), "gone": ("It never came up.", 0.1)}
        return [{"id": name, "text": text, "score": score} for name, (text, score) in pages.items()]

    @llm_trace.trace(kind="llm", model="demo")
    def ask(prompt: str) -> str:
        return " APPROVE"

    @llm_trace.trace
    def handle(question: str) -> str:
        texts = [page["text"] for page in search(question)]
        return ask(TEMPLATE_V1.format(message=" ".join(texts[:3])))

    return handle("refund?")


def test_the_model_call_of_a_trace_has_the_documents_that_came_before_it(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, record_env=False)
    work()
    work()
    calls = recorded.calls(kind="llm")
    assert [[d.id for d in call.documents] for call in calls] == [["a", "b", "c", "gone"]] * 2
    assert calls[0].documents[0].span_id != calls[1].documents[0].span_id
    assert recorded.call(calls[0].span_id) == calls[0]
    assert [call.documents for call in recorded.calls(kind="chain")] == [(), ()]


def test_attribution_says_which_chunk_was_used_beside_the_retrievers_score(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, record_env=False)
    work()
    (call,) = recorded.calls(kind="llm")
    attribution = llm_trace.attribute(call, model="demo", segments="chunk")
    assert [(s.name, s.score) for s in attribution.segments] == [("a", 0.9), ("b", 0.4), ("c", 0.3)]
    assert int(np.argmax(attribution.values)) == 1
    assert "documents that do not stand in the prompt as they are: 'gone'" in attribution.notes
    assert attribution.summary().startswith("Chunk b (retriever: 0.4) makes this answer ")
    by_hand = llm_trace.attribute(
        call.input["prompt"], call.output, model="demo", segments=[DOG, DATED, SHOP]
    )
    assert by_hand.values == attribution.values
    again = Attribution.from_stored(json.loads(attribution.model_dump_json()))
    assert (again.segments, again.settings) == (attribution.segments, attribution.settings)


def test_the_command_line_attributes_and_shows_chunks(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, record_env=False)
    work()
    (call,) = recorded.calls(kind="llm")
    for arguments in (("attribute", call.span_id, "--segments", "chunk"), ("show", call.span_id)):
        result = invoke(recorded.path, *arguments)
        assert result.exit_code == 0, result.output
        assert "b (retriever: 0.4)" in result.stdout
        assert "'gone'" in result.stdout
    (retrieved,) = recorded.calls(kind="retriever")
    shown = answer(recorded.path, "show", retrieved.span_id)
    assert [document["id"] for document in shown["documents"]] == ["a", "b", "c", "gone"]


def test_a_call_without_documents_says_what_is_missing(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, record_env=False)
    llm_trace.trace(kind="llm", model="demo")(lambda prompt: " ASK")("Customer: hello")
    with pytest.raises(AttributionError, match="in whose trace a call of kind 'retriever' ended before it"):
        llm_trace.attribute(recorded.one(), model="demo", segments="chunk")


def test_a_model_behind_an_api_is_explained_by_chunks_too() -> None:
    def desk(messages: list[dict[str, str]]) -> str:
        return "approved" if DATED in messages[0]["content"] else "no"

    messages = [
        {"role": "system", "content": f"{DOG}\n{DATED}\n{SHOP}"},
        {"role": "user", "content": "refund?"},
    ]
    attribution = llm_trace.attribute(messages, model=desk, segments=[DOG, DATED, SHOP], method="occlusion")
    assert int(np.argmax(attribution.values)) == 1
