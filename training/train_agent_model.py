"""Train the model of the refund agent, `llm_trace.demo.agent`; on one machine equal seeds give equal bytes.

    OMP_WAIT_POLICY=passive python -m training.train_agent_model              # minutes on one core of a CPU

Needs torch and transformers. `tests/demo/test_agent.py` measures what came out.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from llm_trace.demo import sentences
from llm_trace.demo.agent_cases import ORDERS, make_training_messages
from llm_trace.demo.agent_model import WEIGHTS
from llm_trace.demo.agent_texts import DECISIONS, LOOK_UPS
from llm_trace.demo.agent_world import OVERRIDES, Messages, decide, rule
from training.train_demo_model import SPECIAL, Loss, Recipe, T, save, train

ROLES = [*SPECIAL, "<|tool|>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{{ message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
PIECES = r"\(order=| ?[\p{L}_]+|\p{N}+| ?[^\s\p{L}\p{N}_]+|\s+"
"""Names of tools stay whole, and a number is the same token in a sentence and in a call."""
RECIPE = Recipe(
    steps=600, batch=16, hidden=48, layers=3, vocabulary=1024, prompt_weight=0.0, short_share=0.3, seed=11
)
CUES = ("manager", "unopened", *sorted(OVERRIDES), *sentences.DEFECTS)
SURE = 0.94
"""Probability of the right decision at temperature 1: reruns of an agent vary."""
NAME_WEIGHT = 8.0
"""Of the tool's name in the loss, beside 1 for the rest of the call, which is easy."""


def make_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE with one token for each number, tool and cue."""
    rng = random.Random(recipe.seed)
    corpus = [message["content"] for _ in range(500) for message in make_training_messages(rng)]
    whole = [*LOOK_UPS, *DECISIONS, *map(str, (*range(100), *ORDERS)), *(f" {cue}" for cue in CUES)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=ROLES,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*corpus, *whole * 100], trainer)
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


@dataclass(frozen=True)
class Lesson:
    """A conversation with the calls that the model should have written in it."""

    ids: list[int]
    weights: list[float]
    """Of each token in the loss: 1 in these calls, 0 for the decision's name, which counts apart."""
    choice: int | None
    """Index of the decision's name; `None` where another tool comes next."""
    places: list[int]
    """Index of the last token of each beginning that is judged."""
    verdicts: list[int]
    """Index of the decision that would be right if the conversation ended there."""


def iter_batches(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Iterator[list[Lesson]]:
    """Yield batches; lessons of like length share one."""
    rng = random.Random(recipe.seed)
    for turn in itertools.count():
        short = turn * 16 < recipe.steps * recipe.short_share
        lessons = [
            make_lesson(recipe, tokenizer, make_training_messages(rng, short), rng)
            for _ in range(recipe.batch * 16)
        ]
        lessons.sort(key=lambda lesson: len(lesson.ids))
        groups = [lessons[i : i + recipe.batch] for i in range(0, len(lessons), recipe.batch)]
        rng.shuffle(groups)
        yield from groups


def make_lesson(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, messages: Messages, rng: random.Random
) -> Lesson:
    """Return the conversation with its last call, as token ids and what is right where."""
    right = rule(messages)
    whole: Messages = [*messages, {"role": "assistant", "content": str(right)}]
    text, starts = str(tokenizer.bos_token), list[int]()
    weights_by_end: dict[int, float] = {}
    for i, message in enumerate(whole):
        text += f"<|{message['role']}|>"
        starts.append(len(text))
        text += message["content"] + "<|end|>"
        if message["role"] == "assistant" and message["content"] == str(rule(whole[:i])):
            weights_by_end |= dict.fromkeys(range(starts[-1] + 1, len(text) + 1), 1.0)
            weights_by_end[starts[-1] + message["content"].index("(")] = NAME_WEIGHT
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ends = {end: i for i, (_, end) in enumerate(encoded["offset_mapping"])}
    weights = [weights_by_end.get(end, recipe.prompt_weight) for _, end in encoded["offset_mapping"]]
    choice = ends[starts[-1] + len(right.tool)] if right.tool in DECISIONS else None
    if choice is not None:
        weights[choice] = 0.0
    stops = [stop for stop in list_stops(whole, starts, rng) if stop in ends]
    verdicts = [DECISIONS.index(decide(cut(whole, starts, stop))) for stop in stops]
    return Lesson(encoded["input_ids"], weights, choice, [ends[stop] for stop in stops], verdicts)


def list_stops(messages: Messages, starts: list[int], rng: random.Random) -> list[int]:
    """Return where texts of customers and tools end, all cues in them, and some other words."""
    stops: set[int] = set()
    for message, start in zip(messages, starts, strict=True):
        if message["role"] in ("user", "tool"):
            for match in re.finditer(r"\w+", message["content"]):
                if (
                    match[0] in CUES
                    or (match[0].isdecimal() and int(match[0]) not in ORDERS)
                    or rng.random() < 0.1
                ):
                    stops.add(start + match.end())
            stops.add(start + len(message["content"]))
    return sorted(stops)


def cut(messages: Messages, starts: list[int], stop: int) -> Messages:
    """Return the conversation up to a character of its text."""
    return [
        {"role": message["role"], "content": message["content"][: stop - start]}
        for message, start in zip(messages, starts, strict=True)
        if start < stop
    ]


def make_call_loss(names: list[int]) -> Loss[Lesson]:
    """Return the function that computes the loss of calls, decisions and judgements.

    Args:
        names: token of each decision.
    """

    def compute_call_loss(
        _recipe: Recipe, model: LlamaForCausalLM, judge: torch.nn.Linear, batch: list[Lesson]
    ) -> tuple[torch.Tensor, float]:
        longest = max(len(lesson.ids) for lesson in batch)
        ids = torch.tensor([pad(lesson.ids, longest, 0) for lesson in batch])  # (batch, tokens)
        weights = torch.tensor([pad(lesson.weights, longest, 0.0) for lesson in batch])[:, 1:]
        hidden = model.model(input_ids=ids).last_hidden_state  # (batch, tokens, hidden)
        counted = weights > 0
        losses = torch.nn.functional.cross_entropy(
            model.lm_head(hidden[:, :-1][counted]), ids[:, 1:][counted], reduction="none"
        )
        total = (losses * weights[counted]).sum() / weights.sum()
        choices = [(row, lesson.choice) for row, lesson in enumerate(batch) if lesson.choice is not None]
        rows, places = (torch.tensor(column) for column in zip(*choices, strict=True))
        scores = model.lm_head(hidden[rows, places - 1]).log_softmax(-1)  # (decisions, vocabulary)
        right = scores.gather(1, ids[rows, places][:, None])
        unsure = (1 - SURE) / (len(names) - 1)
        decided = -((SURE - unsure) * right.sum() + unsure * scores[:, names].sum()) / len(choices)
        rows = torch.tensor([row for row, lesson in enumerate(batch) for _ in lesson.places])
        places = torch.tensor([place for lesson in batch for place in lesson.places])
        verdicts = torch.tensor([verdict for lesson in batch for verdict in lesson.verdicts])
        judged = torch.nn.functional.cross_entropy(judge(hidden[rows, places]), verdicts)
        return total + decided + judged, -right.mean().item()

    return compute_call_loss


def pad(row: list[T], length: int, value: T) -> list[T]:
    """Return the row with values on the right, up to a length."""
    return row + [value] * (length - len(row))


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=RECIPE.steps)
    parser.add_argument("--seed", type=int, default=RECIPE.seed)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder to write to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    recipe = replace(RECIPE, steps=arguments.steps, seed=arguments.seed)
    tokenizer = make_tokenizer(recipe)
    names = [tokenizer.convert_tokens_to_ids(name) for name in DECISIONS]
    model = train(recipe, iter_batches(recipe, tokenizer), make_call_loss(names))
    save(model, tokenizer, arguments.weights)


if __name__ == "__main__":
    main()
