"""What capture is given from above: `config` fills these, capture only reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_trace.capture.recorder import Recorder

recorder: Recorder | None = None
"""Where calls are recorded; `None` until `configure`: traced functions then only call through."""

bootstrap: Callable[[], None] | None = None
"""Configures from the environment at the first call, in workers of a traced process; set once, called once."""


def boot() -> Recorder | None:
    """Run `bootstrap` if there is one and return the recorder it made."""
    global bootstrap
    if bootstrap is not None:
        start, bootstrap = bootstrap, None
        start()
    return recorder
