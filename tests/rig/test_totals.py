"""Everything on at once: a decorator, a framework, others' spans and ours count what the provider counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.drivers import Way
from tests.rig.exchanges import list_exchanges, pick_each_kind
from tests.rig.instrumentations import find_instrumentation
from tests.rig.measure import measure
from tests.rig.oracle import is_conversation, read_facts

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The model .* is deprecated"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
]
COUNTS = ("input_tokens", "output_tokens")


@pytest.mark.parametrize(
    ("provider", "way", "names"),
    [
        ("anthropic", "client", ["openinference:anthropic", "own:anthropic"]),
        ("openai", "client", ["openinference:openai", "own:openai"]),
        ("openai", "client", ["genai:openai", "own:openai"]),
    ],
    ids=["anthropic", "openai", "openai under opentelemetry"],
)
def test_calls_and_tokens_are_the_providers(provider: str, way: Way, names: list[str], path: Path) -> None:
    every = [exchange for exchange in list_exchanges(provider) if is_conversation(exchange)]
    whole = [exchange for exchange in every if not exchange.failed and not exchange.streams]
    exchanges = pick_each_kind(whole, 1)
    instrumentations = [find_instrumentation(name) for name in names]
    measurement = measure(exchanges, instrumentations, path, way=way, decorated=True)
    assert measurement.unexpected == {}
    for trace, exchange in measurement.asked.items():
        models = [call for call in measurement.calls[trace] if call.kind == "llm"]
        usage = read_facts(exchange).usage
        counts = [call.usage.model_dump() if call.usage else {} for call in models]
        totals = [sum(each.get(name) or 0 for each in counts) for name in COUNTS]
        expected = [usage.get(name) or 0 for name in COUNTS]
        assert (exchange.id, len(models), totals) == (exchange.id, 1, expected)
