"""Settings: given, else from the environment, else defaults; handed to worker processes the same way."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llm_trace.capture.redaction import Redaction, build_redactor
from llm_trace.capture.sampling import Sample, build_sampler
from llm_trace.capture.values import ValueEncoder
from llm_trace.capture.walk import Limits
from llm_trace.errors import ConfigurationError
from llm_trace.spool.paths import find_lake_root, get_spool_dir, is_lake_address
from llm_trace.spool.writer import SpoolWriter

UNSET: Any = object()
"""Stands for an argument that was not given."""

_ENVIRONMENT = {
    "store": "LLM_TRACE_STORE",
    "run": "LLM_TRACE_RUN",
    "sample": "LLM_TRACE_SAMPLE",
    "redact": "LLM_TRACE_REDACT",
    "capture_content": "LLM_TRACE_CAPTURE_CONTENT",
    "fsync": "LLM_TRACE_FSYNC",
    "propagate_threads": "LLM_TRACE_PROPAGATE_THREADS",
    "max_string": "LLM_TRACE_MAX_STRING",
    "max_event": "LLM_TRACE_MAX_EVENT",
    "exporters": "LLM_TRACE_EXPORTERS",
    "instrument": "LLM_TRACE_INSTRUMENT",
    "prices": "LLM_TRACE_PRICES",
}
"""Environment variables that give defaults; `max_string` and `max_event` are limits in bytes."""


_DEFAULTS: dict[str, Any] = {
    "store": "llm_trace.duckdb",
    "run": None,
    "redact": None,
    "sample": 1.0,
    "capture_content": True,
    "propagate_threads": False,
    "fsync": None,
    "max_string": Limits.string,
    "max_event": Limits.event,
    "exporters": (),
    "instrument": False,
    "prices": None,
}

_handed_down: dict[str, tuple[str | None, str]] = {}
"""Variables that `configure` has set for worker processes: what they were before, and what it wrote."""


def _read_user_variable(name: str) -> str | None:
    """Return a variable as the user made it: without what `configure` has set for worker processes."""
    value = os.environ.get(name)
    before, ours = _handed_down.get(name, (None, None))
    return before if name in _handed_down and value == ours else value


def resolve_settings(
    given: dict[str, Any], forgive: Callable[[ConfigurationError], None] | None = None
) -> dict[str, Any]:
    """Return all settings: given, else from the environment, else the defaults.

    Args:
        forgive: takes what is wrong in the environment, whose default is used then; of masking and content
            the default is to keep none.

    Raises:
        ConfigurationError: a setting cannot work.
    """
    settings, keeps_content = _read_environment(forgive)
    settings |= {name: value for name, value in given.items() if value is not UNSET}
    if settings["fsync"] not in (None, "call", "interval"):
        raise ConfigurationError(f"fsync {settings['fsync']!r} is unknown; choose 'call', 'interval' or None")
    settings["sample"] = build_sampler(settings["sample"])
    try:
        settings["redact"] = _build_redactor(settings["redact"])
    except ConfigurationError as exc:
        if forgive is None:
            raise
        forgive(exc)
        settings["redact"], keeps_content = None, False
    for name in ("capture_content", "propagate_threads"):
        if not isinstance(settings[name], bool):
            raise ConfigurationError(f"{name}={settings[name]!r} is neither True nor False")
    settings["capture_content"] = settings["capture_content"] and keeps_content
    settings["instrument"] = _check_libraries(settings["instrument"])
    _check_store(settings["store"])
    settings["prices"] = _check_prices(settings["prices"], forgive)
    return settings


def _check_prices(
    prices: str | os.PathLike[str] | None, forgive: Callable[[ConfigurationError], None] | None
) -> str | None:
    """Return the absolute path of a price file that can be read."""
    if prices is None:
        return None
    from llm_trace.pricing.price_file import read_price_file

    try:
        return str(read_price_file(prices).path)
    except ConfigurationError as exc:
        if forgive is None:
            raise
        forgive(exc)
        return None


def _read_environment(forgive: Callable[[ConfigurationError], None] | None) -> tuple[dict[str, Any], bool]:
    """Return the defaults with what the environment says, and whether content may be kept: not where what
    the environment says of it is wrong.
    """
    settings = dict(_DEFAULTS)
    keeps_content = True
    for name, variable in _ENVIRONMENT.items():
        if not (text := _read_user_variable(variable)):
            continue
        try:
            settings[name] = _parse(name, variable, text, settings[name])
        except ConfigurationError as exc:
            if forgive is None:
                raise
            forgive(exc)
            keeps_content = keeps_content and name not in ("redact", "capture_content")
    return settings, keeps_content


def _check_libraries(libraries: Any) -> tuple[str, ...] | None:
    """Return the libraries to instrument: none named for all that are known, `None` for no instrumentation.

    Raises:
        ConfigurationError: what is given is neither a yes or no nor names.
    """
    if isinstance(libraries, bool) or libraries is None:
        return () if libraries else None
    if isinstance(libraries, str) or not all(isinstance(name, str) for name in libraries):
        raise ConfigurationError(
            f"instrument={libraries!r} is neither True nor a list of libraries: write instrument=['openai']"
        )
    return tuple(libraries) or None


def _check_store(store: Any) -> None:
    """Refuse a store that no DuckDB file can be at.

    Raises:
        ConfigurationError: it is no path, or a folder's.
    """
    if not isinstance(store, (str, os.PathLike)) or not os.fspath(store):
        raise ConfigurationError(f"store={store!r} is no path: give the DuckDB file")
    if is_lake_address(store):
        find_lake_root(os.fspath(store))
        return
    if Path(os.path.expanduser(store)).is_dir():
        inside = str(Path(store) / "llm_trace.duckdb")
        raise ConfigurationError(
            f"store={os.fspath(store)!r} is a folder: give the DuckDB file, as {inside!r}"
        )


def _build_redactor(redact: Any) -> Any:
    try:
        return build_redactor(redact)
    except re.error as exc:
        raise ConfigurationError(f"redact={redact!r} has no regular expression: {exc}") from exc
    except TypeError as exc:
        raise ConfigurationError(
            f"redact={redact!r} masks nothing: give True, a function of a text, names of patterns or "
            f"regular expressions"
        ) from exc


_SWITCH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _parse(name: str, variable: str, text: str, default: Any) -> Any:
    try:
        if name == "redact":
            return _parse_redact(text)
        if name == "sample":
            return _parse_sample(text)
        if name == "exporters":
            return tuple(text.replace(",", " ").split())
        if name == "instrument" and text.strip().lower() not in _SWITCH:
            return tuple(text.replace(",", " ").split())
        if isinstance(default, bool):
            return _SWITCH[text.strip().lower()]
        return int(text) if isinstance(default, int) else text
    except (ValueError, KeyError) as exc:
        raise ConfigurationError(
            f"environment variable {variable}={text!r} cannot be understood as {name}"
        ) from exc


def _parse_redact(text: str) -> Any:
    if text.startswith("{"):
        return Redaction(**json.loads(text))
    if text.strip().lower() in ("1", "true", "yes"):
        return True
    return (
        False
        if text.strip().lower() in ("0", "false", "no")
        else tuple(filter(None, map(str.strip, text.split(","))))
    )


def _parse_sample(text: str) -> Sample:
    ratio, _, errors = text.partition("+")
    return Sample(float(ratio), keep_errors=errors == "errors")


def build_spool_writer(settings: dict[str, Any], store: Path) -> tuple[SpoolWriter, ValueEncoder]:
    """Return a writer to the store's spool, and what bounds and masks values before they are written."""
    encoder = ValueEncoder(settings["redact"], Limits(settings["max_string"], settings["max_event"]))
    to = settings["exporters"]
    writer = SpoolWriter(
        get_spool_dir(store),
        encode=encoder.encode_bodies,
        fsync=settings["fsync"],
        exporters=list(to) if isinstance(to, Mapping) else None,  # addresses that nobody has looked at: any
    )
    return writer, encoder


def share_with_workers(settings: dict[str, Any], store: Path) -> Callable[[], None]:
    """Give worker processes these settings by environment; if some cannot be told, they keep no content."""
    place = settings["store"] if is_lake_address(settings["store"]) else str(store)
    variables = {"LLM_TRACE_STORE": place, "LLM_TRACE_FSYNC": settings["fsync"] or ""}
    addresses = [destination.target for destination in settings["exporters"].values()]
    variables["LLM_TRACE_EXPORTERS"] = " ".join(each for each in addresses if isinstance(each, str))
    redact, sample = settings["redact"], settings["sample"]
    content = settings["capture_content"]
    if (
        type(redact) is Redaction
        and all(isinstance(v, str) for v in redact.values or ())
        and isinstance(redact.keys, (str, type(None)))
    ):
        variables["LLM_TRACE_REDACT"] = json.dumps(
            {"values": list(redact.values or ()), "keys": redact.keys, "mask": redact.mask}
        )
    else:
        variables["LLM_TRACE_REDACT"] = ""
        # A function does not travel: better no content than an unmasked secret.
        content = content and redact is None
    variables["LLM_TRACE_CAPTURE_CONTENT"] = "1" if content else "0"
    if isinstance(sample, Sample):
        variables["LLM_TRACE_SAMPLE"] = f"{sample.ratio!r}{'+errors' if sample.keep_errors else ''}"
    variables["LLM_TRACE_RUN"] = ""
    libraries = settings["instrument"]
    variables["LLM_TRACE_INSTRUMENT"] = "0" if libraries is None else " ".join(libraries) or "1"
    variables["LLM_TRACE_PRICES"] = settings["prices"] or ""
    for name, value in variables.items():
        write_environment(name, value)
    return _restore_environment


def write_environment(name: str, value: str) -> None:
    """Set a variable for worker processes; `read_environment` and the end of recording see through it."""
    _handed_down[name] = (_read_user_variable(name), value)
    os.environ[name] = value


def _restore_environment() -> None:
    for name in _handed_down:
        if (value := _read_user_variable(name)) is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    _handed_down.clear()
