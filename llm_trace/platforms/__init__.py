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
    """As the platform has it; that of the trace where the call is a trace there."""
    trace_id: str
    """As the platform has it."""
    name: str
    value: float | str | bool | None
    """A number, or a label such as a verdict."""
    explanation: str
    source: str
    """`code`, `model` or `human`."""
    time_ns: int
    """When it was made; Unix epoch."""
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

    def annotate(self, annotations: Sequence[Annotation]) -> dict[str, str]:
        """Write annotations onto their spans; return why the platform refuses some, by their ids."""

    def close(self) -> None:
        """Close the connections."""
