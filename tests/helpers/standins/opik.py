"""An Opik backend on loopback as far as its client uses it; what no recorded request has is refused."""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tests.helpers.loopback import Loopback, Received, Reply

KEY, WORKSPACE = "k" * 25, "team"
MOST_BYTES = 5_000_000


def _version_7(value: str) -> str:
    parsed = uuid.UUID(value)
    if parsed.version != 7 or parsed.variant != uuid.RFC_4122:
        raise ValueError("id must be a version 7 UUID")
    return value


Id = Annotated[str, AfterValidator(_version_7)]
Name = Annotated[str, Field(min_length=1)]
Moment = Annotated[AwareDatetime, Field(strict=False)]
Json = dict[str, Any] | list[Any] | str


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ErrorInfo(Strict):
    exception_type: Name
    message: str | None = None
    traceback: str


class Shared(Strict):
    id: Id
    project_name: Name
    name: Name
    start_time: Moment
    end_time: Moment | None = None
    input: Json | None = None
    output: Json | None = None
    metadata: Json | None = None
    tags: list[str] | None = None
    error_info: ErrorInfo | None = None
    last_updated_at: Moment | None = None
    ttft: float | None = None
    source: Literal["sdk"]


class Trace(Shared):
    thread_id: str | None = None


class Span(Shared):
    trace_id: Id
    parent_span_id: Id | None = None
    type: Literal["general", "tool", "llm", "guardrail"]
    model: str | None = None
    provider: str | None = None
    usage: dict[str, int] | None = None
    total_estimated_cost: float | None = None


class Traces(Strict):
    traces: Annotated[list[Trace], Field(min_length=1, max_length=1000)]


class Spans(Strict):
    spans: Annotated[list[Span], Field(min_length=1, max_length=1000)]


class Score(Strict):
    id: Id
    project_name: Name
    name: Name
    category_name: str | None = None
    value: float
    reason: str | None = None
    source: Literal["ui", "sdk", "online_scoring"]


class Scores(Strict):
    scores: Annotated[list[Score], Field(min_length=1, max_length=1000)]


class Upload(Strict):
    file_name: Name
    project_name: Name
    mime_type: Name
    entity_type: Literal["span", "trace"]
    entity_id: Id


class UploadStart(Upload):
    num_of_file_parts: int
    path: str


BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/api/v1/private/traces/batch"): TypeAdapter(Traces),
    ("POST", "/api/v1/private/spans/batch"): TypeAdapter(Spans),
    ("PUT", "/api/v1/private/traces/feedback-scores"): TypeAdapter(Scores),
    ("PUT", "/api/v1/private/spans/feedback-scores"): TypeAdapter(Scores),
    ("POST", "/api/v1/private/attachment/upload-start"): TypeAdapter(UploadStart),
}
"""What each endpoint takes that llm_trace or a recorded client writes to."""
_UPLOAD = "/api/v1/private/attachment/upload"


class Backend:
    """The backend without a server around it; what comes twice counts once, by its id."""

    def __init__(self) -> None:
        self.url = ""
        """Where uploads are told to go."""
        self.traces: dict[str, Trace] = {}
        self.spans: dict[str, Span] = {}
        self.scores: dict[tuple[str, str, str], Score] = {}
        """By `traces` or `spans`, entity and name."""
        self.files: dict[tuple[str, str], bytes] = {}
        """By entity and name."""

    def serve(self, request: Received) -> Reply:
        """Return the answer to a request."""
        parts = urlsplit(request.path)
        if parts.path == "/api/is-alive/ping":
            return Reply(200, b'{"message":"Healthy Server"}')
        if request.headers.get("authorization") != KEY:
            return _bad(401, "API key should be provided")
        if request.headers.get("comet-workspace") != WORKSPACE:
            return _bad(403, "User is not allowed to access workspace")
        if len(request.body) > MOST_BYTES:
            return _bad(413, "the body is too large")
        try:
            if (request.method, parts.path) == ("PUT", _UPLOAD):
                upload = Upload.model_validate({k: v[0] for k, v in parse_qs(parts.query).items()})
                self.files[upload.entity_id, upload.file_name] = request.body
                return Reply(204, b"")
            if (request.method, parts.path) in BODIES:
                return self._write(parts.path, BODIES[request.method, parts.path].validate_json(request.body))
        except ValidationError as exc:
            return _bad(400, str(exc)[:500])
        if request.method == "PATCH" and parts.path.startswith(
            ("/api/v1/private/traces/", "/api/v1/private/spans/")
        ):
            return Reply(204, b"")
        return _bad(404, "HTTP 404 Not Found")

    def _write(self, path: str, body: Any) -> Reply:
        if isinstance(body, Traces):
            self.traces.update({t.id: t for t in body.traces})
        elif isinstance(body, Spans):
            self.spans.update({s.id: s for s in body.spans})
        elif isinstance(body, Scores):
            self.scores.update({(path.split("/")[4], s.id, s.name): s for s in body.scores})
        else:
            query = f"file_name={body.file_name}&project_name={body.project_name}&mime_type={body.mime_type}"
            where = f"{query}&entity_type={body.entity_type}&entity_id={body.entity_id}"
            answer = {"upload_id": "BEMinIO", "pre_sign_urls": [f"{self.url}{_UPLOAD}?{where}"]}
            return Reply(200, json.dumps(answer).encode())
        return Reply(204, b"")


class Opik(Loopback):
    """The backend as a server for the length of a `with` block."""

    def __init__(self) -> None:
        self.backend = Backend()
        super().__init__(self.backend.serve)
        self.backend.url = self.url
        self.traces, self.spans = self.backend.traces, self.backend.spans
        self.scores, self.files = self.backend.scores, self.backend.files


def _bad(status: int, message: str) -> Reply:
    return Reply(status, json.dumps({"errors": [message]}).encode())
