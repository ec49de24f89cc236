"""The HTTP side of the receiver: OTLP/HTTP 1.x. Needs the extra `collect`."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import orjson
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from llm_trace.collect import protobuf
from llm_trace.collect.body import JSON, PROTOBUF, Reading, RequestRefusedError, get_content_type, read_body
from llm_trace.collect.json_logs import iter_json_logs
from llm_trace.collect.points import iter_json_points
from llm_trace.collect.receiver import RequestLimits, SpoolFullError
from llm_trace.imports import otlp
from llm_trace.imports.values import parse_json

if TYPE_CHECKING:
    from llm_trace.collect.intake import Intake
    from llm_trace.collect.logs import LogRecord
    from llm_trace.collect.points import DataPoint
    from llm_trace.semconv.completed_span import EndedSpan

_log = logging.getLogger("llm_trace.collect")
RETRY_AFTER_S = 30
_GRPC_CODE = {400: 3, 401: 16, 403: 7, 413: 8, 415: 3, 503: 14}


def build_collector(
    intake: Intake,
    limits: RequestLimits,
    token: str | None = None,
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None,
) -> Starlette:
    """Return the application that takes OTLP over HTTP.

    Args:
        intake: what the spans go to.
        limits: what requests may bring.
        token: what a sender must give as `Authorization: Bearer`; `None` lets everyone in.
        lifespan: what lasts as long as the application serves.
    """

    reading = Reading(limits.at_once)

    async def traces(request: Request) -> Response:
        kind = get_content_type(request)
        body = await read_body(request, limits.body, reading)
        taken = await intake.take(_read_spans(body, kind))
        answer = ExportTraceServiceResponse()
        if taken.rejected:
            _log.warning(
                "spans of a request were rejected: %d, the first because of %s", taken.rejected, taken.reason
            )
            answer.partial_success.rejected_spans = taken.rejected
            answer.partial_success.error_message = taken.reason
        return _answer(answer, kind)

    async def logs(request: Request) -> Response:
        kind = get_content_type(request)
        body = await read_body(request, limits.body, reading)
        answer = ExportLogsServiceResponse()
        taken = await intake.take_logs(_read_logs(body, kind))
        if taken.left_out:
            _log.warning("%s", taken.reason)
            answer.partial_success.rejected_log_records = taken.left_out.total()
            answer.partial_success.error_message = taken.reason
        return _answer(answer, kind)

    async def metrics(request: Request) -> Response:
        kind = get_content_type(request)
        body = await read_body(request, limits.body, reading)
        answer = ExportMetricsServiceResponse()
        taken = await intake.take_metrics(_read_points(body, kind))
        if taken.left_out:
            answer.partial_success.rejected_data_points = taken.left_out.total()
            answer.partial_success.error_message = taken.reason
        return _answer(answer, kind)

    return Starlette(
        routes=[
            Route("/v1/traces", _guard_endpoint(traces, token), methods=["POST"]),
            Route("/v1/metrics", _guard_endpoint(metrics, token), methods=["POST"]),
            Route("/v1/logs", _guard_endpoint(logs, token), methods=["POST"]),
        ],
        lifespan=lifespan,
    )


def _read_spans(body: bytes, kind: str) -> Iterator[tuple[str, EndedSpan | str]]:
    return protobuf.read_spans(body) if kind == PROTOBUF else otlp.iter_spans(_parse_json(body))


def _read_logs(body: bytes, kind: str) -> Iterator[LogRecord | None]:
    return protobuf.iter_logs(body) if kind == PROTOBUF else iter_json_logs(_parse_json(body))


def _read_points(body: bytes, kind: str) -> Iterator[DataPoint | None]:
    return protobuf.iter_points(body) if kind == PROTOBUF else iter_json_points(_parse_json(body))


def _parse_json(body: bytes) -> Any:
    try:
        return parse_json(body)
    except ValueError as exc:
        raise RequestRefusedError(400, f"the body is no JSON: {exc}") from exc


def _guard_endpoint(endpoint: Any, token: str | None) -> Any:
    """Return the endpoint, with what it refuses as `google.rpc.Status`."""

    async def handle(request: Request) -> Response:
        try:
            _check_token(request, token)
            answer = await endpoint(request)
        except RequestRefusedError as exc:
            return _build_refusal(request, exc.status, str(exc))
        except ValueError as exc:
            return _build_refusal(request, 400, str(exc))
        except SpoolFullError as exc:
            return _build_refusal(request, 503, str(exc))
        except ClientDisconnect:
            return _build_refusal(request, 400, "the sender went away")
        assert isinstance(answer, Response)
        return answer

    return handle


def _check_token(request: Request, token: str | None) -> None:
    """Refuse who has not the token; without one, what a page in a browser sends."""
    if token is None:
        if "origin" in request.headers:
            raise RequestRefusedError(403, "browsers are not let in without a token")
        return
    header = request.headers.get("authorization", "")
    if not hmac.compare_digest(header.encode(), f"Bearer {token}".encode()):
        raise RequestRefusedError(
            401, "the token is missing or wrong: send the header 'Authorization: Bearer …'"
        )


def _build_refusal(request: Request, status: int, message: str) -> Response:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    answer = _answer(Status(code=_GRPC_CODE[status], message=message), kind)
    answer.status_code = status
    if status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if status == 503:
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def _answer(message: Any, kind: str) -> Response:
    from google.protobuf.json_format import MessageToDict

    if kind == PROTOBUF:
        return Response(message.SerializeToString(), media_type=PROTOBUF)
    return Response(orjson.dumps(MessageToDict(message)), media_type=JSON)
