"""What the rig opens is closed when it is done."""

from __future__ import annotations

import pytest

from tests.rig.clients import Clients, _find_connections
from tests.rig.drivers import build_request, send
from tests.rig.exchanges import Exchange, list_exchanges
from tests.rig.server import Provider


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_awaited_connections_of_a_framework_are_closed(provider: str) -> None:
    """LangChain keeps them for the process; an open one warns when the garbage collector comes to it."""
    with Provider() as server, Clients(server.url, asynchronous=True) as clients:
        exchange = next(filter(_is_chat, list_exchanges(provider)))
        send(clients, build_request(server, clients, exchange, "langchain"))
        (model,) = clients._clients.values()
        awaited = [each for each in _find_connections(model) if hasattr(each, "aclose")]
        assert {connection.is_closed for connection in awaited} == {False}
    assert {connection.is_closed for connection in awaited} == {True}


def _is_chat(exchange: Exchange) -> bool:
    plain = (
        not exchange.failed and not exchange.streams and not {"tools", "thinking"} & exchange.request.keys()
    )
    messages = exchange.request.get("messages", ())
    texts = bool(messages) and all(isinstance(message["content"], str) for message in messages)
    return plain and texts and exchange.endpoint.split("?")[0].endswith(("chat/completions", "messages"))
