"""The embedded model: a Llama of half a million parameters that answers for the refund desk, on any CPU."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

WEIGHTS = Path(str(files("llm_trace.demo"))) / "weights"
"""Folder in the format of `from_pretrained`: float16 weights, configuration, tokenizer, chat template."""


def load_model() -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Return a fresh (model, tokenizer) from the package's files: float32, on the CPU, evaluation mode.

    Any `from_pretrained(WEIGHTS)` gives the same model; this opens no connection and shows no progress.
    """
    return load_weights(WEIGHTS)


def load_weights(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Return the (model, tokenizer) of a folder of this package."""
    import torch
    from safetensors.torch import load_file
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder, dtype=torch.float32))
    state = load_file(folder / "model.safetensors")
    model.load_state_dict({**state, "lm_head.weight": state["model.embed_tokens.weight"]})
    return model.float().eval(), PreTrainedTokenizerFast.from_pretrained(folder)


def answer(prompt: str | list[dict[str, str]]) -> str:
    """Return the model's greedy answer to a text or chat: " APPROVE", " DENY" or " ASK"."""
    import torch

    model, tokenizer = _load()
    if isinstance(prompt, str):
        inputs = tokenizer(prompt, return_tensors="pt")
    else:
        inputs = tokenizer.apply_chat_template(
            prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
    with torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    return str(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


@cache
def _load() -> tuple[Any, Any]:
    return load_model()
