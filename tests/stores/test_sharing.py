"""Many processes and threads, one store: nobody sees a lock error, and what is held by others is named."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from llm_trace import open_store
from llm_trace.errors import StoreError, StoreLockedError
from llm_trace.stores.connection import Database
from llm_trace.stores.ingest import ingest
from llm_trace.stores.instances import connect, interrupt_queries
from tests.helpers.spool_toys import HandWriter, span, spool_of

ROOT = Path(__file__).resolve().parents[2]


def python(script: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **options)


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline()


def exit_code(child: subprocess.Popen[str]) -> int:
    child.communicate()
    return child.returncode


def test_writers_readers_and_ingesters_at_once(path: Path) -> None:
    write = """
        import sys; from pathlib import Path; from tests.helpers.spool_toys import HandWriter, spool_of
        writer = HandWriter(spool_of(Path(sys.argv[1])))
        for number in range(int(sys.argv[2]), int(sys.argv[2]) + 300):
            writer.call(number, output="x" * 200)
            if number % 100 == 50: writer.rotate()
        """
    read = """
        import sys, time; from llm_trace import open_store
        last, until = 0, time.monotonic() + 4
        while time.monotonic() < until:
            count = open_store(sys.argv[1]).sql("SELECT count(*) FROM calls").fetchone()[0]
            assert count >= last, (count, last)
            last = count
        print("fine")
        """
    HandWriter(spool_of(path)).close()
    writers = [python(write, path, number * 1000) for number in range(3)]
    readers = [python(read, path) for _ in range(3)]
    assert [reader.communicate()[0] for reader in readers] == ["fine\n"] * 3
    assert [exit_code(writer) for writer in writers] == [0, 0, 0]
    store = open_store(path)
    assert (
        store.sql(
            "SELECT count(*), count(DISTINCT span_id), count(*) FILTER (status = 'ok') FROM calls"
        ).fetchone()
        == (900,) * 3
    )


def test_threads_share_a_store_while_one_ingests(path: Path) -> None:
    writer = HandWriter(spool_of(path))
    writer.call(0)
    store = open_store(path)
    failures: list[Exception] = []

    def read() -> None:
        try:
            for _ in range(8):
                assert store.call(span(0)).output == "yes"
        except Exception as exc:
            failures.append(exc)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 4):
        writer.call(number)
        store.ingest()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(store.calls()) == 4


HOLD = """
    import duckdb, sys, time
    connection = duckdb.connect(sys.argv[1])
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
    """


def test_a_foreign_process_that_holds_the_file_is_waited_for(path: Path) -> None:
    HandWriter(spool_of(path)).call(1)
    ingest(path)
    holder = python(HOLD, path, 1)
    assert first_line(holder) == "held\n"
    assert len(open_store(path).calls()) == 1
    assert exit_code(holder) == 0


def test_after_the_timeout_the_holder_is_named(path: Path) -> None:
    HandWriter(spool_of(path)).call(1)
    ingest(path)
    holder = python(HOLD, path, 60)
    assert first_line(holder) == "held\n"
    try:
        with pytest.raises(
            StoreLockedError,
            match=rf"held by process {holder.pid} for 0.3 s: close it there, or pass a longer",
        ):
            open_store(path, timeout=0.3)
    finally:
        holder.kill()
        holder.communicate()


def test_a_connection_in_this_process_is_named_too(path: Path) -> None:
    HandWriter(spool_of(path)).call(1)
    ingest(path)
    with (
        duckdb.connect(str(path)),
        pytest.raises(StoreLockedError, match="a DuckDB connection in this process"),
    ):
        open_store(path, timeout=0.2)


def test_an_ingest_that_hangs_is_named(path: Path) -> None:
    HandWriter(spool_of(path)).call(1)
    holder = python(
        """
        import sys, time; from pathlib import Path; from llm_trace.stores.locks import Deadline, lock_path
        with lock_path(Path(sys.argv[1]), Deadline(5)):
            print("held", flush=True)
            time.sleep(60)
        """,
        spool_of(path) / "ingest.lock",
    )
    assert first_line(holder) == "held\n"
    try:
        with pytest.raises(StoreLockedError, match=rf"ingest.lock' has been held by process {holder.pid}"):
            open_store(path, timeout=0.3)
    finally:
        holder.kill()
        holder.communicate()


def test_a_reader_that_ends_leaves_the_others_their_lock(path: Path) -> None:
    HandWriter(spool_of(path)).call(1)
    ingest(path)
    database = Database(path, spool_of(path), 5.0)
    with database.reading() as connection:
        with database.reading():
            pass
        done = python("import duckdb, sys; duckdb.connect(sys.argv[1])", path, stderr=subprocess.DEVNULL)
        assert exit_code(done) == 1
        assert connection.execute("SELECT count(*) FROM calls").fetchone() == (1,)
    done = python("import duckdb, sys; duckdb.connect(sys.argv[1])", path)
    assert exit_code(done) == 0


def test_a_waiting_ingest_is_let_in_between_readers(path: Path) -> None:
    writer = HandWriter(spool_of(path))
    writer.call(1)
    store = open_store(path)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            store.calls()

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        writer.call(2)
        ingest(path, timeout=60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(store.calls()) == 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_store_works_after_a_fork(path: Path) -> None:
    writer = HandWriter(spool_of(path))
    writer.call(1)
    store = open_store(path)
    result = store.sql("SELECT span_id FROM calls")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert store.calls()[0].output == "yes"
            try:
                result.fetchall()
            except StoreError as exc:
                code = 0 if "before a fork" in str(exc) else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert result.fetchall() == [(span(1),)]


READ_ONLY = """
    import logging, os, sys
    import duckdb, llm_trace.semconv
    from llm_trace import open_store
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    open_store(sys.argv[1])  # whatever is loaded late is loaded while the interpreter can still be read
    print("ready", flush=True)
    sys.stdin.readline()
    os.setgid(65534)
    os.setuid(65534)
    store = open_store(sys.argv[1])
    print(len(store.calls()), store.pending)
    """


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="drops its rights, which only root can")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_store_that_cannot_be_written_is_read(what: str, request: pytest.FixtureRequest) -> None:
    folder = tempfile.TemporaryDirectory()  # pytest's own are closed to others
    request.addfinalizer(folder.cleanup)
    path = Path(folder.name) / "traces.duckdb"
    writer = HandWriter(spool_of(path))
    writer.call(1)
    child = python(READ_ONLY, path, stdin=subprocess.PIPE)
    assert first_line(child) == "ready\n"
    size = writer.path.stat().st_size
    writer.call(2)
    path.parent.chmod(0o777 if what == "file" else 0o755)
    path.chmod(0o444 if what == "file" else 0o666)
    for place in (spool_of(path), *spool_of(path).iterdir()):
        place.chmod(0o755)
    out = child.communicate("go\n")[0]
    pending = writer.path.stat().st_size - size
    assert out == (
        f"{path} cannot be written: {pending} bytes of its spool are not ingested and not shown\n1 "
        f"{pending}\n"
    )


def test_what_cannot_be_written_is_counted_and_logged(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer = HandWriter(spool_of(path))
    writer.call(1)
    ingest(path)
    writer.call(2)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with caplog.at_level(logging.WARNING, logger="llm_trace"):
        store = open_store(path)
    assert (len(store.calls()), store.pending > 0) == (1, True)
    assert "cannot be written" in caplog.text
    path.unlink()
    with pytest.raises(StoreError, match="cannot be made from its spool"):
        open_store(path)


def test_on_a_full_disk_what_is_there_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer = HandWriter(spool_of(path))
    writer.call(1)
    ingest(path)
    writer.call(2)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "TemporaryDirectory", full)
        with pytest.raises(StoreError, match="cannot be ingested, its spool is kept: .*No space left"):
            open_store(path)
        patched.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        store = open_store(path)
    assert (len(store.calls()), store.pending > 0) == (1, True)
    assert "No space left" in caplog.text
    store.ingest()
    assert (len(store.calls()), store.pending) == (2, 0)


def test_a_file_that_is_no_database_says_so(path: Path) -> None:
    path.write_text("hello, I am no database, only a text that is long enough to be read as one" * 100)
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(path)


NOTEBOOK = """
    import sys, types
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell)
    sys.modules["ipywidgets"] = None
    from llm_trace import open_store
    store = open_store(sys.argv[1])
    print(len(store.calls()), len(store.sql("FROM calls")))
    """


def test_a_store_opens_in_a_notebook_without_ipywidgets(path: Path) -> None:
    HandWriter(spool_of(path)).call(1)
    child = python(NOTEBOOK, path)
    assert (child.communicate()[0], child.returncode) == ("1 1\n", 0)


def test_importing_the_store_does_not_import_duckdb() -> None:
    script = "import sys, llm_trace.stores.duckdb; sys.exit('duckdb' in sys.modules)"
    assert exit_code(python(script)) == 0


def test_interrupting_passes_over_a_connection_that_was_closed_meanwhile() -> None:
    closed, other = connect(), connect()
    closed.close()
    interrupt_queries()
    assert other.execute("SELECT 1").fetchall() == [(1,)]
