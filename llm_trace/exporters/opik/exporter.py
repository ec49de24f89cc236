"""Opik: a tree of calls is a trace with its spans, a score a feedback score, an attribution a page."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from llm_trace.exporters.attribution_payload import encode_attribution_page
from llm_trace.exporters.bodies import JSON, encode_json, pack_items
from llm_trace.exporters.opik.settings import SETTINGS, read_opik_settings
from llm_trace.exporters.opik.spans import build_explanation, build_score, build_spans, make_uuid7, trace_of
from llm_trace.exporters.protocol import DeliveryVerdict, Event, HttpAnswer, Request, judge_status
from llm_trace.exporters.trees import CallPlaces, build_trees

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from llm_trace.exporters.opik.settings import OpikSettings
    from llm_trace.exporters.trees import CallPlace

_TRACES, _SPANS = "v1/private/traces", "v1/private/spans"
_ATTACHMENT = "v1/private/attachment/upload"
_PROBE = "is-alive/ping"
_ALWAYS_THERE = (_PROBE, f"{_TRACES}/batch", f"{_SPANS}/batch")
_MOST_ITEMS = 1000
_MOST_BYTES = 4_500_000
"""Before compression; the server takes 5 MB."""
_WORTH_GZIP = 256
"""Bytes; smaller bodies grow."""

Item = tuple[bytes, tuple[Event, ...]]
"""One object of a batch, encoded, and what it carries."""


def make(parts: SplitResult) -> OpikExporter:
    """Return the exporter for `opik://workspace/project`, where both default to Opik's configuration."""
    return OpikExporter(read_opik_settings(parts))


class OpikExporter:
    """Sends traces and spans in batches; ids are made of ours, so a repeat changes nothing."""

    whole_traces = True
    max_events = 1000
    max_bytes = 5_000_000

    def __init__(self, settings: OpikSettings) -> None:
        self.settings = settings
        self.name = f"opik://{settings.workspace}/{settings.project}"
        self.base = settings.base
        key = {"Authorization": settings.api_key} if settings.api_key else {}
        self.headers: Mapping[str, str] = {"Comet-Workspace": settings.workspace, **key}
        self._places = CallPlaces()

    def probe(self) -> Request:
        """Return the question whether this is an Opik server."""
        return Request(_PROBE, b"", (), method="GET")

    def requests(self, events: Sequence[Event]) -> list[Request]:
        """Return batches of traces and of spans, then of scores, then the pages of attributions."""
        trees, project = build_trees(events), self.settings.project
        for tree in trees:
            self._places.add(tree)
        traces: list[Item] = []
        spans: list[Item] = []
        for tree in trees:
            by_span = _group_by_span(tree.events)
            traces.append((encode_json(trace_of(tree, project)), tree.events[:1]))
            spans += [
                (encode_json(body), tuple(by_span[call["span_id"]]))
                for body, call in zip(build_spans(tree, project), tree.calls, strict=True)
            ]
        known = {id(e) for tree in trees for e in tree.events}
        late = [e for e in events if e.kind == "attribution" and id(e) not in known and _has_worked(e)]
        spans += [(encode_json(build_explanation(e, self._place(e), project)), (e,)) for e in late]
        return [
            *_build_batches(f"{_TRACES}/batch", "traces", traces),
            *_build_batches(f"{_SPANS}/batch", "spans", spans),
            *self._scores([e for e in events if e.kind == "score"]),
            *self._pages([e for e in events if e.kind == "attribution" and _has_worked(e)], known),
        ]

    def _place(self, event: Event) -> CallPlace:
        place = self._places.find(event)
        if place is None:
            raise LookupError(
                f"{event.kind} {event.id!r} is about call {event.data['span_id']!r}, whose start is not known"
            )
        return place

    def _scores(self, events: Sequence[Event]) -> Iterable[Request]:
        """Return scores of spans; those of a root stand at its trace too, where Opik's lists show them."""
        placed = [(event, self._place(event)) for event in events]
        project = self.settings.project
        of_spans = [
            (encode_json(build_score(e, make_uuid7(p.start_ns, e.data["span_id"]), project)), (e,))
            for e, p in placed
        ]
        of_traces = [
            (encode_json(build_score(e, make_uuid7(p.start_ns, p.key), project)), (e,))
            for e, p in placed
            if p.is_root
        ]
        yield from _build_batches(f"{_SPANS}/feedback-scores", "scores", of_spans, method="PUT")
        yield from _build_batches(f"{_TRACES}/feedback-scores", "scores", of_traces, method="PUT")

    def _pages(self, events: Sequence[Event], known: set[int]) -> Iterable[Request]:
        """Return uploads of the heat maps, where the server keeps files itself."""
        if not self.settings.self_hosted:
            return
        for event in events:
            place = self._place(event)
            entity = make_uuid7(place.start_ns, event.data["span_id"] if id(event) in known else event.id)
            query = {
                "file_name": f"attribution-{event.data['method']}.html",
                "project_name": self.settings.project,
                "mime_type": "text/html",
                "entity_type": "span",
                "entity_id": entity,
            }
            headers = {"Content-Type": "application/octet-stream"}
            yield Request(
                f"{_ATTACHMENT}?{urlencode(query)}",
                encode_attribution_page(event.data),
                (event,),
                method="PUT",
                headers=headers,
            )

    def judge(self, request: Request, answer: HttpAnswer) -> DeliveryVerdict:
        """Return what an answer means; what is there already was delivered."""
        if answer.status == 409:
            return DeliveryVerdict("delivered")
        page_of_another = "html" in answer.headers.get("content-type", "")
        if answer.status == 404 and request.path not in _ALWAYS_THERE:  # what it belongs to was deleted there
            return DeliveryVerdict("rejected", judge_status(answer, SETTINGS).reason)
        if answer.status in (404, 405) or (answer.status == 200 and page_of_another):
            return DeliveryVerdict(
                "refused",
                f"no Opik answers at {self.base}{request.path}: check OPIK_URL_OVERRIDE, which ends in /api/",
            )
        return judge_status(answer, SETTINGS)


def _has_worked(event: Event) -> bool:
    return event.data.get("status") != "failed"


def _group_by_span(events: Iterable[Event]) -> dict[str, list[Event]]:
    """Return the events that a span carries: its call, and the attributions that stand in its metadata."""
    groups: dict[str, list[Event]] = {}
    for event in events:
        if event.kind != "score":
            groups.setdefault(event.data["span_id"], []).append(event)
    return groups


def _build_batches(path: str, field: str, items: Iterable[Item], method: str = "POST") -> Iterable[Request]:
    for pack in pack_items(items, lambda item: len(item[0]), _MOST_ITEMS, _MOST_BYTES):
        body = b'{"%b":[%b]}' % (field.encode(), b",".join(body for body, _ in pack))
        headers = dict(JSON)
        if len(body) >= _WORTH_GZIP:
            body, headers["Content-Encoding"] = gzip.compress(body, 6, mtime=0), "gzip"
        carried: dict[int, Event] = {id(e): e for _, events in pack for e in events}
        yield Request(path, body, tuple(carried.values()), method=method, headers=headers)
