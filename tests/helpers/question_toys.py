"""A question to the small models, and a logged call that asked it."""

from __future__ import annotations

from typing import Any

from llm_trace.attribution.api import attribute
from llm_trace.record import Attribution, Call
from tests.helpers import attribution_toys as toys

PROMPT = "Lily had a red ball. One day her friend Tom came to play."


def run(
    prompt: Any = PROMPT, response: str | None = " One day the dog came.", **settings: Any
) -> Attribution:
    defaults = {"model": toys.llama(), "tokenizer": toys.byte_level()} | settings
    attribution = attribute(prompt, response, **defaults)
    assert isinstance(attribution, Attribution)
    return attribution


def call(**fields: Any) -> Call:
    defaults: dict[str, Any] = {
        "trace_id": "0" * 32, "span_id": "a" * 16, "name": "ask", "kind": "llm", "start_ns": 1, "end_ns": 2,
        "status": "ok",
        "input": {"prompt": PROMPT}, "output": " One day the dog came.",
    }  # fmt: skip
    return Call(**(defaults | fields))
