"""How many DuckDBs are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    import pytest


def count_new_duckdbs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows with each DuckDB that is made from now on."""
    fresh: list[Any] = []
    connect = duckdb.connect

    def note(*arguments: Any, **settings: Any) -> Any:
        fresh.append(arguments)
        return connect(*arguments, **settings)

    monkeypatch.setattr(duckdb, "connect", note)
    return fresh
