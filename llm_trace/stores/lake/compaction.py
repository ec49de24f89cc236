"""Make few files of the many that shipments leave: a query opens each file that it may need."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llm_trace.errors import StoreNotFoundError
from llm_trace.stores.instances import lend
from llm_trace.stores.lake.database import LakeDatabase
from llm_trace.stores.lake.delta import TableChange
from llm_trace.stores.lake.rewriting import Workshop, rewrite_table
from llm_trace.stores.load import list_limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.stores.lake.delta import DataFile, LakeTable

FILE_BYTES = 128 << 20
"""Files from this size on are left as they are; smaller ones are put together to about this size."""
MEMORY_LIMIT = "1GB"
KEEP_HOURS = 1
"""How long replaced files stay, for queries that read them."""
_ORPHAN_HOURS = 24


@dataclass
class CompactReport:
    """What a compaction did."""

    files_before: int = 0
    files_after: int = 0
    deleted: int = 0
    """Files that nothing refers to any more."""
    repeated: int = 0
    """Ids that more than one call of a day has, on the days whose files were put together."""
    notices: list[str] = field(default_factory=list)


def compact_lake(address: str, *, timeout: float = 60.0) -> CompactReport:
    """Put the small files of each day together, and delete those that were replaced an hour ago or earlier.

    Who ships and who asks goes on meanwhile.

    Raises:
        StoreNotFoundError: there is no lake.
    """
    database = LakeDatabase(address, timeout)
    if not database.exists():
        raise StoreNotFoundError(f"there is no lake at {address!r}: pass the address that is shipped to")
    report = CompactReport()
    with tempfile.TemporaryDirectory(prefix="llm_trace-compact-") as scratch:
        limits = list_limits(scratch) | {"memory_limit": MEMORY_LIMIT, "preserve_insertion_order": False}
        with lend("none", **limits) as connection:
            database.storage.attach(connection)
            shop = Workshop(database.storage, connection, Path(scratch))
            for table in database.tables.values():
                if table.load():
                    _compact_table(table, shop, report)
    if report.repeated:
        report.notices.append(
            f"{report.repeated:,} ids belong to more than one call each: two fleets ship with the same ids, "
            f"or two copies of a machine shipped the same spool; find them by "
            f"`SELECT span_id FROM calls GROUP BY ALL HAVING count(*) > 1`"
        )
    return report


def _compact_table(table: LakeTable, shop: Workshop, report: CompactReport) -> None:
    report.files_before += len(table.list_files())
    for day in sorted({file.day for file in table.list_files()}):
        change = rewrite_table(table, lambda day=day: _plan_day(table, shop, day))  # type: ignore[misc]
        if change is not None and table.name == "calls":
            report.repeated += _count_repeated(table, shop, day)
    report.files_after += len(table.list_files())
    report.deleted += len(table.vacuum(KEEP_HOURS)) + len(table.vacuum(_ORPHAN_HOURS, orphans=True))


def _plan_day(table: LakeTable, shop: Workshop, day: str) -> TableChange | None:
    files = [file for file in table.list_files() if file.day == day]
    groups = list(_group_files(files))
    if not groups:
        return None
    made = [shop.write(table, f"SELECT * FROM {shop.scan(table, group)}", day) for group in groups]
    old = [file for group in groups for file in group]
    return TableChange([each for each in made if each], old, table.next_rewrite(), rearranges=True)


def _group_files(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    """Yield the files that are to be one, neighbours in time, two or more at a time."""
    group: list[DataFile] = []
    for file in files:
        if file.bytes >= FILE_BYTES:
            continue
        group.append(file)
        if sum(each.bytes for each in group) >= FILE_BYTES:
            yield from [group] if len(group) > 1 else []
            group = []
    if len(group) > 1:
        yield group


def _count_repeated(table: LakeTable, shop: Workshop, day: str) -> int:
    source = shop.scan(table, [file for file in table.list_files() if file.day == day])
    query = f"SELECT count(*) FROM (SELECT span_id FROM {source} GROUP BY span_id HAVING count(*) > 1)"
    row = shop.connection.execute(query).fetchone()
    return int(row[0]) if row else 0
