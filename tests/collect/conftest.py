"""A receiver that writes the spool of `recorded`, and a client of its server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from llm_trace.capture.values import ValueEncoder
from llm_trace.collect.receiver import Receiver
from llm_trace.spool.paths import get_spool_dir
from llm_trace.spool.writer import SpoolWriter
from tests.conftest import Recorded
from tests.helpers.collector import Server


@pytest.fixture
def receiver(recorded: Recorded) -> Iterator[Receiver]:
    with closing(SpoolWriter(get_spool_dir(recorded.path))) as spool:
        yield Receiver(spool, ValueEncoder())


@pytest.fixture
def client(receiver: Receiver) -> Iterator[httpx.Client]:
    with Server(receiver) as opened:
        yield opened
