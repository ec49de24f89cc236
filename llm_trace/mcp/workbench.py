"""What the tools of a door work on: the store, and what the user let in when starting it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from llm_trace.errors import ConfigurationError, StoreNotFoundError
from llm_trace.mcp.jobs import ToolJobs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from llm_trace.stores.duckdb import Store


class ToolQuestion(BaseModel):
    """The arguments of a tool; a name that it does not know is an error, never passed over."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Workbench:
    """What tools have at hand.

    Args:
        path: of the store that they read; it need not be there yet.
        functions: `module:function` of what may run again; nothing else is ever imported.
        models: that may explain calls; the first is the default.
        folder: where functions are imported from; where the server was started if absent.

    Raises:
        ConfigurationError: a function that is no `module:function`, or no model.
    """

    def __init__(
        self,
        path: Path,
        *,
        functions: Sequence[str] = (),
        models: Sequence[str] = ("demo",),
        folder: str | None = None,
    ) -> None:
        for name in functions:
            if not all(name.partition(":")):
                raise ConfigurationError(f"--function {name!r} is no module:function, such as app:answer")
        if not models:
            raise ConfigurationError("name at least one model by --model")
        self.path, self.functions, self.models, self.folder = path, tuple(functions), tuple(models), folder
        self.jobs = ToolJobs()
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The store.

        Raises:
            StoreNotFoundError: nothing was recorded yet.
        """
        if self._store is None:
            from llm_trace.stores.duckdb import open_store

            self._store = open_store(self.path)
        return self._store

    def refresh(self) -> None:
        """Bring in what was logged since the last question."""
        try:
            self.store.ingest()
        except StoreNotFoundError:  # the tool says so, or does without, as doctor does
            self._store = None

    def close(self) -> None:
        """End what still runs."""
        self.jobs.close()
