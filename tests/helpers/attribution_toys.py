"""Small models, tokenizers of every family and brute-force oracles for the tests of attribution."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers  # noqa: E402

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
TEXT = (
    "Once upon a time there was a little girl named Lily. She had a red ball and a blue kite, 🙂 naïve café. "
    "One day her friend Tom came to play; they said hello to the old dog. "
) * 3


@cache
def byte_level() -> Any:
    """GPT-2's family: byte-level BPE, offsets trimmed of the space, no special tokens added."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    raw.train_from_iterator([TEXT], trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>")


@cache
def sentence_piece() -> Any:
    """Llama's family: metaspace BPE with byte fallback, BOS added."""
    raw = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    ascii_text = TEXT.replace("🙂", "").replace("ï", "i").replace("é", "e")
    raw.train_from_iterator([ascii_text], trainers.BpeTrainer(vocab_size=420, special_tokens=special))
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@cache
def word_piece() -> Any:
    """BERT's family: lower case, [CLS] and [SEP] added, a mask token."""
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    raw.train_from_iterator([TEXT], trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    raw.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    raw.decoder = decoders.WordPiece()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="[UNK]", pad_token="[PAD]", mask_token="[MASK]",
        cls_token="[CLS]", sep_token="[SEP]",
    )  # fmt: skip


@cache
def letters() -> Any:
    """A, B, C are the ids 0, 1, 2, as gpt-nano-sort reads them."""
    raw = Tokenizer(models.WordLevel({"A": 0, "B": 1, "C": 2}, unk_token="?"))
    raw.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return transformers.PreTrainedTokenizerFast(tokenizer_object=raw)


@cache
def llama(vocabulary: int = 420, **settings: Any) -> Any:
    """A random Llama with sharp predictions."""
    torch.manual_seed(0)
    config: dict[str, Any] = {
        "vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
        "initializer_range": 0.3,
    } | settings  # fmt: skip
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).eval()


@cache
def gpt2(vocabulary: int = 420) -> Any:
    """A random GPT-2: learned absolute positions."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=256, initializer_range=0.3
    )
    return transformers.GPT2LMHeadModel(config).eval()


@cache
def bert() -> Any:
    """A random BERT classifier."""
    config = transformers.BertConfig(
        vocab_size=420, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    )
    return transformers.BertForSequenceClassification(config).eval()


@cache
def stories() -> tuple[Any, Any]:
    """The trained stories260K, or skip."""
    path = SHARED / "models" / "stories260K"
    if not path.exists():
        pytest.skip("shared/data/models/stories260K is not here")
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(path).eval()
    return model, transformers.AutoTokenizer.from_pretrained(path)


def brute(
    model: Any, prompt: list[int] | tuple[int, ...], response: list[int] | tuple[int, ...]
) -> np.ndarray:
    """Log-probability of each token of the response by one plain pass."""
    ids = torch.tensor([[*prompt, *response[:-1]]])
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits[0].double()
    rows = logits[len(prompt) - 1 :].log_softmax(-1)
    logprobs: np.ndarray = rows[torch.arange(len(response)), torch.tensor(list(response))].numpy()
    return logprobs


def state_of(model: Any) -> tuple[Any, ...]:
    """Everything of a model that attribution must leave alone."""
    parameters = tuple(
        (n, float(p.detach().double().sum()), p.requires_grad) for n, p in model.named_parameters()
    )
    modes = tuple(m.training for m in model.modules())
    hooks = tuple(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    return parameters, modes, hooks, model.forward.__func__, model.config.use_cache
