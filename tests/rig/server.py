"""A provider on 127.0.0.1 that answers every request with one exchange's body, until it is given another."""

from __future__ import annotations

from tests.helpers.loopback import Loopback, Received, Reply
from tests.rig.exchanges import Exchange


class Provider(Loopback):
    """A server for the length of a `with` block; `exchange` is what it answers with."""

    def __init__(self) -> None:
        super().__init__(self._replay)
        self.exchange: Exchange | None = None

    def _replay(self, request: Received) -> Reply:
        exchange = self.exchange
        if exchange is None:
            return Reply(418)
        headers = {"content-type": exchange.content_type, "x-request-id": f"req_{exchange.id}"}
        return Reply(exchange.status, exchange.body, headers)
