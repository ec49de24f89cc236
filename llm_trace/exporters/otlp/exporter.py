"""OpenTelemetry: `otlp://host:4318`, protobuf over HTTP as OpenTelemetry's own encoder makes it.

Calls become spans under the ids that they have. A score or attribution, which comes after its call has been
sent, becomes a short span in a trace of its own that is linked to the call.
"""

from __future__ import annotations

import gzip
import json
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from llm_trace.errors import ConfigurationError, MissingExtraError
from llm_trace.exporters.otlp.metrics import build_metrics
from llm_trace.exporters.protocol import (
    Certificates,
    DeliveryVerdict,
    Event,
    HttpAnswer,
    Request,
    judge_status,
)
from llm_trace.semconv.export import span_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from urllib.parse import SplitResult

    from opentelemetry.sdk.trace import ReadableSpan

    from llm_trace.exporters.otlp.spans import Spans

TRACES, METRICS = "v1/traces", "v1/metrics"
_PORT = 4318
_SETTINGS = "the address of exporters=, and the headers in OTEL_EXPORTER_OTLP_HEADERS"
_PROTOBUF = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
_OPTIONS = ("tls", "openinference", "content", "metrics")


class OtlpExporter:
    """Sends spans and metrics to an OTLP/HTTP receiver.

    Args:
        name: as configured.
        base: `http(s)://host:port/path`, to which `/v1/traces` is joined.
        headers: of every request.
        content: put what was said and answered into the spans.
        openinference: put OpenInference's attributes in as well, as Phoenix and MLflow read them.
        metrics: send metrics besides.
        certificates: files of another authority than the usual ones, and of our own certificate.
    """

    whole_traces = False
    max_events = 512
    max_bytes = 4 << 20

    def __init__(
        self,
        name: str,
        base: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bool = True,
        openinference: bool = True,
        metrics: bool = True,
        certificates: Certificates | None = None,
    ) -> None:
        self.name = name
        self.base = base
        self.headers = headers or {}
        self.certificates = certificates
        self._content = content
        self._openinference = openinference
        self._metrics = metrics

    @cached_property
    def _spans(self) -> Spans:
        """Made when first needed: the process that configures does not encode."""
        from llm_trace.exporters.otlp.spans import Spans

        return Spans(openinference=self._openinference)

    def probe(self) -> None:
        """Ask nothing: receivers have no request for it."""

    def requests(self, events: Sequence[Event]) -> list[Request]:
        """Return one request with the spans, and one with the metrics of the calls among them."""
        from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        carried = [event for event in events if event.kind in ("call", "score", "attribution")]
        if not carried:
            return []
        spans = encode_spans([self._span(event) for event in carried])
        requests = [Request(TRACES, _pack_message(spans), tuple(carried), headers=_PROTOBUF)]
        calls = [event.data for event in carried if event.kind == "call"] if self._metrics else []
        metrics = build_metrics(calls, self._spans.resource, self._spans.scope)
        if metrics is not None:
            requests.append(Request(METRICS, _pack_message(encode_metrics(metrics)), (), headers=_PROTOBUF))
        return requests

    def _span(self, event: Event) -> ReadableSpan:
        if event.kind == "call":
            attributes = span_attributes(event.data, content=self._content, openinference=self._openinference)
            return self._spans.call(event.data, attributes, content=self._content)
        if event.kind == "score":
            return self._spans.score(event.id, event.data, content=self._content)
        return self._spans.attribution(event.id, event.data, content=self._content)

    def judge(self, request: Request, answer: HttpAnswer) -> DeliveryVerdict:
        """Return what an answer means; metrics that a receiver does not take are left out from then on."""
        verdict = judge_status(answer, _SETTINGS)
        if request.path == METRICS:
            if verdict.outcome not in ("delivered", "retry"):
                self._metrics = False
                return DeliveryVerdict("delivered")
            return verdict
        if verdict.outcome != "delivered":
            return verdict
        return self._partly(answer)

    def _partly(self, answer: HttpAnswer) -> DeliveryVerdict:
        """Return how much of a request was taken."""
        kind = answer.headers.get("content-type", "")
        foreign = answer.body and "protobuf" not in kind and "json" not in kind
        partial = None if foreign else _read_partial_success(answer.body, json_body="json" in kind)
        if partial is None:
            reason = f"{self.base} answers with {kind or 'no content type'}, not as an OTLP receiver does"
            return DeliveryVerdict("refused", f"{reason}; check {_SETTINGS}")
        rejected, message = partial
        if not rejected:
            return DeliveryVerdict("delivered")
        return DeliveryVerdict(
            "delivered", f"the receiver rejected {rejected} spans: {message or 'no reason given'}", rejected
        )


def make(address: SplitResult) -> OtlpExporter:
    """Return the exporter of `otlp://host:4318[/path][?openinference=false&content=false&metrics=false&tls]`,
    `otlps://` for TLS.

    Raises:
        ConfigurationError: the address has no host, or an option that does not exist.
        MissingExtraError: OpenTelemetry's encoder is not installed.
    """
    try:
        import opentelemetry.exporter.otlp.proto.common  # noqa: F401
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            "OpenTelemetry's encoder is not installed: pip install 'llm-trace[otlp]'"
        ) from exc
    shown = address.geturl()
    try:
        host, port = address.hostname, address.port or _PORT
    except ValueError as exc:
        raise ConfigurationError(f"{shown!r} has no valid port: write otlp://host:4318") from exc
    if not host:
        raise ConfigurationError(f"{shown!r} has no host: write otlp://host:4318")
    options = _read_options(address)
    secure = address.scheme == "otlps" or options.pop("tls", False)
    host = f"[{host}]" if ":" in host else host
    path = address.path.rstrip("/").removesuffix("/" + TRACES)
    name = f"{address.scheme}://{host}:{port}{path}"
    base = f"{'https' if secure else 'http'}://{host}:{port}{path}"
    return OtlpExporter(name, base, headers=_read_headers(), certificates=_read_certificates(), **options)


def _read_options(address: SplitResult) -> dict[str, bool]:
    options = {}
    for name, values in parse_qs(address.query, keep_blank_values=True).items():
        switch = {"": True, "1": True, "true": True, "0": False, "false": False}.get(values[-1].lower())
        if name not in _OPTIONS or switch is None:
            known = ", ".join(f"{option}=true" for option in _OPTIONS)
            raise ConfigurationError(
                f"{name}={values[-1]} is no option of {address.scheme}://: write {known} or =false"
            )
        options[name] = switch
    return options


def _read_headers() -> dict[str, str]:
    """Return the headers that OpenTelemetry's environment variables ask for."""
    headers = {}
    for variable in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        for pair in os.environ.get(variable, "").split(","):
            name, equals, value = pair.partition("=")
            if equals:
                headers[unquote(name).strip().lower()] = unquote(value).strip()
    return headers


def _read_certificates() -> Certificates | None:
    """Return the files that OpenTelemetry's environment variables name.

    Raises:
        ConfigurationError: one of them is not there.
    """
    certificates = {}
    for kind in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"):
        for variable in (f"OTEL_EXPORTER_OTLP_TRACES_{kind}", f"OTEL_EXPORTER_OTLP_{kind}"):
            if kind not in certificates and (path := os.environ.get(variable)):
                if not Path(path).is_file():
                    raise ConfigurationError(f"{variable}={path!r} is no file: give the path of a PEM file")
                certificates[kind] = os.path.abspath(path)
    if not certificates:
        return None
    return Certificates(
        certificates.get("CERTIFICATE"),
        certificates.get("CLIENT_CERTIFICATE"),
        certificates.get("CLIENT_KEY"),
    )


def _pack_message(message: Any) -> bytes:
    return gzip.compress(message.SerializeToString(), compresslevel=1)


def _read_partial_success(body: bytes, *, json_body: bool) -> tuple[int, str] | None:
    """Return how many spans a receiver rejected and why, `None` where the body is none of a receiver's."""
    from google.protobuf.message import DecodeError
    from google.protobuf.unknown_fields import UnknownFieldSet
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    try:
        if json_body:
            content = json.loads(body or b"{}")
            if not isinstance(content, dict) or content.keys() - {"partialSuccess", "partial_success"}:
                return None
            part = content.get("partialSuccess") or content.get("partial_success") or {}
            rejected = int(part.get("rejectedSpans") or part.get("rejected_spans") or 0)
            return rejected, str(part.get("errorMessage") or part.get("error_message") or "")
        response = ExportTraceServiceResponse.FromString(body)
    except (ValueError, TypeError, AttributeError, DecodeError):
        return None
    if len(UnknownFieldSet(response)):  # as in a google.rpc.Status, which says what failed
        return None
    return response.partial_success.rejected_spans, response.partial_success.error_message
