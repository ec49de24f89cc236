"""Gradient methods beside what they replace; ratios of one run.

    python benchmarks/attribution_gradients.py [--model ../shared/data/models/stories260K] [--rounds 3]
    [--threads 1]

1. Sequential Integrated Gradients as published (each token its own path of 50 gradient steps) beside the
exact form: correlation, largest
   difference as the steps grow, speed.
2. Captum's LayerIntegratedGradients through LLMGradientAttribution beside our Integrated Gradients: the same
token ids, baseline (the stand-in
   token's embedding) and 25-token target. Needs captum.

On the trained stories260K and on a randomly initialised Llama of 512 dimensions.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.attribution import build
from llm_trace.attribution.core.value import Metered
from llm_trace.attribution.methods.registry import find_method
from llm_trace.attribution.models.embeddings import build_ground, integrate_paths
from llm_trace.attribution.models.open_value import OpenValue
from llm_trace.attribution.models.problem import Problem, build_problem
from llm_trace.attribution.models.questions import parse_question

STORY = (
    (
        "Once upon a time there was a little girl named Lily. She had a red ball and a blue kite. "
        "One day her friend Tom came to play."
    ),
    (
        " They played with the ball all day. Lily was very happy and said thank you to Tom for the fun "
        "day in the park"
    ),
)


def task(model: Any, tokenizer: Any, prompt: str, response: str) -> Problem:
    question = parse_question(prompt, response)
    whole = build_problem(question, model, tokenizer, "bench", segments="token", target=None)
    target = (0, whole.response.spans[:25][-1][1])
    return build_problem(question, model, tokenizer, "bench", segments="token", target=target)


def value(work: Problem) -> OpenValue:
    return work.value("mask")


def exact(work: Problem) -> np.ndarray:
    return find_method("sig")(Metered(value(work)), work.n).values


def integrate_as_published(work: Problem, steps: int = 50) -> np.ndarray:
    """As in the paper's code: a loop over the tokens, each a path of so many gradient steps."""
    source = value(work)
    assert source.work is not None
    masked, at = source.work.masked(), build_ground(source)
    base, scores = at.embed(masked.neutral), np.zeros(len(masked.ids))
    for token in masked.free:
        moved = np.zeros((1, len(masked.ids)), dtype=bool)
        moved[0, token] = True
        scores += integrate_paths(at, base, moved, steps)[0]
    return masked.shares @ scores


def path(work: Problem) -> np.ndarray:
    """Our Integrated Gradients as `attribute` runs it: 32 steps, more where the gap is large."""
    return find_method("integrated_gradients")(Metered(value(work)), work.n).values


def path_of(work: Problem, steps: int = 50) -> np.ndarray:
    """The same path and steps as Captum: from one stand-in for all tokens."""
    source = value(work)
    assert source.work is not None
    masked, at = source.work.masked(), build_ground(source)
    one = np.where(masked.all[0], masked.neutral[masked.free[0]], masked.ids)
    return at.per_segment(integrate_paths(at, at.embed(one), masked.all, steps)[0])


def captum(work: Problem, steps: int = 50) -> np.ndarray:
    from captum.attr import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
        LayerIntegratedGradients,
        LLMGradientAttribution,
        TextTokenInput,
    )

    source, tokenizer = value(work), work.codec.tokenizer
    assert source.work is not None
    masked = source.work.masked()
    attribution = LLMGradientAttribution(
        LayerIntegratedGradients(work.model, work.model.get_input_embeddings()), tokenizer
    )
    skipped = None if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    one = int(masked.neutral[masked.free[0]])
    inputs = TextTokenInput(str(work.segmented.text), tokenizer, baselines=one, skip_tokens=skipped)
    assert inputs.itp_tensor[0].tolist() == masked.ids[masked.free].tolist()
    target = torch.tensor(work.response.ids[: max(work.rows) + 1])
    result = attribution.attribute(inputs, target=target, n_steps=steps)
    return np.asarray(masked.shares[:, masked.free] @ result.seq_attr.double().cpu().numpy())


def time_contestants(
    contestants: dict[str, Callable[[Problem], np.ndarray]], work: Problem, rounds: int
) -> None:
    """Print each contestant's median time, its ratio to the first, and how their scores compare."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    scores: dict[str, np.ndarray] = {}
    for _ in range(rounds):
        for name, run in contestants.items():
            begin = time.perf_counter()
            scores[name] = run(work)
            seconds[name].append(time.perf_counter() - begin)
    first = next(iter(contestants))
    for name, took in seconds.items():
        ratio = statistics.median(t / f for t, f in zip(took, seconds[first], strict=True))
        same = np.corrcoef(scores[name], scores[first])[0, 1]
        apart = np.abs(scores[name] - scores[first]).max()
        print(
            (
                f"  {name:<38}{1000 * statistics.median(took):>10.1f} ms {ratio:>8.1f} x   correlation "
                f"{same:.6f}   differs by {apart:.1e}"
            ),
            flush=True,
        )


def compare(title: str, work: Problem, options: argparse.Namespace) -> None:
    print(f"\n{title}: {work.n} tokens in segments, {len(work.rows)} explained")
    exact(work)
    print(" Sequential Integrated Gradients")
    contestants: dict[str, Callable[[Problem], np.ndarray]] = {"sig (exact)": exact}
    for steps in options.steps:
        contestants[f"as published, {steps} steps"] = partial(integrate_as_published, steps=steps)
    time_contestants(contestants, work, options.rounds)
    print(" Integrated Gradients of the whole target")
    contestants = {
        "one path for all tokens, 50 steps": path_of,
        "attribute's own steps, mean embedding": path,
    }
    if options.captum:
        contestants["captum, one path a token, 50 steps"] = captum
    time_contestants(contestants, work, options.rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", default=str(Path(__file__).resolve().parents[2] / "shared/data/models/stories260K")
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, nargs="*", default=[10, 50, 200])
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--no-captum", dest="captum", action="store_false")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if Path(options.model).exists():
        import transformers

        model = transformers.AutoModelForCausalLM.from_pretrained(options.model).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(options.model)
        compare(Path(options.model).name, task(model, tokenizer, *STORY), options)
    model, tokenizer = build(options.vocabulary, options.width, options.layers, "cpu")
    rng = random.Random(0)
    words = [f"w{rng.randrange(2, options.vocabulary)}" for _ in range(65)]
    name = f"random Llama, {model.num_parameters() / 1e6:.0f} M parameters, vocabulary {options.vocabulary}"
    compare(name, task(model, tokenizer, " ".join(words[:40]), " " + " ".join(words[40:])), options)


if __name__ == "__main__":
    main()
