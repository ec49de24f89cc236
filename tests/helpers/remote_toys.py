"""A model behind a callable that answers by one word of the prompt, and what `attribute` says of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from llm_trace.attribution.api import attribute
from llm_trace.record import Attribution

PROMPT = "please tell me what a gold customer may expect"


def desk(prompt: str) -> str:
    """Answers by one word."""
    return "We approve it" if "gold" in prompt else "Sorry, denied"


def explain(model: Any, prompt: Any = PROMPT, response: str | None = None, **settings: Any) -> Attribution:
    attribution = attribute(prompt, response, model=model, **settings)
    assert isinstance(attribution, Attribution)
    return attribution


def first(attribution: Attribution) -> str:
    return attribution.segments[int(np.argmax(attribution.values))].text
