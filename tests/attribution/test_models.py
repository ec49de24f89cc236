"""Models of every kind against plain passes, one prompt at a time without any cache: exact scores, the
empty prompt, own answers.
"""

from __future__ import annotations

import copy
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from llm_trace.attribution.api import attribute
from llm_trace.attribution.models.generation import generate, generate_answer
from llm_trace.attribution.question.tokenization import Codec
from llm_trace.errors import AttributionError
from tests.helpers import attribution_toys as toys

torch, transformers = toys.torch, toys.transformers
WORDS = ("lily had", "a red ball", ". one day", "tom came")
PROMPT = " ".join(WORDS)
SIZES: dict[str, Any] = {
    "vocab_size": 420, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 3,
}  # fmt: skip
MAMBA = {"mamba_d_state": 8, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1}
CAUSAL: dict[str, dict[str, Any]] = {
    "llama": {}, "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "mistral": {"sliding_window": 8},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "mamba": {"state_size": 8, "time_step_rank": 4},
    "rwkv": {"attention_hidden_size": 32, "context_length": 128},
    "recurrent_gemma": {
        "num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 8, "head_dim": 8,
    },
    "bamba": {**MAMBA, "attn_layer_indices": [1]},
    "minimax": {
        "layer_types": ["full_attention", "linear_attention"], "num_local_experts": 4, "head_dim": 8,
    },
    "gemma3n_text": {
        "num_hidden_layers": 4, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 420,
        "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * 2, "head_dim": 8,
        "intermediate_size": [48] * 4, "num_kv_shared_layers": 2, "laurel_rank": 8, "altup_num_inputs": 2,
        "activation_sparsity_pattern": [0.0] * 4,
    },
    "openai-gpt": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
}  # fmt: skip
CLASSIFIERS: dict[str, dict[str, Any]] = {
    "bert": {}, "fnet": {}, "convbert": {"embedding_size": 32},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48, "max_position_embeddings": None},
    "bart": {
        "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    },
}  # fmt: skip
TRANSLATORS: dict[str, dict[str, Any]] = {
    "t5": {
        "d_model": 32, "d_ff": 48, "num_layers": 2, "num_heads": 4, "d_kv": 8,
        "decoder_start_token_id": 0,
    },
    "bart": {**CLASSIFIERS["bart"], "decoder_start_token_id": 3, "forced_eos_token_id": None},
}  # fmt: skip


@cache
def made(kind: str, name: str) -> Any:
    """A random model whose predictions depend on all that it reads."""
    torch.manual_seed(0)
    settings = {**SIZES, **{"causal": CAUSAL, "classifier": CLASSIFIERS, "seq2seq": TRANSLATORS}[kind][name]}
    labels = {"num_labels": 3} if kind == "classifier" else {}
    config = transformers.AutoConfig.for_model(
        name, **{k: v for k, v in settings.items() if v is not None}, **labels
    )
    auto = {"causal": "CausalLM", "classifier": "SequenceClassification", "seq2seq": "Seq2SeqLM"}[kind]
    model = getattr(transformers, f"AutoModelFor{auto}").from_config(config).eval()
    if kind == "causal":
        model.generation_config.eos_token_id = None
    with torch.no_grad():
        for place, weight in model.named_parameters():
            if (
                weight.dim() in (2, 3)
                and "norm" not in place
                and not any(s in place for s in ("A_log", "time_", "rg_lru"))
            ):
                size = 1.0 if "emb" in place or "wte" in place else 1.3 / weight.shape[-1] ** 0.5
                weight.copy_(torch.randn(weight.shape) * size)
    return model


def shapley_by_hand(values: dict[tuple[bool, ...], float]) -> list[float]:
    """Exact Shapley values by the mean over all orders."""
    n, scores = len(WORDS), []
    weight = [1 / (n * comb) for comb in (1, 3, 3, 1)]
    for i in range(n):
        others = [k for k in values if not k[i]]
        gains = [(sum(k), values[(*k[:i], True, *k[i + 1 :])] - values[k]) for k in others]
        scores.append(sum(weight[size] * gain for size, gain in gains))
    return scores


def explained(model: Any, tokenizer: Any, response: str | None) -> Any:
    ends = np.cumsum([len(w) + 1 for w in WORDS])
    spans = [(int(e) - len(w) - 1, int(e) - 1) for w, e in zip(WORDS, ends, strict=True)]
    return attribute(
        PROMPT,
        response,
        model=model,
        tokenizer=tokenizer,
        method="shapley",
        segments=spans,
        baseline=["delete"],
    )


def texts() -> dict[tuple[bool, ...], str]:
    """The prompt with every subset of the segments: those that are spans take no space along."""
    pieces = [f"{w} " for w in WORDS[:-1]] + [WORDS[-1]]
    gone = [" "] * 3 + [""]
    return {
        keep: "".join(p if k else g for p, g, k in zip(pieces, gone, keep, strict=True))
        for keep in product((False, True), repeat=4)
    }


def agrees(got: Any, values: dict[tuple[bool, ...], float]) -> None:
    assert got.full == pytest.approx(values[(True,) * 4], abs=1e-3)
    assert got.empty == pytest.approx(values[(False,) * 4], abs=1e-3)
    assert np.abs(np.array(got.values) - shapley_by_hand(values)).max() < 1e-3
    assert np.abs(got.values).max() > 0.01


@pytest.mark.parametrize("name", CAUSAL)
def test_decoders_of_every_kind_equal_plain_passes(name: str) -> None:
    model, tokenizer = made("causal", name), toys.byte_level()
    said = tokenizer(" One day")["input_ids"]
    values = {
        keep: toys.brute(model, tokenizer(text)["input_ids"], said).sum() for keep, text in texts().items()
    }
    agrees(explained(model, tokenizer, " One day"), values)
    ids, plain = tokenizer(PROMPT)["input_ids"], list[int]()
    with torch.no_grad():
        while len(plain) < 6:
            plain.append(int(model(torch.tensor([ids + plain]), use_cache=False).logits[0, -1].argmax()))
    assert generate(model, ids, 6) == plain


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_equal_plain_passes_whatever_padding_does_to_them_and_without_a_word(name: str) -> None:
    model, tokenizer = made("classifier", name), toys.word_piece()
    values = {}
    with torch.no_grad():
        for keep, text in texts().items():
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            logits = model(ids, attention_mask=torch.ones_like(ids)).logits[0].double()
            values[keep] = float(logits.log_softmax(-1)[1])
    agrees(explained(model, tokenizer, "LABEL_1"), values)


@pytest.mark.parametrize("name", TRANSLATORS)
def test_encoder_decoders_equal_plain_passes_and_read_the_empty_prompt_with_its_special_tokens(
    name: str,
) -> None:
    model, tokenizer = made("seq2seq", name), toys.word_piece()
    said = tokenizer("tom came", add_special_tokens=False)["input_ids"]
    begin = [model.config.decoder_start_token_id]
    values = {}
    with torch.no_grad():
        for keep, text in texts().items():
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            logits = model(ids, decoder_input_ids=torch.tensor([begin + said[:-1]])).logits[0].double()
            values[keep] = float(logits.log_softmax(-1)[range(len(said)), said].sum())
    agrees(explained(model, tokenizer, "tom came"), values)


def test_a_model_that_reads_what_comes_later_is_refused() -> None:
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.BertConfig(**SIZES, is_decoder=False)
    ).eval()
    for response in (" One day", None):
        with pytest.raises(AttributionError, match="BertLMHeadModel is not causal"):
            attribute(PROMPT, response, model=model, tokenizer=toys.byte_level(), method="occlusion")


@pytest.mark.parametrize("method", ["saliency", "input_x_gradient", "integrated_gradients"])
def test_embeddings_in_every_layer_have_no_gradient_methods(method: str) -> None:
    with pytest.raises(AttributionError, match="reads more of a token than its embedding"):
        attribute(
            PROMPT, " One", model=made("causal", "gemma3n_text"), tokenizer=toys.byte_level(), method=method
        )


def test_a_model_without_embedded_input_says_so() -> None:
    with pytest.raises(AttributionError, match="takes no embeddings in place of token ids"):
        attribute(
            PROMPT,
            "LABEL_1",
            model=made("classifier", "bart"),
            tokenizer=toys.word_piece(),
            method="saliency",
        )


def test_a_model_that_hashes_characters_is_read_and_has_no_gradient_methods() -> None:
    torch.manual_seed(0)
    sizes = {k: v for k, v in SIZES.items() if k != "vocab_size"}
    config = transformers.CanineConfig(**sizes, num_hash_functions=2, num_hash_buckets=64, num_labels=2)
    settings: dict[str, Any] = {
        "model": transformers.CanineForSequenceClassification(config).eval(), "tokenizer": toys.word_piece(),
    }  # fmt: skip
    assert len(attribute(PROMPT, "LABEL_1", method="occlusion", **settings).values) == 10
    with pytest.raises(AttributionError, match="has no embedding of tokens"):
        attribute(PROMPT, "LABEL_1", method="saliency", **settings)


@pytest.mark.parametrize("method", ["integrated_gradients", "input_x_gradient", "saliency", "sig_integral"])
def test_a_model_that_is_prepared_for_training_has_the_same_gradients(method: str) -> None:
    settings: dict[str, Any] = {
        "tokenizer": toys.byte_level(),
        "method": method,
        "segments": [(0, 8), (9, 19)],
    }
    trained = copy.deepcopy(toys.llama())
    trained.activation_checkpointing_enable()
    trained.enable_input_require_grads()
    trained.train()
    plain = attribute(PROMPT, " One", model=toys.llama(), **settings)
    assert attribute(PROMPT, " One", model=trained, **settings).values == pytest.approx(
        plain.values, abs=1e-5
    )


def test_a_token_beyond_the_embedding_is_named() -> None:
    tokenizer = copy.deepcopy(toys.byte_level())
    tokenizer.add_tokens(["<cust>"])
    model = toys.llama(vocabulary=len(tokenizer) - 1)
    for prompt, response in (
        ("I like <cust> you", " yes"),
        ("I like you", "<cust>"),
        ("I like <cust> you", None),
    ):
        with pytest.raises(AttributionError, match=f"token id {len(tokenizer) - 1} is beyond"):
            attribute(prompt, response, model=model, tokenizer=tokenizer)


def test_a_classifier_with_one_output_is_refused_with_and_without_a_response() -> None:
    config = transformers.BertConfig(**SIZES, num_labels=1)
    model = transformers.BertForSequenceClassification(config).eval()
    for response in (None, "LABEL_0"):
        with pytest.raises(AttributionError, match="has one output"):
            attribute(PROMPT, response, model=model, tokenizer=toys.word_piece())


class Translator:
    """A tokenizer whose target language has its own code and its own cut, as NLLB and Marian have."""

    tgt_lang: str | None = "fr"
    is_fast = False

    def __init__(self) -> None:
        self._own = toys.word_piece()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def __call__(
        self, text: str | None = None, *, text_target: str | None = None, add_special_tokens: bool = True
    ) -> Any:
        if text_target is None:
            return self._own(text, add_special_tokens=add_special_tokens)
        ids = [i for c in text_target for i in self._own(c, add_special_tokens=False)["input_ids"]]
        lead = [7] if self.tgt_lang else []
        return {"input_ids": [*lead, *ids, 3] if add_special_tokens else ids}


def test_a_translation_is_cut_as_a_target_and_stands_behind_its_language() -> None:
    model, tokenizer = made("seq2seq", "t5"), Translator()
    said = tokenizer(text_target="tom", add_special_tokens=False)["input_ids"]
    assert len(said) == 3
    ids = torch.tensor([tokenizer(PROMPT)["input_ids"]])
    with torch.no_grad():
        logits = model(ids, decoder_input_ids=torch.tensor([[0, 7, *said[:-1]]])).logits[0].double()
    plain = logits[1:].log_softmax(-1)[range(3), said].sum()
    got = attribute(PROMPT, "tom", model=model, tokenizer=tokenizer, method="occlusion", baseline="delete")
    assert got.full == pytest.approx(float(plain), abs=1e-4)
    assert len(got.target_tokens) == 3
    answer = generate_answer(model, Codec(tokenizer, causal=False), tuple(ids[0].tolist()), 1)[1]
    assert (answer.lead, answer.ids) == ((7,), (int(logits[1].argmax()),))
    tokenizer.tgt_lang = None
    note = "the tokenizer has no target language: set tokenizer.tgt_lang"
    assert any(
        note in line
        for line in attribute(PROMPT, "tom", model=model, tokenizer=tokenizer, method="occlusion").notes
    )


class CacheLess(transformers.LlamaForCausalLM):  # type: ignore[misc, name-defined]
    """A model whose own cache cannot be used, as of hybrid models with no layer of attention."""

    asked = 0

    def forward(self, input_ids: Any = None, use_cache: bool = True, **settings: Any) -> Any:
        if use_cache:
            self.asked += 1
            raise ValueError("this cache has no length")
        return super().forward(input_ids, use_cache=False, **settings)


@pytest.mark.parametrize("response", [" one day", None], ids=["given", "own"])
def test_a_model_that_cannot_keep_a_cache_is_read_without_and_asked_for_one_once(
    response: str | None,
) -> None:
    plain, model = made("causal", "llama"), CacheLess(made("causal", "llama").config).eval()
    model.load_state_dict(plain.state_dict())
    model.generation_config.eos_token_id = None
    expected = explained(plain, toys.byte_level(), response)
    for _ in range(2):
        got = explained(model, toys.byte_level(), response)
        assert (got.response, got.values) == (expected.response, pytest.approx(expected.values, abs=1e-4))
    assert model.asked == 1


class Sparse(transformers.LlamaForCausalLM):  # type: ignore[misc, name-defined]
    """A model that picks what it attends to among all places once there are more than it may attend to."""

    def forward(self, input_ids: Any = None, **settings: Any) -> Any:
        got = super().forward(input_ids, **settings)
        if input_ids.shape[1] > 20:
            got.logits[:, 2, input_ids.shape[1] % 7] += 5.0
        return got


def test_a_model_that_reads_what_comes_later_in_longer_prompts_alone_is_refused_there() -> None:
    model = Sparse(made("causal", "llama").config).eval()
    asked: dict[str, Any] = {"model": model, "tokenizer": toys.byte_level(), "method": "occlusion"}
    assert attribute("tom came", " one", **asked).verdict
    with pytest.raises(AttributionError, match="Sparse is not causal"):
        attribute(PROMPT * 3, " one", **asked)


def test_attention_of_an_encoder_decoder_classifier_is_its_cross_attention() -> None:
    model, tokenizer = copy.deepcopy(made("classifier", "bart")), toys.word_piece()
    got = attribute("tom came", "LABEL_1", model=model, tokenizer=tokenizer, method="attention")
    model.set_attn_implementation("eager")
    ids = torch.tensor([tokenizer("tom came")["input_ids"]])
    with torch.no_grad():
        layers = model(ids, output_attentions=True).cross_attentions
    looked = torch.stack([layer[0].mean(0)[-1] for layer in layers]).mean(0)
    owners = [i for i, word in enumerate(tokenizer(["tom came"]).word_ids(0)) if word is not None]
    assert sum(got.values) == pytest.approx(float(looked[owners].sum()), abs=1e-5)


def test_the_own_answer_of_a_decoder_that_is_causal_with_the_prompt_alone_is_what_it_generates() -> None:
    torch.manual_seed(0)
    config = transformers.FSMTConfig(
        langs=["de", "en"], src_vocab_size=420, tgt_vocab_size=420, d_model=32, encoder_layers=2,
        decoder_layers=2, encoder_ffn_dim=48, decoder_ffn_dim=48, encoder_attention_heads=4,
        decoder_attention_heads=4, init_std=0.5, pad_token_id=0, eos_token_id=3, decoder_start_token_id=3,
        forced_eos_token_id=None,
    )  # fmt: skip
    model, tokenizer = transformers.FSMTForConditionalGeneration(config).eval(), toys.word_piece()
    ids = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    greedy = {"num_beams": 1, "do_sample": False, "max_length": 9, "output_logits": True}
    said = model.generate(ids, **greedy, return_dict_in_generate=True)
    answer = generate_answer(model, Codec(tokenizer, causal=False), tuple(ids[0].tolist()), 8)[1]
    assert list(answer.ids) == said.sequences[0, 1 : len(answer.ids) + 1].tolist()
    assert len(answer.ids) > 2


def test_a_models_own_answer_stays_within_the_positions_it_has() -> None:
    torch.manual_seed(0)
    config = transformers.MptConfig(d_model=16, n_heads=2, n_layers=1, max_seq_len=24, vocab_size=420)
    model, tokenizer = transformers.MptForCausalLM(config).eval(), toys.byte_level()
    record = attribute("lily had", model=model, tokenizer=tokenizer, method="occlusion")
    assert record.response
    with pytest.raises(AttributionError, match="the model reads 24"):
        attribute("lily had", " a" * 40, model=model, tokenizer=tokenizer, method="occlusion")
