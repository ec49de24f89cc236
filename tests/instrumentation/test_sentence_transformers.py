"""Instrumented embeddings and rerankers of sentence-transformers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import llm_trace
from llm_trace.capture import failures
from llm_trace.record import Usage
from tests.conftest import Recorded

sentence_transformers = pytest.importorskip("sentence_transformers")
transformers = pytest.importorskip("transformers")

TEXTS = ["a lamp", "a sealed lamp with proof of purchase"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny encoder, and one with a head, as they are saved."""
    from llm_trace.demo.model import WEIGHTS

    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(WEIGHTS)
    tokenizer.chat_template = None
    config = transformers.BertConfig(
        vocab_size=1024, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        num_labels=1,
    )  # fmt: skip
    place = tmp_path_factory.mktemp("models")
    for cls in ("BertModel", "BertForSequenceClassification"):
        getattr(transformers, cls)(config).save_pretrained(place / cls)
        tokenizer.save_pretrained(place / cls)
    return place


@pytest.fixture
def undo(store: Recorded) -> Iterator[Any]:
    with llm_trace.instrument("sentence-transformers") as undo:
        yield undo
    assert not failures.counts


def count_tokens(model: Any, texts: list[str]) -> int:
    return sum(len(model.tokenizer(text)["input_ids"]) for text in texts)


@pytest.mark.usefixtures("undo")
@pytest.mark.parametrize("form", ["array", "tensor", "list", "one"])
def test_embeddings_say_texts_model_dimensions_and_tokens_and_no_vectors(
    store: Recorded, folder: Any, form: str
) -> None:
    model = sentence_transformers.SentenceTransformer(str(folder / "BertModel"), device="cpu")
    texts: Any = TEXTS[0] if form == "one" else TEXTS
    vectors = model.encode(
        texts, convert_to_tensor=form == "tensor", convert_to_numpy=form in ("array", "one"), truncate_dim=4
    )
    assert len(vectors) == (4 if form == "one" else 2)
    call: Any = store.one()
    assert (call.name, call.kind) == ("sentence_transformers.encode", "embedding")
    assert call.model == str(folder / "BertModel")
    assert call.input["inputs"] == texts
    assert call.output["shape"] == ([4] if form == "one" else [2, 4])
    assert call.output["dtype"].endswith("float32")
    assert call.params == {"truncate_dim": 4}
    assert call.usage == Usage(input_tokens=count_tokens(model, TEXTS[:1] if form == "one" else TEXTS))


@pytest.mark.usefixtures("undo")
def test_a_reranker_is_one_call_with_its_scores(store: Recorded, folder: Any) -> None:
    model = sentence_transformers.CrossEncoder(str(folder / "BertForSequenceClassification"), device="cpu")
    ranks = model.rank("lamp", TEXTS)
    scores = model.predict([("lamp", text) for text in TEXTS])
    predicted, ranked = store.calls()
    assert (ranked.name, ranked.kind) == ("sentence_transformers.rank", "reranker")
    assert ranked.input == {"query": "lamp", "documents": TEXTS}
    assert [each["corpus_id"] for each in ranked.output] == [each["corpus_id"] for each in ranks]
    assert [each["score"] for each in ranked.output] == pytest.approx([float(r["score"]) for r in ranks])
    assert predicted.name == "sentence_transformers.predict"
    assert predicted.output == pytest.approx(scores.tolist())
    assert predicted.usage == ranked.usage
    pairs = [model.tokenizer("lamp", text)["input_ids"] for text in TEXTS]
    assert predicted.usage == Usage(input_tokens=sum(map(len, pairs)))


@pytest.mark.usefixtures("undo")
def test_what_a_model_is_fed_elsewhere_is_no_call(store: Recorded, folder: Any) -> None:
    model = sentence_transformers.SentenceTransformer(str(folder / "BertModel"), device="cpu")
    assert set(model.preprocess(TEXTS)) >= {"input_ids", "attention_mask"}
    model.encode(TEXTS)
    assert store.one().usage == Usage(input_tokens=count_tokens(model, TEXTS))


def test_undoing_gives_the_methods_back_also_those_that_are_inherited(store: Recorded) -> None:
    owner = sentence_transformers.SentenceTransformer
    before = dict(vars(owner))
    with llm_trace.instrument("sentence-transformers"):
        assert owner.encode is not before["encode"]
    assert dict(vars(owner)) == before
