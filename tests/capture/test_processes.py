"""Threads, forks, spawned workers, killed processes: nothing that returned is lost, parents are right."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

import llm_trace
from llm_trace import trace
from tests.conftest import Recorded


@trace
def work(n: int) -> int:
    return n * 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes_write_to_the_same_store(recorded: Recorded, method: str) -> None:
    llm_trace.configure(recorded.path, run="pooled")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        assert list(pool.map(work, range(20))) == [n * 2 for n in range(20)]
    calls = recorded.calls(run="pooled")
    assert sorted(c.input["n"] for c in calls) == list(range(20))


KILLED = """
import os, sys, time
import llm_trace
llm_trace.configure(sys.argv[1])

@llm_trace.trace
def returned(n): return n

@llm_trace.trace
def hangs(question):
    print("open", flush=True)
    time.sleep(60)

for n in range(1000):
    returned(n)
hangs("why?")
"""


def test_kill_9_keeps_every_call_that_returned_and_the_open_one(recorded: Recorded) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(recorded.path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"open\n"
    (live,) = recorded.calls(name="hangs")
    assert live.status == "open"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert len(recorded.calls(name="returned", status="ok", limit=2000)) == 1000
    (killed,) = recorded.calls(status="interrupted")
    assert (killed.name, killed.input, killed.end_ns) == ("hangs", {"question": "why?"}, None)


def test_threads_carry_the_call_when_asked(recorded: Recorded) -> None:
    llm_trace.configure(recorded.path, propagate_threads=True)

    @trace
    def parent() -> None:
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(work, [1, 2])) == [2, 4]
        thread = threading.Thread(target=work, args=(3,))
        thread.start()
        thread.join()
        asyncio.run(in_thread())

    async def in_thread() -> None:
        await asyncio.to_thread(work, 4)

    start, submit = threading.Thread.start, ThreadPoolExecutor.submit
    parent()
    (root,) = recorded.calls(name="parent")
    assert {c.parent_id for c in recorded.calls(name="work")} == {root.span_id}
    assert len(recorded.calls(name="work")) == 4
    llm_trace.shutdown()
    assert threading.Thread.start is not start
    assert ThreadPoolExecutor.submit is not submit


def test_threads_are_left_alone_unless_asked(store: Recorded) -> None:
    @trace
    def parent() -> None:
        thread = threading.Thread(target=work, args=(3,))
        thread.start()
        thread.join()

    parent()
    assert store.calls(name="work")[0].parent_id is None


def test_ids_differ_after_a_fork_and_do_not_follow_the_users_seed(store: Recorded) -> None:
    import random

    @trace
    def f() -> None: ...

    random.seed(1)
    f()
    random.seed(1)
    f()
    for _ in range(3):
        if (pid := os.fork()) == 0:
            f()
            os._exit(0)
        os.waitpid(pid, 0)
    assert len({c.span_id for c in store.calls()}) == 5


LIGHT = """
import sys, os
before = set(os.listdir("."))
import llm_trace
heavy = {"torch", "transformers", "duckdb", "pyarrow", "comet_ml", "starlette", "pydantic", "opentelemetry",
"rich", "typer", "numpy", "asyncio"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
from llm_trace import trace
traced = trace(lambda: 1)
heavy -= {"opentelemetry", "asyncio"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert "opentelemetry.sdk" not in sys.modules
assert traced() == 1
assert set(os.listdir(".")) == before
llm_trace.configure("t.duckdb")
assert traced() == 1
heavy -= {"rich"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_importing_costs_nothing_and_recording_needs_no_duckdb(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LLM_TRACE")}
    subprocess.run([sys.executable, "-W", "error", "-c", LIGHT], check=True, cwd=tmp_path, env=environment)
