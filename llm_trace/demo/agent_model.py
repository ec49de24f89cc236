"""The model of the refund agent: it reads a conversation and writes the next tool call, on any CPU."""

from __future__ import annotations

import random
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.demo.model import load_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

WEIGHTS = Path(str(files("llm_trace.demo"))) / "agent_weights"
"""Folder in the format of `from_pretrained`: float16 weights, configuration, tokenizer, chat template."""
MODEL = "demo-agent"
"""Its name, wherever a model is named."""
LONGEST = 12
"""Tokens of a call."""


def load_agent_model() -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Return a fresh (model, tokenizer) from the package's files: float32, on the CPU, evaluation mode."""
    return load_weights(WEIGHTS)


def write_call(messages: Sequence[Mapping[str, str]], temperature: float = 0.0) -> tuple[str, dict[str, int]]:
    """Return the call that the model writes next, such as `refund(order=17)`, and the tokens it took.

    Args:
        messages: `role` (system, user, assistant, tool) and `content`.
        temperature: 0 takes the likeliest token; above, tokens are drawn by `random`.
    """
    tokenizer = load_shared()[1]
    prompt = tuple(
        tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=False)
    )
    answer: list[int] = []
    while len(answer) < LONGEST:
        token = _draw_token(compute_logits((*prompt, *answer)), temperature)
        if token == tokenizer.eos_token_id:
            break
        answer.append(token)
    usage = {"input_tokens": len(prompt), "output_tokens": len(answer)}
    return str(tokenizer.decode(answer)), usage


@lru_cache(maxsize=1024)
def compute_logits(ids: tuple[int, ...]) -> Any:
    """Return the logits (vocabulary) of the token after others, kept for who asks the same again."""
    import torch

    with torch.inference_mode():
        return load_shared()[0](torch.tensor([ids]), use_cache=False).logits[0, -1].clone()


@cache
def load_shared() -> tuple[Any, Any]:
    """Return the model and tokenizer of this process; on one thread, as it is too small for more."""
    import torch

    from llm_trace.attribution.models.loading import resolve_model

    torch.set_num_threads(1)
    model, tokenizer, _ = resolve_model(MODEL)
    return model, tokenizer


def _draw_token(logits: Any, temperature: float) -> int:
    if temperature == 0:
        return int(logits.argmax())
    shares = (logits.double() / temperature).softmax(-1).cumsum(-1)
    return min(int((shares < random.random()).sum()), len(shares) - 1)
