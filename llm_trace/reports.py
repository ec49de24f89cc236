"""What became of everything recorded so far, as `flush` says it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm_trace.capture import failures, otel_providers

if TYPE_CHECKING:
    from pathlib import Path

    from llm_trace.exporters.delivery.supervisor import Exporting
    from llm_trace.spool.writer import SpoolWriter

_TAKEN_OUT = "; not in configure(exporters=…): what is recorded now does not go there"


@dataclass(frozen=True)
class DestinationReport:
    """What became of the events meant for one destination."""

    delivered: int = 0
    """In the destination for certain."""
    pending: int = 0
    """Safe in the spool, not delivered yet."""
    rejected: int = 0
    """Refused by the destination for good."""
    dropped: int = 0
    """Lost."""
    configured: bool = True
    """Whether it is among the exporters of `configure`; one that was taken out keeps what waited for it,
    and is sent nothing that is recorded now.
    """


@dataclass(frozen=True)
class FlushReport:
    """What `flush` can say for certain: per destination, and about telemetry's own failures."""

    destinations: Mapping[str, DestinationReport] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Lost events and failures of telemetry itself, by reason."""

    @property
    def ok(self) -> bool:
        """Whether everything recorded is where it should be; removed destinations do not count."""
        wanted = [each for each in self.destinations.values() if each.configured]
        return not self.reasons and all(not (d.pending or d.rejected or d.dropped) for d in wanted)

    def __str__(self) -> str:
        lines = [
            f"{name}: {d.delivered} delivered, {d.pending} pending, {d.rejected} rejected, {d.dropped} "
            f"dropped" + ("" if d.configured else _TAKEN_OUT)
            for name, d in self.destinations.items()
        ]
        return "\n".join([*lines, *(f"{count} x {reason}" for reason, count in self.reasons.items())])


def build_report(
    store: Path, spool: SpoolWriter, exporting: Exporting | None, timeout: float | None
) -> FlushReport:
    """Return what became of the events of a spool; forces it onto the disk and waits for exporters.

    Args:
        store: what the spool lies beside.
        exporting: delivers to the destinations that are configured; `None` where none is.
        timeout: seconds to wait at most for exporters, as `flush` takes it.
    """
    from llm_trace.spool.files import count_quarantined

    synced = spool.sync()
    reasons = {f"lost: {reason}": count for reason, count in spool.lost.items()} | dict(failures.counts)
    reasons |= dict.fromkeys(map(describe_unheard, otel_providers.find_unheard()), 1)
    if aside := count_quarantined(spool.folder):
        reasons[f"lines that could not be read and were set aside in {spool.folder / 'quarantine'}"] = aside
    if given_up := _count_given_up(store):
        reasons["attributions given up, their calls or policies could not be read"] = given_up
    if not synced:
        reasons["the disk did not confirm"] = 1
    reports = {"spool": DestinationReport(delivered=spool.written, dropped=sum(spool.lost.values()))}
    for name, stands in (exporting.report(timeout) if exporting else {}).items():
        reports[name] = DestinationReport(stands.delivered, stands.pending, stands.rejected, stands.dropped)
        if stands.said:
            reasons[f"{name}: {stands.said}"] = 1
    return FlushReport(reports | _report_removed(store, spool), reasons)


def _report_removed(store: Path, spool: SpoolWriter) -> dict[str, DestinationReport]:
    """Return how destinations stand that have something left to get though no longer configured."""
    if not (spool.folder / "cursors").exists():
        return {}
    from llm_trace.exporters.delivery.supervisor import list_left_destinations

    return {
        name: DestinationReport(d.delivered, d.pending, d.rejected, d.dropped, configured=False)
        for name, d in list_left_destinations(store, spool.exporters or ()).items()
    }


def _count_given_up(store: Path) -> int:
    """Return how many requests for attributions could not be read; 0 where nothing was asked for."""
    if "llm_trace.background" not in sys.modules:  # this process asks for none
        return 0
    from llm_trace.background import read_state

    return read_state(store).unreadable


def describe_unheard(name: str) -> str:
    """Return what is said of an instrumentation whose spans have no provider."""
    return (
        f"spans of {name} go nowhere, as the program has no OpenTelemetry TracerProvider: "
        "opentelemetry.trace.set_tracer_provider(opentelemetry.sdk.trace.TracerProvider())"
    )
