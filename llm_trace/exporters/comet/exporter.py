"""Comet: a tree of calls is an LLM experiment, a run an experiment with its configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.exporters.bodies import JSON, encode_json, pack_items
from llm_trace.exporters.comet.additions import build_attribution_requests, run_requests, score_requests
from llm_trace.exporters.comet.settings import SETTINGS, read_comet_settings
from llm_trace.exporters.comet.traces import build_experiment
from llm_trace.exporters.protocol import DeliveryVerdict, Event, HttpAnswer, Request, judge_status
from llm_trace.exporters.trees import CallPlaces, build_trees

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from llm_trace.exporters.comet.settings import CometSettings
    from llm_trace.exporters.trees import Tree

OLDEST = (3, 25, 80)
"""First server that takes LLM experiments in one request."""
_LLM = "api/rest/v2/write/experiment/llm"
_PROBE = "api/isAlive/ver"

_EXISTS = 90999
_REFUSALS = {
    34323: "this is no LLM project: name another in comet://workspace/project or COMET_PROJECT_NAME",
    90212: "the key is not known: check COMET_API_KEY",
    90210: "the key may not write there: check COMET_API_KEY and COMET_WORKSPACE",
    90219: "the workspace does not exist: check COMET_WORKSPACE or comet://workspace/project",
    98219: "no project is named: set COMET_PROJECT_NAME",
    1341241: "the project's name is too long: change COMET_PROJECT_NAME",
    7000023: "the service account has no access to the workspace: check COMET_WORKSPACE",
}
"""What the server's `sdk_error_code` means for whoever set this up."""


def make(parts: SplitResult) -> CometExporter:
    """Return the exporter for `comet://workspace/project`, where both default to comet_ml's configuration."""
    return CometExporter(read_comet_settings(parts))


class CometExporter:
    """Sends each tree of calls as one LLM experiment, keyed by trace id, so a repeat changes nothing."""

    whole_traces = True
    max_events = 100
    max_bytes = 5_000_000

    def __init__(self, settings: CometSettings) -> None:
        self.settings = settings
        self.name = f"comet://{settings.workspace or ''}/{settings.project}"
        self.base = settings.base
        self.headers: Mapping[str, str] = {"Authorization": settings.api_key}
        self._places = CallPlaces()

    def probe(self) -> Request:
        """Return the question for the server's version."""
        return Request(_PROBE, b"", (), method="GET")

    def requests(self, events: Sequence[Event]) -> list[Request]:
        """Return one batch of LLM experiments, then what is added to experiments that are there."""
        trees = build_trees(events)
        for tree in trees:
            self._places.add(tree)
        requests = list(self._batches(trees))
        known = {id(e) for tree in trees for e in tree.events}
        for event in events:
            requests += self._build_additions(event, known=id(event) in known)
        return requests

    def _batches(self, trees: Sequence[Tree]) -> Iterator[Request]:
        to = self.settings
        entries = [
            (encode_json(build_experiment(tree, to.workspace, to.project)), tree.events) for tree in trees
        ]
        for pack in pack_items(entries, lambda entry: len(entry[0]), self.max_events, self.max_bytes - 2):
            body = b"[%b]" % b",".join(body for body, _ in pack)
            yield Request(_LLM, body, tuple(event for _, events in pack for event in events), headers=JSON)

    def _build_additions(self, event: Event, *, known: bool) -> list[Request]:
        """Return what is sent of an event beside the batch; what is `known` stands in the batch already."""
        if event.kind == "run":
            settings = self.settings
            return run_requests(event, settings.api_key, settings.workspace, settings.runs_project)
        if event.kind not in ("score", "attribution") or event.data.get("status") == "failed":
            return []
        key = self._places.key(event)
        if event.kind == "attribution":
            return build_attribution_requests(event, key, whole=not known)
        return [] if known else score_requests(event, key)

    def judge(self, request: Request, answer: HttpAnswer) -> DeliveryVerdict:
        """Return what an answer means; a page where JSON should be is another server's."""
        content = _parse_object(answer.body)
        if content is None and 200 <= answer.status < 300:
            return DeliveryVerdict("refused", f"{self.base} answered no JSON: check COMET_URL_OVERRIDE")
        if request.path == _PROBE and answer.status == 200:
            return self._judge_version(content or {})
        if request.path == _LLM and answer.status == 200:
            return _judge_batch(request, content or {})
        verdict = _judge_code((content or {}).get("sdk_error_code")) or judge_status(answer, SETTINGS)
        if answer.status == 404 and request.path not in (_LLM, _PROBE):
            return DeliveryVerdict("rejected", verdict.reason)  # what it belongs to was deleted there
        return verdict

    def _judge_version(self, content: Mapping[str, Any]) -> DeliveryVerdict:
        version = str(content.get("version", ""))
        numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
        if numbers is None:
            return DeliveryVerdict("refused", f"{self.base} names no version: check COMET_URL_OVERRIDE")
        if tuple(map(int, numbers.groups())) < OLDEST:
            needed = ".".join(map(str, OLDEST))
            return DeliveryVerdict(
                "refused",
                f"the Comet server at {self.base} is version {version}; LLM experiments need {needed}: "
                f"upgrade it, or change COMET_URL_OVERRIDE",
            )
        return DeliveryVerdict("delivered")


def _judge_batch(request: Request, answers: Mapping[str, Any]) -> DeliveryVerdict:
    """Return what the answers to the experiments of a batch mean together."""
    keys = [entry["experimentKey"] for entry in orjson.loads(request.body)]
    for key in keys:
        verdict = _judge_one(answers.get(key))
        if verdict.outcome == "rejected" and len(keys) > 1:
            return DeliveryVerdict("split", verdict.reason)
        if verdict.outcome != "delivered":
            return verdict
    return DeliveryVerdict("delivered")


def _judge_one(answer: Any) -> DeliveryVerdict:
    """Return what the answer to one experiment means; none at all is a server in trouble."""
    if not isinstance(answer, dict):
        return DeliveryVerdict("retry", "Comet did not say what became of an experiment")
    content = answer.get("content")
    code = content.get("sdk_error_code") if isinstance(content, dict) else None
    return _judge_code(code) or judge_status(
        HttpAnswer(int(answer["status"]), {}, encode_json(content)), SETTINGS
    )


def _judge_code(code: object) -> DeliveryVerdict | None:
    """Return what the server's own error code means, `None` for one without a rule."""
    if code == _EXISTS:
        return DeliveryVerdict("delivered")
    reason = _REFUSALS.get(code) if isinstance(code, int) else None
    return None if reason is None else DeliveryVerdict("refused", f"Comet says {code}: {reason}")


def _parse_object(body: bytes) -> dict[str, Any] | None:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return content if isinstance(content, dict) else None
