"""The Delta tables of a lake by `deltalake`: which files they consist of, and commits that change that."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from llm_trace.errors import MissingExtraError, StoreError, StoreVersionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from deltalake import DeltaTable, Schema

REWRITE = "llm_trace/rewrite"
"""The transaction of whoever takes files out: of two at a time one is refused, and begins anew."""
MOST_RETRIES = 100
"""Commits of others that a commit may have to be put after."""
_SETTINGS = {
    "delta.dataSkippingNumIndexedCols": "-1",  # the log says of each column whether a file has it
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 1 days",
    "delta.setTransactionRetentionDuration": "interval 30 days",
}
_COLOUR = re.compile("\x1b\\[[0-9;]*m|↳")
_TYPES = {"BIGINT": "long", "UBIGINT": "long", "DOUBLE": "double", "BOOLEAN": "boolean"}


@dataclass(frozen=True)
class DataFile:
    """A Parquet file of a table."""

    path: str
    """Below the table's folder."""
    day: str
    bytes: int
    rows: int
    newest_ns: int | None
    """The largest time by which the table is ordered; `None` where it is not known."""
    columns: frozenset[str]
    """Those that are known to be in it."""
    stats: str = ""
    """As Delta's log has them; of a file that is not committed yet."""


@dataclass(frozen=True)
class TableChange:
    """Files that come and go in one commit."""

    add: Sequence[DataFile] = ()
    remove: Sequence[DataFile] = ()
    transaction: tuple[str, int] | None = None
    """Who commits, and which of its commits this is: it is made once."""
    notes: Mapping[str, str] = field(default_factory=dict)
    rearranges: bool = False
    """Whether the rows stay what they were."""


class LakeTable:
    """One table, as of the last `load`.

    Args:
        root: the lake.
        name: of the table, and of its folder.
        time_column: by which its files are ordered.
    """

    def __init__(self, root: str, name: str, time_column: str) -> None:
        self.root, self.name, self._time_column = root, name, time_column
        self._table: DeltaTable | None = None

    @property
    def uri(self) -> str:
        """Where the table is."""
        return f"{self.root}/{self.name}"

    @property
    def version(self) -> int:
        """Number of its last commit; -1 where there is no table."""
        return -1 if self._table is None else self._table.version()

    def load(self) -> bool:
        """Take in what others committed; return whether there is a table."""
        deltalake = import_deltalake()
        with explain_errors(self.root):
            if self._table is not None:
                self._table.update_incremental()
            else:
                with contextlib.suppress(deltalake.exceptions.TableNotFoundError):
                    self._table = deltalake.DeltaTable(self.uri)
        return self._table is not None

    def create(self, columns: Mapping[str, str]) -> None:
        """Make the table if it is absent, with columns by their types in DuckDB; add those that it lacks."""
        deltalake = import_deltalake()
        if self._table is None and not self.load():
            schema = _build_schema({**columns, "day": "DATE"})
            with explain_errors(self.root):
                deltalake.DeltaTable.create(
                    self.uri, schema, mode="ignore", partition_by=["day"], configuration=_SETTINGS
                )
            self.load()
        self.check_columns(columns)
        known = {each.name for each in self._get().schema().fields}
        missing = {name: kind for name, kind in columns.items() if name not in known}
        if missing:
            with explain_errors(self.root):
                self._get().alter.add_columns(_build_schema(missing).fields)
            self.load()

    def check_columns(self, columns: Mapping[str, str]) -> None:
        """Check that an existing table is one of ours: partitioned by day, and no column of another type.

        Raises:
            StoreError: it is somebody else's.
        """
        if self._table is None:
            return
        theirs = _name_types(self._table.schema())
        ours = _name_types(_build_schema({**columns, "day": "DATE"}))
        odd = [name for name, kind in ours.items() if theirs.get(name, kind) != kind]
        if odd or self._table.metadata().partition_columns != ["day"]:
            why = f"column {odd[0]!r} is {theirs[odd[0]]}, not {ours[odd[0]]}" if odd else "days are missing"
            raise StoreError(
                f"the table {self.name!r} at {self.root!r} is none of a lake: {why}; name another folder or "
                f"bucket; what was recorded stays on this machine"
            )

    def list_files(self) -> list[DataFile]:
        """Return the files that the table consists of, those with the newest rows first."""
        if self._table is None:
            return []
        import pyarrow

        with explain_errors(self.root):
            actions = pyarrow.table(self._table.get_add_actions()).to_pylist()
        files = [self._describe(action) for action in actions]
        return sorted(files, key=lambda file: (file.day, file.newest_ns or 0, file.path), reverse=True)

    def _describe(self, action: Mapping[str, Any]) -> DataFile:
        nulls = action.get("null_count") or {}
        return DataFile(
            unquote(action["path"]),
            str((action.get("partition") or {}).get("day")),
            int(action["size_bytes"]),
            int(action.get("num_records") or 0),
            (action.get("max") or {}).get(self._time_column),
            frozenset(name for name, count in nulls.items() if count is not None),
        )

    def list_columns(self) -> list[str]:
        """Return the names of its columns, without the day that it is partitioned by."""
        if self._table is None:
            return []
        return [each.name for each in self._table.schema().fields if each.name != "day"]

    def has_committed(self, transaction: tuple[str, int]) -> bool:
        """Return whether this transaction, or a later one of the same who, is in the table."""
        last = self._get().transaction_version(transaction[0])
        return last is not None and last >= transaction[1]

    def next_rewrite(self) -> tuple[str, int]:
        """Return the transaction for taking files out: refused where another one did so since `load`."""
        return REWRITE, (self._get().transaction_version(REWRITE) or 0) + 1

    def commit(self, change: TableChange) -> None:
        """Change the table, all at once.

        Raises:
            CommitConflictError: somebody committed the same transaction since `load`.
        """
        deltalake = import_deltalake()
        now = int(time.time() * 1000)
        adds = [_build_add(file, now, change) for file in change.add]
        removes = [_build_remove(file, now, change) for file in change.remove]
        pair = change.transaction
        transactions = None if pair is None else [deltalake.Transaction(*pair, last_updated=now)]
        properties = deltalake.CommitProperties(
            custom_metadata=dict(change.notes),
            max_commit_retries=MOST_RETRIES,
            app_transactions=transactions,
        )
        table = self._get()
        with explain_errors(self.root):
            try:
                table.create_write_transaction(
                    [*adds, *removes],
                    "append",
                    table.schema(),
                    partition_by=["day"],
                    commit_properties=properties,
                )
            except deltalake.exceptions.CommitFailedError as exc:
                raise CommitConflictError(str(exc)) from exc
        self.load()

    def vacuum(self, keep_hours: int, *, orphans: bool = False) -> list[str]:
        """Delete the files that left the table so long ago, or that never were in it; return their paths."""
        with explain_errors(self.root):
            table = self._get()
            return list(
                table.vacuum(keep_hours, dry_run=False, enforce_retention_duration=False, full=orphans)
            )

    def get_last_commit_ms(self) -> int | None:
        """Return when the last commit was made, by the clock of who made it, in Unix milliseconds."""
        with explain_errors(self.root):
            return next((entry.get("timestamp") for entry in self._get().history(1)), None)

    def _get(self) -> DeltaTable:
        if self._table is None:
            raise StoreError(f"the lake {self.root!r} has no table {self.name!r}")
        return self._table


class CommitConflictError(StoreError):
    """Somebody else has made the same commit, or taken files out, since the table was loaded."""


def import_deltalake() -> Any:
    """Return the library.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import deltalake
        import deltalake.exceptions
        import pyarrow as pyarrow
    except ImportError as exc:
        raise MissingExtraError(f"a lake needs {exc.name}: pip install 'llm-trace[lake]'") from exc
    return deltalake


@contextlib.contextmanager
def explain_errors(root: str) -> Iterator[None]:
    """Turn what deltalake raises into a `StoreError` that says what to do."""
    deltalake = import_deltalake()
    try:
        yield
    except (deltalake.exceptions.DeltaError, OSError, ValueError) as exc:
        if isinstance(exc, deltalake.exceptions.DeltaProtocolError) or "Unsupported" in str(exc):
            raise StoreVersionError(
                f"a table of the lake {root!r} was written by a newer Delta Lake: {_shorten(exc)}; run "
                f"`pip install -U deltalake`; what was recorded stays on this machine"
            ) from exc
        raise StoreError(
            f"the lake {root!r} cannot be reached: {_shorten(exc)}; {_advise(root)}; "
            f"what was recorded stays on this machine"
        ) from exc


def _advise(root: str) -> str:
    if root.startswith("s3://"):
        return (
            "check that the bucket is there, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, and "
            "for a server of your own AWS_ENDPOINT_URL (and AWS_ALLOW_HTTP=true)"
        )
    return "check that the folder is there and can be written"


def _shorten(exc: BaseException) -> str:
    """Return what an error says without colours, and without the pages of XML that a server may send."""
    text = " ".join(_COLOUR.sub("", str(exc)).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


def _build_schema(columns: Mapping[str, str]) -> Schema:
    from deltalake.schema import ArrayType, Field, PrimitiveType, Schema

    fields = []
    for name, kind in columns.items():
        plain: PrimitiveType | ArrayType = PrimitiveType(
            "date" if kind == "DATE" else _TYPES.get(kind.removesuffix("[]"), "string")
        )
        fields.append(Field(name, ArrayType(plain, contains_null=True) if kind.endswith("[]") else plain))
    return Schema(fields)


def _name_types(schema: Schema) -> dict[str, str]:
    return {each.name: str(getattr(each.type, "type", each.type)) for each in schema.fields}


def _build_add(file: DataFile, now_ms: int, change: TableChange) -> Any:
    from deltalake.transaction import AddAction

    return AddAction(file.path, file.bytes, {"day": file.day}, now_ms, not change.rearranges, file.stats)


def _build_remove(file: DataFile, now_ms: int, change: TableChange) -> Any:
    from deltalake.transaction import RemoveAction

    return RemoveAction(
        file.path, not change.rearranges, now_ms, size=file.bytes, partition_values={"day": file.day}
    )
