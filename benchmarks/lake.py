"""How fast a fleet fills a lake, that nothing is lost or doubled there, and what a question reads.

    python -m benchmarks.lake                                 4 x 25,000 calls, questions over 1,000,000
    python -m benchmarks.lake --calls 100000 --asked 10000000     the full table

Calls are those of benchmarks/ingest.py. Writers are processes with a spool each, written before the clock
starts; they are killed at random and started again, while another process asks for the newest calls. For the
questions the calls are copied to as many days as it takes, with ids of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.ingest import TAGS, write_calls
from llm_trace.stores.duckdb import open_store
from llm_trace.stores.lake.delta import LakeTable, TableChange
from llm_trace.stores.lake.parts import write_part
from llm_trace.stores.lake.tables import SHAPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_trace.stores.duckdb import Store

WRITERS = 4
DAY_NS = 24 * 3600 * 10**9
SHIP = "import sys; from llm_trace.stores.lake.shipping import ship; ship(sys.argv[1], sys.argv[2])"
ASK = """
import json, sys, time
from llm_trace.stores.duckdb import open_store
lake, times, largest = None, [], 0
while sys.stdin not in __import__("select").select([sys.stdin], [], [], 0)[0]:
    try:
        lake = lake or open_store(sys.argv[1])
    except FileNotFoundError:
        time.sleep(0.1)
        continue
    began = time.perf_counter()
    newest = lake.calls(limit=50)
    times.append(time.perf_counter() - began)
    assert len({call.span_id for call in newest}) == len(newest)
    count, distinct = lake.fetch("SELECT count(*), count(DISTINCT span_id) FROM calls")[0]
    assert count == distinct >= largest, (count, distinct, largest)
    largest = count
print(json.dumps(times))
"""
DIGEST = """
    SELECT count(*), sum(hash(span_id, trace_id, name, status, model, cost_usd, input_tokens, tags, run,
                              input::TEXT, output::TEXT, metadata::TEXT)::HUGEINT),
           (SELECT sum(hash(span_id, direction, position, role, text, body::TEXT)::HUGEINT)
            FROM call_messages)
    FROM calls"""


def measure_fleet(folder: Path, calls: int, kills: int, seed: int) -> str:
    """Ship from several processes, some of them killed; print how that went; return the lake's address."""
    address = f"delta://{folder}/lake"
    stores = [folder / f"writer{number}.duckdb" for number in range(WRITERS)]
    for number, store in enumerate(stores):
        write_calls(store.with_name(f"{store.name}.spool"), calls, seed=number)
        shutil.copytree(store.with_name(f"{store.name}.spool"), folder / "one" / f"{number}")
    asking = _start(ASK, address, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    began = time.perf_counter()
    killed = _ship_all(address, stores, kills, random.Random(seed))
    seconds = time.perf_counter() - began
    times = json.loads(asking.communicate(b"stop\n")[0])
    total = WRITERS * calls
    print(
        f"{WRITERS} writers x {calls:,} calls, killed {killed} times: {total / seconds:,.0f} calls/s "
        f"committed ({seconds:.1f} s on {os.cpu_count()} cores)"
    )
    print(
        f"newest 50 asked meanwhile {len(times)} times: median {statistics.median(times) * 1e3:.0f} ms, "
        f"slowest {max(times) * 1e3:.0f} ms; no id twice at any time"
    )
    _compare(folder, address, total)
    return address


def _ship_all(address: str, stores: list[Path], kills: int, pick: random.Random) -> int:
    """Run a shipper for each store until it ends by itself; kill some of them; return how many were."""
    running = {store: _start(SHIP, address, store) for store in stores}
    killed, until = 0, time.perf_counter() + pick.uniform(0.5, 2.0)
    while running:
        time.sleep(0.02)
        for store, process in list(running.items()):
            if process.poll() is not None:
                del running[store]
                assert process.returncode == 0, process.returncode
        if running and killed < kills and time.perf_counter() > until:
            store = pick.choice(sorted(running))
            running[store].kill()
            running[store].wait()
            running[store] = _start(SHIP, address, store)
            killed, until = killed + 1, time.perf_counter() + pick.uniform(0.5, 2.0)
    return killed


def _compare(folder: Path, address: str, total: int) -> None:
    """Compare the lake with the store of one machine that has all the spools."""
    one = folder / "one.duckdb"
    spool = one.with_name("one.duckdb.spool")
    spool.mkdir()
    for file in (folder / "one").rglob("*.jsonl"):
        shutil.move(file, spool / file.name)
    with open_store(one) as store, open_store(address) as lake:
        alike = store.fetch(DIGEST) == lake.fetch(DIGEST)
        ((count,),) = lake.fetch("SELECT count(*) FROM calls")
        size = sum(file.stat().st_size for file in (folder / "lake").rglob("*.parquet"))
    print(
        f"{count:,} of {total:,} rows, contents {'alike' if alike else 'DIFFERENT'} to a store that "
        f"ingested the same spools; {size / count:,.0f} bytes a call in the lake, "
        f"{one.stat().st_size / count:,.0f} in the store"
    )
    one.unlink()


def fill_days(folder: Path, address: str, calls: int) -> int:
    """Copy the calls of a lake to further days until it has so many; return how many that are."""
    root = address.removeprefix("delta://")
    tables = {name: LakeTable(root, name, SHAPES[name].time) for name in ("calls", "messages")}
    with open_store(address) as lake:
        ((count,),) = lake.fetch("SELECT count(*) FROM calls")
    copies = max(1, round(calls / count))
    with open_store(address) as lake, lake._query() as connection:
        connection.execute("SET memory_limit = '2GB'")
        for name, table in tables.items():
            table.load()
            source = ", ".join(f"'{root}/{name}/{file.path}'" for file in table.list_files())
            query = f"SELECT {{}} FROM read_parquet([{source}], hive_partitioning = false)"
            for copy in range(1, copies):
                parts = _copy_day(folder, connection, table, query, copy)
                table.commit(TableChange(add=parts))
    return count * copies


def _copy_day(folder: Path, connection: object, table: LakeTable, query: str, copy: int) -> list[object]:
    """Write a table's rows as those of a day so many days later."""
    shift, hours = copy * DAY_NS, copy * 24
    address = f"printf('%06x', ('0x' || left(id, 6))::INT + {hours}) || substr(id, 7)"
    lists = f"[{address.replace('id', 'm')} for m in {{0}}] AS {{0}}"
    picked = {
        "messages": f"* REPLACE ({address} AS id, first_ns + {shift} AS first_ns)",
        "calls": f"""* REPLACE (
            left(md5(span_id || {copy}), 16) AS span_id, md5(trace_id || {copy}) AS trace_id,
            left(md5(parent_id || {copy}), 16) AS parent_id,
            start_ns + {shift} AS start_ns, end_ns + {shift} AS end_ns,
            {lists.format("messages_in")}, {lists.format("messages_out")})""",
    }[table.name]
    time_column, rows = SHAPES[table.name].time, query.format(picked)
    days = connection.execute(f"SELECT DISTINCT {time_column} // {DAY_NS} FROM ({rows})").fetchall()
    parts = []
    for (number,) in days:
        day = time.strftime("%Y-%m-%d", time.gmtime(number * 86_400))
        place = f"day={day}/{os.urandom(8).hex()}.parquet"
        path = Path(table.uri) / place
        path.parent.mkdir(exist_ok=True)
        of_day = (
            f"FROM ({rows}) WHERE {time_column} // {DAY_NS} = {number} ORDER BY {SHAPES[table.name].order}"
        )
        part = write_part(connection, table.name, of_day, path, place)
        parts += [part] if part else []
    return parts


def measure_questions(address: str) -> None:
    """Print how long each question takes, at first and again, and what share of the lake's bytes it reads."""
    root = Path(address.removeprefix("delta://"))
    size = sum(file.stat().st_size for file in root.rglob("*.parquet"))
    lake = open_store(address)
    ((count, first, last),) = lake.fetch("SELECT count(*), min(start_ns), max(start_ns) FROM calls")
    middle = first + (last - first) // DAY_NS // 2 * DAY_NS
    trace_id = lake.fetch("SELECT trace_id FROM calls WHERE start_ns >= ? LIMIT 1", middle)[0][0]
    by_model = """
        SELECT model, count(*), sum(cost_usd), quantile_cont(duration_ms, 0.95) FROM calls
        WHERE start_ns >= ? AND start_ns < ? GROUP BY model"""
    questions: dict[str, Callable[[Store], object]] = {
        "newest 50": lambda s: s.calls(limit=50),
        "50 with a tag within an hour": lambda s: s.calls(
            tag=TAGS[0], since=middle, until=middle + DAY_NS // 24, limit=50
        ),
        "one trace": lambda s: s.trace(trace_id),
        "a day by model": lambda s: s.sql(by_model, middle, middle + DAY_NS).fetchall(),
    }
    print(f"\n{count:,} calls, {size / 1e9:.2f} GB in {len(list(root.rglob('*.parquet')))} files")
    print(f"{'':32}{'first s':>10}{'again s':>10}{'MB read':>10}{'% of bytes':>12}")
    for name, ask in questions.items():
        with open_store(address) as fresh:
            before, began = _count_read(), time.perf_counter()
            answer = ask(fresh)
            first_s, read = time.perf_counter() - began, _count_read() - before
            assert answer
            times = []
            for _ in range(3):
                began = time.perf_counter()
                ask(fresh)
                times.append(time.perf_counter() - began)
        print(
            f"{name:32}{first_s:10.2f}{statistics.median(times):10.2f}"
            f"{read / 1e6:10.1f}{100 * read / size:12.2f}"
        )


def _count_read() -> int:
    """Return how many bytes this process has read so far, from the disk or its cache."""
    lines = Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("rchar")).split()[1])


def _start(script: str, *arguments: object, **options: object) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, **options)  # type: ignore[call-overload]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=25_000, help="of each writer")
    parser.add_argument("--asked", type=int, default=1_000_000, help="calls that questions are asked of")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        address = measure_fleet(folder, options.calls, options.kills, options.seed)
        fill_days(folder, address, options.asked)
        measure_questions(address)


if __name__ == "__main__":
    main()
