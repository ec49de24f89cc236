"""MLflow: traces of an experiment in the order in which they began, and assessments of their spans.

Source: mlflow 3.17, `mlflow/store/tracking/rest_store.py` and `mlflow/entities/assessment.py`:
    `/api/3.0/mlflow/traces/search`, `batchGet`, `{trace}` and `{trace}/assessments`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from llm_trace.errors import ConfigurationError
from llm_trace.imports.mlflow import OWN_SOURCE
from llm_trace.imports.values import parse_nanoseconds
from llm_trace.platforms import Annotation, TracePage
from llm_trace.platforms.addresses import PlatformAddress
from llm_trace.platforms.client import PlatformClient, build_headers
from llm_trace.platforms.sending import send_singly
from llm_trace.platforms.sweep import ListedRecord, Listing, Sweep
from llm_trace.times import format_moment

PAGE = 100
_TRACES = "/api/3.0/mlflow/traces"
_ENDED = ("OK", "ERROR")
_SOURCES = {"model": "LLM_JUDGE", "human": "HUMAN"}
_MARK = "llm_trace.id"


class MlflowPlatform:
    """One experiment of an MLflow server, by name or id; its key is MLflow's `MLFLOW_TRACKING_TOKEN`."""

    importer = "mlflow"

    def __init__(self, address: PlatformAddress) -> None:
        headers = build_headers(MLFLOW_TRACKING_TOKEN="Authorization: Bearer {}")
        self._client = PlatformClient(address.base_url, settings=["MLFLOW_TRACKING_TOKEN"], headers=headers)
        self._experiment = address.project

    def iter_pages(self, cursor: str | None) -> Iterator[TracePage]:
        """Yield the traces that ended since a cursor, which holds those that began within its last hour."""
        sweep = Sweep(**json.loads(cursor or "{}"))
        for infos in sweep.iter_new(partial(self._list, self._find_experiment())):
            traces = self._get([info["trace_id"] for info in infos]) if infos else []
            yield TracePage(traces, json.dumps(sweep.dump()))

    def annotate(self, annotations: Sequence[Annotation]) -> dict[str, str]:
        """Write annotations as feedback of spans, each unless its trace has it already."""
        return send_singly(annotations, partial(self._send, marks={}))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _find_experiment(self) -> str:
        """Return the experiment's id: numbers are ids, all else is a name."""
        if self._experiment.isdigit():
            return self._experiment
        answer = self._client.get(
            "/api/2.0/mlflow/experiments/get-by-name", {"experiment_name": self._experiment}
        )
        return str(answer["experiment"]["experiment_id"])

    def _list(self, experiment: str, since_ms: int, token: str | None) -> Listing:
        body = {
            "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}],
            "filter": f"trace.timestamp_ms >= {since_ms}",
            "order_by": ["timestamp_ms ASC"],
            "max_results": PAGE,
        }
        answer = self._client.post(f"{_TRACES}/search", body | ({"page_token": token} if token else {})) or {}
        records = [
            ListedRecord(info["trace_id"], _read_milliseconds(info), info.get("state") in _ENDED, info)
            for info in answer.get("traces") or []
        ]
        return Listing(records, answer.get("next_page_token") or None)

    def _get(self, trace_ids: list[str]) -> list[Any]:
        return list(self._client.get(f"{_TRACES}/batchGet", {"trace_ids": trace_ids})["traces"])

    def _send(self, annotation: Annotation, marks: dict[str, set[str]]) -> None:
        trace_id = f"tr-{annotation.trace_id}"
        if trace_id not in marks:
            marks[trace_id] = self._list_marks(trace_id)
        if annotation.id not in marks[trace_id]:
            body = {"assessment": _build_assessment(annotation, trace_id)}
            self._client.post(f"{_TRACES}/{trace_id}/assessments", body)

    def _list_marks(self, trace_id: str) -> set[str]:
        """Return the ids of ours that stand in the assessments of a trace."""
        trace = self._client.get(f"{_TRACES}/{trace_id}")["trace"]
        info = trace.get("trace_info") or trace
        return {str(shown.get("metadata", {}).get(_MARK)) for shown in info.get("assessments") or []}


def _read_milliseconds(info: dict[str, Any]) -> int:
    moment = parse_nanoseconds(info.get("request_time"))
    if moment is None:
        raise ConfigurationError(f"a trace of MLflow has no time: {info.get('request_time')!r}")
    return moment // 10**6


def _build_assessment(annotation: Annotation, trace_id: str) -> dict[str, Any]:
    shown = format_moment(annotation.time_ns)
    return {
        "assessment_name": annotation.name,
        "trace_id": trace_id,
        "span_id": annotation.span_id,
        "source": {"source_type": _SOURCES.get(annotation.source, "CODE"), "source_id": OWN_SOURCE},
        "create_time": shown,
        "last_update_time": shown,
        "feedback": {"value": annotation.value},
        "rationale": annotation.explanation,
        "metadata": {
            _MARK: annotation.id,
            **{name: str(value) for name, value in annotation.details.items()},
        },
        "valid": True,
    }
