"""The traced pipeline of the demo: a refund desk that asks the embedded model, by two prompt versions."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from llm_trace.capture.prompts import Prompt
from llm_trace.capture.spans import update_current_call
from llm_trace.capture.wrappers import trace
from llm_trace.demo.world import TEMPLATE_V1, TEMPLATE_V2, make_customers

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_trace.demo.world import Customer, Ruling

Version = Literal["v1", "v2"]
PROMPTS: dict[Version, Prompt] = {"v1": Prompt("refund", TEMPLATE_V1), "v2": Prompt("refund", TEMPLATE_V2)}
SEED = 2321
"""Of the customers; with it the first late one has waited 75 days."""
MODEL = "demo"
_TOO_LATE = 60
"""Days after which nobody gets a refund for something broken."""


def list_visitors(count: int) -> list[Customer]:
    """Return the demo's customers: the world's, without half of those far too late with something broken."""
    visitors: list[Customer] = []
    far = 0
    for customer in make_customers(2 * count + 1, SEED):
        far += find_part(customer) == "late and broken"
        if find_part(customer) != "late and broken" or far % 2:
            visitors.append(customer)
    return visitors[:count]


def find_part(customer: Customer) -> str:
    """Return which part of the customers one belongs to."""
    if "broken" not in customer.cues or customer.days is None or customer.days <= 30:
        return "others"
    return "late and broken" if customer.days > _TOO_LATE else "broken, within 60 days"


def compute_expected(customer: Customer) -> Ruling:
    """Return the answer by the desk's handbook.

    It knows one thing that the prompt's rules leave out and the example line of v2 was meant to teach: what
    arrived broken may come back within 60 days.
    """
    return " APPROVE" if find_part(customer) == "broken, within 60 days" else customer.policy


@dataclass
class Stopwatch:
    """Where the time of the pipeline goes."""

    model_ns: int = 0
    """Spent in the model since it was last set to 0."""
    on_ask: Callable[[], None] = field(default=lambda: None)
    """Called while a model call is open."""


watch = Stopwatch()


@trace
def handle(message: str, version: Version) -> str:
    """Answer one customer."""
    return ask(prompt=PROMPTS[version].format(message=message))


@trace(kind="llm", model=MODEL)
def ask(prompt: str) -> str:
    """Ask the embedded model."""
    watch.on_ask()
    begin = time.perf_counter_ns()
    text, usage = complete(prompt)
    watch.model_ns += time.perf_counter_ns() - begin
    update_current_call(usage=usage)
    return text


def complete(prompt: str) -> tuple[str, dict[str, int]]:
    """Return the model's greedy answer and the tokens it took."""
    from llm_trace.attribution.models.generation import generate

    model, tokenizer = load_desk_model()
    ids = tokenizer(prompt)["input_ids"]
    answer_ids = generate(model, ids, 4)
    return str(tokenizer.decode(answer_ids)), {"input_tokens": len(ids), "output_tokens": len(answer_ids)}


@cache
def load_desk_model() -> tuple[Any, Any]:
    """Return the embedded model and its tokenizer; on one thread, as it is too small for more."""
    import torch

    from llm_trace.attribution.models.loading import resolve_model

    torch.set_num_threads(1)
    model, tokenizer, _ = resolve_model(MODEL)
    return model, tokenizer
