"""The process that the demo kills: `python -m llm_trace.demo.crash STORE`. It answers customers without end.

It says on stdout when a model call has begun and when an answer was returned, so that the demo knows what
must not be lost.
"""

from __future__ import annotations

import itertools
import sys

from llm_trace.capture.runs import start_run
from llm_trace.config import configure
from llm_trace.demo import desk
from llm_trace.demo.world import make_customers

RUN = "refund-desk v2, killed"
BEGUN, RETURNED = "begun", "returned"


def main(store: str) -> None:
    """Answer until killed."""
    desk.load_desk_model()
    configure(store, run=None, sample=1.0, redact=None, capture_content=True)
    desk.watch.on_ask = lambda: print(BEGUN, flush=True)
    with start_run(RUN, config={"prompt": "v2"}):
        for seed in itertools.count(desk.SEED + 1):
            for customer in make_customers(100, seed):
                desk.handle(customer.message, version="v2")
                print(RETURNED, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
