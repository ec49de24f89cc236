"""How fast the spool becomes a store, how large it is then, and how fast the store answers.

    python benchmarks/ingest.py                     200,000 calls
    python benchmarks/ingest.py --calls 1000000     the full table

Calls are about 2.2 kB in the spool: 70 % chats of 2 + 1 messages with one of 20 system prompts, the rest plain functions; every other
text is new, of words drawn from a Zipf vocabulary of 20,000. The fold runs in a process of its own, as it does for a user.
"""

from __future__ import annotations

import os
import random
import string
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import orjson

if TYPE_CHECKING:
    pass

FILE_BYTES = 64 << 20
BEGIN_NS = 1_763_740_000_000_000_000
STEP_NS = 20_000_000
MODELS = ("gpt-5-mini", "gpt-5", "claude-sonnet-5", "claude-haiku-5", "gemini-3-pro", "llama-4")
TAGS = ("prod", "staging", "canary", "eval", "nightly", "beta", "eu", "us")


class Words:
    """Text of words drawn by Zipf's law."""

    def __init__(self, seed: int, size: int = 20_000) -> None:
        pick = random.Random(seed)
        made = sorted(
            {"".join(pick.choices(string.ascii_lowercase, k=pick.randint(2, 10))) for _ in range(size * 2)}
        )
        self._words = np.array(pick.sample(made, size), dtype=object)
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
        folder.mkdir(parents=True)
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
    for number in range(calls):
        spool.turn()
        start, end = (_chat if pick.random() < 0.7 else _plain)(spool, words, pick, systems)
        span, start_ns = f"{pick.getrandbits(64):016x}", BEGIN_NS + number * STEP_NS
        spool.write(_start(pick, number, calls, span, start_ns) | start)
        end = end(spool) if callable(end) else end
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
        "event": "start", "span_id": span, "trace_id": f"{number // 5:032x}", "parent_id": None, "start_ns": start_ns,
        "run": f"{number * 20 // calls:016x}", "session": f"session-{number // 50}", "user": f"user-{pick.randrange(1000)}",
        "tags": [pick.choice(TAGS)], "code": {"function": "app.service:answer", "file": "/srv/app/service.py", "line": 88},
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
        "input": {"messages": {"$messages": [0, 2]}, "temperature": 0.2}, "messages_in": spool.refer(messages),
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
