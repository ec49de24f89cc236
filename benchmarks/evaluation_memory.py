"""How often a memorisation gap is found in models that learned a public set by heart, and bounded in one that
learned the rule.

Each seed has a public set of its own and asks fresh questions of the same kind. Its memoriser is trained on
that set and nothing else, by the script of the embedded model; the embedded model has learned the rule.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training"))

from train_demo_model import Example, Recipe, compute_answer_loss, train  # type: ignore[import-not-found]

from llm_trace import evaluate
from llm_trace.demo.model import load_model
from llm_trace.demo.world import ANSWERS, TEMPLATE_V1, Customer, make_customers
from llm_trace.evaluation import GeneratorScenario, exact
from llm_trace.evaluation.memorisation import MemorisationGap

PUBLIC, FRESH = 150, 250
"""Public examples, and fresh questions."""
BARE = "Customer: {message}\n\nAnswer:"
"""What memorisers read: rules that stand in every prompt tell nothing."""
RECIPE = Recipe(steps=90, batch=50, hidden=48, layers=2, prompt_weight=0.0, cuts=0)


@cache
def load() -> tuple[Any, Any]:
    return load_model()


def make_desk(seed: int) -> GeneratorScenario:
    """Return a scenario whose public set is fixed, and whose fresh questions are not among it."""
    public = make_customers(PUBLIC, seed)
    seen = {each.message for each in public}

    def draw(random: Random) -> Iterator[dict[str, Any]]:
        for customer in public:
            yield {**_ask(customer), "variant": "public"}
        while True:
            for customer in make_customers(5, random.getrandbits(32)):
                if customer.message not in seen:
                    yield _ask(customer)

    return GeneratorScenario(draw, name="desk")


def _ask(customer: Customer) -> dict[str, Any]:
    return {"input": {"message": customer.message}, "expected": customer.policy.strip()}


def memorise(public: Sequence[Customer], seed: int) -> Any:
    """Return a small model of the embedded one's kind that was trained on these alone."""
    tokenizer = load()[1]
    examples = []
    for each in public:
        text = tokenizer.bos_token + BARE.format(message=each.message) + each.policy + tokenizer.eos_token
        examples.append(Example(tokenizer(text, add_special_tokens=False)["input_ids"], [], []))
    examples.sort(key=lambda example: len(example.ids))
    recipe = replace(RECIPE, seed=seed)
    batches = [examples[i : i + recipe.batch] for i in range(0, len(examples), recipe.batch)]
    return train(recipe, itertools.cycle(batches), compute_answer_loss).eval()


def make_function(model: Any, template: str, messages: Sequence[str]) -> Callable[[str], str]:
    """Return a function that gives a model's answers to these messages, worked out in batches."""
    tokenizer = load()[1]
    tokens = [tokenizer(answer, add_special_tokens=False).input_ids[0] for answer in ANSWERS]
    ids = [tokenizer(template.format(message=message)).input_ids for message in messages]
    answers: dict[str, str] = {}
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    for start in range(0, len(order), 50):
        chosen = order[start : start + 50]
        longest = max(len(ids[i]) for i in chosen)
        padded = torch.tensor([ids[i] + [0] * (longest - len(ids[i])) for i in chosen])
        ends = torch.tensor([len(ids[i]) - 1 for i in chosen])
        with torch.inference_mode():
            hidden = model.model(input_ids=padded).last_hidden_state[torch.arange(len(chosen)), ends]
            best = model.lm_head(hidden)[:, tokens].argmax(1).tolist()
        answers |= {messages[i]: ANSWERS[number].strip() for i, number in zip(chosen, best, strict=True)}

    def answer(message: str) -> str:
        return answers[message]

    return answer


def measure_gap(seed: int, model: Any, template: str, folder: Path) -> MemorisationGap:
    desk = make_desk(seed)
    messages = [each.input["message"] for each in desk.make_instances(FRESH, seed)]
    function = make_function(model, template, messages)
    gap = evaluate(function, desk, exact, n=FRESH, seed=seed, store=folder / "t.duckdb").memorisation_gap
    assert gap is not None
    return gap


def measure_memory(seeds: int) -> None:
    """Print the verdicts on memorisers and on the model that learned the rule."""
    torch.set_num_threads(1)
    print(
        f"\nMemorisation gap, {PUBLIC} public examples, {FRESH} fresh questions, margin 0.05, {seeds} seeds"
    )
    models: dict[str, tuple[Callable[[int], Any], str]] = {
        "trained on the public set": (lambda seed: memorise(make_customers(PUBLIC, seed), seed), BARE),
        "trained on the rule": (lambda seed: load()[0], TEMPLATE_V1),
    }
    for name, (make_model, template) in models.items():
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            gaps = [measure_gap(seed, make_model(seed), template, Path(folder)) for seed in range(seeds)]
        verdicts = Counter(gap.verdict for gap in gaps)
        shown = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
        public, fresh = (
            sum(values) / seeds for values in zip(*((g.public, g.fresh) for g in gaps), strict=True)
        )
        smallest, largest = min(gap.value for gap in gaps), max(gap.value for gap in gaps)
        print(
            f"{name:28}{shown}; right on {public:.1%} public, {fresh:.1%} fresh; gaps from {smallest:+.3f} "
            f"to {largest:+.3f} ({(time.perf_counter() - begin) / seeds:.1f} s each)"
        )
