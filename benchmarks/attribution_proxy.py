"""A small model explains the calls of a larger one that gives texts only: what is kept of the explanations,
and what is paid.

    python training/train_demo_model.py --hidden 144 --layers 6 --seed 8 --weights /tmp/oracle
    python benchmarks/attribution_proxy.py --oracle /tmp/oracle

Costs are counted in calls of the oracle, screen, audits and fall-back included, beside its own explanation of
every call; and in parameters times tokens, which counts the proxy's work too. Fidelity is measured on
held-out prompts of calls drawn anew.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm_trace.attribution.models.loading import resolve_model
from llm_trace.attribution.proxies.case import TaskCall, compute_quality
from llm_trace.attribution.proxies.explain import explain_by_proxy
from llm_trace.attribution.proxies.model import Proxied
from llm_trace.attribution.proxies.screen import screen
from llm_trace.attribution.proxies.sequential_tests import find_decision
from llm_trace.attribution.remote.model import Remote
from llm_trace.attribution.studies.compression import compress
from llm_trace.demo.model import load_model
from llm_trace.demo.world import TEMPLATE_V1, TEMPLATE_V2, make_customers, rule
from llm_trace.statistics.anytime import compute_wealth

TAU, LIMIT, FLOOR = 0.9, 100.0, 0.3
"""Part of the oracle's quality; e-value of confidence 0.99; own explanations' quality that counts as poor."""


class Oracle:
    """The larger model as one that gives texts only: its answer is one token."""

    def __init__(self, path: str) -> None:
        model, self.tokenizer, _ = resolve_model(path)
        self.model = model.float()  # kept in float16, which is slow on a CPU
        self.calls = self.tokens = 0

    @torch.inference_mode()
    def __call__(self, prompt: str) -> str:
        ids = self.tokenizer(prompt, return_tensors="pt")["input_ids"]
        self.calls, self.tokens = self.calls + 1, self.tokens + ids.shape[1]
        return str(self.tokenizer.decode([int(self.model(ids).logits[0, -1].argmax())]))


def size(model: Any) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in model.parameters())


def prompts(count: int, seed: int) -> list[str]:
    """Return prompts of the desk, of both templates in turn."""
    templates = (TEMPLATE_V1, TEMPLATE_V2)
    return [templates[i % 2].format(message=c.message) for i, c in enumerate(make_customers(count, seed))]


def run_screen(oracle: Oracle, calls: list[tuple[str, str]], models: Proxied) -> tuple[int, int]:
    """Screen the proxy and return calls and tokens of the oracle that this took."""
    before = oracle.calls, oracle.tokens
    examined = screen(calls, models)
    outcome = examined.list_evidence()
    print(
        f"screen: {examined.outcome} ({examined.verdict[1]}); {outcome['poor']} poor, "
        f"{outcome['disagreed']} disagreed",
        flush=True,
    )
    return oracle.calls - before[0], oracle.tokens - before[1]


def fidelity(oracle: Oracle, calls: list[tuple[str, str]], models: Proxied, seed: int) -> tuple[float, float]:
    """Print how good own and applied explanations are; return calls and tokens of one of the oracle's own."""
    own, theirs, spent = [], [], np.zeros(2)
    for prompt, response in calls:
        case = TaskCall(models, prompt, response, seed=seed)
        before = np.array([oracle.calls, oracle.tokens])
        bought = case.explain("oracle")
        spent += np.array([oracle.calls, oracle.tokens]) - before
        explanation: Any = explain_by_proxy(prompt, response, replace(models, audit=0.0))
        masks = case.draw_held_out(len(bought.segments))
        values = case.values(masks)[0]
        own.append(compute_quality(np.array(bought.values), masks, values))
        theirs.append(compute_quality(np.array(explanation.values), masks, values))
    a, b = np.array(own), np.array(theirs)
    good = a >= FLOOR
    print(
        f"fidelity on {len(a)} other calls: oracle's own {a.mean():.3f}, applied {b.mean():.3f}: "
        f"{b.mean() / a.mean():.1%}; "
        f"where the own is not poor ({good.sum()}): {b[good].mean() / a[good].mean():.1%}",
        flush=True,
    )
    return spent[0] / len(a), spent[1] / len(a)


def explain_calls(
    oracle: Oracle,
    calls: list[tuple[str, str]],
    models: Proxied,
    screening: tuple[int, int],
    each: tuple[float, float],
) -> None:
    """Explain all calls and print, every hundred, the cost beside the oracle's own explanation of each."""
    small, large = size(resolve_model("demo")[0]), size(oracle.model)
    begun, by_oracle, read = (oracle.calls, oracle.tokens), 0, 0
    for i, (prompt, response) in enumerate(calls, 1):
        explanation: Any = explain_by_proxy(prompt, response, models)
        fell = explanation.faithfulness["proxy"]["explained_by"] == "oracle"
        by_oracle += fell
        read += len(oracle.tokenizer(prompt)["input_ids"]) + (
            0 if fell else explanation.tokens
        )  # its own answer, and the explanation
        if i % 100 == 0 or i == len(calls):
            spent = oracle.calls - begun[0] + screening[0]
            work = (oracle.tokens - begun[1] + screening[1]) * large + read * small
            print(
                f"{i} calls, {by_oracle} fell back: {spent:,} oracle calls for {each[0] * i:,.0f} of its "
                f"own: {spent / (each[0] * i):.1%} "
                f"(screen {screening[0]:,}); parameters x tokens {work / (each[1] * i * large):.1%}",
                flush=True,
            )


def screen_untrained(calls: list[tuple[str, str]], oracle: Remote, folder: Path) -> None:
    """Screen a model with random weights, by its answers and, where any answer passes, its explanations."""
    model, tokenizer = load_model()
    torch.manual_seed(0)
    blank = type(model)(model.config).eval()
    for agreement in (1.0, 0.0):
        models = Proxied(oracle, blank, proxy_tokenizer=tokenizer, folder=folder, agreement=agreement)
        examined = screen(calls, models)
        outcome = examined.list_evidence()
        print(
            f"untrained proxy, agreement {agreement:g}: {examined.outcome} ({examined.verdict[1]}), "
            f"{outcome['calls']} oracle calls"
        )


def cut_sentences(calls: list[tuple[str, str]], oracle: Remote) -> None:
    """Cut sentences by the proxy's attributions on one half of the calls, and ask the oracle on the other
    half what that costs.
    """
    for limit in (0.05, 0.25, 1.0):
        compression = compress(calls, model=oracle, by="demo", limit=limit)
        print(f"cut where the effect is below {limit:g} nats: {compression.check.summary()}", flush=True)


def errors(paths: int, most: int) -> None:
    """Print how often a proxy that is exactly not good enough is accepted, looking after every instance,
    and how soon good ones are.
    """
    rng = np.random.default_rng(0)
    shape = (paths, most)
    cases = {
        "null: fails every tenth call": np.where(rng.random(shape) < 0.1, -0.9, 0.1),
        "null: normal, sd 0.15": rng.normal(0.0, 0.15, shape).clip(-TAU, 1),
        "null: uniform": rng.uniform(-0.6, 0.6, shape),
        "good: mean 0.09, sd 0.05": rng.normal(0.09, 0.05, shape).clip(-TAU, 1),
        "good: mean 0.20, sd 0.15": rng.normal(0.20, 0.15, shape).clip(-TAU, 1),
    }
    print(f"{'accepted at 0.99, a look after each of ' + str(most):44}  betting  median  |   t-test  median")
    for name, d in cases.items():
        up = compute_wealth(d + TAU, TAU) >= LIMIT
        ours = np.where(up.any(axis=1), up.argmax(axis=1) + 1, 0)
        theirs = np.array([max(0, find_decision(row.tolist(), TAU, 0.99, "t")) for row in d[: paths // 10]])
        messages = [
            f"{(k > 0).mean():8.1%}  {np.median(k[k > 0]) if (k > 0).any() else float('nan'):6.0f}"
            for k in (ours, theirs)
        ]
        print(f"{name:44} {messages[0]}  | {messages[1]}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--oracle", required=True, help="folder of the larger model")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--checked", type=int, default=60, help="calls on which fidelity is measured")
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    torch.set_num_threads(1)
    oracle = Oracle(options.oracle)
    behind = Remote(oracle, name="larger model", concurrency=1)
    asked = [(text, oracle(text)) for text in prompts(options.calls + options.checked, options.seed)]
    right = np.mean([answer == rule(text) for text, answer in asked])
    print(
        f"oracle: {size(oracle.model):,} parameters, right in {right:.1%}; proxy: "
        f"{size(resolve_model('demo')[0]):,}",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        models = Proxied(behind, "demo", folder=folder)
        screening = run_screen(oracle, asked[: options.calls], models)
        each = fidelity(oracle, asked[options.calls :], models, options.seed)
        explain_calls(oracle, asked[: options.calls], models, screening, each)
        screen_untrained(asked[:100], behind, Path(folder))
    cut_sentences(asked[:100], behind)
    errors(4000, 100)
    errors(4000, 50)


if __name__ == "__main__":
    main()
