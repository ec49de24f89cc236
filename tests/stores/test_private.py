"""What holds prompts is for its owner only, unless told; a disk that is full or a file that is cut off
says so and heals.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

import llm_trace
from llm_trace import open_store
from llm_trace.errors import StoreError, StoreNotFoundError
from tests.helpers.cli_toys import invoke
from tests.helpers.spool_toys import HandWriter, spool_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The store's place, beside which everything is written that the test looks at."""
    folder = tmp_path / "app"
    folder.mkdir()
    return folder / "traces.duckdb"


@pytest.fixture(autouse=True)
def umask() -> object:
    """Let everybody read what nobody protects."""
    before = os.umask(0)
    yield
    os.umask(before)


def readable_by_others(folder: Path) -> list[str]:
    """Return what others can reach: a folder that is closed to them protects what is in it."""
    readable = []
    for place in sorted(folder.iterdir()):
        if stat.S_IMODE(place.lstat().st_mode) & 0o077:
            readable.append(place.name)
            readable += readable_by_others(place) if place.is_dir() else []
    return readable


def test_everything_that_is_written_is_for_its_owner_only(path: Path) -> None:
    llm_trace.configure(path)

    @llm_trace.trace(kind="llm")
    def ask(prompt: str) -> str:
        return "a secret"

    ask("tell")
    llm_trace.shutdown()
    with next(spool_of(path).glob("*.jsonl")).open("ab") as file:
        file.write(b"no event\n")
    for arguments in (
        ("export", "--to", "jsonl", "--out", str(path.parent / "out.jsonl")),
        ("export", "--to", "csv", "--out", str(path.parent / "out.csv")),
        ("export", "--to", "parquet", "--out", str(path.parent / "tables")),
        ("purge", "--id", "0" * 16, "--yes"),
    ):
        assert invoke(path, *arguments).exit_code in (0, 3)
    names = {place.name for place in path.parent.iterdir()}
    assert {path.name, f"{path.name}.spool", "out.jsonl", "out.csv", "tables"} <= names
    assert readable_by_others(path.parent) == []
    assert {stat.S_IMODE(place.stat().st_mode) for place in spool_of(path).glob("*.lock")} == {0o600}
    assert {stat.S_IMODE(place.stat().st_mode) for place in (path.parent / "tables").iterdir()} == {0o600}


def test_a_mode_that_the_owner_chose_stays(path: Path) -> None:
    path.touch(mode=0o640)
    out = path.parent / "out.csv"
    out.touch(mode=0o644)
    writer = HandWriter(spool_of(path))
    writer.call(1, user="u")
    writer.call(2)
    invoke(path, "export", "--to", "csv", "--out", str(out))
    assert llm_trace.purge(path, user="u").calls == 1
    assert [stat.S_IMODE(place.stat().st_mode) for place in (path, out)] == [0o640, 0o644]


def test_doctor_names_what_others_can_read(path: Path) -> None:
    llm_trace.configure(path)
    llm_trace.trace(print)()
    llm_trace.shutdown()
    open_store(path)
    assert json.loads(invoke(path, "doctor", "--json").stdout)["remarks"] == []
    path.chmod(0o644)
    spool_of(path).chmod(0o755)
    (spool_of(path) / "store.lock").chmod(0o644)
    assert json.loads(invoke(path, "doctor", "--json").stdout)["remarks"] == [
        f"other users can read what was recorded: chmod -R go= {path} {spool_of(path)}"
    ]


def test_purge_of_a_store_behind_a_link_removes_the_bytes_from_the_file_it_leads_to(path: Path) -> None:
    (path.parent / "data").mkdir()
    real = path.parent / "data" / "real.duckdb"
    path.symlink_to(Path("data") / "real.duckdb")
    writer = HandWriter(spool_of(path))
    writer.call(1, output="anna's secret", user="anna")
    writer.call(2)
    writer.close()
    assert len(open_store(path).calls()) == 2
    assert llm_trace.purge(path, user="anna").calls == 1
    assert path.is_symlink()
    assert b"anna's secret" not in real.read_bytes()
    assert [len(open_store(place).calls()) for place in (path, real)] == [1, 1]


@pytest.mark.parametrize("size", [0, 10, 4096, 12_288, 300_000])
def test_a_store_that_was_cut_off_is_made_anew_where_it_is_empty_and_else_says_so(
    path: Path, size: int
) -> None:
    writer = HandWriter(spool_of(path))
    for number in range(100):
        writer.call(number, output="x" * 5000 + str(number))
    assert len(open_store(path).calls(limit=None)) == 100
    os.truncate(path, size)
    if size == 0:
        assert len(open_store(path).calls(limit=None)) == 100
        return
    with pytest.raises(StoreError, match="cannot be"):
        open_store(path).calls(limit=None)
    writer.call(101)
    with pytest.raises(StoreError, match="cannot be"):
        open_store(path).calls(limit=None)


def test_an_empty_file_without_a_spool_is_no_store(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreNotFoundError):
        open_store(path)
