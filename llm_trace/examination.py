"""What `llm-trace doctor` finds. Nothing here changes the store or the spool."""

import contextlib
import json
import os
import platform
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.collect.left_out import read_left_out
from llm_trace.errors import LLMTraceError
from llm_trace.instrumentation.inventory import list_libraries
from llm_trace.instrumentation.rides import find_version
from llm_trace.paths import make_absolute, open_as_it_stands
from llm_trace.rendering.formatting import format_size
from llm_trace.spool.paths import get_spool_dir, is_lake_address
from llm_trace.stores.diagnostics import StoreFacts, read_store_facts
from llm_trace.stores.failure import read_failure

if TYPE_CHECKING:
    from llm_trace.background import BackgroundState

LIBRARIES = (
    "llm-trace",
    "duckdb",
    "opentelemetry-sdk",
    "pydantic",
    "orjson",
    "genai-prices",
    "torch",
    "transformers",
    "pandas",
    "pyarrow",
)
VARIABLES = (
    "LLM_TRACE_STORE", "LLM_TRACE_RUN", "LLM_TRACE_SAMPLE", "LLM_TRACE_REDACT",
    "LLM_TRACE_CAPTURE_CONTENT", "LLM_TRACE_EXPORTERS", "LLM_TRACE_FSYNC", "LLM_TRACE_PROPAGATE_THREADS",
    "LLM_TRACE_MAX_STRING", "LLM_TRACE_MAX_EVENT", "LLM_TRACE_INSTRUMENT", "LLM_TRACE_PRICES",
)  # fmt: skip

_MOST_NAMES = 8


def examine(path: str) -> dict[str, Any]:
    """Return what is known of store, spool, environment and installation, with remarks and problems."""
    from llm_trace.background import read_state

    place = make_absolute(path)
    problems: list[str] = []
    store, facts = _store(place, problems)
    if is_lake_address(path):  # the facts above are of what this machine has yet to ship
        store = _examine_lake(path, problems) | store
    spool = _examine_spool(place, facts, problems)
    destinations = _examine_destinations(get_spool_dir(place))
    remarks = _list_remarks(store, spool)
    if spool["quarantined lines"]:
        problems.append(
            f"{spool['quarantined lines']} lines of the spool could not be read and were set aside, "
            f"their calls lack what they said: {spool['folder']}/quarantine"
        )
    if failure := read_failure(get_spool_dir(place)):
        problems.append(
            f"the last ingest failed, {format_size(spool['pending'])} are not in the store: {failure}"
        )
    if shared := [str(p) for p in (place, get_spool_dir(place)) if _is_shared(p)]:
        remarks.append(f"other users can read what was recorded: chmod -R go= {' '.join(shared)}")
    for name, stands in destinations.items():
        dropped, rejected = stands["dropped"], stands["rejected"]
        if dropped:
            problems.append(f"{name} was out of reach for 7 days: {dropped:,} spool files went unread")
        if rejected:
            remarks.append(f"{name} refused {rejected:,}: llm-trace export --to {name} --retry-rejected")
    if left_out := read_left_out(get_spool_dir(place)):
        most = ", ".join(f"{count:,} x {name}" for name, count in left_out.most_common(_MOST_NAMES))
        more = f" and {len(left_out) - _MOST_NAMES} more" if len(left_out) > _MOST_NAMES else ""
        remarks.append(f"llm-trace collect did not keep what tells of no call: {most}{more}")
    state = read_state(place)
    remarks += _list_attribution_remarks(state)
    if state.unreadable:
        problems.append(
            f"{state.unreadable:,} attributions were given up, their calls or policies could not be read: "
            f"{state.last}"
        )
    if spool["lost"]:
        reasons = ", ".join(f"{count:,} x {reason}" for reason, count in spool["lost"].items())
        problems.append(f"events were lost because they could not be written: {reasons}")
    return {
        "store": store,
        "spool": spool,
        "destinations": destinations,
        "environment": {name: os.environ.get(name) for name in VARIABLES},
        "versions": {
            "python": platform.python_version(),
            **{name: find_version(name) for name in LIBRARIES},
        },
        "libraries": list_libraries(),
        "remarks": remarks,
        "problems": problems,
    }


def _examine_lake(address: str, problems: list[str]) -> dict[str, Any]:
    """Return what a lake has; `None` where it cannot be reached."""
    from llm_trace.stores.lake.database import LakeDatabase

    lake = LakeDatabase(address, 10.0)
    known: dict[str, Any] = {"lake": address, "calls in the lake": None, "bytes in the lake": None}
    try:
        if lake.exists():
            with lake.reading() as connection:
                (calls,) = connection.execute("SELECT count(*) FROM calls").fetchone() or (0,)
                known |= {"calls in the lake": int(calls), "bytes in the lake": lake.read_state()[1]}
    except LLMTraceError as exc:
        problems.append(str(exc))
    return known


def _store(place: Path, problems: list[str]) -> tuple[dict[str, Any], StoreFacts]:
    """Return facts of the DuckDB file, and how far it has read the spool."""
    from llm_trace.stores.migrations import VERSION

    known: dict[str, Any] = {"path": str(place), "exists": place.exists(), "writable": _check_writable(place)}
    known |= {"schema": None, "known schema": VERSION, "calls": 0, "runs": 0, "interrupted": 0, "bytes": 0}
    if not place.exists():
        return known, StoreFacts()
    known["bytes"] = sum(
        p.stat().st_size for p in (place, place.with_name(place.name + ".wal")) if p.exists()
    )
    try:
        facts = read_store_facts(open_as_it_stands(place))
    except LLMTraceError as exc:
        problems.append(f"the store cannot be read: {exc}")
        return known, StoreFacts()
    known |= {"schema": facts.schema, "calls": facts.calls, "runs": facts.runs}
    return known | {"interrupted": facts.interrupted, **_examine_costs(place, problems)}, facts


def _examine_costs(place: Path, problems: list[str]) -> dict[str, Any]:
    """Return which models have no price, the ten with the most calls."""
    from llm_trace.stores.repricing import count_unpriced

    try:
        unpriced = count_unpriced(open_as_it_stands(place))
    except LLMTraceError as exc:
        problems.append(f"costs are not known: {exc}")
        return {}
    models = dict(Counter(unpriced.models).most_common(10))
    if rest := sum(unpriced.models.values()) - sum(models.values()):
        models["other models"] = rest
    return {"models without a price": models, "calls to price": unpriced.waiting}


def _check_writable(place: Path) -> bool:
    return os.access(place if place.exists() else place.parent, os.W_OK) and os.access(place.parent, os.W_OK)


def _examine_spool(place: Path, facts: StoreFacts, problems: list[str]) -> dict[str, Any]:
    """Return facts of the spool folder: files, their writers, what is not in the store yet, what was lost."""
    from llm_trace.spool.files import list_spool_files
    from llm_trace.spool.losses import list_noted_losses

    folder = get_spool_dir(place)
    files = list_spool_files(folder)
    lost = facts.lost.copy()
    try:
        for file in files:
            lost += _list_losses(file.path, facts.positions.get(file.name, 0))
        for loss in list_noted_losses(folder):
            lost[loss.reason] += loss.count
    except OSError as exc:
        problems.append(f"the spool cannot be read: {exc}")
    quarantined = list((folder / "quarantine").glob("*")) if folder.exists() else []
    return {
        "folder": str(folder),
        "exists": folder.exists(),
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "pending": sum(max(0, file.size - facts.positions.get(file.name, 0)) for file in files),
        "open writers": [_read_writer(file.path) for file in files if file.live],
        "quarantined lines": sum(_count_lines(path) for path in quarantined),
        "lost": dict(lost),
        "free": shutil.disk_usage(_find_existing(folder)).free,
    }


def _examine_destinations(folder: Path) -> dict[str, dict[str, Any]]:
    """Return how each destination beside the store stands."""
    from llm_trace.exporters.delivery.status import get_standing, list_destinations

    return {name: asdict(get_standing(folder, name)) for name in list_destinations(folder)}


def _list_losses(path: Path, position: int) -> Counter[str]:
    """Return what a spool file says was lost, after the bytes that the store has read."""
    losses: Counter[str] = Counter()
    with path.open("rb") as file:
        file.seek(position)
        for line in file:
            if line.startswith(b'{"event":"lost"'):
                with contextlib.suppress(ValueError, TypeError):
                    event = json.loads(line)
                    losses[str(event.get("reason"))] += int(event.get("count") or 0)
    return losses


def _is_shared(place: Path) -> bool:
    """Return whether others can read a file, or one in a folder."""
    if os.name != "posix" or not place.exists() or not place.stat().st_mode & 0o077:
        return False
    return not place.is_dir() or any(_is_shared(inner) for inner in place.iterdir())


def _find_existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _read_writer(path: Path) -> dict[str, Any]:
    """Return who writes a spool file, as its first line says."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline(1 << 16))
    except (OSError, ValueError):
        header = {}
    header = header if isinstance(header, dict) else {}
    return {"file": path.name, "pid": header.get("pid"), "host": header.get("host")}


def _count_lines(path: Path) -> int:
    """Return how many lines a file has, read in pieces."""
    count = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            count += piece.count(b"\n")
    return count


def _list_attribution_remarks(state: "BackgroundState") -> list[str]:
    """Return what is worth knowing of background attribution."""
    remarks = []
    if state.waiting:
        why = f", which waits for the store: {state.waits_for}" if state.waits_for else ""
        remarks.append(
            f"{state.waiting:,} calls wait to be explained by the background worker{why}; the next program "
            "that records here with mode='background' starts one where none runs"
        )
    if state.absent:
        remarks.append(
            f"{state.absent:,} calls were not explained, for they are not in the store (purged, or never "
            "written)"
        )
    if state.passed_over:
        remarks.append(f"{state.passed_over:,} calls were not explained: budget_per_hour was spent")
    return remarks


def _list_remarks(store: dict[str, Any], spool: dict[str, Any]) -> list[str]:
    """Return what is worth knowing but no loss."""
    remarks = []
    if not store["exists"] and not spool["files"]:
        remarks.append("nothing was recorded here yet: llm_trace.configure(store), or llm-trace demo")
    if spool["pending"]:
        remarks.append(
            "some events are not in the store yet: every command that reads brings them in, so does "
            "llm-trace ingest"
        )
    if store.get("models without a price"):
        remarks.append("calls of models without a price have no cost: give prices, see docs/costs.md")
    if store.get("calls to price"):
        remarks.append(
            "some calls have tokens and a price but no cost: llm-trace ingest --reprice computes what it can"
        )
    if spool["free"] < 500_000_000:
        remarks.append("the disk has less than 500 MB left: what cannot be written is lost, and counted")
    if not store["writable"] or (spool["exists"] and not os.access(spool["folder"], os.W_OK)):
        remarks.append("store or spool cannot be written by this user: what was logged since is not shown")
    return remarks
