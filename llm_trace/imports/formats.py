"""Which formats there are, and which one a file is of."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, Protocol

from llm_trace.errors import ConfigurationError
from llm_trace.imports import Broken, Imported, LeftOut, Origin, Said

FORMATS = (
    "llm_trace", "otlp", "opik", "langfuse", "phoenix", "mlflow", "inspect", "tau", "comet", "langsmith",
    "weave", "litellm", "promptfoo", "claude_code", "codex", "gemini_cli", "chatgpt", "claude_chat",
    "exchange", "plain",
)  # fmt: skip
"""In the order in which they are tried; the last takes whatever has a prompt and an answer."""
_MODULES = {"llm_trace": "own", "inspect": "inspect_logs", "exchange": "exchanges"}


class Importer(Protocol):
    """A module of this package, as `llm_trace.imports` describes it."""

    NAME: str

    def recognises(self, record: Any) -> bool:
        """Say whether a file that begins with this record is of this format."""

    def calls(self, record: Any, origin: Origin) -> Iterator[Imported | Said | Broken | LeftOut]:
        """Yield the calls in one record."""


def load_importer(name: str) -> Importer:
    """Return the importer of a format."""
    module: Any = importlib.import_module(f"llm_trace.imports.{_MODULES.get(name, name)}")
    return module  # type: ignore[no-any-return]


def detect_importer(record: Any) -> Importer:
    """Return the importer that recognises the first record of a file.

    Raises:
        ConfigurationError: none does.
    """
    for importer in map(load_importer, FORMATS):
        if importer.recognises(record):
            return importer
    keys = ", ".join(map(str, list(record)[:8])) if isinstance(record, dict) else type(record).__name__
    raise ConfigurationError(
        f"the format is not recognised from its first record ({keys}): give --format, one of "
        f"{', '.join(FORMATS)}"
    )
