"""The columns that a table of calls can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from llm_trace.stores.filters import Order


class TableColumn(NamedTuple):
    """A column: its name in addresses, its heading, its class, and the order that its heading leads to."""

    name: str
    label: str
    look: str = ""
    order: Order | None = None
    narrow: str = ""
    """Class that takes it away on a narrow screen, unless it was asked for."""


COLUMNS = (
    TableColumn("time", "Time", "dim nowrap", "newest"),
    TableColumn("name", "Name", "name"),
    TableColumn("kind", "Kind", narrow="o2"),
    TableColumn("model", "Model", "dim", narrow="o3"),
    TableColumn("provider", "Provider", "dim"),
    TableColumn("status", "Status"),
    TableColumn("took", "Took", "num nowrap", "slowest"),
    TableColumn("first_token", "First token", "num nowrap"),
    TableColumn("tokens", "Tokens", "num nowrap", "largest", "o2"),
    TableColumn("cost", "Cost", "num nowrap", "dearest", "o3"),
    TableColumn("scores", "Scores", "dim"),
    TableColumn("run", "Run", "dim"),
    TableColumn("prompt", "Prompt", "dim"),
    TableColumn("session", "Session", "dim"),
    TableColumn("user", "User", "dim"),
    TableColumn("tags", "Tags", "dim"),
    TableColumn("input", "Input", "text"),
    TableColumn("output", "Output", "text"),
)
BY_NAME = {column.name: column for column in COLUMNS}
DEFAULT = ("time", "name", "kind", "model", "status", "took", "tokens", "cost", "input", "output")
"""What a table has where nobody asked for something else."""
