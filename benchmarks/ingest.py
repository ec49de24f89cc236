"""How fast the spool becomes a store, how large it is then, and how fast the store answers.

    python benchmarks/ingest.py                     200,000 calls
    python benchmarks/ingest.py --calls 1000000     the full table

Calls are about 2.2 kB in the spool: 70 % chats of 2 + 1 messages with one of 20 system prompts, the rest
plain functions, five to a trace, four of them inside the first; one in fifty fails; every other text is new,
of words drawn from a Zipf vocabulary of 20,000. The fold runs in a process of its own, as it does for a user.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from llm_trace.stores.duckdb import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

FILE_BYTES = 64 << 20
BEGIN_NS = 1_763_740_000_000_000_000
STEP_NS = 20_000_000
TRACE = 5
"""Calls of a trace."""
MODELS = ("gpt-5-mini", "gpt-5", "claude-sonnet-5", "claude-haiku-5", "gemini-3-pro", "llama-4")
TAGS = ("prod", "staging", "canary", "eval", "nightly", "beta", "eu", "us")


class Words:
    """Text of words drawn by Zipf's law."""

    def __init__(self, seed: int, size: int = 20_000) -> None:
        pick = random.Random(seed)
        words = sorted(
            {"".join(pick.choices(string.ascii_lowercase, k=pick.randint(2, 10))) for _ in range(size * 2)}
        )
        self._words = np.array(pick.sample(words, size), dtype=object)
        weights = 1 / np.arange(1, size + 1)
        self._total = np.cumsum(weights / weights.sum())
        self._random = np.random.default_rng(seed)
        self._stock: list[str] = []
        self._used = 0

    def text(self, count: int) -> str:
        if self._used + count > len(self._stock):
            places = np.searchsorted(self._total, self._random.random(500_000))
            self._stock, self._used = self._words[np.minimum(places, len(self._words) - 1)].tolist(), 0
        self._used += count
        return " ".join(self._stock[self._used - count : self._used])


class Spool:
    """Writes spool files as docs/spool-format.md says, as a writer that has ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = os.urandom(8).hex()
        self._seq = 0
        self.bytes = 0
        self.begin()

    def begin(self) -> None:
        self._seq += 1
        self._file = (self._folder / f"{self._writer}.{self._seq:08d}.jsonl").open("wb", buffering=1 << 20)
        self._numbers: dict[str, int] = {}
        self._fresh: list[dict[str, Any]] = []
        self._next = self._size = 0
        self.write(
            {"event": "file", "format": 1, "writer": self._writer, "pid": 1, "time_ns": BEGIN_NS + self._seq}
        )

    def refer(self, messages: list[dict[str, str]]) -> list[list[int]]:
        """Return the ranges that stand for messages; those not yet in the file come with the next event."""
        ranges: list[list[int]] = []
        for message in messages:
            key = message["role"] + message["content"]
            number = self._numbers.get(key)
            if number is None:
                number = self._numbers[key] = self._next
                self._next += 1
                self._fresh.append({"n": number, "body": message})
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
        return ranges

    def write(self, event: dict[str, Any]) -> None:
        if self._fresh:
            event["messages"], self._fresh = self._fresh, []
        line = orjson.dumps(event) + b"\n"
        self._file.write(line)
        self._size += len(line)
        self.bytes += len(line)

    def turn(self) -> None:
        """Begin another file once this one is full; between calls."""
        if self._size > FILE_BYTES:
            self.close()
            self.begin()

    def close(self) -> None:
        self._file.close()


def write_calls(folder: Path, calls: int, seed: int = 0) -> int:
    """Write a spool of so many calls; return its bytes."""
    words, pick, spool = Words(seed), random.Random(seed + 1), Spool(folder)
    systems = [{"role": "system", "content": words.text(60)} for _ in range(20)]
    for number in range(20):
        spool.write(
            {
                "event": "run",
                "id": f"{number:016x}",
                "name": f"run-{number}",
                "start_ns": BEGIN_NS,
                "config": {"n": number},
            }
        )
    outer = None
    for number in range(calls):
        spool.turn()
        start, end = (_chat if pick.random() < 0.7 else _plain)(spool, words, pick, systems)
        span, start_ns = f"{pick.getrandbits(64):016x}", BEGIN_NS + number * STEP_NS
        outer = None if number % TRACE == 0 else outer
        spool.write(_start(pick, number, calls, span, start_ns) | {"parent_id": outer} | start)
        outer = outer or span
        end = end(spool) if callable(end) else end
        if pick.random() < 0.02:
            end |= {"status": "error", "error": {"type": "TimeoutError", "message": "no answer in 30 s"}}
        spool.write(
            {
                "event": "end",
                "span_id": span,
                "end_ns": start_ns + pick.randint(10**8, 10**10),
                "status": "ok",
            }
            | end
        )
    spool.close()
    return spool.bytes


def _start(pick: random.Random, number: int, calls: int, span: str, start_ns: int) -> dict[str, Any]:
    return {
        "event": "start", "span_id": span, "trace_id": f"{number // TRACE:032x}",
        "start_ns": start_ns, "run": f"{number * 20 // calls:016x}", "session": f"session-{number // 50}",
        "user": f"user-{pick.randrange(1000)}", "tags": [pick.choice(TAGS)],
        "code": {"function": "app.service:answer", "file": "/srv/app/service.py", "line": 88},
        "metadata": {"region": pick.choice(TAGS), "attempt": pick.randrange(3)},
    }  # fmt: skip


def _chat(
    spool: Spool, words: Words, pick: random.Random, systems: list[dict[str, str]]
) -> tuple[dict[str, Any], Any]:
    messages = [pick.choice(systems), {"role": "user", "content": words.text(pick.randint(30, 145))}]
    answer = {"role": "assistant", "content": words.text(pick.randint(30, 145))}
    start = {
        "name": "answer", "kind": "llm", "model": pick.choice(MODELS), "provider": "openai",
        "params": {"temperature": 0.2, "max_tokens": 800},
        "prompt": {"name": f"desk-{pick.randrange(3)}", "version": f"{pick.randrange(4):012x}"},
        "input": {"messages": {"$messages": [0, 2]}, "temperature": 0.2},
        "messages_in": spool.refer(messages),
    }  # fmt: skip

    def end(spool: Spool) -> dict[str, Any]:
        usage = {"input_tokens": pick.randint(50, 3000), "output_tokens": pick.randint(5, 900)}
        output = {"id": f"{pick.getrandbits(96):x}", "messages": {"$messages": [0, 1]}}
        return {
            "output": output,
            "messages_out": spool.refer([answer]),
            "usage": usage,
            "cost_usd": pick.random() / 100,
        }

    return start, end


def _plain(spool: Spool, words: Words, pick: random.Random, systems: object) -> tuple[dict[str, Any], Any]:
    start = {
        "name": "retrieve",
        "kind": "retriever",
        "input": {"query": words.text(pick.randint(30, 150)), "k": 8},
    }
    return start, {"output": {"documents": [words.text(pick.randint(30, 80)) for _ in range(2)]}}


def fold(store: Path) -> dict[str, float]:
    """Ingest in a process of its own, as `open_store` does with much to read; return what it took."""
    script = (
        "import json, resource, sys; from llm_trace.stores.ingest import ingest; report = "
        "ingest(sys.argv[1]);"
        "used = resource.getrusage(resource.RUSAGE_SELF);"
        "print(json.dumps([report.seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))"
    )
    seconds, cpu, memory = json.loads(_python(script, store))
    return {"seconds": seconds, "cpu": cpu, "memory": memory}


def bare(spool: Path, table: Path) -> dict[str, float]:
    """Read the same files with `read_json` straight into a table, in a process of its own."""
    script = (
        "import duckdb, json, resource, sys, time; connection = duckdb.connect(sys.argv[2]); "
        "connection.execute('SET enable_progress_bar = false'); began = time.perf_counter();"
        "connection.execute(f\"CREATE TABLE t AS SELECT * FROM read_json('{sys.argv[1]}/*.jsonl', format = "
        "'newline_delimited',"
        ' union_by_name = true)"); connection.execute("CHECKPOINT"); seconds = time.perf_counter() - began;'
        "used = resource.getrusage(resource.RUSAGE_SELF);"
        "print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))"
    )
    seconds, cpu, memory = json.loads(_python(script, spool, table))
    table.unlink()
    return {"seconds": seconds, "cpu": cpu, "memory": memory}


def _python(script: str, *arguments: object) -> str:
    root = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(
        command, env=os.environ | {"PYTHONPATH": root}, check=True, capture_output=True, text=True
    ).stdout


def measure_ingest(folder: Path, calls: int) -> Path:
    """Write, read and fold so many calls; print how that went; return the store."""
    store = folder / "calls.duckdb"
    began = time.perf_counter()
    size = write_calls(folder / "calls.duckdb.spool", calls)
    print(
        f"{calls:,} calls, {size / calls:,.0f} bytes each in the spool (written in "
        f"{time.perf_counter() - began:.0f} s)"
    )
    read = bare(folder / "calls.duckdb.spool", folder / "bare.duckdb")
    took = fold(store)
    print(f"\n{'':34}{'calls/s':>10}{'CPU us/call':>14}{'peak RSS MB':>14}")
    for name, figures in (("bare read_json into a table", read), ("ingest", took)):
        rate, cost = calls / figures["seconds"], figures["cpu"] / calls * 1e6
        print(f"{name:34}{rate:10,.0f}{cost:14.1f}{figures['memory']:14,.0f}")
    idle = 1 - (took["cpu"] / took["seconds"]) / (os.cpu_count() or 1)
    print(
        f"ratio to bare read_json           {read['seconds'] / took['seconds']:10.2f}     (reach: 0.8, or "
        f"30,000 calls/s; peak RSS 400 MB)"
    )
    print(
        f"the ingest had {(1 - idle) * (os.cpu_count() or 1):.2f} of {os.cpu_count()} cores: others ran "
        f"beside it, or it waited"
    )
    print(f"store                             {store.stat().st_size / calls:10,.0f} bytes a call")
    return store


def measure_queries(path: Path) -> None:
    """Print the medians of the questions that people ask most."""
    store = open_store(path)
    middle, trace, span, early = store.sql(
        "SELECT start_ns, trace_id, span_id, (SELECT text FROM messages WHERE id = 40) FROM calls ORDER BY "
        "start_ns LIMIT 1 OFFSET ?",
        store.sql("SELECT count(*) // 2 FROM calls").fetchall()[0][0],
    ).fetchall()[0]
    word, sentence = early.split()[0], " ".join(early.split()[3:9])
    questions: dict[str, Callable[[], Any]] = {
        "newest 50": lambda: store.calls(limit=50),
        "tag + time window, newest 100": lambda: store.calls(tag="prod", since=middle, until=middle + 10**13),
        "one trace by id": lambda: store.trace(trace),
        "one call by id": lambda: store.call(span),
        "by model with quantiles": lambda: store.sql(
            "SELECT model, count(*), quantile_cont(duration_ms, [0.5, 0.9, 0.99]), sum(cost_usd) FROM "
            "calls GROUP BY model"
        ).fetchall(),
        "runs with counts": lambda: store.sql(
            "SELECT r.name, count(*), sum(c.input_tokens) FROM runs r JOIN calls c ON c.run = r.id GROUP "
            "BY ALL"
        ).fetchall(),
        "text, first page: common word": lambda: store.calls(text=word, limit=50),
        "text, all prompts: absent word": lambda: store.sql(
            "SELECT count(*) FROM messages WHERE regexp_matches(text, '(?i)qqzzqqzz')"
        ).fetchall(),
        "text, everything: absent word": lambda: store.calls(text="qqzzqqzz"),
        "text, everything: one old sentence": lambda: store.calls(text=sentence),
    }
    print(f"\n{'median of 5, each opens and leaves the file':44}{'wall ms':>10}{'CPU ms':>10}")
    for name, ask in questions.items():
        wall, cpu = zip(*(_time_query(ask) for _ in range(5)), strict=True)
        print(f"{name:44}{statistics.median(wall):10.0f}{statistics.median(cpu):10.0f}")


def _time_query(ask: Callable[[], Any]) -> tuple[float, float]:
    used, began = _cpu(), time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1e3, (_cpu() - used) * 1e3


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure_chats(folder: Path, chats: int = 20, turns: int = 200, size: int = 300) -> None:
    """Print how much a store grows by chats that send their whole history with every turn."""
    words, store = Words(5), folder / "chats.duckdb"
    spool = Spool(folder / "chats.duckdb.spool")
    spool.close()
    empty = _time_ingest(store)
    histories: list[list[dict[str, str]]] = [[] for _ in range(chats)]
    shutil.rmtree(folder / "chats.duckdb.spool")
    spool = Spool(folder / "chats.duckdb.spool")
    unique = 0
    for turn in range(turns):
        for number, history in enumerate(histories):
            message = {"role": "user", "content": words.text(80)[:size]}
            history.append(message)
            unique += len(message["content"])
            _send(spool, turn * chats + number, history)
            history.append({"role": "assistant", "content": words.text(80)[:size]})
            unique += len(history[-1]["content"])
    spool.close()
    grown = _time_ingest(store) - empty
    print(
        f"\n{chats} chats x {turns} turns x {size} bytes, all resend their history: {unique:,} bytes of "
        f"text, each once"
    )
    print(
        f"the store grew by {grown:,} bytes: {grown / unique:.2f} x   (reach: 2 x);  the spool was "
        f"{spool.bytes / unique:.2f} x"
    )


def _time_ingest(store: Path) -> int:
    open_store(store)
    return store.stat().st_size


def _send(spool: Spool, number: int, history: list[dict[str, str]]) -> None:
    spool.turn()
    start = {
        "event": "start",
        "span_id": f"{number:016x}",
        "trace_id": f"{number:032x}",
        "start_ns": BEGIN_NS + number * STEP_NS,
        "name": "chat",
        "kind": "llm",
        "input": {"messages": {"$messages": [0, len(history)]}},
    }
    spool.write(start | {"messages_in": spool.refer(history)})
    spool.write(
        {
            "event": "end",
            "span_id": f"{number:016x}",
            "end_ns": BEGIN_NS + number * STEP_NS + 10**6,
            "status": "ok",
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--folder", help="where to work; a temporary folder otherwise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure_queries(measure_ingest(Path(folder), options.calls))
        measure_chats(Path(folder))


if __name__ == "__main__":
    main()
