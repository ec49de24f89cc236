"""What calls cost in the store and for exporters, and where the number is from."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from genai_prices import Usage as ListUsage
from genai_prices import calc_price

from llm_trace.errors import ConfigurationError
from llm_trace.exporters.delivery.cursor import Cursor
from llm_trace.exporters.delivery.reader import Reader
from llm_trace.pricing.book import PriceBook
from llm_trace.pricing.cost import price_call
from llm_trace.pricing.price_file import read_price_file
from llm_trace.record import CostBasis
from llm_trace.stores.duckdb import open_store
from llm_trace.stores.repricing import count_unpriced, reprice
from tests.helpers.spool_toys import BEGIN, HandWriter, span, spool_of

BOOK = PriceBook()
HOUR_NS = 3600 * 10**9
MODELS = (
    ("openai", "gpt-4o-2024-08-06"),  # cached input has a price
    ("openai", "gpt-5.6-sol"),  # dearer from 272,000 tokens on, cheaper since a date
    ("deepseek", "deepseek-v4-flash"),  # dearer at some hours
    ("anthropic", "claude-sonnet-4-5"),  # writing to the cache for an hour has a price
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.duckdb"


@pytest.fixture
def writer(path: Path) -> HandWriter:
    return HandWriter(spool_of(path))


def draw_usage(pick: random.Random) -> dict[str, Any]:
    read, written = pick.choice((50, 3_000, 272_000, 272_001, 400_000)), pick.randrange(1, 3_000)
    stored = pick.randrange(read // 4)
    usage = {"input_tokens": read, "output_tokens": written, "cache_read_tokens": pick.randrange(read // 2)}
    usage |= {"cache_write_tokens": stored, "reasoning_tokens": pick.randrange(written)}
    return {**usage, "details": {"cache_write_1h_tokens": pick.randrange(stored + 1)}}


def ask_list(provider: str, model: str, usage: dict[str, Any], start_ns: int) -> float:
    counts = {name: n for name, n in usage.items() if name not in ("details", "reasoning_tokens")}
    whole = ListUsage(**counts, output_reasoning_tokens=usage["reasoning_tokens"], **usage["details"])
    at = datetime.fromtimestamp(start_ns // 10**9, UTC)
    return float(calc_price(whole, model, provider_id=provider, genai_request_timestamp=at).total_price)


def read_exported(path: Path) -> dict[str, dict[str, Any]]:
    cursor = Cursor.load(spool_of(path), "test://")
    cursor.every = True
    reader = Reader(spool_of(path), cursor)
    calls = {event.id: dict(event.data) for group in reader.groups() for event in group}
    reader.close()
    return calls


def test_store_and_exporters_give_the_number_of_the_price_list(path: Path, writer: HandWriter) -> None:
    pick, expected = random.Random(7), {}
    for number in range(80):
        provider, model = MODELS[number % len(MODELS)]
        usage, start_ns = draw_usage(pick), BEGIN + number * 401 * HOUR_NS // 4
        writer.start(number, model=model, provider=provider, start_ns=start_ns)
        writer.end(number, usage=usage, end_ns=start_ns + 1)
        expected[span(number)] = ask_list(provider, model, usage, start_ns)
    exported = {identity: call["cost_usd"] for identity, call in read_exported(path).items()}
    writer.close()
    stored = {call.span_id: call.cost_usd for call in open_store(path).calls(limit=None)}
    assert exported == stored == expected


def test_a_cost_that_was_given_wins_and_says_so(path: Path, writer: HandWriter) -> None:
    writer.start(1, model="gpt-4o", provider="openai")
    writer.end(1, usage={"input_tokens": 9, "output_tokens": 2}, cost_usd=0.25)
    exported = read_exported(path)[span(1)]
    writer.close()
    (call,) = open_store(path).calls()
    assert (call.cost_usd, call.cost_basis) == (0.25, CostBasis(source="reported"))
    assert (exported["cost_usd"], exported["cost_basis"]) == (0.25, {"source": "reported"})


def test_a_cost_names_the_price_that_it_rests_on(path: Path, writer: HandWriter) -> None:
    writer.start(1, model="text-embedding-3-large", provider="azure.ai.openai", kind="embedding")
    writer.end(1, usage={"input_tokens": 1_000})
    writer.close()
    (call,) = open_store(path).calls()
    assert call.cost_usd == 0.00013
    assert call.cost_basis == CostBasis(
        source="genai-prices",
        version=BOOK.version.split()[-1],
        provider="azure",
        model="text-embedding-3-large",
        usd_per_million={"input_tokens": 0.13},
    )


def test_an_unknown_model_has_no_cost_and_is_counted(path: Path, writer: HandWriter) -> None:
    for number, model in enumerate(("llama3", "llama3", "gpt-9")):
        writer.start(number, model=model, provider="ollama" if model == "llama3" else "openai")
        writer.end(number, usage={"input_tokens": 9, "output_tokens": 2})
    writer.start(7, model="gpt-4o", provider="openai")
    writer.end(7, usage={"input_tokens": 9})  # what the answer cost is not known
    writer.close()
    store = open_store(path)
    assert [(c.cost_usd, c.cost_basis) for c in store.calls()] == [(None, None)] * 4
    unpriced = count_unpriced(store)
    assert (unpriced.models, unpriced.waiting) == ({"llama3 (ollama)": 2, "gpt-9 (openai)": 1}, 1)


def test_an_end_before_its_start_gets_its_cost_with_the_model(path: Path, writer: HandWriter) -> None:
    writer.end(1, usage={"input_tokens": 1_000, "output_tokens": 100})
    assert open_store(path).calls()[0].cost_usd is None
    writer.start(1, model="gpt-4o", provider="openai")
    writer.close()
    assert open_store(path).calls()[0].cost_usd == 0.0035


_SONNET = "anthropic/claude-sonnet-4-5"
NAMES = {
    "dated": ("openai", "gpt-4o-2024-08-06", "openai/gpt-4o"),
    "fine-tuned": ("openai", "ft:gpt-4o-2024-08-06:org::id", "openai/ft:gpt-4o"),
    "no provider": (None, "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5"),
    "litellm": (None, "openai/gpt-4o", "openai/gpt-4o"),
    "litellm as provider": ("litellm", "azure/gpt-4o", "azure/gpt-4o"),
    "litellm bedrock": (
        None,
        "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "aws/regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ),
    "bedrock arn": (
        "aws.bedrock",
        "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "aws/regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ),
    "quoted": ("aws.bedrock", "amazon.nova-micro-v1%3A0", "aws/amazon.nova-micro-v1:0"),
    "vertex": ("gcp.vertex_ai", "claude-sonnet-4-5@20250929", "google/claude-sonnet-4-5"),
    "google resource": ("gcp.gemini", "models/gemini-2.5-flash", "google/gemini-2.5-flash"),
    "openrouter": ("openrouter", "openai/gpt-4o", "openrouter/openai/gpt-4o"),
    "router behind openai's client": ("openai", "anthropic/claude-sonnet-4-5", _SONNET),
    "deployment of azure": ("azure.ai.openai", "my-deployment", None),
    "local": ("ollama", "llama3.1", None),
    "open model of nobody": (None, "llama3.1", None),
    "open model of an owner": (None, "google/gemma-2b", None),
    "open weights of openai": (None, "openai/gpt-oss-20b", None),
}


@pytest.mark.parametrize("name", NAMES)
def test_models_are_known_by_the_names_that_providers_and_clients_give_them(name: str) -> None:
    provider, model, expected = NAMES[name]
    call = {"model": model, "provider": provider, "usage": {"input_tokens": 9, "output_tokens": 9}}
    basis = price_call({**call, "start_ns": BEGIN}, BOOK).get("cost_basis")
    assert (None if basis is None else f"{basis['provider']}/{basis['model']}") == expected


def test_prices_of_ones_own_win_with_their_discounts(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(
        """
["my-model-*"]
input_tokens = 2
output_tokens = 10
cache_read_tokens = 0.5
tiers = { batch = 0.5 }
["azure/my-deployment"]
same_as = "openai/gpt-4o"
factor = 0.8
"""
    )
    own = PriceBook(read_price_file(file))
    usage = {"input_tokens": 1_000, "output_tokens": 100, "cache_read_tokens": 400}
    mine = {"model": "my-model-7", "usage": usage, "start_ns": BEGIN}
    batch = {**mine, "params": {"service_tier": "batch"}}
    deployment = {**mine, "model": "my-deployment", "provider": "azure"}
    assert price_call(mine, own)["cost_usd"] == 0.0024
    assert price_call(batch, own)["cost_usd"] == 0.0012
    assert price_call(batch, own)["cost_basis"]["tier"] == "batch"
    assert price_call(deployment, own)["cost_usd"] == pytest.approx(0.8 * 0.003)
    assert price_call(mine, own)["cost_basis"]["source"] == "own"
    assert price_call(mine, BOOK) == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[", "cannot be read"),
        ("['m']\ninput = 2", "'input', which is none of input_tokens"),
        ("['m']\ncache_read_tokens = 2", "needs either input_tokens"),
        ("['m']\ninput_tokens = 'two'", "is no number"),
    ],
    ids=["no toml", "unknown key", "no price", "no number"],
)
def test_a_wrong_price_file_is_refused_with_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=complaint):
        read_price_file(file)


def test_reprice_fills_the_costs_of_earlier_versions_and_leaves_what_was_reported(
    path: Path, writer: HandWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        writer.start(number, model="gpt-4o", provider="openai")
        cost = {"cost_usd": 0.5} if number else {}
        writer.end(number, usage={"input_tokens": 1_000, "output_tokens": 100}, **cost)
    writer.close()
    open_store(path)
    with duckdb.connect(str(path)) as connection:  # as an earlier version left it
        connection.execute("UPDATE calls SET cost_usd = NULL, cost_basis = NULL WHERE cost_usd < 0.5")
    assert count_unpriced(open_store(path)).waiting == 1
    assert reprice(path) == 1
    assert [c.cost_usd for c in open_store(path).calls()] == [0.5, 0.0035]
    file = tmp_path / "prices.json"
    file.write_text('{"gpt-4o": {"input_tokens": 1, "output_tokens": 0}}')
    monkeypatch.setenv("LLM_TRACE_PRICES", str(file))
    assert (reprice(path), reprice(path)) == (1, 0)
    assert [c.cost_usd for c in open_store(path).calls()] == [0.5, 0.001]
