"""Exchanges asked for by real clients under real instrumentations, as the store has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.exchanges import Exchange, list_exchanges, pick_each_kind
from tests.rig.instrumentations import find_instrumentation
from tests.rig.measure import measure
from tests.rig.oracle import is_call

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RIDDEN = {
    "openinference:anthropic": ("anthropic",),
    "openinference:google": ("google", "google-vertex"),
    "openinference:groq": ("groq",),
    "openinference:mistral": ("mistral",),
    "openinference:ollama": ("ollama",),
    "openinference:openai": ("openai", "azure-openai", "openrouter", "deepseek"),
    "genai:anthropic": ("anthropic",),
    "genai:google": ("google", "google-vertex"),
    "genai:openai": ("openai", "azure-openai", "openrouter", "deepseek"),
}


FIELDS = ("call", "status", "model", "input text", "output text", "input_tokens", "output_tokens")


def list_covered(name: str) -> list[Exchange]:
    """Return a few exchanges of each kind with the providers whose client is instrumented."""
    exchanges = [exchange for provider in RIDDEN[name] for exchange in list_exchanges(provider)]
    own = [
        exchange for exchange in exchanges if is_call(exchange) and "/v1beta/openai" not in exchange.endpoint
    ]
    return pick_each_kind(own, 2)


@pytest.mark.parametrize("name", RIDDEN)
def test_what_an_instrumentation_sends_is_read_as_in_the_raw_payloads(name: str, path: Path) -> None:
    measurement = measure(list_covered(name), [find_instrumentation(name)], path)
    assert measurement.unexpected == {}
    faults = [line for lines in measurement.list_faults(rides=True).values() for line in lines]
    assert [line for line in faults if line.startswith(FIELDS)] == []
