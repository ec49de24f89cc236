"""Find the exporter of an address by its scheme, ours or another package's (entry points)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

from llm_trace.errors import ConfigurationError, MissingExtraError
from llm_trace.exporters.protocol import parse_address
from llm_trace.plugin_points import list_entry_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.exporters.protocol import Exporter

GROUP = "llm_trace.exporters"
VARIABLE = "LLM_TRACE_EXPORTERS"
"""Addresses, separated by spaces; not an argument, which every user of the machine sees."""

SETTINGS = "LLM_TRACE_EXPORTER_SETTINGS"
"""Digests of how `configure` wants the destinations of `VARIABLE` delivered to, separated by spaces."""


def make_exporter(text: str) -> Exporter:
    """Return the exporter of an address such as `otlp://127.0.0.1:4318`.

    Raises:
        ConfigurationError: the address cannot be one; the message says what to write.
        MissingExtraError: the exporter's library is not installed.
    """
    parts = parse_address(text)
    points = {point.name: point for point in list_entry_points(GROUP)}
    if parts.scheme not in points:
        raise ConfigurationError(
            f"no exporter is installed for {text!r}: write an address that begins with "
            + ", ".join(f"{name}://" for name in sorted(points))
        )
    exporter: Exporter = _load(points[parts.scheme])(parts)
    return exporter


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            f"{exc.name} is not installed: pip install 'llm-trace[{point.name}]'"
        ) from exc


@dataclass(frozen=True)
class Destination:
    """What `configure` was given for one destination."""

    target: Exporter | str
    """An address or an object."""
    settings: str
    """Digest of how it delivers: options of the address, place and headers."""


def check_exporters(exporters: Sequence[object]) -> dict[str, Destination]:
    """Return what `configure` was given by the destinations' names, each address tried once: Comet's settings
    take a process to read.

    Raises:
        ConfigurationError: one is neither an address nor an exporter.
    """
    named: dict[str, Destination] = {}
    for target in exporters:
        if isinstance(target, str):
            exporter = make_exporter(target)
            named[exporter.name] = Destination(target, _compute_digest(target, exporter))
            continue
        if not all(hasattr(target, name) for name in ("name", "base", "requests", "judge", "probe")):
            raise ConfigurationError(
                f"{target!r} is no exporter: give an address such as 'otlp://127.0.0.1:4318', "
                "or an object as llm_trace.exporters.protocol.Exporter describes it"
            )
        named[target.name] = Destination(target, "object")  # type: ignore[attr-defined, arg-type]
    return named


def _compute_digest(address: str, made: Exporter) -> str:
    """Return a digest of how the exporter of an address delivers."""
    how = (address, made.base, sorted(made.headers.items()), getattr(made, "certificates", None))
    return hashlib.sha256(repr(how).encode()).hexdigest()
