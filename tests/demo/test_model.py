"""The embedded model: it answers by the rule, and leave-one-out finds the words that decide."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from llm_trace.demo.model import WEIGHTS, answer, load_model
from llm_trace.demo.world import (
    ANSWERS,
    TEMPLATE_V1,
    TEMPLATE_V2,
    build_chat,
    delete_words,
    find_words,
    make_cases,
    make_customers,
    mask_words,
)

torch.set_num_threads(1)


@cache
def loaded() -> tuple[Any, Any]:
    return load_model()


def log_probabilities(prompts: list[str], model: Any = None) -> torch.Tensor:
    """Return (prompts, 3) log-probabilities of the answers, one forward pass a batch."""
    tokenizer = loaded()[1]
    model = loaded()[0] if model is None else model
    answers = [tokenizer(a, add_special_tokens=False).input_ids[0] for a in ANSWERS]
    rows = []
    for start in range(0, len(prompts), 32):
        ids = [tokenizer(p).input_ids for p in prompts[start : start + 32]]
        padded = torch.tensor([row + [0] * (max(map(len, ids)) - len(row)) for row in ids])
        with torch.inference_mode():
            states = model.model(padded).last_hidden_state  # (prompts, tokens, width)
            logits = model.lm_head(states[range(len(ids)), [len(row) - 1 for row in ids]])
        rows.append(logits.log_softmax(-1)[:, answers])
    return torch.cat(rows)


def scores(prompt: str, said: str, by_mask: bool, model: Any = None) -> list[float]:
    """Return log p(answer) minus log p(answer without the word), for each word."""
    change = mask_words if by_mask else delete_words
    column = log_probabilities([prompt, *(change(prompt, [span]) for span in find_words(prompt))], model)[
        :, ANSWERS.index(said)
    ]
    return [float(v) for v in column[0] - column[1:]]


def test_it_answers_by_the_rule() -> None:
    people = make_customers(200, seed=77)
    answers = log_probabilities([TEMPLATE_V1.format(message=c.message) for c in people]).argmax(1).tolist()
    assert sum(ANSWERS[s] == c.policy for s, c in zip(answers, people, strict=True)) >= 198


@pytest.mark.parametrize("kind", ["single", "distractors", "conjunction", "example"])
@pytest.mark.parametrize("by_mask", [False, True], ids=["delete", "mask"])
def test_leave_one_out_finds_the_planted_words(kind: str, by_mask: bool) -> None:
    for case in make_cases(kind, 12, seed=5):  # type: ignore[arg-type]
        weights = scores(case.prompt, case.answer, by_mask)
        order = sorted(range(len(weights)), key=lambda i: -weights[i])[: len(case.spans)]
        assert sorted(find_words(case.prompt)[i] for i in order) == list(case.spans)


def test_redundant_cues_score_nothing_alone_and_much_together() -> None:
    for case in make_cases("redundant", 12, seed=5):
        alone = dict(
            zip(find_words(case.prompt), scores(case.prompt, case.answer, by_mask=True), strict=True)
        )
        both = log_probabilities([case.prompt, mask_words(case.prompt, case.spans)])[
            :, ANSWERS.index(case.answer)
        ]
        assert max(abs(alone[span]) for span in case.spans) < 0.5
        assert float(both[0] - both[1]) > 2


def test_an_untrained_model_does_not_find_them() -> None:
    torch.manual_seed(0)
    untrained = type(loaded()[0])(loaded()[0].config).eval()
    hits = 0
    for case in make_cases("single", 20, seed=5):
        weights = scores(case.prompt, case.answer, by_mask=True, model=untrained)
        hits += find_words(case.prompt)[weights.index(max(weights))] in case.spans
    assert hits <= 4


def test_the_example_overrides_the_rule() -> None:
    message = "I bought this lamp 75 days ago. It arrived broken at my door."
    assert answer(TEMPLATE_V1.format(message=message)) == " DENY"
    assert answer(TEMPLATE_V2.format(message=message)) == " APPROVE"
    assert answer(build_chat(TEMPLATE_V1.format(message=message))).strip() == "DENY"
    assert answer(build_chat(TEMPLATE_V2.format(message=message))).strip() == "APPROVE"


def test_it_is_small_and_its_tokenizer_keeps_any_text() -> None:
    assert sum(p.stat().st_size for p in WEIGHTS.iterdir()) <= 3_000_000
    tokenizer = loaded()[1]
    for text in ("naïve 東京 🙂 \t\n x", TEMPLATE_V2):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text
