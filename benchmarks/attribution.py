"""How fast attribution is, beside Captum and bare batched forward passes; ratios of one run.

    python benchmarks/attribution.py [--rounds 5] [--threads 2] [--device cpu]

Randomly initialised Llama (vocabulary 32,000), 160-token prompts in 40 segments, 20-token response. Captum
gets token ids. Every round has fresh prompts, the contestants of a round see the same ones and take turns.
Needs `pip install captum`; without it only the bare passes are compared.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from llm_trace.attribution.api import attribute
from llm_trace.attribution.core.value import Metered
from llm_trace.attribution.methods.exact import occlusion
from llm_trace.attribution.models.open_value import OpenValue
from llm_trace.attribution.models.problem import Problem, build_problem
from llm_trace.attribution.models.questions import parse_question

SEGMENTS, EACH, RESPONSE = 40, 4, 20
STORIES = Path(__file__).resolve().parents[2] / "shared/data/models/stories260K"


@dataclass(frozen=True)
class Task:
    """One prompt with its segments and response."""

    parts: list[str]
    response: str

    @property
    def prompt(self) -> str:
        return " ".join(self.parts)

    @property
    def spans(self) -> list[tuple[int, int]]:
        at, spans = 0, []
        for part in self.parts:
            spans.append((at, at + len(part)))
            at += len(part) + 1
        return spans


def build(vocabulary: int, width: int, layers: int, device: str) -> tuple[Any, Any]:
    """Return a random Llama and a tokenizer whose tokens are the words w0, w1 …"""
    torch.manual_seed(0)
    heads = max(1, width // 64)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=8192,
        tie_word_embeddings=True, initializer_range=0.06,
    )  # fmt: skip
    names = {"<unk>": 0, "_": 1} | {f"w{i}": i for i in range(2, vocabulary)}
    raw = Tokenizer(models.WordLevel(names, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return LlamaForCausalLM(config).eval().to(device), PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>"
    )


def task(rng: random.Random, vocabulary: int) -> Task:
    def some(count: int) -> str:
        return " ".join(f"w{rng.randrange(2, vocabulary)}" for _ in range(count))

    return Task([some(EACH) for _ in range(SEGMENTS)], " " + some(RESPONSE))


def ours(model: Any, tokenizer: Any, one: Task, baseline: str) -> np.ndarray:
    """Leave-one-out through the public function, its checks included."""
    attribution = attribute(
        one.prompt,
        one.response,
        model=model,
        tokenizer=tokenizer,
        segments=one.spans,
        method="occlusion",
        baseline=baseline,
    )
    return np.array(attribution.values)


def scores_alone(model: Any, tokenizer: Any, one: Task, baseline: str) -> np.ndarray:
    """The same work as Captum's: leave-one-out without the checks that `attribute` makes."""
    work = build_problem_of(model, tokenizer, one)
    return occlusion(Metered(work.value(baseline)), work.n).values


def build_problem_of(model: Any, tokenizer: Any, one: Task) -> Problem:
    return build_problem(
        parse_question(one.prompt, one.response), model, tokenizer, "bench", segments=one.spans, target=None
    )


def engine(
    model: Any, tokenizer: Any, one: Task, baseline: str, masks: np.ndarray, share: bool = True
) -> np.ndarray:
    """The value function alone."""
    work = build_problem_of(model, tokenizer, one)
    value = OpenValue(model, work.render(baseline), work.response.ids, work.rows, work.n, share=share)
    return value(masks)


def bare(model: Any, tokenizer: Any, one: Task, baseline: str, masks: np.ndarray, size: int) -> np.ndarray:
    """The same perturbed tokens in plain batches, sorted by length, padded right; logits of the response."""
    work = build_problem_of(model, tokenizer, one)
    prompts = work.render(baseline)(masks)
    response = torch.tensor(work.response.ids)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    out = np.empty((len(prompts), len(response)))
    with torch.inference_mode():
        for at in range(0, len(order), size):
            rows = order[at : at + size]
            longest = max(len(prompts[i]) for i in rows)
            ids = torch.zeros((len(rows), longest + RESPONSE - 1), dtype=torch.long)
            keep = longest - min(len(prompts[i]) for i in rows) + RESPONSE
            for r, i in enumerate(rows):
                full = torch.tensor([*prompts[i], *work.response.ids[:-1]])
                ids[r, : len(full)] = full
            logits = model(ids.to(model.device), use_cache=False, logits_to_keep=keep).logits.float()
            for r, i in enumerate(rows):
                begin = len(prompts[i]) - 1 - (ids.shape[1] - keep)
                part = logits[r, begin : begin + RESPONSE]
                out[i] = (
                    (part.gather(1, response.to(part.device)[:, None])[:, 0] - part.logsumexp(1))
                    .cpu()
                    .numpy()
                )
    return out


def captum(model: Any, tokenizer: Any, one: Task, baseline: str, **how: Any) -> np.ndarray:
    from captum.attr import FeatureAblation, LLMAttribution, TextTemplateInput

    empty = "" if baseline == "delete" else " ".join(["_"] * EACH)
    inputs = TextTemplateInput(" ".join(["{}"] * SEGMENTS), one.parts, baselines=[empty] * SEGMENTS)
    target = torch.tensor(tokenizer(one.response, add_special_tokens=False)["input_ids"])
    result = LLMAttribution(FeatureAblation(model), tokenizer).attribute(inputs, target=target, **how)
    return result.seq_attr.cpu().numpy()


def time_contestants(
    contestants: dict[str, Callable[[Task], np.ndarray]], tasks: list[Task]
) -> tuple[dict[str, list[float]], dict[str, list[np.ndarray]]]:
    """Return seconds and results of every contestant on every task; the order rotates."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    results: dict[str, list[np.ndarray]] = {name: [] for name in contestants}
    names = list(contestants)
    for i, one in enumerate(tasks):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            begin = time.perf_counter()
            results[name].append(contestants[name](one))
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - begin)
    return seconds, results


def report(
    title: str, reference: str, seconds: dict[str, list[float]], results: dict[str, list[np.ndarray]]
) -> dict[str, Any]:
    """Print each contestant's median, its ratio to the reference (median of the rounds' ratios) and the
    largest difference of a result.
    """
    print(f"\n{title}")
    rows = {}
    for name, took in seconds.items():
        ratio = statistics.median(t / r for t, r in zip(took, seconds[reference], strict=True))
        apart = max(
            float(np.abs(a - b).max()) for a, b in zip(results[name], results[reference], strict=True)
        )
        rows[name] = {"ms": 1000 * statistics.median(took), "ratio": ratio, "max_difference": apart}
        print(f"  {name:<44}{rows[name]['ms']:>10.1f} ms   {ratio:>7.2f} x   differs by {apart:.1e}")
    return rows


def captum_default(folder: Path) -> None:
    """Print how far Captum's default (use_cached_outputs=True) is from plain computation, trained model."""
    from captum.attr import FeatureAblation, LLMAttribution, TextTemplateInput

    model, tokenizer = (c.from_pretrained(folder) for c in (AutoModelForCausalLM, AutoTokenizer))
    parts, answer = (
        ["Once", "upon", "a", "time", "there", "was", "a", "little", "girl", "named", "Lily"],
        " She had a red ball.",
    )
    work = build_problem(
        parse_question(" ".join(parts), answer), model, tokenizer, "stories260K", segments="word", target=None
    )
    plain = occlusion(Metered(work.value("_")), work.n).values

    def theirs(**how: Any) -> np.ndarray:
        inputs = TextTemplateInput(" ".join(["{}"] * len(parts)), parts, baselines=["_"] * len(parts))
        target = torch.tensor(work.response.ids)
        return (
            LLMAttribution(FeatureAblation(model.eval()), tokenizer)
            .attribute(inputs, target=target, **how)
            .seq_attr.numpy()
        )

    print("\nThe same eleven words on stories260K, largest difference from ours in nats")
    for name, how in {
        "captum, its default": {},
        "use_cached_outputs=False": {"use_cached_outputs": False},
        "forward_in_tokens=False": {"forward_in_tokens": False},
    }.items():
        print(f"  {name:<44}{np.abs(theirs(**how) - plain).max():>10.1e}")


def has_captum() -> bool:
    try:
        import captum.attr  # noqa: F401
    except ImportError:
        return False
    return True


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=2, help="rounds with Captum token by token")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json")
    return parser.parse_args()


def measure_one_pass(model: Any, tokenizer: Any, baseline: str, tasks: list[Task]) -> Any:
    """Print leave-one-out beside `attribute` and, where it is installed, Captum's single pass."""
    cases = {
        "leave-one-out alone": lambda t: scores_alone(model, tokenizer, t, baseline),
        "attribute, checks included": lambda t: ours(model, tokenizer, t, baseline),
    }
    if has_captum():
        cases["captum, one pass (forward_in_tokens=False)"] = lambda t: captum(
            model, tokenizer, t, baseline, forward_in_tokens=False
        )
    title = f"Leave-one-out, baseline {baseline}"
    return report(title, "leave-one-out alone", *time_contestants(cases, tasks))


def measure_tokens(model: Any, tokenizer: Any, baseline: str, tasks: list[Task]) -> Any:
    """Print leave-one-out beside Captum, which goes through the answer token by token."""
    cases = {
        "leave-one-out alone": lambda t: scores_alone(model, tokenizer, t, baseline),
        "captum, token by token (no cache)": lambda t: captum(
            model, tokenizer, t, baseline, use_cached_outputs=False
        ),
    }
    title = f"Token by token, baseline {baseline}"
    return report(title, "leave-one-out alone", *time_contestants(cases, tasks))


def measure_bare(
    model: Any, tokenizer: Any, baseline: str, name: str, masks: np.ndarray, tasks: list[Task]
) -> Any:
    """Print the value function beside bare passes of the model over the same masks."""
    cases = {"value function": lambda t: engine(model, tokenizer, t, baseline, masks)}
    cases |= {
        f"bare passes, batch {size}": lambda t, s=size: bare(model, tokenizer, t, baseline, masks, s)
        for size in (8, 16, 41)
    }
    title = f"Against bare passes: {name}, baseline {baseline}"
    return report(title, "value function", *time_contestants(cases, tasks))


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    model, tokenizer = build(options.vocabulary, options.width, options.layers, options.device)
    print(
        f"Llama, {model.num_parameters() / 1e6:.1f} M parameters, vocabulary {options.vocabulary}, "
        f"{options.device}, {options.threads} threads"
    )
    rng = random.Random(1)

    def fresh(count: int) -> list[Task]:
        return [task(rng, options.vocabulary) for _ in range(count)]

    warming = {name: lambda t, b=name: ours(model, tokenizer, t, b) for name in ("mask", "delete")}
    time_contestants(warming, fresh(1))
    figures: dict[str, Any] = {}
    designs = {
        "leave-one-out": np.vstack([np.ones((1, SEGMENTS), dtype=bool), ~np.eye(SEGMENTS, dtype=bool)]),
        "random": np.random.default_rng(0).random((41, SEGMENTS)) < 0.5,
    }
    for baseline in ("mask", "delete"):
        setup = (model, tokenizer, baseline)
        figures[f"one pass, {baseline}"] = measure_one_pass(*setup, fresh(options.rounds))
        if has_captum() and options.slow_rounds:
            figures[f"tokens, {baseline}"] = measure_tokens(*setup, fresh(options.slow_rounds))
        for name, masks in designs.items():
            figures[f"bare, {name}, {baseline}"] = measure_bare(*setup, name, masks, fresh(options.rounds))
    if has_captum() and STORIES.exists():
        captum_default(STORIES)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
