"""Recorded exchanges asked for by providers' own clients in a traced function, as the store has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import llm_trace
from tests.conftest import Recorded
from tests.traffic import sdks
from tests.traffic.exchanges import Exchange, exchanges, needs_exchanges
from tests.traffic.judge import differences
from tests.traffic.oracle import facts_of, is_conversation
from tests.traffic.server import Provider

pytestmark = [needs_exchanges, pytest.mark.filterwarnings("ignore:The model .* is deprecated")]

PROVIDERS = sorted({exchange.provider for exchange in exchanges().values()})


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as server:
        yield server


@pytest.fixture(scope="module")
def clients(provider: Provider) -> Iterator[sdks.Clients]:
    with pytest.MonkeyPatch.context() as patch, sdks.Clients(provider) as made:
        for name, value in sdks.CREDENTIALS.items():
            patch.setenv(name, value)
        yield made


def ask_through(clients: sdks.Clients, exchange: Exchange) -> None:
    """Ask as a program does that traces the function around its client."""
    request = clients.request(exchange)

    @llm_trace.trace(name=exchange.id, kind="llm")
    def ask(**arguments: Any) -> Any:
        answer = request.method(**arguments)
        return json.loads(answer["body"].read()) if exchange.endpoint.endswith("/invoke") else answer

    @llm_trace.trace(name=exchange.id, kind="llm")
    def stream(**arguments: Any) -> Iterator[Any]:
        yield from request.chunks()

    try:
        answer = (stream if request.stream else ask)(**request.arguments)
        if request.stream:
            list(answer)
    except Exception:
        if not exchange.failed:
            raise


@pytest.mark.parametrize("name", PROVIDERS)
def test_what_was_said_and_counted_is_as_in_the_raw_payloads(
    name: str, store: Recorded, clients: sdks.Clients
) -> None:
    known = {x.id: x for x in exchanges().values() if x.provider == name and is_conversation(x)}
    for exchange in known.values():
        ask_through(clients, exchange)
    calls = {call.name: call for call in store.calls(limit=1000)}
    assert calls.keys() == known.keys()
    found = {
        key: wrong
        for key, exchange in known.items()
        if (wrong := differences(facts_of(exchange), calls[key], failed=exchange.failed))
    }
    assert found == {}
