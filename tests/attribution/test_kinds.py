"""Encoder-decoders, classifiers, half precision, quantized layers: the same answers as plain passes."""

from __future__ import annotations

import copy
import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest

from llm_trace.attribution.api import attribute
from llm_trace.attribution.models.batching import BatchLimits
from llm_trace.attribution.models.encoder import ClassifierForward, Seq2SeqForward
from llm_trace.attribution.models.evaluation import get_device
from llm_trace.attribution.models.kinds import detect_kind
from llm_trace.attribution.question.objective import Query
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution
from tests.helpers import attribution_toys as toys

torch, transformers = toys.torch, toys.transformers
PROMPT = "lily had a red ball . one day tom came to play ."
ALL = ("occlusion", "sig", "integrated_gradients", "saliency", "input_x_gradient", "attention")


@cache
def t5() -> Any:
    """A random T5 with sharp predictions."""
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=420, d_model=32, d_ff=64, num_layers=2, num_heads=4, d_kv=8, initializer_factor=2.0,
        dropout_rate=0.1, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config).eval()


@cache
def bert(**settings: Any) -> Any:
    """A random classifier of three labels with sharp predictions."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=420, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        initializer_range=0.5, num_labels=3, id2label={0: "NEGATIVE", 1: "NEUTRAL", 2: "POSITIVE"},
        max_position_embeddings=64, pad_token_id=0, **settings,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config).eval()


@cache
def llama_classifier(pad: int | None = None) -> Any:
    """A random causal classifier: the last token decides."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=420, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        initializer_range=0.3, num_labels=2, pad_token_id=pad,
    )  # fmt: skip
    return transformers.LlamaForSequenceClassification(config).eval()


def run(model: Any, tokenizer: Any, response: str | None, **settings: Any) -> Attribution:
    found: Attribution = attribute(PROMPT, response, model=model, tokenizer=tokenizer, **settings)
    return found


def t5_plain(ids: list[int], said: list[int]) -> np.ndarray:
    with torch.no_grad():
        logits = t5()(torch.tensor([ids]), decoder_input_ids=torch.tensor([[0, *said[:-1]]])).logits[0]
    return np.asarray(logits.double().log_softmax(-1)[torch.arange(len(said)), torch.tensor(said)])


@pytest.mark.parametrize("baseline", ["delete", "mask"])
def test_an_encoder_decoder_reads_the_whole_prompt_and_answers_in_its_decoder(baseline: str) -> None:
    tokenizer = toys.word_piece()
    found = run(t5(), tokenizer, "tom came", method="occlusion", baseline=baseline)
    said = tokenizer("tom came", add_special_tokens=False)["input_ids"]
    words = PROMPT.split()
    whole = t5_plain(tokenizer(PROMPT)["input_ids"], said)
    for i, word in enumerate(words):
        if baseline == "delete":
            ids = tokenizer(" ".join(words[:i] + words[i + 1 :]))["input_ids"]
        else:
            spans = tokenizer(PROMPT, return_offsets_mapping=True)["offset_mapping"]
            start = sum(len(w) + 1 for w in words[:i])
            inside = [start <= a and b <= start + len(word) and b > a for a, b in spans]
            ids = [4 if gone else t for t, gone in zip(tokenizer(PROMPT)["input_ids"], inside, strict=True)]
        row = whole - t5_plain(ids, said)
        assert np.array(found.matrix)[:, i] == pytest.approx(row, abs=1e-3)
    assert found.full == pytest.approx(whole.sum(), abs=1e-4)


def test_an_encoder_decoder_is_asked_for_its_own_answer() -> None:
    tokenizer = toys.word_piece()
    found = run(t5(), tokenizer, None, segments="sentence")
    ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    wanted = t5().generate(ids, max_new_tokens=64, do_sample=False, num_beams=1)[0, 1:].tolist()
    wanted = wanted[: wanted.index(1)] if 1 in wanted else wanted
    assert len(found.target_tokens) == len(wanted)
    assert found.response == tokenizer.decode(wanted, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("response", ["POSITIVE", "negative", "1"])
def test_a_classifier_explains_a_label(response: str) -> None:
    tokenizer = toys.word_piece()
    found = run(bert(), tokenizer, response, method="occlusion", baseline="delete")
    label = {"POSITIVE": 2, "negative": 0, "1": 1}[response]
    words = PROMPT.split()

    def plain(text: str) -> float:
        with torch.no_grad():
            return float(bert()(**tokenizer(text, return_tensors="pt")).logits[0].log_softmax(-1)[label])

    expected = [plain(PROMPT) - plain(" ".join(words[:i] + words[i + 1 :])) for i in range(len(words))]
    assert found.values == pytest.approx(expected, abs=1e-4)
    own = run(bert(), tokenizer, None)
    best = bert()(**tokenizer(PROMPT, return_tensors="pt")).logits[0].argmax()
    assert own.response == bert().config.id2label[int(best)]


def test_a_classifier_contrasts_two_labels() -> None:
    tokenizer = toys.word_piece()
    settings: dict[str, Any] = {"method": "occlusion", "baseline": "mask"}
    one, two = (
        np.array(run(bert(), tokenizer, name, **settings).values) for name in ("POSITIVE", "NEGATIVE")
    )
    both = run(bert(), tokenizer, "POSITIVE", target=("POSITIVE", "NEGATIVE"), **settings)
    assert np.array(both.values) == pytest.approx(one - two, abs=1e-4)
    assert both.target_tokens == ("POSITIVE", "not NEGATIVE")
    with pytest.raises(AttributionError, match="NEGATIVE, NEUTRAL, POSITIVE"):
        run(bert(), tokenizer, "great")


@pytest.mark.parametrize("pad", [None, 0])
def test_a_causal_classifier_with_and_without_padding(pad: int | None) -> None:
    model, tokenizer = llama_classifier(pad), toys.byte_level()
    found = run(model, tokenizer, "LABEL_1", method="occlusion", baseline="delete")
    words = PROMPT.split()

    def plain(text: str) -> float:
        with torch.no_grad():
            return float(model(torch.tensor([tokenizer(text)["input_ids"]])).logits[0].log_softmax(-1)[1])

    expected = [plain(PROMPT) - plain(" ".join(words[:i] + words[i + 1 :])) for i in range(len(words))]
    assert found.values == pytest.approx(expected, abs=1e-4)
    run(model, tokenizer, "LABEL_1", method="integrated_gradients")


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("kind", ["t5", "bert"])
def test_every_kind_has_every_method_and_is_left_alone(kind: str, method: str) -> None:
    source, response = (t5(), "tom came") if kind == "t5" else (bert(), "POSITIVE")
    model = copy.deepcopy(source)
    model.train()
    before = toys.state_of(model), copy.deepcopy(model.config.__dict__), dict(model.__dict__)
    found = run(model, toys.word_piece(), response, method=method)
    assert (toys.state_of(model), model.config.__dict__, dict(model.__dict__)) == before
    assert found.full is not None
    assert found.full == pytest.approx(
        run(source, toys.word_piece(), response, method="occlusion").full or 0, abs=1e-3
    )
    if method == "sig":
        masked = run(
            source, toys.word_piece(), response, method="occlusion", baseline="mask", segments="token"
        )
        assert run(
            source, toys.word_piece(), response, method="sig", segments="token"
        ).values == pytest.approx(masked.values, abs=1e-4)


def test_batches_of_unequal_prompts_equal_single_ones() -> None:
    rng = np.random.default_rng(0)
    prompts = [tuple(rng.integers(5, 90, n).tolist()) for n in (3, 9, 5, 9, 1, 7)] + [(5, 0, 6, 0)]
    cases: list[tuple[Any, Query]] = [
        (Seq2SeqForward(t5()), Query((7,), (0, 1), (7, 8))),
        (ClassifierForward(bert()), Query((), (0,), (2,))),
        (ClassifierForward(llama_classifier(0)), Query((), (0,), (1,))),
    ]
    for forward, query in cases:
        for some in (prompts, prompts[:-1]):
            spent: list[int] = []
            got = forward(some, query, lambda p, t, s=spent: s.append(p))
            alone = np.vstack([forward([p], query, lambda p, t: None) for p in some])
            assert got == pytest.approx(alone, abs=1e-3)
            assert sum(spent) == len(some)
        small = type(forward)(forward.model, limits=BatchLimits(4))(prompts, query, lambda p, t: None)
        assert small == pytest.approx(forward(prompts, query, lambda p, t: None), abs=1e-3)


def test_several_labels_at_once_are_read_one_by_one() -> None:
    model = bert(problem_type="multi_label_classification")
    found = run(model, toys.word_piece(), "NEUTRAL", method="occlusion")
    with torch.no_grad():
        logits = model(**toys.word_piece()(PROMPT, return_tensors="pt")).logits[0]
    assert found.full == pytest.approx(float(torch.nn.functional.logsigmoid(logits)[1]), abs=1e-4)


def test_kinds_are_told_apart() -> None:
    assert [detect_kind(m) for m in (toys.llama(), t5(), bert(), llama_classifier())] == [
        "causal",
        "seq2seq",
        "classifier",
        "classifier",
    ]
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    with pytest.raises(AttributionError, match="BertForMaskedLM is not a causal"):
        detect_kind(transformers.BertForMaskedLM(config))
    with pytest.raises(AttributionError, match="reads 64"):
        attribute("lily " * 100, "POSITIVE", model=bert(), tokenizer=toys.word_piece(), baseline="delete")
    one = copy.deepcopy(bert())
    one.config.id2label = {0: "score"}
    with pytest.raises(AttributionError, match="regression"):
        run(one, toys.word_piece(), "score")


class Reviews(transformers.BertForSequenceClassification):  # type: ignore[misc, name-defined]
    """A user's own class."""


@pytest.mark.parametrize("wrap", ["subclass", "adapter", "compiled"])
def test_a_classifier_stays_one_under_another_class_name(wrap: str) -> None:
    model = copy.deepcopy(bert())
    plain = run(model, toys.word_piece(), "POSITIVE", method="occlusion")
    if wrap == "subclass":
        model.__class__ = Reviews
    elif wrap == "adapter":
        peft = pytest.importorskip("peft")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by old names
            model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["query"])).eval()
    else:
        model = torch.compile(model, backend="eager")
        assert detect_kind(model) == "classifier"
        return
    assert run(model, toys.word_piece(), "POSITIVE", method="occlusion").values == pytest.approx(plain.values)


def test_a_label_is_meant_by_its_name_before_its_number() -> None:
    model = copy.deepcopy(bert())
    model.config.id2label = {0: "2", 1: "1", 2: "good"}
    plain = [
        run(bert(), toys.word_piece(), name, method="occlusion").full
        for name in ("NEGATIVE", "NEUTRAL", "POSITIVE")
    ]
    got = [run(model, toys.word_piece(), name, method="occlusion").full for name in ("2", "1", "good", "0")]
    assert got == pytest.approx([*plain, plain[0]])


@pytest.mark.parametrize("method", ALL)
def test_bfloat16_is_close(method: str) -> None:
    exact = toys.llama(initializer_range=0.12)
    half = copy.deepcopy(exact).to(torch.bfloat16)
    values = [np.array(run(m, toys.byte_level(), " one day", method=method).values) for m in (exact, half)]
    assert np.abs(values[0] - values[1]).max() < 0.1 * np.abs(values[0]).max() + 0.02
    assert half.lm_head.weight.dtype == torch.bfloat16


def test_quantized_layers_are_read_but_give_no_gradients() -> None:
    exact = toys.llama(initializer_range=0.12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        small = torch.ao.quantization.quantize_dynamic(exact, {torch.nn.Linear}, dtype=torch.qint8)
    for method in ("occlusion", "sig", "attention"):
        values = [
            np.array(run(m, toys.byte_level(), " one day", method=method).values) for m in (exact, small)
        ]
        assert np.corrcoef(values[0], values[1])[0, 1] > 0.9
    with pytest.raises(AttributionError, match="quantized integers"):
        run(small, toys.byte_level(), " one day", method="saliency")


def test_ids_go_where_the_embedding_is() -> None:
    class Spread:
        def __init__(self, weight: Any, hook: Any = None) -> None:
            self.embedding = type("E", (), {"weight": weight, "_hf_hook": hook})()

        def get_input_embeddings(self) -> Any:
            return self.embedding

    assert get_device(toys.llama()).type == "cpu"
    offloaded = Spread(torch.empty(1, device="meta"), type("H", (), {"execution_device": "cpu"})())
    assert get_device(offloaded).type == "cpu"


def test_nan_logits_are_a_clear_error() -> None:
    for model, response in ((t5(), "tom came"), (bert(), "POSITIVE")):
        broken = copy.deepcopy(model)
        with torch.no_grad():
            next(iter(broken.parameters())).fill_(float("nan"))
        for method in ("occlusion", "saliency"):
            with pytest.raises(AttributionError, match="NaN"):
                run(broken, toys.word_piece(), response, method=method)
