"""Train the embedded model of `llm_trace.demo`; on one machine equal seeds give equal bytes.

    OMP_WAIT_POLICY=passive python training/train_demo_model.py              # minutes on one core of a CPU

A larger model of the same world, to be explained by the embedded one (`benchmarks/attribution_proxy.py`), is
not part of the package:

    OMP_WAIT_POLICY=passive python training/train_demo_model.py --hidden 144 --layers 6 --seed 8 --weights
    /tmp/oracle

Needs torch and transformers. `tests/demo/test_model.py` measures what came out.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import math
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from llm_trace.demo import sentences
from llm_trace.demo.model import WEIGHTS
from llm_trace.demo.world import (
    ANSWERS,
    CUE_WORDS,
    TEMPLATE_V1,
    TEMPLATE_V2,
    VERDICTS,
    build_chat,
    find_words,
    make_customers,
    make_training_example,
    rule,
)

SPECIAL = ["<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' %}{{ ' ' + message['content'] | trim }}{% else %}{{ "
    "message['content'] }}{% endif %}"
    "{{ '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""The answer follows `<|assistant|>` with its leading space, as it follows `Answer:` in plain text."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the bytes, besides the versions of the libraries and the kind of processor."""

    steps: int = 800
    batch: int = 32
    rate: float = 0.01
    """Peak of AdamW's rate: embeddings, norms and the second head."""
    matrix_rate: float = 0.02
    """Peak of Muon's rate: the matrices of the layers."""
    warmup: int = 20
    vocabulary: int = 1024
    hidden: int = 96
    """Width; a multiple of `head`."""
    layers: int = 4
    prompt_weight: float = 0.03
    """Weight of a prompt token in the loss, beside 1 for the answer and its end."""
    chat_share: float = 0.35
    bare_share: float = 0.1
    """Share of plain prompts without the beginning-of-sequence token, for callers that add none."""
    cuts: int = 8
    short_share: float = 0.4
    head: int = 24
    theta: float = 1e4
    seed: int = 7


def make_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE with one token for each number up to 120 and answer, leading space included."""
    texts = [
        t.format(message=c.message)
        for c in make_customers(6000, recipe.seed)
        for t in (TEMPLATE_V1, TEMPLATE_V2)
    ]
    whole = [f" {word}" for word in (*range(1, 121), *VERDICTS, *sentences.DEFECTS, *sentences.CUES, "_")]
    corpus = [*texts, *sentences.OTHER_RULES * 500, *whole * 500]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    bos = SPECIAL.index("<|bos|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A", pair="<|bos|> $A $B", special_tokens=[("<|bos|>", bos)]
    )
    split = [text for text in whole if len(tokenizer.encode(text, add_special_tokens=False).ids) != 1]
    if split:
        raise SystemExit(f"not one token each: {split!r}; enlarge the vocabulary")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|bos|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def make_model(recipe: Recipe) -> LlamaForCausalLM:
    """Return the untrained model."""
    torch.manual_seed(recipe.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=recipe.vocabulary,
            hidden_size=recipe.hidden,
            intermediate_size=recipe.hidden * 8 // 3,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.hidden // recipe.head,
            num_key_value_heads=recipe.hidden // recipe.head,
            max_position_embeddings=1024,
            head_dim=recipe.head,
            rope_parameters={"rope_type": "default", "rope_theta": recipe.theta},
            tie_word_embeddings=True,
            pad_token_id=SPECIAL.index("<|pad|>"),
            bos_token_id=SPECIAL.index("<|bos|>"),
            eos_token_id=SPECIAL.index("<|end|>"),
        )
    )


@dataclass(frozen=True)
class Example:
    """Token ids of a prompt, its answer and `<|end|>`, and the rule's answers to the prompt cut short."""

    ids: list[int]
    places: list[int]
    """Index of the last token of each cut."""
    verdicts: list[int]
    """Index of the right answer at each cut."""


class TokenIds(Protocol):
    """What is learned from."""

    @property
    def ids(self) -> list[int]:
        """The text as tokens."""


T = TypeVar("T", bound=TokenIds)
Loss = Callable[[Recipe, LlamaForCausalLM, torch.nn.Linear, list[T]], tuple[torch.Tensor, float]]
"""The loss of a batch, and the part of it that is printed."""


def batches(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Iterator[list[Example]]:
    """Yield batches; examples of like length share one."""
    rng = random.Random(recipe.seed)
    for lesson in itertools.count():
        short = lesson * 16 < recipe.steps * recipe.short_share
        examples = [make_example(recipe, tokenizer, rng, short) for _ in range(recipe.batch * 16)]
        examples.sort(key=lambda example: len(example.ids))
        groups = [examples[i : i + recipe.batch] for i in range(0, len(examples), recipe.batch)]
        rng.shuffle(groups)
        yield from groups


def make_example(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, rng: random.Random, short: bool
) -> Example:
    """Return a training example in plain text or as a chat."""
    prompt, answer = make_training_example(rng, short)
    if rng.random() < recipe.chat_share and prompt.count("\n\n") >= 2:
        text = str(
            tokenizer.apply_chat_template(build_chat(prompt), tokenize=False, add_generation_prompt=True)
        )
    else:
        text = ("" if rng.random() < recipe.bare_share else tokenizer.bos_token) + prompt
    encoded = tokenizer(
        text + answer + tokenizer.eos_token, add_special_tokens=False, return_offsets_mapping=True
    )
    ends = {end: i for i, (_, end) in enumerate(encoded["offset_mapping"])}
    plain = re.sub(r"<\|\w+\|>", lambda special: "\n" * len(special[0]), text)
    spans = [span for span in find_words(plain) if span[1] in ends]
    after_cue = {end for start, end in spans if plain[start:end] in CUE_WORDS}
    stops = sorted(after_cue.union(rng.sample([end for _, end in spans], min(recipe.cuts, len(spans)))))
    verdicts = [ANSWERS.index(rule(plain[:stop])) for stop in stops]
    return Example(encoded["input_ids"], [ends[stop] for stop in stops], verdicts)


def train(recipe: Recipe, lessons: Iterator[list[T]], compute_loss: Loss[T]) -> LlamaForCausalLM:
    """Return the model after all steps, each on one batch.

    A second head, thrown away afterwards, says after any word what the answer would be if the prompt ended
    there: without it the one answer per prompt teaches too slowly for minutes on a CPU.
    """
    model = make_model(recipe)
    judge = torch.nn.Linear(model.config.hidden_size, len(ANSWERS))
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    others = [p for p in [*model.parameters(), *judge.parameters()] if not any(p is m for m in matrices)]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(others, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.01),
        torch.optim.Muon(matrices, lr=recipe.matrix_rate, weight_decay=0.01, momentum=0.95),
    ]
    peaks = (recipe.rate, recipe.matrix_rate)
    start, tokens, seen = time.perf_counter(), 0, 0.0
    for step, batch in zip(range(recipe.steps), lessons, strict=False):
        scale = min(1, (step + 1) / recipe.warmup) * (0.5 + 0.5 * math.cos(math.pi * step / recipe.steps))
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * scale
        loss, answer_loss = compute_loss(recipe, model, judge, batch)
        model.zero_grad()
        judge.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        tokens += sum(len(example.ids) for example in batch)
        seen += answer_loss
        if (step + 1) % 50 == 0:
            spent = time.perf_counter() - start
            print(
                f"step {step + 1}  answer {seen / 50:.4f} nats  {tokens / 1e6:.2f}M tokens  {spent:.0f} s",
                flush=True,
            )
            seen = 0.0
    return model


def compute_answer_loss(
    recipe: Recipe, model: LlamaForCausalLM, judge: torch.nn.Linear, batch: list[Example]
) -> tuple[torch.Tensor, float]:
    """Return the weighted loss and the mean loss of the answer's token. Pads stand right, never attended."""
    longest = max(len(example.ids) for example in batch)
    ids = torch.tensor(
        [example.ids + [0] * (longest - len(example.ids)) for example in batch]
    )  # (batch, tokens)
    ends = torch.tensor([len(example.ids) for example in batch])[:, None]  # (batch, 1)
    place = torch.arange(1, longest)[None]  # (1, tokens - 1): position of the token to predict
    weights = torch.where(place >= ends - 2, 1.0, recipe.prompt_weight) * (place < ends)
    hidden = model.model(input_ids=ids).last_hidden_state  # (batch, tokens, hidden)
    counted = weights > 0
    losses = torch.nn.functional.cross_entropy(
        model.lm_head(hidden[:, :-1][counted]), ids[:, 1:][counted], reduction="none"
    )
    first = (place == ends - 2)[counted]
    total = (losses * weights[counted]).sum() / weights.sum()
    if recipe.cuts:
        rows = torch.tensor([row for row, example in enumerate(batch) for _ in example.places])
        places = torch.tensor([place for example in batch for place in example.places])
        verdicts = torch.tensor([verdict for example in batch for verdict in example.verdicts])
        total = total + torch.nn.functional.cross_entropy(judge(hidden[rows, places]), verdicts)
    return total, losses[first].mean().item()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights in float16, configuration and tokenizer, and print the hash of each file."""
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in sorted(folder.iterdir()):
        print(
            f"{path.name:26} {path.stat().st_size:>9} B  {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
        )


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument(
        "--hidden", type=int, default=Recipe.hidden, help=f"width, a multiple of {Recipe.head}"
    )
    parser.add_argument("--layers", type=int, default=Recipe.layers)
    parser.add_argument(
        "--threads", type=int, default=1, help="part of the recipe: sums are taken in another order"
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder to write to")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory takes a sixth of the time, and no result depends on it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    chosen = {name: getattr(arguments, name) for name in ("steps", "seed", "hidden", "layers")}
    recipe = Recipe(**chosen)
    tokenizer = make_tokenizer(recipe)
    save(train(recipe, batches(recipe, tokenizer), compute_answer_loss), tokenizer, arguments.weights)


if __name__ == "__main__":
    main()
