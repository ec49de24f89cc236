"""Error against exact Shapley values and held-out fidelity at equal numbers of forward passes: ours beside
Captum's, SHAP's and ContextCite's.

    python benchmarks/attribution_estimators.py [--prompts 12] [--words 12]

The games are real: the trained stories260K (../shared/data), prompts of 12 words, the model's own answer,
every one of the 4,096 masked prompts evaluated once beforehand. Contestants then ask that table, and every
question counts, asked before or not: a mask is one forward pass of the same number of tokens. Needs `pip
install captum shap scikit-learn`; what is absent is left out. The last lines are gpt-nano-sort, all inputs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm_trace.attribution.core.value import Budget, Metered, sum_targets
from llm_trace.attribution.methods import registry
from llm_trace.attribution.methods.exact import compute_exact_shapley, list_subsets
from llm_trace.attribution.models.problem import build_problem
from llm_trace.attribution.models.questions import parse_question
from llm_trace.statistics.correlation import compute_r_squared, rank_correlate

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "models"
BUDGETS = (40, 64, 128, 256, 512)
SENTENCES = (
    "Once upon a time there was a little girl named Lily who loved",
    "One day a boy named Tim found a big red ball in the",
    "The old dog was sad because he lost his bone in the park",
    "Mom said to Sue that she can not play with the sharp knife",
    "There was a small bird who wanted to fly high in the blue",
    "Ben and Mia went to the park to play on the big swing",
    "The cat saw a mouse and ran very fast to catch it but",
    "A little fish lived in the sea with his friend the green frog",
    "Sam was hungry so he asked his mom for some bread and jam",
    "It was raining and the kids had to stay in the house all",
    "Anna had a pretty doll with a pink dress and a yellow hat",
    "The bear was big and strong but he was afraid of the dark",
)


class Table:
    """All values of one game, and how often it was asked."""

    def __init__(self, values: np.ndarray, n: int) -> None:
        self.values, self.n, self.asked = values, n, 0

    def __call__(self, masks: np.ndarray) -> np.ndarray:
        masks = np.asarray(masks, dtype=bool).reshape(-1, self.n)
        self.asked += len(masks)
        return np.asarray(self.values[(masks * 2 ** np.arange(self.n)).sum(axis=1)])


def game(model: Any, tokenizer: Any, sentence: str, words: int) -> tuple[np.ndarray, int]:
    """Return the values of all masked prompts, (2^n,), and the tokens of the response."""
    prompt = " ".join(sentence.split()[:words])
    work = build_problem(
        parse_question(prompt, None), model, tokenizer, "stories", segments="word", target=None
    )
    return sum_targets(work.value("auto")(list_subsets(work.n))), len(work.rows)


Contestant = Callable[[Table, int, int, int], "np.ndarray | None"]
"""(table, budget, response tokens, seed) to scores, `None` where the budget is too small."""


def ours(name: str) -> Contestant:
    def run(table: Table, budget: int, length: int, seed: int) -> np.ndarray | None:
        per_token = lambda masks: np.repeat(table(masks)[:, None] / length, length, axis=1)  # noqa: E731
        try:
            scores = registry.find_method(name)(
                Metered(per_token, budget=Budget(evaluations=budget)), table.n, confidence=0.95, seed=seed
            )
        except ValueError:
            return None
        return scores.values

    return run


def captum_permutations(table: Table, budget: int, length: int, seed: int) -> np.ndarray | None:
    from captum.attr import ShapleyValueSampling  # type: ignore[import-untyped, import-not-found, unused-ignore]

    torch.manual_seed(seed)
    if budget < table.n + 1:
        return None
    return _captum(ShapleyValueSampling, table, max(1, (budget - 1) // table.n))


def captum_kernel(table: Table, budget: int, length: int, seed: int) -> np.ndarray | None:
    from captum.attr import KernelShap  # type: ignore[import-untyped, import-not-found, unused-ignore]

    torch.manual_seed(seed)
    np.random.seed(seed)
    return _captum(KernelShap, table, budget)


def _captum(kind: Any, table: Table, samples: int) -> np.ndarray:
    def forward(x: torch.Tensor) -> torch.Tensor:
        return torch.tensor(table(x.numpy() > 0.5))

    ones = torch.ones(1, table.n)
    values = kind(forward).attribute(ones, baselines=torch.zeros(1, table.n), n_samples=samples)
    return np.asarray(values[0].double().numpy())


def shap_permutations(table: Table, budget: int, length: int, seed: int) -> np.ndarray | None:
    import shap  # type: ignore[import-untyped, import-not-found, unused-ignore]

    least = 2 * table.n + 1
    if budget < least:
        return None
    explainer = shap.PermutationExplainer(table, np.zeros((1, table.n)), seed=seed)
    rounds = max(1, (budget - 1) // (2 * table.n))
    return np.asarray(explainer(np.ones((1, table.n)), max_evals=rounds * least, silent=True).values[0])


def shap_kernel(table: Table, budget: int, length: int, seed: int) -> np.ndarray | None:
    import shap  # type: ignore[import-untyped, import-not-found, unused-ignore]

    np.random.seed(seed)
    explainer = shap.KernelExplainer(table, np.zeros((1, table.n)))
    return np.asarray(explainer.shap_values(np.ones((1, table.n)), nsamples=budget - 2, silent=True)[0])


def fit_published_lasso(table: Table, budget: int, length: int, seed: int) -> np.ndarray | None:
    """ContextCite as published: standardised LASSO, alpha 0.01, mean log-probability, keep rate one half."""
    from sklearn.linear_model import Lasso  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped, import-not-found, unused-ignore]

    rng = np.random.default_rng(seed)
    masks = rng.random((budget, table.n)) < 0.5
    scaler = StandardScaler()
    fitted = Lasso(alpha=0.01).fit(scaler.fit_transform(masks.astype(float)), table(masks) / length)
    return np.asarray(fitted.coef_ / scaler.scale_ * length)


CONTESTANTS: dict[str, Contestant] = {
    "ours: leverage_shap": ours("leverage_shap"),
    "ours: permutation": ours("permutation"),
    "ours: kernel_shap": ours("kernel_shap"),
    "ours: context_cite": ours("context_cite"),
    "ours: lime": ours("lime"),
    "captum ShapleyValueSampling": captum_permutations,
    "captum KernelShap": captum_kernel,
    "shap Permutation": shap_permutations,
    "shap Kernel": shap_kernel,
    "ContextCite LASSO": fit_published_lasso,
}


def marks(values: np.ndarray, n: int, scores: np.ndarray, exact: np.ndarray) -> tuple[float, float, float]:
    """Return squared error relative to the exact values, and Spearman and R² (free intercept) over all
    masks at keep rate one half.
    """
    masks = list_subsets(n)
    predicted = masks @ scores
    predicted = predicted + (values - predicted).mean()
    error = float(((scores - exact) ** 2).sum() / (exact**2).sum())
    return error, rank_correlate(values, predicted), float(compute_r_squared(values, predicted))


def compare(games: list[tuple[np.ndarray, int]], n: int, seeds: int) -> None:
    for budget, (name, contestant) in itertools.product(BUDGETS, CONTESTANTS.items()):
        rows, asked_for = [], []
        try:
            for (values, length), seed in itertools.product(games, range(seeds)):
                table = Table(values, n)
                scores = contestant(table, budget, length, seed)
                if scores is not None:
                    rows.append(marks(values, n, scores, compute_exact_shapley(values, n)))
                    asked_for.append(table.asked)
        except ImportError:
            continue
        if rows:
            error, rank, r2 = np.mean(rows, axis=0)
            line = {"budget": budget, "method": name, "asked": round(float(np.mean(asked_for)), 1)}
            line |= {
                "shapley error": round(float(error), 4),
                "spearman": round(float(rank), 4),
                "r2": round(float(r2), 4),
            }
            print(json.dumps(line), flush=True)


def letters() -> None:
    """gpt-nano-sort: our exact values beside an enumeration of orders over plain passes, all 729 inputs."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({"A": 0, "B": 1, "C": 2}, unk_token="?"))
    raw.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)
    model = AutoModelForCausalLM.from_pretrained(SHARED / "gpt-nano-sort").eval()
    masks, worst = list_subsets(6), 0.0
    weights = np.array([math.factorial(s) * math.factorial(5 - s) / 720 for s in range(6)])
    for word in itertools.product(range(3), repeat=6):
        answer = sorted(word)
        prompts = torch.tensor(np.where(masks, word, 1))
        with torch.no_grad():
            logits = model(torch.cat([prompts, torch.tensor([answer[:-1]] * 64)], 1)).logits[:, 5:].double()
        values = logits.log_softmax(-1)[:, range(6), answer].sum(-1).numpy()
        exact = [
            sum(
                weights[masks[r].sum()] * (values[r | 1 << i] - values[r])
                for r in range(64)
                if not masks[r, i]
            )
            for i in range(6)
        ]
        letters = "".join("ABC"[i] for i in word)
        work = build_problem(
            parse_question(letters, "".join("ABC"[i] for i in answer)),
            model,
            tokenizer,
            "sort",
            segments="token",
            target=None,
        )
        scores = registry.find_method("shapley")(Metered(work.value("B")), 6, confidence=0.95, seed=0)
        worst = max(worst, float(np.abs(scores.values - exact).max()))
    print(json.dumps({"gpt-nano-sort, 729 inputs": "largest difference from enumeration", "nats": worst}))


def main() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--words", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    path = SHARED / "stories260K"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    games = [game(model, tokenizer, s, options.words) for s in SENTENCES[: options.prompts]]
    compare(games, options.words, options.seeds)
    letters()


if __name__ == "__main__":
    main()
