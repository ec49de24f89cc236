"""How much memory attribution takes beside one forward pass: 4,096 tokens, a vocabulary of 128,000.

    python benchmarks/attribution_memory.py [--length 4096] [--vocabulary 128000] [--threads 1]

Each contestant runs in a process of its own, whose peak resident memory the system reports: loading the model
alone, one forward pass with `logits_to_keep`, one with all logits, and attributions. Shown are the peak and
its ratio to the forward pass with `logits_to_keep`, for the whole process and on top of the loaded model.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SEGMENTS, RESPONSE = 32, 20
CONTESTANTS = (
    "load",
    "forward",
    "all logits",
    "occlusion",
    "occlusion delete",
    "leverage_shap",
    "sig_word",
    "input_x_gradient",
    "integrated_gradients",
)


def build(vocabulary: int, width: int, layers: int) -> tuple[Any, Any]:
    """Return a random Llama and a tokenizer whose tokens are the words w0, w1 …"""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers,
        num_attention_heads=width // 32, num_key_value_heads=width // 32, max_position_embeddings=16384,
        tie_word_embeddings=True, initializer_range=0.06,
    )  # fmt: skip
    names = {"<unk>": 0, "_": 1} | {f"w{i}": i for i in range(2, vocabulary)}
    raw = Tokenizer(models.WordLevel(names, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return LlamaForCausalLM(config).eval(), PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")


def child(name: str, options: argparse.Namespace) -> None:
    import numpy as np
    import torch

    from llm_trace.attribution.api import attribute

    torch.set_num_threads(options.threads)
    model, tokenizer = build(options.vocabulary, options.width, options.layers)
    words = [f"w{i}" for i in np.random.default_rng(0).integers(2, options.vocabulary, options.length)]
    prompt, response = " ".join(words), " " + " ".join(words[:RESPONSE])
    ids = torch.tensor([tokenizer(prompt + response)["input_ids"][:-1]])
    gc.collect()
    _forget_peak()
    loaded, begin = _peak(), time.perf_counter()
    if name in ("forward", "all logits"):
        with torch.inference_mode():
            arguments = {"logits_to_keep": RESPONSE} if name == "forward" else {}
            model(ids, use_cache=False, **arguments).logits.float().logsumexp(-1)
    elif name != "load":
        spans, each, at = [], -(-len(words) // SEGMENTS), 0
        for first in range(0, len(words), each):
            part = " ".join(words[first : first + each])
            spans.append((at, at + len(part)))
            at += len(part) + 1
        method, _, baseline = name.partition(" ")
        settings: dict[str, Any] = {"segments": spans, "method": method, "baseline": baseline or "auto"}
        budget = 150 if method == "leverage_shap" else None
        attribute(prompt, response, model=model, tokenizer=tokenizer, budget=budget, **settings)
    print(json.dumps({"peak": _peak(), "loaded": loaded, "seconds": time.perf_counter() - begin}))


def _forget_peak() -> None:
    """Let the peak begin anew (Linux): loading takes more than it leaves."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """Return the peak resident memory in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=128_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(CONTESTANTS))
    parser.add_argument("--child")
    options = parser.parse_args()
    if options.child:
        child(options.child, options)
        return
    sizes = [
        f"--{name}={getattr(options, name)}"
        for name in ("length", "vocabulary", "width", "layers", "threads")
    ]
    figures: dict[str, dict[str, float]] = {}
    for name in options.only:
        done = subprocess.run(
            [sys.executable, __file__, "--child", name, *sizes], stdout=subprocess.PIPE, text=True, check=True
        )
        figures[name] = json.loads(done.stdout.splitlines()[-1])
        one, plain = figures[name], figures.get("forward", figures[name])
        grew, base = one["peak"] - one["loaded"], max(1.0, plain["peak"] - plain["loaded"])
        print(
            f"{name:<24}{one['peak']:>8.0f} MiB  {one['peak'] / plain['peak']:>5.2f} x   on top of the "
            f"model {grew:>7.0f} MiB"
            f"  {grew / base:>6.2f} x   {one['seconds']:>6.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
