"""A time limit ends what runs, wherever it falls."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import time
import duckdb
from llm_trace.cli import waiting
from llm_trace.errors import LLMTraceError
from llm_trace.stores.instances import connect

waiting._AGAIN_S = 0.2

class Busy:
    def __del__(self):
        time.sleep(0.5)  # what is raised in here Python drops

def work():
    Busy()
    connection.execute("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a, b) = 7")

connection = connect()
with waiting.hear_ctrl_c():
    try:
        waiting.run_limited(0.1, work)
    except LLMTraceError as exc:
        print(exc)
    print(connection.execute("SELECT 'goes on'").fetchone())
"""


def test_a_time_limit_that_falls_into_a_destructor_still_ends_the_query() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == [
        "the time limit of 0.1 s is over: raise --time-limit, or take fewer calls by --limit",
        "('goes on',)",
    ], done.stderr
