"""What an exporter is: events in, HTTP requests out; `delivery` does the rest.

An exporter knows one platform's wire format. Reading the spool, cursors, retries, splitting and setting aside
are done once, for all of them, so a new destination is one class with two methods.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import SplitResult, urlsplit

import orjson

from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EventKind = Literal["call", "score", "attribution", "run", "prompt"]


_ERRORS = ("error", "errors", "error_code", "errorCode")


@dataclass(frozen=True)
class Event:
    """One thing that happened, whole."""

    kind: EventKind
    id: str
    """`span_id` of a call, `id` of the others; `name:version` of a prompt."""
    data: Mapping[str, Any]
    """Fields (of a stored run also `metrics`, what its calls amount to) by the names of
    `llm_trace.record.Call`, `Score`, `Attribution`, `Run`; messages as `llm_trace.semconv` gives them.

    A score or attribution has besides its `id` the `trace_id` of its call where that is known; an attribution
    that failed has `status` "failed" and `error`. The `prompt` of a call has its `template` where that is
    known. A run comes when it begins and, whole, again when it has ended. Absent means not known.
    """


@dataclass(frozen=True)
class Request:
    """One HTTP request and the events that it carries."""

    path: str
    """Joined to the exporter's `base`."""
    body: bytes
    events: tuple[Event, ...]
    """Delivered when this request is; an event may be carried by several requests."""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HttpAnswer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True)
class DeliveryVerdict:
    """What an answer means for the events of a request."""

    outcome: Literal["delivered", "retry", "split", "rejected", "refused"]
    """`retry`: later, as it is; `split`: at once, in halves; `rejected`: never, set these events aside;
    `refused`: every request of this destination, until a setting is changed: keep all in the spool."""
    reason: str = ""
    """For `rejected` and `refused`: what the server said and the setting to change."""
    rejected: int = 0
    """With `delivered`: how many of the events the server said it did not take (OTLP's partial success)."""


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files for TLS; an exporter may have such an attribute `certificates`."""

    authority: str | None = None
    """Whose signature the server's certificate must have; `None`: one of the usual authorities."""
    own: str | None = None
    """The certificate to show to the server."""
    key: str | None = None
    """Its private key, where that is another file."""


class Exporter(Protocol):
    """A destination.

    `requests` is called in one thread, with events in the order in which they were written; events repeat
    after a crash, so ids in the requests must make repeats harmless.
    """

    name: str
    """As configured, without secrets: `otlp://127.0.0.1:4318`."""
    base: str
    """`http(s)://host:port/path`."""
    headers: Mapping[str, str]
    whole_traces: bool
    """Give the calls of a trace together, when its root has ended; else each call when it has ended."""
    max_events: int
    max_bytes: int
    """Bytes of a request's body; `delivery` splits what is larger."""

    def requests(self, events: Sequence[Event]) -> list[Request]:
        """Return what to send, in order."""
        ...

    def judge(self, request: Request, answer: HttpAnswer) -> DeliveryVerdict:
        """Return what an answer means."""
        ...

    def probe(self) -> Request | None:
        """Return what to ask before anything is sent, `None` for nothing; its answer goes to `judge`."""
        ...


def judge_status(answer: HttpAnswer, settings: str) -> DeliveryVerdict:
    """Return what a status means where the platform has no rule of its own.

    Args:
        answer: what came back.
        settings: names of the settings for key, workspace and project, for the message.
    """
    status = answer.status
    if 200 <= status < 300:
        complaint = _find_complaint(answer)
        return (
            DeliveryVerdict("refused", f"{complaint}; check {settings}")
            if complaint
            else DeliveryVerdict("delivered")
        )
    reason = f"HTTP {status}: {_cut_excerpt(answer.body)}"
    if status == 413:
        return DeliveryVerdict("split", reason)
    if 300 <= status < 400 or status in (401, 402, 403, 404, 405, 407, 410):
        return DeliveryVerdict("refused", f"{reason}; check {settings}")
    if status in (408, 425, 429) or status >= 500:
        return DeliveryVerdict("retry", reason)
    return DeliveryVerdict("rejected", reason)


def _find_complaint(answer: HttpAnswer) -> str:
    """Return what is wrong with an answer whose status is good: a page for people, or an error."""
    if "html" in answer.headers.get("content-type", ""):
        return (
            f"HTTP {answer.status} with a web page, so another server answers there: "
            f"{_cut_excerpt(answer.body)}"
        )
    if answer.body.lstrip()[:1] != b"{":
        return ""
    try:
        content = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return f"HTTP {answer.status} with JSON that is broken: {_cut_excerpt(answer.body)}"
    failed = any(content.get(name) for name in _ERRORS) or {"code", "message"} <= content.keys()
    return f"HTTP {answer.status} with an error: {_cut_excerpt(answer.body)}" if failed else ""


def _cut_excerpt(body: bytes) -> str:
    text = " ".join(body[:2000].decode("utf-8", "replace").split())
    return text[:200] or "no text"


Maker = Callable[[SplitResult], Exporter]
"""Makes an exporter from an address such as `opik://workspace/project`; named by an entry point."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def parse_address(text: str) -> SplitResult:
    """Return the parts of an exporter's address.

    Raises:
        ConfigurationError: it has no scheme.
    """
    if not _SCHEME.match(text):
        raise ConfigurationError(
            f"{text!r} names no kind of exporter: write otlp://host:4318, comet://workspace/project or "
            f"opik://workspace/project"
        )
    return urlsplit(text)
