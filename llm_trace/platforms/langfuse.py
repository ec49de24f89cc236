"""Langfuse: observations of a project, and scores on them.

Source: langfuse 5.0.4 (`langfuse/api`): `/api/public/v2/observations`, `/scores` and `/projects`. Servers
    before Langfuse 4 have no such list of observations.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from llm_trace.errors import ConfigurationError
from llm_trace.imports.values import parse_nanoseconds
from llm_trace.platforms import Annotation, TracePage
from llm_trace.platforms.addresses import PlatformAddress
from llm_trace.platforms.client import PlatformClient, PlatformRefusalError
from llm_trace.platforms.sending import send_together
from llm_trace.platforms.sweep import ListedRecord, Listing, Sweep
from llm_trace.times import format_moment

PAGE = 500
SETTINGS = ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")
_FIELDS = "core,basic,time,io,metadata,model,usage,prompt,metrics,trace_context"
_CUT = 200
"""Characters after which Langfuse cuts values of metadata whose names are not asked for."""


class LangfusePlatform:
    """One project of a Langfuse, by name or id; its keys are Langfuse's own settings."""

    importer = "langfuse"

    def __init__(self, address: PlatformAddress) -> None:
        self._client = PlatformClient(address.base_url, settings=SETTINGS, headers=_build_headers())
        self._project = address.project

    def iter_pages(self, cursor: str | None) -> Iterator[TracePage]:
        """Yield the observations that ended since a cursor, which holds those of its last hour."""
        self._check_project()
        sweep = Sweep(**json.loads(cursor or "{}"))
        for observations in sweep.iter_new(self._fetch, self._glance):
            yield TracePage(observations, json.dumps(sweep.dump()))

    def annotate(self, annotations: Sequence[Annotation]) -> dict[str, str]:
        """Write annotations as scores; one that is sent twice replaces itself."""
        return send_together(annotations, self._send)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _check_project(self) -> None:
        """Refuse keys of another project than the address names: they decide which one is read."""
        projects = self._client.get("/api/public/projects")["data"]
        if not any(self._project in (project["id"], project["name"]) for project in projects):
            names = ", ".join(repr(project["name"]) for project in projects)
            raise ConfigurationError(
                f"the keys in {' and '.join(SETTINGS)} are those of {names}, not of {self._project!r}: set "
                f"the keys of that project, or name this one"
            )

    def _glance(self, since_ms: int, token: str | None) -> Listing:
        return self._list(since_ms, token, fields="core")

    def _fetch(self, since_ms: int, token: str | None) -> Listing:
        listing = self._list(since_ms, token, fields=_FIELDS)
        cut = _list_cut_names(entry.record for entry in listing.records)
        if not cut:
            return listing
        return self._list(since_ms, token, fields=_FIELDS, expandMetadata=",".join(cut))

    def _list(self, since_ms: int, token: str | None, **params: str) -> Listing:
        since = {"fromStartTime": format_moment(since_ms * 10**6)} if since_ms else {}
        query = {"limit": PAGE, **since, **params, **({"cursor": token} if token else {})}
        answer = self._client.get("/api/public/v2/observations", query)
        records = [_read_record(observation) for observation in answer["data"]]
        return Listing(records, (answer.get("meta") or {}).get("cursor") or None)

    def _send(self, annotations: Sequence[Annotation]) -> None:
        answer = self._client.post("/api/public/scores", [_build_score(entry) for entry in annotations]) or {}
        if answer.get("rejected"):
            reasons = "; ".join(str(error.get("message")) for error in answer.get("errors") or [])
            raise PlatformRefusalError(
                f"Langfuse rejects {answer['rejected']} of {len(annotations)} scores: {reasons}"
            )


def _build_headers() -> dict[str, str]:
    public, secret = (os.environ.get(setting, "") for setting in SETTINGS)
    if not (public and secret):
        return {}
    return {"Authorization": f"Basic {base64.b64encode(f'{public}:{secret}'.encode()).decode()}"}


def _read_record(observation: dict[str, Any]) -> ListedRecord:
    start = parse_nanoseconds(observation.get("startTime"))
    if start is None:
        raise ConfigurationError(f"an observation of Langfuse has no time: {observation.get('startTime')!r}")
    has_ended = observation.get("endTime") is not None or observation.get("type") == "EVENT"
    return ListedRecord(str(observation["id"]), start // 10**6, has_ended, observation)


def _list_cut_names(observations: Iterator[dict[str, Any]]) -> list[str]:
    """Return the names in metadata whose values may have been cut."""
    return sorted(
        {
            name
            for observation in observations
            for name, value in (observation.get("metadata") or {}).items()
            if isinstance(value, str) and len(value) >= _CUT and "," not in name
        }
    )


def _build_score(annotation: Annotation) -> dict[str, Any]:
    value = annotation.value
    kind = "CATEGORICAL" if isinstance(value, str) else "BOOLEAN" if isinstance(value, bool) else "NUMERIC"
    return {
        "id": f"llm_trace-{annotation.id}",
        "timestamp": format_moment(annotation.time_ns),
        "traceId": annotation.trace_id,
        "observationId": annotation.span_id,
        "name": annotation.name,
        "value": value if isinstance(value, str) else float(value or 0),
        "dataType": kind,
        "comment": annotation.explanation,
        "metadata": annotation.details,
    }
