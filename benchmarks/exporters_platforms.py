"""Delivery to Comet and Opik: calls a second to their strict stand-ins, what is lost, and the platforms' own
clients beside it.

    python -m benchmarks.exporters_platforms [--calls 20000] [--client-calls 2000]

The stand-in runs in a process of its own and checks every request, as in the tests; it bounds the rate of
all. The spool is written by `llm_trace.trace` before the clock starts. The clients are comet_llm in
benchmarks/.envs/comet_llm and opik in benchmarks/.envs/opik; they make their calls within the measured time,
as they cannot be told apart, and are left out where their environment is absent.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.capture import table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from llm_trace.exporters.protocol import Exporter

REACH = 2_000
"""Calls a second."""
ENVS = Path(__file__).parent / ".envs"
_COMET_LLM = """
import comet_llm
for n in range({n}):
    comet_llm.log_prompt(prompt=f"Say {{n}}", output="yes")
"""
_OPIK = """
import opik
client = opik.Opik(api_key="{key}", workspace="team", project_name="demo")
for n in range({n}):
    client.trace(name="ask").span(name="ask", type="llm", input={{"q": str(n)}}, output={{"a": "yes"}})
client.end()
"""
CLIENTS = {"comet": ("comet_llm", _COMET_LLM), "opik": ("opik", _OPIK)}
"""Environment and program that sends n calls."""


def serve(platform: str, pipe: Connection) -> None:
    """Run a stand-in until told to stop; tell how many distinct calls it has whenever asked."""
    from tests.helpers.standins.comet import Comet
    from tests.helpers.standins.opik import Opik

    with Comet() if platform == "comet" else Opik() as server:
        pipe.send(server.url)
        while pipe.recv():
            pipe.send(len(server.experiments if isinstance(server, Comet) else server.spans))
            server.received.clear()


@contextmanager
def standing_in(platform: str) -> Iterator[tuple[str, Connection]]:
    """Give the address of a stand-in, and a pipe that answers how much arrived."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(platform, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv(), ours
    finally:
        ours.send(False)
        process.join(10)


def count_arrived(pipe: Connection) -> int:
    pipe.send(True)
    return int(pipe.recv())


def exporter_of(platform: str, url: str) -> Exporter:
    from llm_trace.exporters.comet import CometExporter
    from llm_trace.exporters.comet.settings import CometSettings
    from llm_trace.exporters.opik import OpikExporter
    from llm_trace.exporters.opik.settings import OpikSettings
    from tests.helpers.standins.comet import KEY

    if platform == "comet":
        return CometExporter(CometSettings(KEY, "team", "demo", "demo-runs", url))
    return OpikExporter(OpikSettings(KEY, "team", "demo", f"{url}/api/"))


def record(folder: Path, calls: int) -> Path:
    """Trace calls of a model, each a trace of its own, and return the spool."""
    import llm_trace
    from llm_trace.spool.paths import get_spool_dir

    store = folder / "t.duckdb"
    llm_trace.configure(store, record_env=False)

    @llm_trace.trace(kind="llm", model="bench")
    def ask(prompt: str) -> str:
        return f"{prompt}? Yes."

    for number in range(calls):
        ask(f"Is {number} a number, and if so, what of it? " * 4)
    llm_trace.shutdown()
    return get_spool_dir(store)


def deliver(platform: str, spool: Path) -> tuple[int, float, float]:
    """Return how many calls arrived, and the wall and CPU seconds that it took."""
    from llm_trace.exporters.delivery.delivery import Delivery

    with standing_in(platform) as (url, pipe):
        delivery = Delivery(spool, exporter_of(platform, url), every=True)
        delivery.claim()
        begin, cpu = time.perf_counter(), time.process_time()
        while delivery.step():
            pass
        took = time.perf_counter() - begin, time.process_time() - cpu
        delivery.close()
        return count_arrived(pipe), *took


def by_client(platform: str, calls: int) -> tuple[int, float] | None:
    """Return how many calls arrived and the seconds that the platform's own client took, its start left
    out as far as it can be.
    """
    from tests.helpers.standins.comet import KEY

    env, program = CLIENTS[platform]
    python = ENVS / env / "bin" / "python"
    if not python.exists():
        return None
    with standing_in(platform) as (url, pipe), tempfile.TemporaryDirectory() as home:
        names = {"COMET_API_KEY": KEY, "COMET_WORKSPACE": "team", "COMET_PROJECT_NAME": "demo"}
        quiet = {
            "COMET_ERROR_TRACKING_ENABLE": "0",
            "OPIK_SENTRY_ENABLE": "false",
            "OPIK_ANALYTICS_ENABLE": "false",
        }
        urls = {"COMET_URL_OVERRIDE": url, "OPIK_URL_OVERRIDE": f"{url}/api/"}
        variables: dict[str, str] = os.environ | names | quiet | urls | {"HOME": home}
        took: list[float] = []
        for count in (1, 1, calls):  # the first one loads the client from the disk
            code = program.format(n=count, key=KEY)
            begin = time.perf_counter()
            subprocess.run(
                [str(python), "-c", code], env=variables, cwd=home, check=True, capture_output=True
            )
            took.append(time.perf_counter() - begin)
        return count_arrived(pipe) - 2, took[2] - took[1]


def row(platform: str, spool: Path, calls: int, client_calls: int) -> list[str]:
    count, wall, cpu = deliver(platform, spool)
    rate = count / wall
    client = by_client(platform, client_calls)
    cells: list[Any] = [platform, f"{calls:,}", f"{calls - count:,}", f"{rate:,.0f}", f"{count / cpu:,.0f}"]
    if client is None:
        return [*cells, "not installed", "", _met(calls - count, rate)]
    theirs = client[0] / client[1]
    return [*cells, f"{theirs:,.0f}", f"{rate / theirs:.1f}", _met(calls - count, rate)]


def _met(lost: int, rate: float) -> str:
    return "met" if lost == 0 and rate >= REACH else f"MISSED: 0 lost, {REACH:,}/s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--client-calls", type=int, default=2_000)
    options = parser.parse_args()
    rows = []
    for platform in CLIENTS:
        with tempfile.TemporaryDirectory() as folder:
            spool = record(Path(folder), options.calls)
            rows.append(row(platform, spool, options.calls, options.client_calls))
    header = (
        "",
        "calls",
        "lost",
        "calls/s",
        "per CPU s",
        "own client, calls/s",
        "ratio",
        f"{REACH:,}/s, 0 lost",
    )
    sys.stdout.write(table(header, rows) + "\n")


if __name__ == "__main__":
    main()
