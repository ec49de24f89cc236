"""Langfuse as far as `llm-trace attach` asks it, by the schemas of langfuse 5.0."""

from __future__ import annotations

import base64
import json
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from tests.helpers.loopback import Received, Reply
from tests.platforms.hosted import CHOICES, LONG, PROJECT_ID, Hosted, Row, read_time, reply, write_time
from tests.platforms.standins import ASKED


class Langfuse(Hosted):
    """Lists the newest first; inputs and outputs are text, long values of metadata are cut."""

    keys: ClassVar = {"LANGFUSE_PUBLIC_KEY": "pk-1", "LANGFUSE_SECRET_KEY": "sk-1"}

    def __init__(self, traces: int = 0) -> None:
        self.scores: dict[str, Row] = {}
        super().__init__(traces)

    def build_rows(self, number: int, begin_s: float, running: bool) -> list[Row]:
        trace = f"trace-{number}"
        times = {"startTime": write_time(begin_s), "endTime": None if running else write_time(begin_s + 1)}
        shared = {
            "traceId": trace, "projectId": PROJECT_ID, **times, "level": "DEFAULT", "environment": "default",
            "userId": "anna", "sessionId": "s1", "tags": ["prod"],
        }  # fmt: skip
        pipeline = {
            "id": f"pipeline-{number}", "parentObservationId": None, "type": "CHAIN", "name": "pipeline",
            "isRootObservation": True, "input": json.dumps({"q": "sky"}), "output": json.dumps("Yes."),
            "metadata": {"policy": LONG},
        }  # fmt: skip
        ask = {
            "id": f"ask-{number}", "parentObservationId": f"pipeline-{number}", "type": "GENERATION",
            "name": f"ask {number}", "isRootObservation": False, "input": json.dumps(ASKED),
            "output": json.dumps(CHOICES), "model": "small-1", "modelParameters": {"temperature": 0.5},
            "usageDetails": {"input": 12, "output": 3, "total": 15}, "costDetails": {"total": 0.25},
            "metadata": {},
        }  # fmt: skip
        return [{**shared, **pipeline}, {**shared, **ask}]

    def end(self) -> None:
        for row in self.rows:
            row["endTime"] = row["endTime"] or write_time(read_time(row["startTime"]) + 2)

    def list_shown(self) -> dict[tuple[str, str], tuple[Any, str]]:
        return {
            (score["observationId"], score["name"]): (score["value"], score["comment"])
            for score in self.scores.values()
        }

    def answer(self, request: Received) -> Reply:
        """Answer a request as Langfuse 4 and later do."""
        secret = base64.b64encode(b"pk-1:sk-1").decode()
        if request.headers.get("authorization") != f"Basic {secret}":
            return reply({"message": "Invalid credentials"}, 401)
        parts = urlsplit(request.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        match request.method, parts.path:
            case "GET", "/api/public/projects":
                organization = {"id": "o1", "name": "acme"}
                project = {"id": PROJECT_ID, "name": "desk", "organization": organization, "metadata": {}}
                return reply({"data": [project]})
            case "GET", "/api/public/v2/observations":
                return self._list(asked)
            case "POST", "/api/public/scores":
                return self._score(request.json())
        return reply({"message": "no such thing"}, 404)

    def _list(self, asked: dict[str, str]) -> Reply:
        limit = min(self.page, int(asked.get("limit", "50")))
        groups = set(asked.get("fields", "core,basic").split(","))
        if not 0 < limit <= 1_000 or "parseIoAsJson" in asked:
            return reply({"message": "limit"}, 400)
        rows = sorted(self.rows, key=lambda row: (row["startTime"], row["id"]), reverse=True)
        since = read_time(asked["fromStartTime"]) if "fromStartTime" in asked else 0.0
        rows = [row for row in rows if read_time(row["startTime"]) >= since]
        if "cursor" in asked:
            last = json.loads(base64.b64decode(asked["cursor"]))
            rows = [row for row in rows if [row["startTime"], row["id"]] < last]
        expanded = set(asked.get("expandMetadata", "").split(","))
        shown = [_choose_fields(row, groups, expanded) for row in rows[:limit]]
        meta = {}
        if rows[limit:]:
            last = [rows[limit - 1]["startTime"], rows[limit - 1]["id"]]
            meta["cursor"] = base64.b64encode(json.dumps(last).encode()).decode()
        return reply({"data": shown, "meta": meta})

    def _score(self, scores: list[Row]) -> Reply:
        known = {row["id"] for row in self.rows} - self.gone
        allowed = {
            "id", "traceId", "sessionId", "observationId", "datasetRunId", "name", "value", "comment",
            "metadata", "environment", "queueId", "dataType", "configId", "source", "timestamp",
        }  # fmt: skip
        errors = []
        for score in scores:
            as_text = score.get("dataType") in ("CATEGORICAL", "TEXT")
            if score.keys() - allowed or isinstance(score["value"], str) != as_text:
                errors.append({"message": "malformed"})
            elif score["observationId"] not in known:
                errors.append({"message": f"observation {score['observationId']} not found"})
            else:
                self.scores[score["id"]] = score
        if errors:
            counts = {"accepted": len(scores) - len(errors), "rejected": len(errors)}
            return reply({**counts, "errors": errors}, 207)
        return reply({"message": "Accepted"}, 202)


_GROUPS = {
    "core": "id traceId startTime endTime projectId parentObservationId type",
    "basic": "name level statusMessage version environment userId sessionId isRootObservation",
    "io": "input output", "metadata": "metadata", "model": "model modelParameters", "trace_context": "tags",
    "usage": "usageDetails costDetails",
}  # fmt: skip


def _choose_fields(row: Row, groups: set[str], expanded: set[str]) -> Row:
    names = " ".join(_GROUPS.get(group, "") for group in groups | {"core"}).split()
    shown = {name: row[name] for name in names if name in row}
    if "metadata" in shown:
        shown["metadata"] = {
            name: value if name in expanded else value[:200] for name, value in shown["metadata"].items()
        }
    return shown
