"""Phoenix and MLflow as far as `llm-trace attach` asks them; they refuse what the real ones would refuse.

`tests/servers` asks the real ones the same.
"""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.helpers.loopback import Received, Reply

BEGIN_S = 1_777_629_600
"""2026-05-01T10:00:00Z."""
ASKED = [{"role": "user", "content": "Is the sky blue?"}]


def _reply(body: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(body).encode())


class Phoenix:
    """A project named `desk` with spans of a model, in the order in which they arrived."""

    def __init__(self, spans: int = 0) -> None:
        self.spans: list[dict[str, Any]] = []
        self.annotations: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.page = 1000
        self.add(spans)

    def add(self, number: int) -> None:
        """Let spans arrive."""
        for index in range(len(self.spans), len(self.spans) + number):
            attributes = {
                "llm.model_name": "small-1",
                "llm.input_messages.0.message.role": "user",
                "llm.input_messages.0.message.content": "Is the sky blue?",
                "llm.output_messages.0.message.role": "assistant",
                "llm.output_messages.0.message.content": "Yes.",
            }
            self.spans.append(
                {
                    "id": base64.b64encode(f"Span:{index + 1}".encode()).decode(), "name": f"ask {index}",
                    "context": {"trace_id": f"{index + 1:032x}", "span_id": f"{index + 1:016x}"},
                    "span_kind": "LLM", "parent_id": None, "start_time": "2026-05-01T10:00:00+00:00",
                    "end_time": "2026-05-01T10:00:01+00:00", "status_code": "OK", "status_message": "",
                    "attributes": attributes, "events": [],
                }
            )  # fmt: skip

    def answer(self, request: Received) -> Reply:
        """Answer a request as Phoenix 20 does."""
        parts = urlsplit(request.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if (request.method, parts.path) == ("GET", "/v1/projects/desk/spans"):
            return self._list(asked)
        if (request.method, parts.path) == ("POST", "/v1/span_annotations"):
            return self._annotate(request.json())
        return _reply({"detail": "Project not found"}, 404)

    def _list(self, asked: dict[str, str]) -> Reply:
        if not 0 < int(asked.get("limit", "100")) <= 1000:
            return _reply({"detail": "limit"}, 422)
        assert (asked["sort"], asked["order"]) == ("id", "asc")
        cursor = asked.get("cursor")
        start = 0 if cursor is None else next(i for i, s in enumerate(self.spans) if s["id"] == cursor)
        limit = min(self.page, int(asked["limit"]))
        shown = self.spans[start : start + limit]
        more = self.spans[start + limit : start + limit + 1]
        return _reply({"data": shown, "next_cursor": more[0]["id"] if more else None})

    def _annotate(self, body: dict[str, Any]) -> Reply:
        for entry in body["data"]:
            if entry.keys() - {"span_id", "name", "annotator_kind", "result", "metadata", "identifier"}:
                return _reply({"detail": "extra fields"}, 422)
            if entry["annotator_kind"] not in ("LLM", "CODE", "HUMAN"):
                return _reply({"detail": "annotator_kind"}, 422)
            if entry["result"].keys() - {"label", "score", "explanation"}:
                return _reply({"detail": "result"}, 422)
            self.annotations[entry["span_id"], entry["name"], entry["identifier"]] = entry
        return _reply({"data": []})


def _spell(value: Any) -> dict[str, Any]:
    """Return a value as OTLP's `AnyValue`, by Protobuf's own names, as MLflow's server writes it."""
    if isinstance(value, dict):
        return {"kvlist_value": {"values": [{"key": k, "value": _spell(v)} for k, v in value.items()]}}
    if isinstance(value, list):
        return {"array_value": {"values": [_spell(entry) for entry in value]}}
    return {"int_value": value} if isinstance(value, int) else {"string_value": value}


class Mlflow:
    """The experiment `desk`, number 7, with traces of a model; one may still run."""

    def __init__(self, traces: int = 0) -> None:
        self.traces: list[dict[str, Any]] = []
        self.page = 100
        for _ in range(traces):
            self.add()

    def add(self, *, state: str = "OK", begin_s: float | None = None) -> None:
        """Let a trace arrive."""
        own = len(self.traces) + 1
        begin = BEGIN_S + own if begin_s is None else begin_s
        answered = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}}]}
        attributes = {
            "mlflow.traceRequestId": f"tr-{own:032x}", "mlflow.spanType": "CHAT_MODEL",
            "mlflow.spanInputs": {"messages": ASKED}, "mlflow.spanOutputs": answered,
            "mlflow.chat.tokenUsage": {"input_tokens": 12, "output_tokens": 3}, "mlflow.llm.model": "small-1",
        }  # fmt: skip
        span = {
            "trace_id": base64.b64encode(own.to_bytes(16, "big")).decode(),
            "span_id": base64.b64encode(own.to_bytes(8, "big")).decode(), "name": f"ask {own}",
            "start_time_unix_nano": round(begin * 1e9), "end_time_unix_nano": round(begin * 1e9) + 10**9,
            "attributes": [{"key": name, "value": _spell(value)} for name, value in attributes.items()],
            "status": {"code": "STATUS_CODE_OK"},
        }  # fmt: skip
        info = {
            "trace_id": f"tr-{own:032x}", "state": state, "request_time": _write_time(begin),
            "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "7"}},
            "assessments": [],
        }  # fmt: skip
        self.traces.append({"trace_info": info, "spans": [span]})

    def answer(self, request: Received) -> Reply:
        """Answer a request as mlflow 3.17 does."""
        parts = urlsplit(request.path)
        asked = parse_qs(parts.query)
        by_id = {trace["trace_info"]["trace_id"]: trace for trace in self.traces}
        if parts.path == "/api/2.0/mlflow/experiments/get-by-name" and asked["experiment_name"] == ["desk"]:
            return _reply({"experiment": {"experiment_id": "7", "name": "desk"}})
        path = parts.path.removeprefix("/api/3.0/mlflow/traces/")
        if (request.method, path) == ("POST", "search"):
            return self._search(request.json())
        if (request.method, path) == ("GET", "batchGet"):
            return _reply({"traces": [by_id[own] for own in asked["trace_ids"]]})
        own, _, rest = path.partition("/")
        if request.method == "GET" and own in by_id and not rest:
            return _reply({"trace": {"trace_info": by_id[own]["trace_info"]}})
        if (request.method, rest) == ("POST", "assessments") and own in by_id:
            assessment = request.json()["assessment"]
            assert assessment["trace_id"] == own
            assert assessment.keys() >= {"assessment_name", "source", "feedback", "create_time"}
            assert all(isinstance(value, str) for value in assessment["metadata"].values())
            by_id[own]["trace_info"]["assessments"].append(assessment)
            return _reply({"assessment": assessment})
        return _reply({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such thing"}, 404)

    def _search(self, body: dict[str, Any]) -> Reply:
        assert body["locations"] == [
            {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "7"}}
        ]
        assert body["order_by"] == ["timestamp_ms ASC"]
        name, _, since = body["filter"].partition(" >= ")
        assert name == "trace.timestamp_ms"
        infos = sorted((t["trace_info"] for t in self.traces), key=lambda info: info["request_time"])
        infos = [info for info in infos if info["request_time"] >= _write_time(int(since) / 1000)]
        start = int(body.get("page_token", "0"))
        limit = min(self.page, body["max_results"])
        more = {"next_page_token": str(start + limit)} if infos[start + limit :] else {}
        return _reply({"traces": infos[start : start + limit], **more})


def _write_time(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
