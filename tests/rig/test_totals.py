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
EVERY_KIND = [
    ("anthropic", "client", ["openinference:anthropic", "own:anthropic"]),
    ("openai", "client", ["openinference:openai", "own:openai"]),
    ("openai", "client", ["genai:openai", "own:openai"]),
    ("openai", "langchain", ["openinference:langchain", "openinference:openai", "own:openai"]),
    ("anthropic", "langchain", ["openinference:langchain", "openinference:anthropic"]),
]


@pytest.mark.parametrize(
    ("provider", "way", "names"),
    EVERY_KIND,
    ids=[
        "anthropic",
        "openai",
        "openai under opentelemetry",
        "langchain under openinference",
        "raw responses",
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "awaited"])
def test_calls_and_tokens_are_the_providers(
    provider: str, way: Way, names: list[str], asynchronous: bool, path: Path
) -> None:
    """One exchange of each kind that says what it counted; `python -m benchmarks.totals` asks for more."""
    every = [exchange for exchange in list_exchanges(provider) if is_conversation(exchange)]
    counted = [each for each in every if not each.failed and read_facts(each).usage]
    if way == "langchain" and provider == "openai":
        counted = [exchange for exchange in counted if "chat/completions" in exchange.endpoint]
    exchanges = pick_each_kind(counted, 1)
    instrumentations = [find_instrumentation(name) for name in names]
    measurement = measure(
        exchanges, instrumentations, path, way=way, decorated=True, asynchronous=asynchronous
    )
    assert measurement.unexpected == {}
    assert measurement.asked
    assert measurement.list_miscounted() == {}
