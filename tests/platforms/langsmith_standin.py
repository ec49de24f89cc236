"""LangSmith as far as `llm-trace attach` asks it, by the schemas of langsmith 0.15."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from tests.helpers.loopback import Received, Reply
from tests.platforms.hosted import CHOICES, LONG, PROJECT_ID, Hosted, Row, read_time, reply, write_time
from tests.platforms.standins import ASKED, BEGIN_S


class Langsmith(Hosted):
    """Lists the newest first; the project is its session."""

    keys: ClassVar = {"LANGSMITH_API_KEY": "key-1", "LANGSMITH_WORKSPACE_ID": PROJECT_ID}

    def __init__(self, traces: int = 0) -> None:
        self.feedback: dict[str, Row] = {}
        super().__init__(traces)

    def build_rows(self, number: int, begin_s: float, running: bool) -> list[Row]:
        times = {"start_time": write_time(begin_s), "end_time": None if running else write_time(begin_s + 1)}
        trace, span = (str(UUID(int=(4 << 76) | (2 << 62) | (2 * number + kind))) for kind in (0, 1))
        stamp = datetime.fromtimestamp(begin_s, UTC).strftime("%Y%m%dT%H%M%S%fZ")
        shared = {
            "trace_id": trace, "project_id": PROJECT_ID, **times, "tags": ["prod"],
            "status": "PENDING" if running else "SUCCESS",
        }  # fmt: skip
        pipeline = {
            "id": trace, "name": "pipeline", "run_type": "CHAIN", "parent_run_ids": [],
            "inputs": {"q": "sky"}, "outputs": {"a": "Yes."},
            "extra": {"metadata": {"policy": LONG, "thread_id": "s1"}}, "dotted_order": f"{stamp}{trace}",
        }  # fmt: skip
        ask = {
            "id": span, "name": f"ask {number}", "run_type": "LLM", "parent_run_ids": [trace],
            "inputs": {"messages": ASKED}, "outputs": CHOICES, "prompt_tokens": 12, "completion_tokens": 3,
            "total_tokens": 15, "total_cost": 0.25, "dotted_order": f"{stamp}{trace}.{stamp}{span}",
            "extra": {"metadata": {"ls_model_name": "small-1", "ls_provider": "openai"}},
        }  # fmt: skip
        return [{**shared, **pipeline}, {**shared, **ask}]

    def end(self) -> None:
        for row in self.rows:
            row["end_time"] = row["end_time"] or write_time(read_time(row["start_time"]) + 2)

    def list_shown(self) -> dict[tuple[str, str], tuple[Any, str]]:
        return {
            (entry["run_id"], entry["key"]): (entry.get("value", entry.get("score")), entry["comment"])
            for entry in self.feedback.values()
        }

    def answer(self, request: Received) -> Reply:
        """Answer a request as LangSmith does by langsmith 0.15."""
        if request.headers.get("x-api-key") != "key-1":
            return reply({"detail": "Invalid token"}, 401)
        parts = urlsplit(request.path)
        asked = parse_qs(parts.query)
        session = {
            "id": PROJECT_ID, "name": "desk", "tenant_id": PROJECT_ID, "reference_dataset_id": None,
            "start_time": write_time(BEGIN_S),
        }  # fmt: skip
        answers: dict[tuple[str, str], Callable[[], Reply]] = {
            ("GET", "/api/v1/info"): lambda: reply({"version": "0.16.0"}),
            ("GET", "/api/v1/sessions"): lambda: reply([session] if asked["name"] == ["desk"] else []),
            ("POST", "/api/v2/runs/query"): lambda: self._query(request.json()),
            ("GET", "/api/v1/feedback"): lambda: self._list_feedback(asked),
            ("POST", "/api/v1/feedback"): lambda: self._take(request.json()),
        }
        chosen = answers.get((request.method, parts.path))
        return chosen() if chosen else reply({"detail": "no such thing"}, 404)

    def _query(self, body: Row) -> Reply:
        assert body["project_ids"] == [PROJECT_ID]
        size = min(self.page, body.get("page_size", 100))
        if not 0 < body.get("page_size", 100) <= 1_000:
            return reply({"detail": "page_size"}, 422)
        since = read_time(body["min_start_time"])
        rows = [row for row in self.rows if read_time(row["start_time"]) >= since]
        rows.sort(key=lambda row: (row["start_time"], row["id"]), reverse=True)
        rows = [row for row in rows if f"{row['start_time']} {row['id']}" < body.get("cursor", "a")]
        names = [name.lower() for name in body.get("selects", ["ID"])]
        shown = [{name: row[name] for name in names if name in row} for row in rows[:size]]
        last = f"{rows[size - 1]['start_time']} {rows[size - 1]['id']}" if rows[size:] else None
        return reply({"items": shown, "next_cursor": last})

    def _list_feedback(self, asked: dict[str, list[str]]) -> Reply:
        limit, offset = int(asked["limit"][0]), int(asked.get("offset", ["0"])[0])
        chosen = [entry for entry in self.feedback.values() if entry["run_id"] in asked["run"]]
        return reply(chosen[offset : offset + limit])

    def _take(self, body: Row) -> Reply:
        allowed = {
            "id", "run_id", "trace_id", "session_id", "key", "score", "value", "comment", "correction",
            "extra", "feedback_source", "feedback_config", "created_at", "modified_at", "start_time", "error",
            "extend_trace_retention", "comparative_experiment_id", "feedback_group_id",
        }  # fmt: skip
        if body.keys() - allowed or "session_id" not in body:
            return reply({"detail": "malformed"}, 422)
        if isinstance(body.get("score"), float) and round(body["score"], 4) != body["score"]:
            return reply({"detail": "score has more than 4 decimals"}, 422)
        traces = {row["id"]: row["trace_id"] for row in self.rows if row["id"] not in self.gone}
        if body["run_id"] not in traces:
            return reply({"detail": "Run not found"}, 404)
        if body["id"] in self.feedback:
            return reply({"detail": "Feedback exists"}, 409)
        self.feedback[body["id"]] = {"trace_id": traces[body["run_id"]], **body}
        return reply(body)
