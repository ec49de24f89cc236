"""Where an evaluation is recorded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from llm_trace import config
from llm_trace.capture import slots
from llm_trace.capture.protocols import CallRecorder
from llm_trace.errors import ConfigurationError
from llm_trace.spool.paths import get_store_path
from llm_trace.stores.duckdb import Store


@contextlib.contextmanager
def record_to(store: str | os.PathLike[str] | Store | None) -> Iterator[tuple[CallRecorder, Path]]:
    """Give what records, and the path of its store: as configured, else to `store` within the block.

    Raises:
        ConfigurationError: nothing says where, or `store` and what is configured are two places.
    """
    wanted = _find_path(store)
    recorder = slots.recorder
    if recorder is None and wanted is None:
        recorder = slots.start_recorder()  # where the environment says
    if recorder is not None and config.current is not None:
        path = config.current.store
        if wanted not in (None, path):
            raise ConfigurationError(
                f"store={str(wanted)!r}, but calls are recorded to {str(path)!r}: leave store= out, or "
                f"configure({str(wanted)!r}) first"
            )
        yield recorder, path
        return
    if wanted is None:
        raise ConfigurationError(
            "an evaluation is recorded, and nothing says where: pass store='traces.duckdb', or call "
            "llm_trace.configure('traces.duckdb') first"
        )
    config.configure(wanted, run=None)
    try:
        yield config.current.recorder, wanted  # type: ignore[union-attr]
    finally:
        config.shutdown()


def _find_path(store: str | os.PathLike[str] | Store | None) -> Path | None:
    if store is None:
        return None
    path = store.path if isinstance(store, Store) else store
    return get_store_path(path)
