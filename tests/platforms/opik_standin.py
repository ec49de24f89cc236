"""Opik as far as `llm-trace attach` asks it, by the schemas of opik 2.2."""

from __future__ import annotations

import json
from typing import Any, ClassVar
from uuid import UUID

from tests.helpers.loopback import Received, Reply
from tests.platforms.hosted import CHOICES, LONG, PROJECT_ID, Hosted, Row, read_time, reply, write_time
from tests.platforms.standins import ASKED


class Opik(Hosted):
    """Lists the newest first, by id; labels stand beside a number."""

    keys: ClassVar = {"OPIK_API_KEY": "key-1", "OPIK_WORKSPACE": "acme"}

    def __init__(self, traces: int = 0) -> None:
        self.scores: dict[tuple[str, str, str], Row] = {}
        super().__init__(traces)

    def build_rows(self, number: int, begin_s: float, running: bool) -> list[Row]:
        times = {"start_time": write_time(begin_s), "end_time": None if running else write_time(begin_s + 1)}
        trace, span = (_make_uuid7(begin_s, 2 * number + kind) for kind in (0, 1))
        shared = {"project_id": PROJECT_ID, **times, "created_by": "anna", "last_updated_by": "anna"}
        pipeline = {
            "id": trace, "name": "pipeline", "input": {"q": "sky"}, "output": {"a": "Yes."},
            "thread_id": "s1", "tags": ["prod"], "span_count": 1, "metadata": {"policy": LONG},
        }  # fmt: skip
        ask = {
            "id": span, "trace_id": trace, "parent_span_id": None, "name": f"ask {number}", "type": "llm",
            "input": {"messages": ASKED}, "output": CHOICES, "model": "small-1", "provider": "openai",
            "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
            "total_estimated_cost": 0.25,
        }  # fmt: skip
        return [{**shared, **pipeline}, {**shared, **ask}]

    def end(self) -> None:
        for row in self.rows:
            row["end_time"] = row["end_time"] or write_time(read_time(row["start_time"]) + 2)

    def list_shown(self) -> dict[tuple[str, str], tuple[Any, str]]:
        return {
            (own, name): (score.get("category_name", score["value"]), score["reason"])
            for (_, own, name), score in self.scores.items()
        }

    def answer(self, request: Received) -> Reply:
        """Answer a request as Opik 2.2 does."""
        keys = request.headers.get("authorization"), request.headers.get("comet-workspace")
        if keys != ("key-1", "acme"):
            return reply({"message": "API key should be provided"}, 401)
        kind, _, action = request.path.removeprefix("/api/v1/private/").partition("/")
        if kind in ("traces", "spans") and (request.method, action) == ("POST", "search"):
            return self._search(kind, request.json())
        if kind in ("traces", "spans") and (request.method, action) == ("PUT", "feedback-scores"):
            return self._score(kind, request.json())
        return reply({"message": "no such thing"}, 404)

    def _search(self, kind: str, body: Row) -> Reply:
        assert body["project_name"] == "desk"
        assert 0 < body["limit"] <= 2_000
        rows = [row for row in self.rows if ("trace_id" in row) == (kind == "spans")]
        if "from_time" in body:
            rows = [row for row in rows if read_time(row["start_time"]) >= read_time(body["from_time"])]
        rows = sorted(rows, key=lambda row: row["id"], reverse=True)
        rows = [row for row in rows if row["id"] < body.get("last_retrieved_id", "g")]
        hidden = set(body.get("exclude", ()))
        shown = [{n: v for n, v in row.items() if n not in hidden} for row in rows[: body["limit"]]]
        return Reply(200, "".join(json.dumps(row) + "\n" for row in shown).encode())

    def _score(self, kind: str, body: Row) -> Reply:
        known = {row["id"] for row in self.rows if ("trace_id" in row) == (kind == "spans")} - self.gone
        allowed = {
            "project_name", "project_id", "name", "category_name", "value", "reason", "source", "author",
            "id", "source_queue_id",
        }  # fmt: skip
        for score in body["scores"]:
            if score.keys() - allowed or not isinstance(score["value"], float):
                return reply({"errors": ["malformed"]}, 422)
            if score["source"] not in ("ui", "sdk", "online_scoring"):
                return reply({"errors": ["source"]}, 422)
            if score["id"] not in known:
                return reply({"errors": [f"{kind} id: {score['id']} not found"]}, 409)
        self.scores |= {(kind, score["id"], score["name"]): score for score in body["scores"]}
        return Reply(204, b"")


def _make_uuid7(seconds: float, number: int) -> str:
    return str(UUID(int=(round(seconds * 1000) << 80) | (7 << 76) | (2 << 62) | number))
