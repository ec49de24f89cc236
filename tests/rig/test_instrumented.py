"""Exchanges asked for by real clients under real instrumentations, as the store has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.exchanges import Exchange, list_exchanges, pick_each_kind
from tests.rig.instrumentations import find_instrumentation, list_providers
from tests.rig.measure import measure
from tests.rig.oracle import is_call

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RIDDEN = (
    "openinference:anthropic", "openinference:bedrock", "openinference:cohere", "openinference:google",
    "openinference:groq", "openinference:mistral", "openinference:ollama", "openinference:openai",
    "genai:anthropic", "genai:google", "genai:openai",
)  # fmt: skip


def list_covered(name: str) -> list[Exchange]:
    """Return one exchange of each kind with the providers whose client is instrumented."""
    exchanges = [exchange for provider in list_providers(name) for exchange in list_exchanges(provider)]
    own = [
        exchange for exchange in exchanges if is_call(exchange) and "/v1beta/openai" not in exchange.endpoint
    ]
    return pick_each_kind(own, 1)


@pytest.mark.parametrize("name", ["own:anthropic", "own:openai"])
def test_what_llm_trace_records_itself_is_as_in_the_raw_payloads(name: str, path: Path) -> None:
    measurement = measure(list_covered(name), [find_instrumentation(name)], path)
    assert measurement.unexpected == {}
    assert measurement.list_faults() == {}


@pytest.mark.parametrize("name", RIDDEN)
def test_what_an_instrumentation_sends_is_read_as_in_the_raw_payloads(name: str, path: Path) -> None:
    measurement = measure(list_covered(name), [find_instrumentation(name)], path)
    assert measurement.unexpected == {}
    assert measurement.list_faults(rides=True) == {}
