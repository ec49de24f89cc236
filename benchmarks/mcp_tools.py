"""How long each tool of `llm-trace mcp` takes on a large store, how long its answers are, and what an agent
without a model comes to with the tools alone.

    python -m benchmarks.mcp_tools                  200,000 calls
    python -m benchmarks.mcp_tools --calls 1000000  the full table
    python -m benchmarks.mcp_tools --store PATH     a store that is there; small runs are added
    python -m benchmarks.mcp_tools --mend           the agent and the demo's second prompt
    python -m benchmarks.mcp_tools --tokens         the estimate of tokens beside real tokenisers

Every tool is asked through the official client. Tokens are those of the whole answer, text and data together,
by the estimate, which is never too low. Seconds leave out the work of models: explanations are asked for a
second time, and what runs again runs without a model, in a process of its own.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import llm_trace
from benchmarks.mcp_program import record_runs
from llm_trace.mcp.limits import estimate_tokens
from tests.helpers.mcp_agent import ScriptedAgent
from tests.helpers.mcp_toys import Door

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
MOST_TOKENS, MOST_SECONDS = 8_000, 2.0
FUNCTIONS = ["benchmarks.mcp_program:answer", "benchmarks.mcp_program:settle"]


def list_questions(path: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """Return what is asked: what it is, the tool, its arguments."""
    with llm_trace.open_store(path) as store:
        first = store.calls(kind="llm", order="oldest", limit=1)[0]
        spans = [call.span_id for call in store.calls(run="mcp v2", limit=3)]
        newest = {run.name: run.id for run in reversed(store.runs())}
        paid = store.calls(run="mcp agent", name="refund", limit=1)[0].span_id
        word = store.sql("SELECT text FROM messages WHERE id = 40").fetchall()[0][0].split()[0]
    versions = {"a": newest["mcp v1"], "b": newest["mcp v2"]}
    sides = versions | {"by": "variables.question"}
    return [
        ("runs", "runs", {}),
        ("calls, newest", "calls", {}),
        ("calls, a run, failed", "calls", {"run": "run-7", "status": "error"}),
        ("calls, dearest of a model", "calls", {"model": "gpt-5", "order": "dearest"}),
        ("calls, common word", "calls", {"text": word}),
        ("calls, page 50", "calls", {"limit": 200, "offset": 10_000}),
        ("show, oldest", "show", {"id": first.span_id}),
        ("show, a trace", "show", {"id": first.trace_id}),
        ("show, newest", "show", {"id": "last"}),
        ("sql, by model", "sql", {"query": "SELECT model, count(*), avg(cost_usd) FROM calls GROUP BY 1"}),
        ("sql, all columns", "sql", {"query": "SELECT * FROM calls", "limit": 200}),
        ("attribute, again", "attribute", {"id": spans[0], "segments": "line", "wait_s": 300}),
        ("compare", "compare", sides),
        ("compare, worse pairs", "compare", {**sides, "outcome": "worse", "limit": 50}),
        ("why, a refund", "why", {"id": paid, "repeats": 5, "wait_s": 300}),
        ("bisect, two runs", "bisect", {**versions, "wait_s": 300}),
        ("replay, recorded", "replay", {"ids": spans, "mode": "recorded", "wait_s": 300}),
        ("prompts", "prompts", {}),
        ("prompts, of a name", "prompts", {"name": "mcp benchmark"}),
        ("prompts, diff", "prompts", {"name": "mcp benchmark", "version": "v2", "against": "v1"}),
        ("doctor", "doctor", {}),
    ]  # fmt: skip


def measure_tools(path: Path, times: int) -> None:
    """Print the time and length of each answer."""
    door = Door(path, functions=FUNCTIONS, folder=str(ROOT))
    print(f"{'asked':28}{'p50 s':>8}{'most s':>8}{'CPU s':>8}{'tokens':>8}")
    for what, tool, arguments in list_questions(path):
        took, used, result = time_asks(lambda t=tool, a=arguments: door.call(t, **a), times)  # type: ignore[misc]
        tokens = 2 * estimate_tokens(json.dumps(result, ensure_ascii=False, separators=(",", ":")))
        over = f"  over {MOST_SECONDS:g} s" if max(took) > MOST_SECONDS else ""
        over += f"  over {MOST_TOKENS:,}" if tokens > MOST_TOKENS else ""
        error = "  not answered" if "error" in result["recorded"] else ""
        print(
            f"{what:28}{statistics.median(took):8.2f}{max(took):8.2f}{statistics.median(used):8.2f}"
            f"{tokens:8,}{over}{error}"
        )


def time_asks(
    ask: Callable[[], dict[str, Any]], times: int
) -> tuple[list[float], list[float], dict[str, Any]]:
    """Return the seconds and the CPU seconds of each ask but the first, and the last answer."""
    took, used = [], []
    result = ask()
    for _ in range(times):
        began, cpu = time.perf_counter(), time.process_time()
        result = ask()
        took.append(time.perf_counter() - began)
        used.append(time.process_time() - cpu)
    return took, used, result


def measure_mending() -> None:
    """Print how an agent with the tools alone mends the demo's second prompt."""
    from llm_trace.demo import scenes, world

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demo.duckdb"
        scenes.answer_customers(path, 100)
        door = Door(path, functions=["llm_trace.demo.desk:handle"], folder=str(ROOT))
        mending = ScriptedAgent(door.call).mend("refund-desk v1", "refund-desk v2")
    print(*(f"{number:2} {verdict}" for number, verdict in enumerate(mending.verdicts, 1)), sep="\n")
    right = "the planted one" if mending.line == world.EXAMPLE else "not the planted one"
    print(f"{len(mending.verdicts)} calls of tools; the line to blame, {right}: {mending.line}")


def measure_tokens() -> None:
    """Print the estimate of tokens over those of tokenisers that litellm brings along."""
    import litellm
    import tiktoken
    from tokenizers import Tokenizer

    folder = Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    theirs: dict[str, Callable[[str], int]] = {
        name: partial(_count_tokens, tiktoken.get_encoding(name)) for name in ("cl100k_base", "o200k_base")
    }
    anthropic = Tokenizer.from_file(str(folder / "anthropic_tokenizer.json"))
    theirs["anthropic"] = lambda text: len(anthropic.encode(text).ids)
    print(f"{'text':12}{'characters':>12}{'estimate':>10}" + "".join(f"{name:>14}" for name in theirs))
    for name, text in make_texts().items():
        estimate = estimate_tokens(text)
        counts = [count(text) for count in theirs.values()]
        low = "  TOO LOW" if max(counts) > estimate else ""
        shares = "".join(f"{number:8,} {estimate / number:4.2f}x" for number in counts)
        print(f"{name:12}{len(text):12,}{estimate:10,}{shares}{low}")


def _count_tokens(encoding: Any, text: str) -> int:
    return len(encoding.encode(text, disallowed_special=()))


def make_texts() -> dict[str, str]:
    """Return texts of many kinds."""
    pick = random.Random(1)
    rows = [
        {"id": pick.randbytes(8).hex(), "ms": pick.random() * 1000, "input": "It came broken 75 days ago"}
        for _ in range(100)
    ]
    return {
        "prose": (ROOT / "README.md").read_text(encoding="utf-8"),
        "code": (ROOT / "llm_trace" / "stores" / "duckdb.py").read_text(encoding="utf-8"),
        "JSON": json.dumps(rows),
        "ids": " ".join(pick.randbytes(8).hex() for _ in range(300)),
        "base64": base64.b64encode(pick.randbytes(6000)).decode(),
        "letters": "".join(pick.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", k=5000)),
        "lower case": "".join(pick.choices("abcdefghijklmnopqrstuvwxyz", k=5000)),
        "numbers": " ".join(str(pick.random()) for _ in range(500)),
        "signs": "".join(pick.choices("!@#$%^&*()_+-=[]{}|;:,.<>/?~`'\"\\", k=4000)),
        "German": "Die Rückerstattungsrichtlinie für Verbraucherinnen gilt innerhalb von dreißig Tagen. "
        * 30,
        "Chinese": "".join(chr(pick.randrange(0x4E00, 0x9FA5)) for _ in range(2000)),
        "Thai": "นี่คือคำถามเกี่ยวกับการคืนเงิน" * 50,
        "Ethiopic": "".join(chr(pick.randrange(0x1200, 0x1380)) for _ in range(1500)),
        "emoji": "".join(chr(pick.randrange(0x1F300, 0x1F6FF)) for _ in range(1000)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--mend", action="store_true")
    parser.add_argument("--tokens", action="store_true")
    options = parser.parse_args()
    if options.mend:
        measure_mending()
    elif options.tokens:
        measure_tokens()
    elif options.store is not None:
        record_runs(options.store)
        measure_tools(options.store, options.times)
    else:
        from benchmarks.ingest import fold, write_calls

        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) / "calls.duckdb"
            write_calls(store.with_name(store.name + ".spool"), options.calls)
            fold(store)
            record_runs(store)
            measure_tools(store, options.times)


if __name__ == "__main__":
    main()
