"""An ingest that is killed at any point loses nothing and doubles nothing."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from llm_trace import open_store
from llm_trace.stores import ingest as ingesting
from llm_trace.stores import load
from tests.helpers.spool_toys import HandWriter, bodies, spool_of

# Kills itself at the given occurrence of a point of the ingest.
CHILD = textwrap.dedent("""
    import contextlib, os, signal, sys
    from llm_trace.stores import ingest, load, merge, progress
    path, point, left = sys.argv[1], sys.argv[2], int(sys.argv[3])
    load.SLICE_BYTES = 3000

    def here(name):
        global left
        if name == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(owner, attribute, name):
        inner = getattr(owner, attribute)
        def wrapped(*args, **kwargs):
            here("before " + name)
            result = inner(*args, **kwargs)
            here("after " + name)
            return result
        setattr(owner, attribute, wrapped)

    around(merge, "fold_messages", "messages")
    around(merge.Fold, "fold", "fold")
    around(merge.Fold, "keep_numbers", "numbers")
    around(progress, "_append_quarantine", "quarantine")
    around(ingest._Ingest, "_delete", "delete")
    around(ingest.Path, "unlink", "unlink")
    around(ingest, "_mark_interrupted", "interrupted")

    class Killing:
        def __init__(self, inner): self.inner = inner
        def __getattr__(self, name): return getattr(self.inner, name)
        def execute(self, query, *values):
            name = query.split()[0].lower()
            here("before " + name)
            result = self.inner.execute(query, *values)
            here("after " + name)
            return result

    lend = ingest.lend

    @contextlib.contextmanager
    def lend_killing(*args, **settings):
        with lend(*args, **settings) as connection:
            yield Killing(connection)

    ingest.lend = lend_killing
    ingest.ingest(path)
""")
POINTS = (
    "after messages", "after fold", "before quarantine", "after quarantine", "after numbers",
    "before commit", "after commit", "before delete", "after unlink", "after interrupted",
    "before detach", "after detach",
)  # fmt: skip


def write_spool(path: Path) -> None:
    """Write two writers' files: calls over slice borders, shared messages, bad lines, a torn end."""
    system = {"role": "system", "content": "Be kind."}
    for which in range(2):
        writer = HandWriter(spool_of(path), writer=f"{which:016x}")
        for number in range(which * 100, which * 100 + 30):
            if number % 10 == 9:
                writer.rotate()
            first = 0 if number % 100 == 0 or number % 10 == 9 else None
            n = (number % 100 + 1) % 10 + 1
            own = {"role": "user", "content": f"question {number}"}
            messages = [*(bodies(system) if first == 0 else []), {"n": n, "body": own}]
            writer.start(
                number, input={"m": {"$messages": [0, 2]}}, messages_in=[[0, 0], [n, n]], messages=messages
            )
            if number % 7 == 0:
                writer.raw(b"garbage %d\n" % number)
            if number % 10 != 3:
                writer.end(number, output="x" * 150)
        writer.raw(b'{"event":"end","torn')
        writer.close()


def content(path: Path) -> dict[str, Any]:
    """Return all that a reader can see, after one more ingest: a killed one may leave its work folder."""
    ingesting.ingest(path)
    store = open_store(path)
    folder = spool_of(path)
    return {
        "calls": store.calls(limit=None),
        "messages": sorted(store.sql("SELECT role, text FROM messages").fetchall()),
        "files": sorted(
            store.sql("SELECT file, position, lines, bad_lines FROM _files WHERE bad_lines > 0").fetchall()
        ),
        "unfinished": sorted(store.sql("SELECT span_id, state FROM _unfinished").fetchall()),
        "numbers": store.sql("SELECT count(*) FROM _numbers").fetchall(),
        "quarantine": {p.name: p.read_bytes() for p in (folder / "quarantine").glob("*")},
        "left": sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock")),
    }


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "t.duckdb"
    write_spool(path)
    return spool_of(path)


@pytest.fixture(scope="module")
def undisturbed(spool: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("undisturbed") / "t.duckdb"
    shutil.copytree(spool, spool_of(path))
    return content(path)


def test_the_undisturbed_store_holds_everything(undisturbed: dict[str, Any]) -> None:
    assert len(undisturbed["calls"]) == 60
    assert [call.status for call in undisturbed["calls"]].count("interrupted") == 6
    assert len(undisturbed["messages"]) == 61
    assert sum(len(data.splitlines()) for data in undisturbed["quarantine"].values()) == 9 + 2
    assert undisturbed["left"] == ["quarantine"]


@pytest.mark.parametrize("point", POINTS)
def test_killed_there_an_ingest_goes_on_where_it_was(
    spool: Path, undisturbed: dict[str, Any], tmp_path: Path, point: str
) -> None:
    path = tmp_path / "t.duckdb"
    shutil.copytree(spool, spool_of(path))
    for occurrence in (1, 3):
        done = subprocess.run([sys.executable, "-c", CHILD, str(path), point, str(occurrence)], check=False)
        assert done.returncode in (-signal.SIGKILL, 0 if occurrence > 1 else None)
    assert content(path) == undisturbed


def test_killed_at_random_moments_an_ingest_goes_on_where_it_was(
    spool: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "t.duckdb"
    shutil.copytree(spool, spool_of(path))
    pick = random.Random(7)
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path), "never", "1"])
        time.sleep(pick.uniform(0.2, 1.2))
        child.kill()
        child.wait()
    assert content(path) == undisturbed


def test_a_live_file_that_grows_between_killed_ingests_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.duckdb"
    writer = HandWriter(spool_of(path))
    for number in range(6):
        writer.start(
            number,
            input={"m": {"$messages": [0, 1]}},
            messages_in=[[number // 2, number // 2]],
            messages=bodies({"role": "user", "content": f"q{number}"}, first=number // 2)
            if number % 2 == 0
            else [],
        )
        point = ("after fold", "before commit", "after commit")[number % 3]
        subprocess.run([sys.executable, "-c", CHILD, str(path), point, "1"], check=False)
        writer.end(number)
    monkeypatch.setattr(load, "SLICE_BYTES", 500)
    calls = open_store(path).calls()
    assert [call.input["m"][0]["content"] for call in calls] == ["q4", "q4", "q2", "q2", "q0", "q0"]
    assert {call.status for call in calls} == {"ok"}
