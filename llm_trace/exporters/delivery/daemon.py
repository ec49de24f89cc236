"""The process that delivers: `LLM_TRACE_EXPORTERS=… python -m llm_trace.exporters.delivery.daemon STORE`.

It outlives the process that started it, leaves alone what another one delivers, and ends when no writer lives
and nothing is left to deliver, or nothing could be for a while: what is left is in the spool, and the next
one carries on.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from itertools import zip_longest
from typing import TYPE_CHECKING

from llm_trace.errors import LLMTraceError
from llm_trace.exporters.delivery.delivery import Delivery
from llm_trace.exporters.registry import SETTINGS, VARIABLE, make_exporter
from llm_trace.spool.files import list_spool_files
from llm_trace.spool.paths import get_spool_dir

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_log = logging.getLogger("llm_trace")

PATIENCE_S = 60.0
LINGER_S = 1.0
_CLAIM_S = 3.0
"""How long another process may take to leave."""
_CHECK_S = 0.2


def serve_destinations(
    folder: Path, deliveries: Sequence[Delivery], *, stop: threading.Event, patience_s: float = PATIENCE_S
) -> None:
    """Deliver with a thread for each destination until there is nothing to do; `stop` ends it sooner.

    Args:
        folder: the spool folder.
        deliveries: the destinations; those that others deliver to are left alone.
        stop: set from elsewhere.
        patience_s: how long to stay without a writer while nothing gets through.
    """
    mine = claim_deliveries(deliveries, stop)
    threads = [threading.Thread(target=d.run, name=f"llm_trace {d.name}", daemon=True) for d in mine]
    for thread in threads:
        thread.start()
    needed = time.monotonic()
    while mine and not stop.wait(_CHECK_S):
        for delivery in [delivery for delivery in mine if delivery.unwanted]:
            delivery.stop()
            threads.pop(mine.index(delivery)).join()
            mine.remove(delivery)
            delivery.close()
        now = time.monotonic()
        if any(file.live and delivery.takes(file) for file in list_spool_files(folder) for delivery in mine):
            needed = now
        idle = now - max([needed, *(delivery.moved for delivery in mine)])
        if (
            idle > (LINGER_S if all(delivery.quiet for delivery in mine) else patience_s)
            or not folder.exists()
        ):
            break
    for delivery in mine:
        delivery.stop()
    for thread in threads:
        thread.join()
    for delivery in deliveries:
        delivery.close()


def claim_deliveries(deliveries: Sequence[Delivery], stop: threading.Event) -> list[Delivery]:
    """Return the destinations that this process delivers to, after giving a leaving one time to do so."""
    mine: list[Delivery] = []
    deadline = time.monotonic() + _CLAIM_S
    while True:
        wanted = [delivery for delivery in deliveries if not delivery.unwanted]
        mine += [delivery for delivery in wanted if delivery not in mine and delivery.claim()]
        if len(mine) >= len(wanted) or time.monotonic() > deadline or stop.wait(_CHECK_S):
            return mine


def main(arguments: list[str]) -> None:
    """Deliver the spool of the store named first to the addresses in `LLM_TRACE_EXPORTERS`."""
    if hasattr(os, "nice"):
        os.nice(5)  # the traced program goes first
    logging.basicConfig(format="%(asctime)s %(message)s")
    folder = get_spool_dir(arguments[0])
    deliveries = []
    addresses, settings = (os.environ.get(name, "").split() for name in (VARIABLE, SETTINGS))
    for address, digest in zip_longest(addresses, settings):
        try:
            deliveries.append(Delivery(folder, make_exporter(address), settings=digest))
        except LLMTraceError:
            _log.exception("llm_trace cannot deliver to %s", address)
    serve_destinations(folder, deliveries, stop=threading.Event())


if __name__ == "__main__":
    main(sys.argv[1:])
