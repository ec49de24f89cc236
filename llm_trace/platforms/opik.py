"""Opik: traces and spans of a project, and feedback scores on them.

Source: opik 2.2.122 (`opik/rest_api`): `/v1/private/traces/search` and `spans/search`, which list by id, the
    newest first, and stream lines of JSON; `traces/feedback-scores` and `spans/feedback-scores`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from llm_trace.errors import ConfigurationError
from llm_trace.imports.values import parse_nanoseconds
from llm_trace.platforms import Annotation, TracePage
from llm_trace.platforms.addresses import PlatformAddress
from llm_trace.platforms.client import PlatformClient, build_headers
from llm_trace.platforms.sending import send_together
from llm_trace.platforms.sweep import ListedRecord, Listing, Sweep

PAGE = 500
SETTINGS = ("OPIK_API_KEY", "OPIK_WORKSPACE")
_Kind = Literal["traces", "spans"]
_KINDS: tuple[_Kind, ...] = ("traces", "spans")
_CONTENTS = ["input", "output", "metadata", "feedback_scores", "comments", "usage", "tags"]
_SOURCES = {"model": "online_scoring", "human": "ui"}


class OpikPlatform:
    """One project of an Opik, by name; its key and workspace are Opik's own settings.

    An address without a path means Opik's own, `/api`.
    """

    importer = "opik"

    def __init__(self, address: PlatformAddress) -> None:
        headers = build_headers(OPIK_API_KEY="Authorization: {}", OPIK_WORKSPACE="Comet-Workspace: {}")
        base = address.base_url if address.base_url.count("/") > 2 else f"{address.base_url}/api"
        self._client = PlatformClient(base, settings=SETTINGS, headers=headers)
        self._project = address.project

    def iter_pages(self, cursor: str | None) -> Iterator[TracePage]:
        """Yield the traces and spans that ended since a cursor, which holds those of its last hour."""
        stored = json.loads(cursor or "{}")
        sweeps = {kind: Sweep(**stored.get(kind, {})) for kind in _KINDS}
        for kind, sweep in sweeps.items():
            fetch = partial(self._list, kind, [])
            for records in sweep.iter_new(fetch, partial(self._list, kind, _CONTENTS)):
                state = {name: other.dump() for name, other in sweeps.items()}
                yield TracePage(records, json.dumps(state))

    def annotate(self, annotations: Sequence[Annotation]) -> dict[str, str]:
        """Write annotations as feedback scores; one of the same name takes the place of an earlier one."""
        reasons: dict[str, str] = {}
        for kind in _KINDS:
            send: Callable[[Sequence[Annotation]], None] = partial(self._send, kind)
            chosen = [a for a in annotations if (a.span_id == a.trace_id) == (kind == "traces")]
            if chosen:
                reasons |= send_together(chosen, send)
        return reasons

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _list(self, kind: _Kind, exclude: list[str], since_ms: int, token: str | None) -> Listing:
        body: dict[str, Any] = {"project_name": self._project, "limit": PAGE, "truncate": False}
        if exclude:
            body["exclude"] = exclude
        if since_ms:
            body["from_time"] = datetime.fromtimestamp(since_ms / 1000, UTC).isoformat()
        if token:
            body["last_retrieved_id"] = token
        lines = self._client.post_for_lines(f"/v1/private/{kind}/search", body)
        records = [_read_record(line) for line in lines]
        return Listing(records, records[-1].id if len(records) == PAGE else None)

    def _send(self, kind: _Kind, annotations: Sequence[Annotation]) -> None:
        scores = [_build_score(annotation, self._project) for annotation in annotations]
        self._client.ask("PUT", f"/v1/private/{kind}/feedback-scores", json={"scores": scores})


def _read_record(line: Any) -> ListedRecord:
    """Return a line of a stream, in whose middle Opik may say that it failed."""
    start = parse_nanoseconds(line.get("start_time")) if isinstance(line, dict) else None
    if start is None or "id" not in line:
        raise ConfigurationError(f"Opik breaks its list off with {str(line)[:200]!r}: attach again")
    return ListedRecord(str(line["id"]), start // 10**6, line.get("end_time") is not None, line)


def _build_score(annotation: Annotation, project: str) -> dict[str, Any]:
    """Return an annotation as Opik has it, for which all is a number: a label is 1 where it says `ok`."""
    value = annotation.value
    words = "; ".join(f"{name}: {detail}" for name, detail in annotation.details.items())
    labelled = {"category_name": value} if isinstance(value, str) else {}
    return {
        "id": annotation.span_id,
        "project_name": project,
        "name": annotation.name,
        "value": float(value == "ok") if isinstance(value, str) else float(value or 0),
        "reason": "\n".join(filter(None, (annotation.explanation, words))),
        "source": _SOURCES.get(annotation.source, "sdk"),
        **labelled,
    }
