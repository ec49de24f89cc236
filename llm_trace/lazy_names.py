"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

_EXTRAS = {"numpy", "scipy", "torch", "transformers"}


def check_library(library: str, what: str, extra: str = "statistics") -> None:
    """Refuse to begin what needs a library that is not installed.

    Raises:
        MissingExtraError: it is not; the message says which extra brings it.
    """
    try:
        importlib.import_module(library)
    except ModuleNotFoundError as exc:
        from llm_trace.errors import MissingExtraError

        raise MissingExtraError(f"{what} needs {library}: pip install 'llm-trace[{extra}]'") from exc


def import_name(package: str, homes: Mapping[str, str], name: str) -> Any:
    """Return what a package calls `name`, from its module in `homes`.

    Raises:
        AttributeError: the package has no such name.
        MissingExtraError: its module needs a library that is not installed.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(homes[name]), name)
    except ModuleNotFoundError as exc:
        if exc.name not in _EXTRAS:
            raise
        from llm_trace.errors import MissingExtraError

        rooms = {"llm_trace.attribution": "local", "llm_trace.evaluation": "evaluation"}
        extra = next((rooms[room] for room in rooms if homes[name].startswith(room)), "statistics")
        raise MissingExtraError(
            f"{package}.{name} needs {exc.name}: pip install 'llm-trace[{extra}]'"
        ) from exc
