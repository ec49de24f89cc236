"""LangSmith: runs of a project, and feedback on them.

Source: langsmith 0.15.1: `/api/v2/runs/query` (`resources/runs/runs.py`; a server of your own has it from
    LangSmith 0.16 on), `/api/v1/sessions` and `/api/v1/feedback` (`client.py`). A session is what LangSmith's
    pages call a project.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from llm_trace.errors import ConfigurationError
from llm_trace.imports.values import parse_nanoseconds
from llm_trace.platforms import Annotation, TracePage
from llm_trace.platforms.addresses import PlatformAddress
from llm_trace.platforms.client import PlatformClient, build_headers
from llm_trace.platforms.sending import send_singly
from llm_trace.platforms.sweep import ListedRecord, Listing, Sweep

PAGE = 500
SETTINGS = ("LANGSMITH_API_KEY", "LANGSMITH_WORKSPACE_ID")
_GLANCED = ["ID", "START_TIME", "END_TIME"]
_FIELDS = [
    "ID", "NAME", "RUN_TYPE", "START_TIME", "END_TIME", "FIRST_TOKEN_TIME", "STATUS", "ERROR", "INPUTS",
    "OUTPUTS", "EXTRA", "TAGS", "EVENTS", "TRACE_ID", "DOTTED_ORDER", "PARENT_RUN_IDS", "PROJECT_ID",
    "PROMPT_TOKENS", "COMPLETION_TOKENS", "TOTAL_TOKENS", "PROMPT_COST", "COMPLETION_COST", "TOTAL_COST",
    "FEEDBACK_STATS",
]  # fmt: skip
_FEEDBACK_PAGE = 100
_RUNS = 50
"""Whose feedback is asked for at a time; their ids stand in the URL."""
_DIGITS = 4
"""Of a score, behind the point: LangSmith refuses more."""


class LangsmithPlatform:
    """One project of LangSmith, by name; its key and workspace are LangSmith's own settings."""

    importer = "langsmith"

    def __init__(self, address: PlatformAddress) -> None:
        headers = build_headers(LANGSMITH_API_KEY="x-api-key: {}", LANGSMITH_WORKSPACE_ID="X-Tenant-Id: {}")
        self._client = PlatformClient(address.base_url, settings=SETTINGS, headers=headers)
        self._project = address.project

    def iter_pages(self, cursor: str | None) -> Iterator[TracePage]:
        """Yield the runs that ended since a cursor, which holds those of its last hour."""
        sweep, session = Sweep(**json.loads(cursor or "{}")), self._find_session()
        fetch = partial(self._list, session, _FIELDS)
        for runs in sweep.iter_new(fetch, partial(self._list, session, _GLANCED)):
            yield TracePage(runs, json.dumps(sweep.dump()))

    def annotate(self, annotations: Sequence[Annotation]) -> dict[str, str]:
        """Write annotations as feedback, each unless its run has it already."""
        session, known = self._find_session(), self._list_known(annotations)
        new = [annotation for annotation in annotations if _make_id(annotation) not in known]
        return send_singly(new, partial(self._send, session))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _find_session(self) -> str:
        sessions = self._client.get("/api/v1/sessions", {"name": self._project, "limit": 1})
        if not sessions:
            raise ConfigurationError(f"{self._client.base_url} has no project {self._project!r}: name one")
        return str(sessions[0]["id"])

    def _list(self, session: str, fields: list[str], since_ms: int, token: str | None) -> Listing:
        body = {
            "project_ids": [session],
            "min_start_time": datetime.fromtimestamp(since_ms / 1000, UTC).isoformat(),
            "page_size": PAGE,
            "selects": fields,
        }
        answer = self._client.post("/api/v2/runs/query", body | ({"cursor": token} if token else {}))
        return Listing([_read_record(run) for run in answer["items"]], answer.get("next_cursor") or None)

    def _list_known(self, annotations: Sequence[Annotation]) -> set[str]:
        """Return the ids of the feedback that stands on the runs of annotations."""
        runs = sorted({annotation.span_id for annotation in annotations})
        ids: set[str] = set()
        for start in range(0, len(runs), _RUNS):
            offset, page = 0, [None] * _FEEDBACK_PAGE
            while len(page) == _FEEDBACK_PAGE:
                query = {"run": runs[start : start + _RUNS], "limit": _FEEDBACK_PAGE, "offset": offset}
                page = self._client.get("/api/v1/feedback", query)
                ids |= {str(feedback["id"]) for feedback in page}
                offset += _FEEDBACK_PAGE
        return ids

    def _send(self, session: str, annotation: Annotation) -> None:
        self._client.post("/api/v1/feedback", _build_feedback(annotation, session))


def _read_record(run: dict[str, Any]) -> ListedRecord:
    start = parse_nanoseconds(run.get("start_time"))
    if start is None:
        raise ConfigurationError(f"a run of LangSmith has no time: {run.get('start_time')!r}")
    return ListedRecord(str(run["id"]), start // 10**6, run.get("end_time") is not None, run)


def _make_id(annotation: Annotation) -> str:
    return str(uuid5(NAMESPACE_URL, f"llm_trace:{annotation.id}"))


def _build_feedback(annotation: Annotation, session: str) -> dict[str, Any]:
    value, moment = annotation.value, datetime.fromtimestamp(annotation.time_ns / 1e9, UTC).isoformat()
    score = {"value": value} if isinstance(value, str) else {"score": _round_score(value)}
    return {
        "id": _make_id(annotation),
        "run_id": annotation.span_id,
        "trace_id": annotation.trace_id,
        "session_id": session,
        "key": annotation.name,
        **score,
        "comment": annotation.explanation,
        "feedback_source": {
            "type": "model" if annotation.source == "model" else "api",
            "metadata": {"llm_trace.id": annotation.id, **annotation.details},
        },
        "created_at": moment,
        "modified_at": moment,
    }


def _round_score(value: float | bool | None) -> float | bool | None:
    return round(value, _DIGITS) if isinstance(value, float) else value
