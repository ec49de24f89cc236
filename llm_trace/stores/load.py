"""How much an ingest takes on at a time: less after DuckDB failed, down to one line, then not that one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_trace.stores.slices import Place, SpoolSlice

SLICE_BYTES = 32 << 20
MEMORY_LIMIT = "300MB"
LINE_MEMORY_LIMIT = "1200MB"
"""For a single line that does not fit otherwise."""
_LARGE_LINE = 1 << 20
_OUT_OF_MEMORY = ("memory_limit", "could not allocate block")
"""What DuckDB says where the error is of another class, as in a commit or the checkpoint of a DETACH."""


class SliceError(Exception):
    """DuckDB failed at a slice; the cause says how."""

    def __init__(self, part: SpoolSlice) -> None:
        super().__init__(part)
        self.part = part


class Load:
    """The size of slices, the memory they may take, and which lines are left out."""

    def __init__(self) -> None:
        self.size = self._most = SLICE_BYTES
        self.alone = False
        """Whether the next slice is a single line that needs all the memory there is."""
        self.refused: set[Place] = set()

    def settings(self, scratch: str) -> dict[str, Any]:
        """Return the settings of a DuckDB for this load."""
        return list_limits(scratch) | ({"memory_limit": LINE_MEMORY_LIMIT} if self.alone else {})

    def grow(self) -> None:
        """Take on more after a slice that went well."""
        self.size = min(self.size * 2, self._most)
        self.alone = False

    def shrink(self, part: SpoolSlice, cause: BaseException | None) -> bool:
        """Take on less after a slice that did not; return whether a smaller load can help."""
        import duckdb

        hungry = _is_hungry(cause)
        wrong = duckdb.DataError, duckdb.IntegrityError, duckdb.InternalError, duckdb.InvalidInputException
        if cause is not None and not hungry and not isinstance(cause, wrong):
            return False
        if part.lines > 1:
            self.size = max(1, part.bytes // 4)
            self._most = max(self.size, _LARGE_LINE) if hungry else self._most
        elif not self.alone:
            self.size, self.alone = 1, True
        elif hungry and part.longest < _LARGE_LINE:  # not for this line
            return False
        else:
            self.alone = False
            self.refused.add(part.last)
        return True

    def take_all_memory(self, cause: BaseException) -> bool:
        """Take all the memory there is after a step beside the slices failed; return whether it can help."""
        if self.alone or not _is_hungry(cause):
            return False
        self.size, self.alone = 1, True
        return True


def _is_hungry(cause: BaseException | None) -> bool:
    import duckdb

    return isinstance(cause, duckdb.OutOfMemoryException) or any(
        words in str(cause) for words in _OUT_OF_MEMORY
    )


def list_limits(scratch: str) -> dict[str, Any]:
    """Return the settings of a DuckDB that rewrites much with little memory."""
    return {
        "memory_limit": MEMORY_LIMIT,
        "threads": 1,  # reading ahead keeps a second core busy; more threads take more memory, and turns
        "temp_directory": scratch,
    }
