"""A program that is configured with a lake records to this machine, and its calls get there without it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from llm_trace import open_store
from llm_trace.errors import ConfigurationError, StoreLockedError
from llm_trace.settings import resolve_settings
from llm_trace.shipper import serve_lake
from llm_trace.spool.files import list_spool_files
from llm_trace.spool.paths import get_spool_dir, get_store_path
from llm_trace.stores.lake.shipping import ShipReport
from tests.helpers.spool_toys import HandWriter, spool_of

PROGRAM = """
import os, signal, sys
import llm_trace

llm_trace.configure(store=sys.argv[1])

@llm_trace.trace(kind="llm")
def ask(question: str) -> str:
    return question.upper()

ask("worker" if len(sys.argv) > 3 else "first")
if len(sys.argv) == 3:
    import subprocess
    address, script = os.environ["LLM_TRACE_STORE"], sys.argv[2]
    subprocess.run([sys.executable, script, address, script, "worker"], check=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def wait_for(folder: Path) -> None:
    """Wait until nothing of a spool is left and nobody ships."""
    deadline = time.monotonic() + 60
    while list_spool_files(folder) or (folder / "outbox").exists():
        assert time.monotonic() < deadline, (folder / "shipping.log").read_text()
        time.sleep(0.05)


def test_what_a_killed_program_and_its_worker_recorded_is_shipped_by_a_process_of_its_own(
    tmp_path: Path, state_folder: Path
) -> None:
    address, script = f"delta://{tmp_path}/lake", tmp_path / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run([sys.executable, str(script), address, str(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert get_store_path(address).parent == state_folder / "llm_trace"
    wait_for(get_spool_dir(address))
    with open_store(address) as lake:
        assert sorted(str(call.output) for call in lake.calls()) == ["FIRST", "WORKER"]


def test_who_opens_the_lake_sees_what_this_machine_recorded_before(tmp_path: Path) -> None:
    address = f"delta://{tmp_path}/lake"
    get_spool_dir(address).parent.mkdir(parents=True)
    writer = HandWriter(get_spool_dir(address))
    writer.call(1)
    with open_store(address) as lake:
        assert len(lake.calls()) == 1
        writer.call(2)
        assert len(lake.calls()) == 1
        lake.ingest()
        assert (len(lake.calls()), lake.pending) == (2, 0)
    writer.close()


def test_a_lake_that_is_away_is_asked_without_what_cannot_be_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from llm_trace.errors import StoreError
    from llm_trace.stores import catch_up

    address = f"delta://{tmp_path}/lake"
    get_spool_dir(address).parent.mkdir(parents=True)
    writer = HandWriter(get_spool_dir(address))
    writer.call(1)
    lake = open_store(address)
    writer.call(2)

    def refuse(address: str, *, timeout: float) -> ShipReport:
        raise StoreError("no right to write")

    monkeypatch.setattr(catch_up, "ship", refuse)
    lake.ingest()
    assert len(lake.calls()) == 1
    assert lake.pending > 0
    assert "no right to write" in caplog.text
    writer.close()


def test_following_ends_when_all_has_gone_and_one_at_a_time_does_it(tmp_path: Path) -> None:
    address, store = f"delta://{tmp_path}/lake", tmp_path / "t.duckdb"
    writer = HandWriter(spool_of(store))
    writer.call(1)
    reports: list[int] = []
    shipped, stop = threading.Event(), threading.Event()

    def say(report: ShipReport) -> None:
        reports.append(report.calls)
        shipped.set()

    def follow() -> None:
        serve_lake(address, str(store), stop=stop, every_s=0.05, say=say)

    thread = threading.Thread(target=follow)
    thread.start()
    assert shipped.wait(60)
    with pytest.raises(StoreLockedError):
        serve_lake(address, str(store), stop=stop)
    writer.call(2)
    writer.close()
    thread.join(60)
    assert not thread.is_alive()
    assert sum(reports) == 2


@pytest.mark.parametrize("address", ["delta://", "delta+s3://"])
def test_an_address_without_a_place_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="names no place"):
        resolve_settings({"store": address})
