"""MLflow: traces of an experiment in the order in which they began, and assessments of their spans.

Source: mlflow 3.17, `mlflow/store/tracking/rest_store.py` and `mlflow/entities/assessment.py`:
    `/api/3.0/mlflow/traces/search`, `batchGet`, `{trace}` and `{trace}/assessments`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from llm_trace.errors import ConfigurationError
from llm_trace.imports.values import parse_nanoseconds
from llm_trace.platforms import Annotation, TracePage
from llm_trace.platforms.addresses import PlatformAddress
from llm_trace.platforms.client import PlatformClient

PAGE = 100
_TRACES = "/api/3.0/mlflow/traces"
_ENDED = ("OK", "ERROR")
_OVERLAP_MS = 3_600_000
"""A trace stands at the time of its start and is there only when it has ended."""
_SOURCES = {"model": "LLM_JUDGE", "human": "HUMAN"}
_MARK = "llm_trace.id"


class MlflowPlatform:
    """One experiment of an MLflow server, by name or id; its key is MLflow's `MLFLOW_TRACKING_TOKEN`."""

    importer = "mlflow"

    def __init__(self, address: PlatformAddress) -> None:
        self._client = PlatformClient(address.base_url, key_setting="MLFLOW_TRACKING_TOKEN")
        self._experiment = address.project

    def iter_pages(self, cursor: str | None) -> Iterator[TracePage]:
        """Yield the traces that ended since a cursor, which holds those that began within its last hour."""
        state = json.loads(cursor or '{"since_ms": 0, "seen": {}}')
        since, seen, newest = state["since_ms"], dict(state["seen"]), state["since_ms"]
        experiment, token = self._find_experiment(), None
        while True:
            answer = self._search(experiment, since, token)
            infos = answer.get("traces") or []
            new = {
                info["trace_id"]: _read_milliseconds(info)
                for info in infos
                if info["trace_id"] not in seen and info.get("state") in _ENDED
            }
            if new:
                seen |= new
                newest = max(newest, *new.values())
                onward = max(since, newest - _OVERLAP_MS)
                recent = {trace_id: ms for trace_id, ms in seen.items() if ms >= onward}
                yield TracePage(self._get(list(new)), json.dumps({"since_ms": onward, "seen": recent}))
            token = answer.get("next_page_token")
            if not token:
                return

    def annotate(self, annotations: Sequence[Annotation]) -> None:
        """Write annotations as feedback of spans, each unless its trace has it already."""
        known = self._list_marks({f"tr-{annotation.trace_id}" for annotation in annotations})
        for annotation in annotations:
            if annotation.id not in known:
                path = f"{_TRACES}/tr-{annotation.trace_id}/assessments"
                self._client.post(path, {"assessment": _build_assessment(annotation)})

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

    def _search(self, experiment: str, since_ms: int, token: str | None) -> dict[str, Any]:
        body = {
            "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}],
            "filter": f"trace.timestamp_ms >= {since_ms}",
            "order_by": ["timestamp_ms ASC"],
            "max_results": PAGE,
        }
        answer = self._client.post(f"{_TRACES}/search", body | ({"page_token": token} if token else {}))
        return dict(answer or {})

    def _get(self, trace_ids: list[str]) -> list[Any]:
        return list(self._client.get(f"{_TRACES}/batchGet", {"trace_ids": trace_ids})["traces"])

    def _list_marks(self, trace_ids: set[str]) -> set[str]:
        """Return the ids of ours that stand in the assessments of traces."""
        marks: set[str] = set()
        for trace_id in trace_ids:
            trace = self._client.get(f"{_TRACES}/{trace_id}")["trace"]
            info = trace.get("trace_info") or trace
            marks |= {
                str(assessment.get("metadata", {}).get(_MARK)) for assessment in info.get("assessments") or []
            }
        return marks


def _read_milliseconds(info: dict[str, Any]) -> int:
    moment = parse_nanoseconds(info.get("request_time"))
    if moment is None:
        raise ConfigurationError(f"a trace of MLflow has no time: {info.get('request_time')!r}")
    return moment // 10**6


def _build_assessment(annotation: Annotation) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "assessment_name": annotation.name,
        "trace_id": f"tr-{annotation.trace_id}",
        "span_id": annotation.span_id,
        "source": {"source_type": _SOURCES.get(annotation.source, "CODE"), "source_id": "llm_trace"},
        "create_time": now,
        "last_update_time": now,
        "feedback": {"value": annotation.value},
        "rationale": annotation.explanation,
        "metadata": {
            _MARK: annotation.id,
            **{name: str(value) for name, value in annotation.details.items()},
        },
        "valid": True,
    }
