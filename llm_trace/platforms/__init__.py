"""Other platforms, beside which llm_trace works: it reads their traces and writes back what it found out.

A platform is a module of this package, listed in `llm_trace.platforms.addresses.SCHEMES`, with a class that
is a `Platform`. Its records are read by the importer of that platform's exports (`llm_trace.imports`): what
comes by the network is the same calls as what comes in a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class TracePage:
    """Some records of a platform, oldest first."""

    records: list[Any]
    """As its importer reads them."""
    cursor: str
    """Where reading goes on after them."""


@dataclass(frozen=True)
class Annotation:
    """What is said of a call on its platform."""

    id: str
    """Of the score or attribution: sent twice, it stands there once."""
    span_id: str
    """16 hex digits."""
    trace_id: str
    """32 hex digits."""
    name: str
    value: float | str | bool | None
    """A number, or a label such as a verdict."""
    explanation: str
    source: str
    """`code`, `model` or `human`."""
    details: dict[str, Any]
    """Flat values, for what the platform calls metadata."""


class Platform(Protocol):
    """Where traces are read and annotations written.

    Errors are `ConfigurationError`s that name the setting; what the network and a busy server do is tried
    again for a while before.
    """

    importer: str
    """Which format its records have, one of `llm_trace.imports.formats.FORMATS`."""

    def iter_pages(self, cursor: str | None) -> Iterator[TracePage]:
        """Yield what there is after a cursor, until there is nothing more now."""

    def annotate(self, annotations: Sequence[Annotation]) -> None:
        """Write annotations onto their spans."""

    def close(self) -> None:
        """Close the connections."""
