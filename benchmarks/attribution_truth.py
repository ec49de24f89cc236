"""Does attribution find what is true, and how often does the verdict say `ok` where the truth says no?

    python benchmarks/attribution_truth.py [--cases 100] [--letters 729]

Truth is known by construction: planted words of the embedded model (`llm_trace.demo.world`), the same prompts
on the same architecture with random weights (no word made it answer), and exact Shapley values of
gpt-nano-sort by enumeration (../shared/data). All with the defaults.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm_trace.attribution.api import attribute
from llm_trace.demo.model import load_model
from llm_trace.demo.world import CaseKind, PlantedCase, make_cases
from llm_trace.record import Attribution

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "models"
KINDS: tuple[CaseKind, ...] = ("single", "conjunction", "distractors", "redundant")


def spans(attribution: Attribution, indices: Any) -> set[tuple[int, int]]:
    return {(attribution.segments[i].start, attribution.segments[i].end) for i in indices}


def right(attribution: Attribution, case: PlantedCase) -> bool:
    """Whether the planted words have the first ranks, or are the redundant group."""
    if case.kind == "redundant":
        return any(spans(attribution, group) == set(case.spans) for group in attribution.groups)
    order = np.argsort(-np.array(attribution.values))[: len(case.spans)]
    return spans(attribution, order) == set(case.spans)


def find_planted(model: Any, tokenizer: Any, kind: CaseKind, count: int, **settings: Any) -> dict[str, Any]:
    """Return how often the planted words were found, and the verdicts."""
    verdicts: Counter[str] = Counter()
    hits = wrong_ok = top = 0
    for case in make_cases(kind, count, 0):
        attribution = attribute(case.prompt, case.answer, model=model, tokenizer=tokenizer, **settings)
        hit = right(attribution, case)
        hits += hit
        top += spans(attribution, [int(np.argmax(attribution.values))]) <= set(case.spans)
        verdicts[attribution.verdict] += 1
        wrong_ok += attribution.verdict == "ok" and not hit
    return {
        "found": hits,
        "first_is_planted": top,
        "of": count,
        "verdicts": dict(verdicts),
        "ok_but_wrong": wrong_ok,
    }


def randomise_model(model: Any, seed: int) -> Any:
    """Return a model of the same shape that has learnt nothing."""
    torch.manual_seed(seed)
    return type(model)(model.config).eval()


def letters(count: int, budget: int | None, method: str) -> dict[str, Any]:
    """Return how often bounds hold the exact values of gpt-nano-sort, and how often an `ok` is wrong."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({"A": 0, "B": 1, "C": 2}, unk_token="?"))
    raw.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)
    model = AutoModelForCausalLM.from_pretrained(SHARED / "gpt-nano-sort").eval()
    words = ["".join(w) for w in itertools.product("ABC", repeat=6)]
    chosen = np.random.default_rng(0).permutation(len(words))[:count]
    held, widths, wrong_ok, oks = [], [], 0, 0
    for seed, word in enumerate(words[i] for i in chosen):  # every input with masks of its own
        asked = {"model": model, "tokenizer": tokenizer, "segments": "token", "baseline": "B"}
        answer = "".join(sorted(word))
        exact = np.array(attribute(word, answer, method="shapley", **asked).values)
        attribution = attribute(word, answer, method=method, budget=budget, seed=seed, **asked)
        scores = np.array(attribution.values)
        if attribution.low is not None and attribution.high is not None:
            low, high = np.array(attribution.low), np.array(attribution.high)
            held.append(((low - 1e-6 <= exact) & (exact <= high + 1e-6)).mean())
            widths.append((high - low).mean())
        oks += attribution.verdict == "ok"
        off = exact.max() - exact[int(np.argmax(scores))] > 0.25 * np.abs(exact).max()
        wrong_ok += attribution.verdict == "ok" and bool(off)
    return {
        "coverage": float(np.mean(held)) if held else None,
        "width": float(np.mean(widths)) if widths else None,
        "ok": oks,
        "ok_but_wrong": wrong_ok,
        "of": count,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--letters", type=int, default=729)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = load_model()
    for kind in KINDS:
        print(
            json.dumps({"embedded": kind, **find_planted(model, tokenizer, kind, options.cases)}), flush=True
        )
    for method, budget in itertools.product(("leverage_shap", "context_cite", "lime"), (200, 400)):
        for kind in KINDS[:2]:
            figures = find_planted(model, tokenizer, kind, options.cases // 2, method=method, budget=budget)
            print(json.dumps({"embedded": kind, "method": method, "budget": budget, **figures}), flush=True)
    for kind in KINDS:
        blank = randomise_model(model, seed=1)
        print(
            json.dumps({"random weights": kind, **find_planted(blank, tokenizer, kind, options.cases)}),
            flush=True,
        )
    if not (SHARED / "gpt-nano-sort").exists():
        print("gpt-nano-sort is not here: skipped")
        return
    for method, budget in itertools.product(("permutation", "leverage_shap", "kernel_shap"), (44, 54)):
        figures = letters(options.letters, budget, method)
        print(json.dumps({"gpt-nano-sort": method, "budget": budget, **figures}), flush=True)


if __name__ == "__main__":
    main()
