"""Models that cannot be opened: are the p-values true, are planted words found, is the budget held, and how
do others do at equal calls?

    python benchmarks/attribution_closed.py [--cases 100] [--prompts 200] [--calls 100] [--only
    distances,null,used,redundant,planted,concurrency,budget]

Others are re-stated from their formulas: TokenSHAP (Goldshmidt & Horovicz 2024: leave-one-out and random
combinations, TF-IDF cosine, mean with minus mean without) and gSMILE as published (Dehghani et al. 2025:
weights and scaled similarities by the same distance, here of the answers).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from llm_trace.attribution.api import attribute
from llm_trace.attribution.core.value import Budget, Metered
from llm_trace.attribution.methods import distances, randomization_tests, smile
from llm_trace.attribution.methods.text_encoders import Lexical, compute_cosine_distances
from llm_trace.attribution.question.segments import segment
from llm_trace.attribution.remote.answers import Answer
from llm_trace.attribution.remote.ledger import Price
from llm_trace.attribution.remote.model import Compare, Remote
from llm_trace.demo.world import CaseKind, PlantedCase, make_cases
from llm_trace.record import Attribution

KINDS: tuple[CaseKind, ...] = ("single", "conjunction", "distractors")
WORDS = [
    "the",
    "of",
    "a",
    "to",
    "in",
    "is",
    "you",
    "that",
    "it",
    "he",
    "was",
    "for",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "at",
    "be",
    "this",
    "have",
    "from",
    "or",
    "one",
    "had",
    "by",
    "but",
    "not",
    "what",
]
WORLD = (" APPROVE", " DENY", " ASK")
ANSWERS = (
    "I approve the refund",
    "We must deny it",
    "Please tell me more",
    "The refund is approved",
    "No",
    "It depends",
)


def tell(name: str, **figures: Any) -> None:
    print(json.dumps({"measured": name, **figures}, default=float), flush=True)


def against_scipy(count: int) -> None:
    """Print the largest difference from scipy over random samples, ties included."""
    rng, worst = np.random.default_rng(0), Counter[str]()
    warnings.simplefilter("ignore")
    for i in range(count):
        x, y = (rng.normal(rng.normal(), 1, rng.integers(2, 40)) for _ in range(2))
        x, y = (np.round(x, 1), np.round(y, 1)) if i % 2 else (x, y)
        at = np.concatenate([x, y])
        gaps = (x[:, None] <= at).mean(axis=0) - (y[:, None] <= at).mean(axis=0)
        theirs = {
            "wasserstein": stats.wasserstein_distance(x, y),
            "energy": stats.energy_distance(x, y),
            "kolmogorov_smirnov": stats.ks_2samp(x, y).statistic,
            "kuiper": max(gaps.max(), 0.0) - min(gaps.min(), 0.0),
            "cramer_von_mises": stats.cramervonmises_2samp(x, y).statistic,
            "anderson_darling": stats.anderson_ksamp([x, y]).statistic,
        }
        for name, expected in theirs.items():
            worst[name] = max(worst[name], abs(distances.find_distance(name)(x, y) - expected))
    tell(
        "distances",
        samples=count,
        largest_difference=dict(worst),
        w1=distances.wasserstein(np.zeros(1), np.ones(1)),
    )


def prompt_of(rng: np.random.Generator, n: int) -> str:
    return " ".join(rng.choice(WORDS, n))


def ignoring(seed: int) -> Any:
    """Return a model that answers by chance."""
    rng, lock = np.random.default_rng(seed), threading.Lock()

    def ask(_: str) -> str:
        with lock:
            return f"{ANSWERS[rng.integers(len(ANSWERS))]} {rng.integers(100)}"

    return ask


def null(prompts: int) -> None:
    """Print whether p-values are uniform where no word makes a difference."""
    for n, budget, samples in ((8, 60, 1), (25, 120, 1), (60, 90, 1), (25, 240, 2)):
        p_values, hits, one = [], 0, []
        for seed in range(prompts):
            prompt = prompt_of(np.random.default_rng(seed), n)
            attribution = run(
                Remote(ignoring(seed), samples=samples), prompt, response=ANSWERS[0], budget=budget, seed=seed
            )
            p_values += attribution.p_values or ()
            one.append((attribution.p_values or (1.0,))[seed % n])
            hits += min(attribution.q_values or (1.0,)) <= 0.05
        tell(
            "model that ignores the prompt", words=n, calls=budget, answers_each=samples, prompts=prompts,
            any_word_at_q_5_percent=hits / prompts,
            p_below_5_percent=float(np.mean(np.array(p_values) <= 0.05)),
            ks_p_one_word_a_prompt=stats.kstest(one, "uniform").pvalue,
            ks_p_all_words=stats.kstest(p_values, "uniform").pvalue,
        )  # fmt: skip
    growing(prompts)


def rambling(seed: int) -> Any:
    """Return a model whose answers vary more in length with more words, and know nothing of these."""
    rng = np.random.default_rng(seed)

    def ask(prompt: str) -> str:
        return " ".join(rng.choice(WORDS, 1 + int(abs(rng.normal()) * len(prompt.split()))))

    return ask


def growing(prompts: int) -> None:
    """Print how often a word is significant where no word matters but the noise grows with their number."""
    hits, verdicts = 0, Counter[str]()
    for seed in range(prompts):
        prompt, model = prompt_of(np.random.default_rng(seed), 8), rambling(seed)
        attribution = run(Remote(model, concurrency=1), prompt, response=model(prompt), budget=96, seed=seed)
        hits += min(attribution.q_values or (1.0,)) <= 0.05
        verdicts[attribution.verdict] += 1
    tell(
        "model whose noise grows with the prompt", words=8, calls=96, prompts=prompts,
        any_word_at_q_5_percent=hits / prompts, verdicts=dict(verdicts),
    )  # fmt: skip


def redundant(prompts: int) -> None:
    """Print how often planted words come first and are significant: one word, two of which either
    suffices, two that are both needed.
    """
    rules: dict[str, tuple[int, Any]] = {"one": (1, all), "either": (2, any), "both": (2, all)}
    for name, (count, suffices) in rules.items():
        for rate in (0.0, 0.3):
            first = significant = beside = 0
            for seed in range(prompts):
                rng = np.random.default_rng((seed, 5))  # masks are drawn from the seed alone
                words = [f"w{i}" for i in range(20)]
                matter = [int(i) for i in rng.choice(20, count, replace=False)]

                def ask(
                    prompt: str, rng: Any = rng, matter: list[int] = matter, suffices: Any = suffices,
                    rate: float = rate,
                ) -> str:  # fmt: skip
                    heard = prompt.split()
                    answer = ANSWERS[0] if suffices(f"w{i}" in heard for i in matter) else ANSWERS[1]
                    return str(rng.choice(ANSWERS)) if rng.random() < rate else answer

                calls = 100 if count == 1 else 240
                model = Remote(ask, concurrency=1)
                attribution = run(model, " ".join(words), response=ANSWERS[0], budget=calls, seed=seed)
                q_values = np.array(attribution.q_values or [1.0] * 20)
                first += set(np.argsort(-np.array(attribution.values))[:count].tolist()) == set(matter)
                significant += bool((q_values[matter] <= 0.05).all())
                hits = set(np.flatnonzero(q_values <= 0.05).tolist())
                beside += len(hits - set(matter)) / max(1, len(hits))
            tell(
                "planted words", needed=name, answers_at_random=rate, calls=calls, of=prompts, first=first,
                all_significant=significant, false_discovery_rate=beside / prompts,
            )  # fmt: skip


def run(model: Any, prompt: str, **settings: Any) -> Attribution:
    attribution = attribute(prompt, model=model, **settings)
    assert isinstance(attribution, Attribution)
    return attribution


def count_false_discoveries(prompts: int) -> None:
    """Print false discoveries where a noisy model uses three words and ignores the rest."""
    false = true = found_all = 0
    rates = []
    for seed in range(prompts):
        rng, lock = np.random.default_rng(seed), threading.Lock()
        words = [f"w{i}" for i in range(30)]
        matter = set(rng.choice(words, 3, replace=False).tolist())

        def ask(prompt: str, matter: set[str] = matter, rng: Any = rng, lock: Any = lock) -> str:
            heard = len(matter & set(prompt.split()))
            with lock:
                return (
                    ANSWERS[0]
                    if rng.random() < 0.1 + 0.27 * heard
                    else ANSWERS[int(rng.integers(1, len(ANSWERS)))]
                )

        attribution = run(ask, " ".join(words), response=ANSWERS[0], budget=300, seed=seed)
        hits = {
            s.text for s, q in zip(attribution.segments, attribution.q_values or (), strict=True) if q <= 0.05
        }
        false, true = false + len(hits - matter), true + len(hits & matter)
        rates.append(len(hits - matter) / max(1, len(hits)))
        found_all += matter <= hits
    tell(
        "model that uses three of 30 words", prompts=prompts, calls=300,
        false_discovery_rate=float(np.mean(rates)), power=true / (3 * prompts),
        all_three=found_all / prompts,
    )  # fmt: skip


class Embedded:
    """The embedded model's answers, many prompts at once; as an oracle it only gives text."""

    def __init__(self) -> None:
        import torch

        from llm_trace.demo.model import load_model

        torch.set_num_threads(1)
        self.model, self.tokenizer = load_model()
        self.known: dict[str, str] = {}

    def __call__(self, prompt: str) -> str:
        if prompt not in self.known:
            self.learn([prompt])
        return self.known[prompt]

    def learn(self, prompts: list[str]) -> None:
        import torch

        fresh = [p for p in dict.fromkeys(prompts) if p not in self.known]
        encoded = {p: self.tokenizer(p)["input_ids"] for p in fresh}
        by_length: dict[int, list[str]] = {}
        for p in fresh:
            by_length.setdefault(len(encoded[p]), []).append(p)
        with torch.inference_mode():
            for group in by_length.values():
                ids = torch.tensor([encoded[p] for p in group])
                out = self.model.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False
                )
                for p, row in zip(group, out, strict=True):
                    self.known[p] = self.tokenizer.decode(row[ids.shape[1] :], skip_special_tokens=True)


class Moody:
    """A model whose answer is one of the three at random so often; each call anew."""

    def __init__(self, oracle: Embedded, rate: float, seed: int) -> None:
        self.oracle, self.rate, self._rng = oracle, rate, np.random.default_rng(seed)

    def __call__(self, prompt: str) -> str:
        answer = self.oracle(prompt)
        return str(self._rng.choice(WORLD)) if self._rng.random() < self.rate else answer


def halves(oracle: Embedded, case: PlantedCase, calls: int, seed: int) -> tuple[Any, list[str]]:
    """Return random masks and their prompts, answered in batches."""
    cut = segment(case.prompt, "word")
    masks = np.random.default_rng(seed).random((calls, len(cut.segments))) < 0.5
    prompts = [cut.render(mask) for mask in masks]
    oracle.learn(prompts)
    return masks, prompts


def token_shap(model: Moody, case: PlantedCase, calls: int, seed: int) -> Any:
    """Return TokenSHAP's scores: essential combinations (each token left out), then random ones;
    similarity of TF-IDF vectors.
    """
    cut = segment(case.prompt, "word")
    n, rng = len(cut.segments), np.random.default_rng(seed)
    masks = ~np.eye(n, dtype=bool)[: calls - 1]
    while len(masks) < calls - 1:
        masks = np.unique(np.vstack([masks, rng.random((calls - 1 - len(masks), n)) < 0.5]), axis=0)
    prompts = [cut.render(mask) for mask in masks]
    model.oracle.learn(prompts)
    texts = [case.answer, *(model(p) for p in prompts)]
    vocabulary = sorted({w for t in texts for w in t.lower().split()})
    counts = np.array([[t.lower().split().count(w) for w in vocabulary] for t in texts], dtype=float)
    weights = counts * (
        np.array([log((1 + len(texts)) / (1 + (column > 0).sum())) for column in counts.T]) + 1
    )
    similar = 1 - compute_cosine_distances(weights[1:], weights[:1])[:, 0]
    inside, outside = masks.sum(axis=0), (~masks).sum(axis=0)
    return (masks.T @ similar) / np.maximum(inside, 1) - (~masks).T @ similar / np.maximum(outside, 1)


def reference_gsmile(case: PlantedCase, calls: int, seed: int) -> Any:
    """Return the scores of gSMILE's reference code: the response is compared with the perturbed prompts,
    their answers are not used.
    """
    cut = segment(case.prompt, "word")

    def apart(masks: Any) -> Any:
        vectors = Lexical()([case.answer, *(cut.render(mask) for mask in masks)])
        return -compute_cosine_distances(vectors[1:], vectors[:1])[:, 0]

    asked = Metered(apart, budget=Budget(evaluations=calls))
    return smile.gsmile_published(asked, len(cut.segments), seed=seed).values


def by_masks(model: Moody, case: PlantedCase, calls: int, seed: int, method: str) -> Attribution:
    """Return one of our methods' attribution by the public call, its prompts answered in batches before."""
    cut = segment(case.prompt, "word")
    if method == "smile":
        masks = randomization_tests.draw(calls, len(cut.segments), smile.KEEP, seed, vanishes=True)
        model.oracle.learn([cut.render(mask) for mask in masks])
    else:
        halves(model.oracle, case, calls, seed)
    compare = Compare() if method == "smile" else Compare(ground="word_mover")
    remote = Remote(model, concurrency=1, compare=compare)
    return run(remote, case.prompt, response=case.answer, method=method, budget=calls, seed=seed)


def rank_planted(count: int, calls: int) -> None:
    """Print how often the planted words come first, and are significant, by each procedure at equal calls."""
    oracle = Embedded()
    for kind in KINDS:
        tallies: dict[float, Counter[str]] = {0.0: Counter(), 0.3: Counter()}
        for seed, case in enumerate(make_cases(kind, count, 0)):
            spans = [(s.start, s.end) for s in segment(case.prompt, "word").segments]
            wanted = {spans.index(span) for span in case.spans}
            for rate, tally in tallies.items():
                ours = by_masks(Moody(oracle, rate, seed), case, calls, seed, "smile")
                scores = {
                    "smile": ours.values,
                    "gsmile_published": by_masks(
                        Moody(oracle, rate, seed), case, calls, seed, "gsmile_published"
                    ).values,
                    "gsmile_reference_code": reference_gsmile(case, calls, seed),
                    "token_shap": token_shap(Moody(oracle, rate, seed), case, calls, seed),
                }
                first = {
                    name: set(np.argsort(-np.array(v))[: len(wanted)].tolist()) == wanted
                    for name, v in scores.items()
                }
                tally.update(name for name, hit in first.items() if hit)
                tally["smile_first_and_significant"] += first["smile"] and all(
                    (ours.q_values or ())[i] <= 0.05 for i in wanted
                )
            oracle.known.clear()
        for rate, tally in tallies.items():
            tell("planted words first", kind=kind, answers_at_random=rate, calls=calls, of=count, **tally)


CHILD = """
import asyncio, sys
from llm_trace.attribution.api import attribute
from llm_trace.attribution.remote.model import Remote
async def ask(prompt):
    with open(sys.argv[1], "a") as file:
        file.write(prompt + "\\n")
    await asyncio.sleep(0.2)
    return "yes" if "w3" in prompt.split() else "no"
found = attribute(" ".join(f"w{i}" for i in range(40)), "yes", model=Remote(ask, name="m", concurrency=32),
budget=500, cache=sys.argv[2])
print(found.passes, found.faithfulness["cost"]["reused"], max(zip(found.values, found.segments))[1].text)
"""


def concurrency() -> None:
    """Print the wall time of 500 calls of 200 ms, 32 at once, beside the ideal."""

    async def ask(prompt: str) -> str:
        await asyncio.sleep(0.2)
        return "yes" if "w3" in prompt.split() else "no"

    def ask_in_thread(prompt: str) -> str:
        time.sleep(0.2)
        return "yes" if "w3" in prompt.split() else "no"

    ideal = -(-500 // 32) * 0.2
    for name, model in (("async", ask), ("sync", ask_in_thread)):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            prompt = " ".join(f"w{i}" for i in range(40))
            run(
                Remote(model, concurrency=32, name="m"),
                prompt,
                response="yes",
                budget=500,
                cache=Path(folder) / "a.sqlite",
            )
            took = time.perf_counter() - began
        tell("500 calls of 200 ms, 32 at once", callable=name, seconds=took, ideal=ideal, ratio=took / ideal)
    kill_and_resume()


def kill_and_resume() -> None:
    """Print what an attribution that was killed half-way pays again."""
    with tempfile.TemporaryDirectory() as folder:
        log_file, cache = Path(folder) / "calls", Path(folder) / "a.sqlite"
        command = [sys.executable, "-c", CHILD, str(log_file), str(cache)]
        killed = subprocess.Popen(command, env=os.environ)
        while not log_file.exists() or len(log_file.read_text().splitlines()) < 250:
            time.sleep(0.05)
        killed.kill()
        killed.wait()
        before = log_file.read_text().splitlines()
        resumed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        again = log_file.read_text().splitlines()[len(before) :]
        in_flight = len(before) + len(again) - 500
        tell(
            "kill and resume", asked_before=len(before), reused=int(resumed[1]), asked_after=len(again),
            found=resumed[2],
            asked_twice=in_flight, kept_and_paid_again=int(resumed[1]) + len(again) - 500,
        )  # fmt: skip


def budgets(count: int) -> None:
    """Print how often a budget was exceeded, in random configurations, as the model itself counts."""
    exceeded, shares = 0, []
    for seed in range(count):
        rng, lock = np.random.default_rng(seed), threading.Lock()
        spent = {"evaluations": 0.0, "tokens": 0.0, "usd": 0.0}

        def ask(
            prompt: str, rng: Any = rng, lock: Any = lock, spent: Any = spent, known: bool = bool(seed % 2)
        ) -> Answer:
            with lock:
                read, written, luck = len(prompt) // 3, int(rng.integers(1, 40)), rng.random()
                spent["evaluations"] += 1
                spent["tokens"] += read + written
                spent["usd"] += (3 * read + 15 * written) / 1e6
            if luck < 0.03:
                raise ConnectionResetError
            return Answer(ANSWERS[int(luck * 5)], *((read, written) if known else (None, None)))

        unit = ("evaluations", "tokens", "usd")[seed % 3]
        most = {
            "evaluations": int(rng.integers(1, 150)),
            "tokens": int(rng.integers(50, 30_000)),
            "usd": rng.uniform(0.0, 0.1),
        }[unit]
        model = Remote(
            ask, max_output_tokens=40, price=Price(3.0, 15.0), concurrency=int(rng.integers(1, 33)),
            samples=int(rng.integers(1, 4)),
            count_tokens=lambda text: len(text) // 3 + 1 if text not in ANSWERS else 40,
        )  # fmt: skip
        method = ("smile", "occlusion", "self_report")[int(rng.integers(3))]
        prompt = prompt_of(rng, int(rng.integers(2, 30)))
        with contextlib.suppress(ValueError):
            run(model, prompt, response=ANSWERS[0], method=method, budget=Budget(**{unit: most}))
        exceeded += spent[unit] > most
        shares.append(spent[unit] / most)
    median = float(np.median(shares))
    tell("budgets", configurations=count, exceeded=exceeded, largest_share=max(shares), median_share=median)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--only", default="distances,null,used,redundant,planted,concurrency,budget")
    options = parser.parse_args()
    parts = {
        "distances": lambda: against_scipy(1000),
        "null": lambda: null(options.prompts),
        "used": lambda: count_false_discoveries(options.prompts),
        "redundant": lambda: redundant(25),
        "planted": lambda: rank_planted(options.cases, options.calls),
        "concurrency": concurrency,
        "budget": lambda: budgets(100),
    }
    for name in options.only.split(","):
        parts[name]()


if __name__ == "__main__":
    main()
