"""Exchanges asked for by the providers' own clients inside a traced function, as the store has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.exchanges import PROVIDERS, list_exchanges, pick_each_kind
from tests.rig.instrumentations import find_instrumentation
from tests.rig.measure import measure
from tests.rig.oracle import is_call

pytestmark = [
    pytest.mark.filterwarnings("ignore:The model .* is deprecated"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_was_said_and_counted_is_as_in_the_raw_payloads(provider: str, path: Path) -> None:
    exchanges = [exchange for exchange in list_exchanges(provider) if is_call(exchange)]
    measurement = measure(exchanges, [find_instrumentation("decorator")], path, decorated=True)
    assert measurement.unexpected == {}
    assert measurement.left_out == []
    assert measurement.list_faults() == {}


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "bedrock"])
def test_what_an_awaited_client_said_and_counted_is_as_in_the_raw_payloads(provider: str, path: Path) -> None:
    exchanges = pick_each_kind([exchange for exchange in list_exchanges(provider) if is_call(exchange)], 1)
    decorator = find_instrumentation("decorator")
    measurement = measure(exchanges, [decorator], path, decorated=True, asynchronous=True)
    assert measurement.unexpected == {}
    assert measurement.left_out == []
    assert measurement.list_faults() == {}
