"""The spool's writer: format, faults, forks. Read back by hand, line by line."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from llm_trace import open_store
from llm_trace.examination import examine
from llm_trace.spool.losses import list_noted_losses, take_losses
from llm_trace.spool.paths import get_spool_dir
from llm_trace.spool.writer import SpoolWriter
from llm_trace.stores.diagnostics import count_totals


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()
    ]


def events(folder: Path) -> list[dict[str, Any]]:
    return [line for line in lines(folder) if line["event"] != "file"]


def expand(event: dict[str, Any]) -> list[int]:
    return [n for first, last in event["messages_in"] for n in range(first, last + 1)]


def message(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": text, **more}


def test_an_event_is_one_line_after_a_header(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "s")
    assert writer.write(b'{"event":"score","id":"1"')
    header, event = lines(tmp_path / "s")
    assert (header["event"], header["format"], header["pid"]) == ("file", 1, os.getpid())
    assert event == {"event": "score", "id": "1"}
    (path,) = (tmp_path / "s").iterdir()
    assert path.name == f"{header['writer']}.00000001.jsonl"


def test_messages_are_written_once_and_referred_to_by_ranges(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    a, b, tool = message("a" * 100), message("b" * 100), message("x", tool_call_id="1")
    same_ends = message("a" * 50 + "z" + "a" * 49)
    chats = [[a], [a, b], [a, b, tool], [tool, same_ends, a], [dict(a), same_ends, dict(tool)]]
    for chat in chats:
        writer.write(b'{"event":"start"', chat)
    found: dict[int, Any] = {}
    for event, chat in zip(events(tmp_path), chats, strict=True):
        found |= {m["n"]: m["body"] for m in event.get("messages", ())}
        assert [found[n] for n in expand(event)] == chat
    assert sorted(found) == [0, 1, 2, 3]


def test_a_long_chat_that_resends_its_history_stays_linear(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    chats: list[list[Any]] = [[] for _ in range(4)]
    for turn in range(100):
        for number, chat in enumerate(chats):
            chat.append(message(f"{number} {turn} ".ljust(300, "x")))
            writer.write(b'{"event":"start"', chat)
    size = sum(p.stat().st_size for p in tmp_path.iterdir())
    assert size < 5 * 4 * 100 * 300
    assert expand(events(tmp_path)[-1]) == [4 * turn + 3 for turn in range(100)]


def test_files_are_rotated_and_each_is_complete_in_itself(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, max_file_bytes=2000)
    for n in range(100):
        writer.write(b'{"event":"start","n":%d' % n, [message("hello " * 10)])
    files = sorted(tmp_path.glob("*.jsonl"))
    assert len(files) >= 3
    assert [e["n"] for e in events(tmp_path)] == list(range(100))
    for path in files:
        first = json.loads(path.read_bytes().splitlines()[1])
        assert first["messages"][0]["n"] == 0
    writers = {json.loads(p.read_bytes().splitlines()[0])["writer"] for p in files}
    assert len(writers) == 1


def is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_the_newest_file_of_a_living_writer_is_locked_and_no_other(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, max_file_bytes=100)
    for _ in range(5):
        writer.write(b'{"event":"start"')
    *older, newest = sorted(tmp_path.glob("*.jsonl"))
    assert is_locked(newest)
    assert not any(map(is_locked, older))
    writer.close()
    assert not is_locked(newest)


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, max_file_bytes=50_000)

    def work(name: int) -> None:
        for n in range(500):
            writer.write(b'{"event":"start","thread":%d,"n":%d' % (name, n), [message("m" * 50)])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = sorted((e["thread"], e["n"]) for e in events(tmp_path))
    assert found == [(name, n) for name in range(8) for n in range(500)]


def test_a_fork_writes_to_a_file_of_its_own(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path)
    writer.write(b'{"event":"start","who":"parent"')
    child = os.fork()
    if child == 0:
        writer.write(b'{"event":"start","who":"child"')
        os._exit(0)
    os.waitpid(child, 0)
    writer.write(b'{"event":"start","who":"parent again"')
    per_file = [
        [json.loads(line).get("who") for line in p.read_bytes().splitlines()]
        for p in tmp_path.glob("*.jsonl")
    ]
    assert sorted(per_file, key=len) == [[None, "child"], [None, "parent", "parent again"]]


def test_a_fork_does_not_keep_the_parents_lock(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from llm_trace.spool.writer import SpoolWriter
        writer = SpoolWriter(Path(sys.argv[1]))
        writer.write(b'{"event":"start"')
        if os.fork() == 0:
            print("ready", flush=True)
            sys.stdin.read()
            os._exit(0)
        os._exit(0)
    """)
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    child.wait()
    (path,) = tmp_path.glob("*.jsonl")
    assert not is_locked(path)
    child.stdin.close()
    child.stdout.close()


def test_a_removed_folder_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = SpoolWriter(tmp_path / "s")
    writer.write(b'{"event":"start","n":1', [message("hello")])
    shutil.rmtree(tmp_path / "s")
    writer._check_at = 0
    assert writer.write(b'{"event":"end","n":2', [message("hello")], sync=True)
    (event,) = events(tmp_path / "s")
    assert event["n"] == 2
    assert event["messages"][0]["body"] == message("hello")


def test_a_folder_that_cannot_be_made_is_counted_logged_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "s").write_text("a file is in the way")
    writer = SpoolWriter(tmp_path / "s")
    assert [writer.write(b'{"event":"start"') for _ in range(5)] == [False] * 5
    assert sum(writer.lost.values()) == 5
    assert len(caplog.records) == 1
    (tmp_path / "s").unlink()
    writer._retry_at = 0
    assert writer.write(b'{"event":"start"')
    start, lost = events(tmp_path / "s")
    assert (start["event"], lost["event"], lost["count"]) == ("start", "lost", 5)


FULL = """
import resource, signal, sys
from pathlib import Path
from llm_trace.spool.writer import SpoolWriter
writer = SpoolWriter(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
kept = [writer.write(b'{"event":"start","n":%d,"text":"%s"' % (n, b"x" * 300)) for n in range(30)]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
kept += [writer.write(b'{"event":"start","n":%d' % n) for n in range(30, 35)]
print(sum(kept), kept.count(False))
"""


def test_a_full_disk_loses_only_what_does_not_fit_and_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    kept, lost = map(int, done.stdout.split())
    assert lost > 0
    assert done.stderr.count("cannot write") <= 1
    good, torn = [], 0
    (path,) = tmp_path.glob("*.jsonl")
    for line in path.read_bytes().splitlines():
        try:
            good.append(json.loads(line))
        except ValueError:
            torn += 1
    assert torn == 1
    starts = [e for e in good if e["event"] == "start"]
    assert len(starts) == kept
    assert [e["n"] for e in starts][-5:] == [30, 31, 32, 33, 34]
    assert [e["count"] for e in good if e["event"] == "lost"] == [lost]


def test_fsync_modes_write_the_same(tmp_path: Path) -> None:
    for mode in ("call", "interval", None):
        writer = SpoolWriter(tmp_path / str(mode), fsync=mode)
        assert writer.write(b'{"event":"end"', sync=True)
        writer.close()
        assert [e["event"] for e in events(tmp_path / str(mode))] == ["end"]


DEAD = """
import os, resource, signal, sys
from pathlib import Path
from llm_trace.spool.paths import get_spool_dir
from llm_trace.spool.writer import SpoolWriter
writer = SpoolWriter(get_spool_dir(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = int(sys.argv[2])
if size:
    writer.write(b'{"event":"prompt","name":"a"')
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
line = b'{"event":"start","text":"%s"' % (b"x" * 900)
def lose(): return [writer.write(line) for _ in range(30)].count(False)
lost = lose()
if not (child := os.fork()):
    os._exit(lose())
print(lost + os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("size", [0, 5000], ids=["from the start", "later"])
def test_what_a_full_disk_lost_is_known_after_the_process_was_killed(tmp_path: Path, size: int) -> None:
    store = tmp_path / "t.duckdb"
    done = subprocess.run(
        [sys.executable, "-c", DEAD, str(store), str(size)], capture_output=True, text=True, check=False
    )
    lost = int(done.stdout)
    assert lost > 30  # in both processes
    assert sum(examine(str(store))["spool"]["lost"].values()) == lost
    for _ in range(2):
        with open_store(store) as opened:
            assert count_totals(opened)["lost"] == lost
        report = examine(str(store))
        assert sum(report["spool"]["lost"].values()) == lost
        assert any("events were lost" in problem for problem in report["problems"])
    assert not list(get_spool_dir(store).glob("*.lost*"))


def test_losses_that_a_reader_took_over_are_not_said_again(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    writer = SpoolWriter(tmp_path / "s")
    writer._retry_at = time.time_ns() + 10**18  # the disk takes no file
    assert [writer.write(b'{"event":"start"') for _ in range(5)] == [False] * 5
    assert [loss.count for loss in take_losses(tmp_path / "s", ())] == [5]
    assert not writer.write(b'{"event":"start"')
    writer._retry_at = 0
    assert writer.write(b'{"event":"start"')
    _, lost = events(tmp_path / "s")
    assert (lost["event"], lost["count"]) == ("lost", 1)
    assert [loss.count for loss in list_noted_losses(tmp_path / "s")] == [5]
