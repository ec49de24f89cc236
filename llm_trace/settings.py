"""Settings: given, else from the environment, else the defaults; and handed down to worker processes the same way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llm_trace.capture.redaction import Redaction, redactor
from llm_trace.capture.sampling import Sample, sampler
from llm_trace.capture.values import Encoder
from llm_trace.capture.walk import Limits
from llm_trace.errors import ConfigurationError
from llm_trace.spool.paths import spool_dir
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
}
"""Environment variables that give defaults; `max_string` and `max_event` are limits in bytes of one string and one event."""


def resolve(given: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {
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
    }
    for name, variable in _ENVIRONMENT.items():
        if (text := os.environ.get(variable)) not in (None, ""):
            settings[name] = _parse(name, variable, str(text), settings[name])
    settings |= {name: value for name, value in given.items() if value is not UNSET}
    if settings["fsync"] not in (None, "call", "interval"):
        raise ConfigurationError(f"fsync {settings['fsync']!r} is unknown; choose 'call', 'interval' or None")
    settings["sample"] = sampler(settings["sample"])
    settings["redact"] = redactor(settings["redact"])
    return settings


def _parse(name: str, variable: str, text: str, default: Any) -> Any:
    try:
        if name == "redact":
            return _parse_redact(text)
        if name == "sample":
            return _parse_sample(text)
        if name == "exporters":
            return tuple(text.replace(",", " ").split())
        if isinstance(default, bool):
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[
                text.strip().lower()
            ]
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


def spool_writer(settings: dict[str, Any], store: Path) -> tuple[SpoolWriter, Encoder]:
    """Return a writer to the store's spool, and what bounds and masks values before they are written."""
    encoder = Encoder(settings["redact"], Limits(settings["max_string"], settings["max_event"]))
    to = settings["exporters"]
    writer = SpoolWriter(
        spool_dir(store),
        encode=encoder.encode_bodies,
        fsync=settings["fsync"],
        exporters=list(to) if isinstance(to, Mapping) else None,  # addresses that nobody has looked at: any
    )
    return writer, encoder


def hand_down(settings: dict[str, Any], store: Path) -> Callable[[], None]:
    """Give worker processes the same settings by environment; what cannot be said there makes them keep no content."""
    told = {"LLM_TRACE_STORE": str(store), "LLM_TRACE_FSYNC": settings["fsync"] or ""}
    given = [destination.given for destination in settings["exporters"].values()]
    told["LLM_TRACE_EXPORTERS"] = " ".join(each for each in given if isinstance(each, str))
    redact, sample = settings["redact"], settings["sample"]
    content = settings["capture_content"]
    if (
        type(redact) is Redaction
        and all(isinstance(v, str) for v in redact.values or ())
        and isinstance(redact.keys, (str, type(None)))
    ):
        told["LLM_TRACE_REDACT"] = json.dumps(
            {"values": list(redact.values or ()), "keys": redact.keys, "mask": redact.mask}
        )
    else:
        told["LLM_TRACE_REDACT"] = ""
        content = (
            content and redact is None
        )  # a function does not travel: better no content than an unmasked secret
    told["LLM_TRACE_CAPTURE_CONTENT"] = "1" if content else "0"
    if isinstance(sample, Sample):
        told["LLM_TRACE_SAMPLE"] = f"{sample.ratio!r}{'+errors' if sample.keep_errors else ''}"
    before = {name: os.environ.get(name) for name in (*told, "LLM_TRACE_RUN")}
    os.environ.update(told)

    def undo() -> None:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    return undo
