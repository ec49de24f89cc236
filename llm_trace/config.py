"""`configure`, `flush`, `shutdown`: where capture, spool, attribution and exporters are put together."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.attribution_hook import build_explainer
from llm_trace.capture import failures, otel_providers, slots
from llm_trace.capture.input_key import InputKey, get_key_file
from llm_trace.capture.recorder import Recorder
from llm_trace.capture.runs import begin_run, end_run
from llm_trace.capture.sampling import Sampler
from llm_trace.errors import ConfigurationError, LLMTraceError
from llm_trace.reports import FlushReport, build_report, describe_unheard
from llm_trace.settings import (
    UNSET,
    build_spool_writer,
    resolve_settings,
    share_with_workers,
    write_environment,
)
from llm_trace.spool.paths import get_store_path, is_lake_address
from llm_trace.spool.writer import Fsync, SpoolWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.trace import TracerProvider

    from llm_trace.exporters.delivery.supervisor import Exporting
    from llm_trace.exporters.protocol import Exporter
    from llm_trace.exporters.registry import Destination
    from llm_trace.record import Run

_log = logging.getLogger("llm_trace")
_lock = threading.RLock()


@dataclass
class Setup:
    """What `configure` has put together, for `flush`, `shutdown` and `llm-trace doctor`."""

    store: Path
    spool: SpoolWriter
    recorder: Recorder
    settings: dict[str, Any]
    undo: list[Callable[[], None]] = field(default_factory=list)
    run: str | None = None
    exporting: Exporting | None = None


current: Setup | None = None


def configure(
    store: str | os.PathLike[str] = UNSET,
    *,
    run: str | Run | None = UNSET,
    exporters: Sequence[Exporter | str] = UNSET,
    attribution: Any = None,
    redact: Any = UNSET,
    sample: float | Sampler = UNSET,
    capture_content: bool = UNSET,
    record_env: bool = True,
    propagate_threads: bool = UNSET,
    fsync: Fsync | None = UNSET,
    tracer_provider: TracerProvider | None = None,
    instrument: bool | Sequence[str] = UNSET,
    prices: str | os.PathLike[str] | None = UNSET,
) -> None:
    """Begin recording traced calls; called again it first drains, then replaces.

    What is not given comes from the environment (`LLM_TRACE_STORE`, `LLM_TRACE_RUN`, `LLM_TRACE_SAMPLE`, …),
    else from the defaults shown. Worker processes started later record to the same store.

    Args:
        store: the DuckDB file, `llm_trace.duckdb`; calls go to the spool beside it, whoever reads the store
            ingests them. Or a lake of many machines, `delta://…` (docs/lake.md): calls go to a spool of this
            machine, and a process of its own ships them.
        run: name of the run that calls outside `start_run` belong to, or a `Run`.
        exporters: further destinations, as addresses (`otlp://host:4318`, `opik://workspace/project`, …); a
            process of its own delivers to them, also after this one has ended. An `Exporter` object cannot
            leave this process: a thread of it delivers.
        attribution: an `AttributionPolicy`.
        redact: masks every string before it is written: a function `str -> str`, `True` for the built-in
            patterns, names of those (`api_key`, `email`, `card`, `phone`), regular expressions, or a
            `Redaction`.
        sample: share of the traces to keep (1.0), a `Sample`, or a function of a `TraceStart`.
        capture_content: `False` keeps names, times, tokens and errors' types, but no inputs, outputs or
            messages.
        record_env: keep Python, platform, packages and git state with each run.
        propagate_threads: threads and thread pools started from now on carry the current call.
        fsync: `"call"` or `"interval"`: survive power loss too, not only the death of the process.
        tracer_provider: mirror calls as spans in this OpenTelemetry provider; the global one where it is an
            SDK provider.
        instrument: record the calls of LLM libraries too, until `shutdown`: `True` for all that are known, or
            their names, as for `instrument`.
        prices: a TOML or JSON file with prices of your own (docs/costs.md), for whoever reads the calls of
            this process and its workers; other processes find it by `LLM_TRACE_PRICES`.

    Raises:
        ConfigurationError: a setting cannot work. Of a destination or a library to instrument it is raised
            when recording has begun, without it.
        MissingExtraError: the library of a destination, or one to instrument, is not installed; recording has
            begun, without it.
    """
    settings = {
        "store": store,
        "run": run,
        "redact": redact,
        "sample": sample,
        "capture_content": capture_content,
        "instrument": instrument,
    }
    settings |= {"propagate_threads": propagate_threads, "fsync": fsync, "exporters": exporters}
    settings["prices"] = prices
    _replace(resolve_settings(settings), attribution, record_env, tracer_provider)


def _replace(settings: dict[str, Any], attribution: Any, record_env: bool, provider: Any) -> None:
    """End what was configured before and begin with these settings; a destination that cannot work is said
    when that is done.
    """
    otel_providers.check(provider)
    if attribution is not None and not hasattr(attribution, "mode"):
        raise ConfigurationError(f"attribution={attribution!r} is no AttributionPolicy")
    settings["exporters"], refusal = _check_exporters(settings["exporters"])
    with _lock:  # all that can be wrong is said by now: what was configured before goes on
        shutdown()
        _start(settings, attribution, record_env, provider)
        refusal = _instrument(settings["instrument"]) or refusal
        slots.undo_instrumentation()
    if refusal is not None:
        raise refusal


def _check_exporters(
    exporters: Sequence[Exporter | str],
) -> tuple[dict[str, Destination], LLMTraceError | None]:
    """Return the destinations that can be delivered to, by name, and why the first of the others cannot."""
    destinations: dict[str, Destination] = {}
    refusal: LLMTraceError | None = None
    if isinstance(exporters, str):
        raise ConfigurationError(f"exporters={exporters!r} is one address: write exporters=[{exporters!r}]")
    for each in exporters:
        from llm_trace.exporters.registry import check_exporters

        try:
            destinations |= check_exporters([each])
        except LLMTraceError as exc:
            refusal = refusal or exc
    return destinations, refusal


def configure_from_environment() -> None:
    """Configure a worker from what its parent, or its deployment, put into the environment; never raises."""
    try:
        settings = resolve_settings({}, forgive=lambda exc: failures.note(f"the environment ({exc})", exc))
        _replace(settings, attribution=None, record_env=True, provider=None)
    except Exception as exc:  # noqa: BLE001
        failures.note(f"the configuration from the environment ({exc})", exc)


def instrument_from_environment() -> None:
    """Instrument what the environment asks for until something is configured, at the latest by the first
    call; never raises.
    """
    from llm_trace.instrumentation.api import instrument

    try:
        settings = resolve_settings({}, forgive=lambda _: None)
        if (libraries := settings["instrument"]) is not None:
            slots.undo_instrumentation = instrument(*libraries)
    except Exception as exc:  # noqa: BLE001
        failures.note(f"the instrumentation from the environment ({exc})", exc)


def _start(settings: dict[str, Any], attribution: Any, record_env: bool, provider: Any) -> None:
    global current
    store = get_store_path(settings["store"])
    _revoke_destinations(store, keep=settings["exporters"])
    spool, encoder = build_spool_writer(settings, store)
    recorder = Recorder(
        spool,
        encoder,
        sampler=settings["sample"],
        keep_errors=getattr(settings["sample"], "keep_errors", False),
        capture_content=settings["capture_content"],
        record_env=record_env,
        input_key=InputKey(get_key_file(store)) if settings["redact"] else None,
    )
    setup = Setup(store, spool, recorder, settings)
    setup.undo.append(share_with_workers(settings, store))
    _join_provider(setup, provider)
    if settings["propagate_threads"]:
        from llm_trace.capture.threads import propagate

        setup.undo.append(propagate())
    recorder.policy, recorder.explain = attribution, build_explainer(recorder, store)
    if attribution is not None and attribution.mode == "background":
        from llm_trace import background

        background.open_requests(store).announce(attribution)
    setup.undo.append(_stop_background)
    if settings["exporters"]:
        _start_exporting(setup)
    if is_lake_address(settings["store"]):
        from llm_trace.shipper import ShipperWatch

        setup.undo.append(ShipperWatch(settings["store"]).close)
    slots.bootstrap = None
    slots.recorder = recorder
    current = setup
    _begin_default_run(setup, settings["run"], record_env)
    write_environment("LLM_TRACE_RUN", recorder.run or "")


def _instrument(libraries: Sequence[str] | None) -> LLMTraceError | None:
    """Instrument libraries until recording ends; return why one cannot be."""
    if libraries is None or current is None:
        return None
    from llm_trace.instrumentation.api import instrument

    try:
        current.undo.append(instrument(*libraries))
    except LLMTraceError as exc:
        return exc
    return None


def _start_exporting(setup: Setup) -> None:
    from llm_trace.exporters.delivery.supervisor import Exporting

    try:
        setup.exporting = Exporting(setup.store, setup.settings["exporters"])
    except OSError as exc:  # a place that cannot be written to: the spool says the same of every event
        failures.note("the exporters", exc)
    else:
        setup.undo.append(setup.exporting.close)


def _revoke_destinations(store: Path, *, keep: Sequence[str]) -> None:
    """Stop delivery to the destinations that this process had for the store before."""
    if (host := sys.modules.get("llm_trace.exporters.delivery.supervisor")) is not None:
        host.revoke_destinations(store, keep)


def _join_provider(setup: Setup, provider: Any) -> None:
    """Mirror calls into an SDK provider and take others' GenAI spans from it, also if it is set later."""
    setup.undo.append(otel_providers.join(setup.recorder, provider))
    for name in otel_providers.find_unheard():
        _log.warning("llm_trace: %s", describe_unheard(name))


def _begin_default_run(setup: Setup, run: str | Run | None, record_env: bool) -> None:
    """Begin the configured run; a worker joins the run of its parent, whose id it was handed."""
    if run is None:
        return
    identity: Any = getattr(run, "id", None) or (run if _is_id(run) else None)
    if identity is not None:
        setup.recorder.run = identity
        return
    setup.recorder.run = setup.run = begin_run(setup.recorder, str(run), record_env=record_env)["id"]


def _is_id(run: Any) -> bool:
    return isinstance(run, str) and len(run) == 16 and all(c in "0123456789abcdef" for c in run)


def _stop_background() -> None:
    if (background := sys.modules.get("llm_trace.background")) is not None:
        background.stop()


def flush(timeout: float | None = None) -> FlushReport:
    """Return what became of everything recorded so far, per destination; forces the spool onto the disk.

    A call is in the spool when it returns, so this waits for nothing but the disk, and at most `timeout`
    seconds (10 unless told) for exporters to catch up with what is recorded by now. An exporter that refuses
    everything is not waited for.
    """
    setup = current
    if setup is None:
        return FlushReport()
    return build_report(setup.store, setup.spool, setup.exporting, timeout)


def shutdown() -> None:
    """Stop recording: end the configured run, close the spool, undo `configure`. Safe to call twice."""
    global current
    with _lock:
        setup, current = current, None
        if setup is None:
            return
        slots.recorder = None
        if setup.run is not None:
            end_run(setup.recorder, setup.run)
        for undo in reversed(setup.undo):
            undo()
        setup.spool.close()


def _at_exit() -> None:
    setup = current
    if setup is None or os.getpid() != _pid:
        return
    if setup.run is not None:
        end_run(setup.recorder, setup.run)
    if setup.exporting is not None:
        setup.exporting.settle()


_pid = os.getpid()
atexit.register(_at_exit)

__all__ = [
    "Setup",
    "configure",
    "configure_from_environment",
    "flush",
    "instrument_from_environment",
    "shutdown",
]
