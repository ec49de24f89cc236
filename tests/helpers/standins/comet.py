"""A Comet backend on loopback as far as its clients use it; what no recorded request has is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from tests.helpers.loopback import Loopback, Received, Reply

KEY, WORKSPACE = "k" * 25, "team"
NOT_LLM, NO_WORKSPACE, NO_KEY, EXISTS = 34323, 90219, 90212, 90999
ASSET = "comet_llm_data.json"
CLASSIC = "classic"
"""Name of a project that holds no LLM experiments."""

Key = Annotated[str, Field(pattern=r"^[0-9A-Za-z]{32,50}$")]
Name = Annotated[str, Field(min_length=1)]
Number = int | float
Value = str | bool | int | float | list[Any]
Milliseconds = Annotated[float, Field(gt=1e12, lt=1e13)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Parameter(Strict):
    parameterName: Name
    parameterValue: Value


class Metric(Strict):
    metricName: Name
    metricValue: Number | None


class Other(Strict):
    key: Name
    value: Value


class Node(Strict):
    id: int
    category: Name
    name: Name
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    duration: Number | None
    start_timestamp: Milliseconds
    end_timestamp: Milliseconds | None
    parent_ids: list[int]
    metadata: dict[str, Any] | None


class Asset(Strict):
    version: Literal[3]
    chain_nodes: list[Node]
    chain_inputs: dict[str, Any]
    chain_outputs: dict[str, Any]
    category: Literal["single_prompt", "chain"]
    metadata: dict[str, Any] | None
    start_timestamp: Milliseconds
    end_timestamp: Milliseconds | None
    chain_duration: Number | None

    @model_validator(mode="after")
    def nodes_fit(self) -> Asset:
        seen: set[int] = set()
        for node in self.chain_nodes:
            if node.id in seen or not seen.issuperset(node.parent_ids):
                raise ValueError(f"node {node.id} comes twice or before its parents {node.parent_ids}")
            seen.add(node.id)
        if self.category == "single_prompt":
            (node,) = self.chain_nodes
            wanted = {"final_prompt", "prompt_template", "prompt_template_variables"}
            if (
                set(node.inputs) != wanted
                or self.chain_inputs != node.inputs
                or set(node.outputs) != {"output"}
            ):
                raise ValueError("a single prompt has three inputs and one output")
        return self


class JsonAsset(Strict):
    extension: Literal["json"]
    type: Literal["llm_data"]
    fileName: Literal["comet_llm_data.json"]
    file: Asset


class Create(Strict):
    workspaceName: str | None
    projectName: Name
    type: Literal["LLM"]


class Entry(Strict):
    experimentKey: Key
    createExperimentRequest: Create
    parameters: list[Parameter]
    metrics: list[Metric]
    others: list[Other]
    tags: list[str] | None
    jsonAsset: JsonAsset


class OneParameter(Parameter):
    experimentKey: Key


class OneMetric(Metric):
    experimentKey: Key


class OneOther(Other):
    experimentKey: Key


class Tags(Strict):
    experimentKey: Key
    addedTags: list[str]


class Times(Strict):
    experimentKey: Key
    startTimeMillis: Milliseconds | None
    endTimeMillis: Milliseconds | None


class AddRun(Strict):
    apiKey: Literal["kkkkkkkkkkkkkkkkkkkkkkkkk"]
    local_timestamp: Milliseconds
    experimentKey: Key
    offline: bool
    projectName: Name
    teamName: str | None
    libVersion: Name
    getOrCreateEnabled: bool


class BatchParameter(Parameter):
    step: int | None
    source: Literal["manual"]
    context: str | None
    timestamp: Milliseconds


class BatchMetric(Metric):
    step: int | None
    epoch: int | None
    context: str | None
    timestamp: Milliseconds


class ParameterBatch(Strict):
    experimentKey: Key
    values: list[BatchParameter]


class MetricBatch(Strict):
    experimentKey: Key
    values: list[BatchMetric]


class Upload(Strict):
    experimentKey: Key
    fileName: Name
    extension: Name
    type: Name
    overwrite: Literal["true", "false", "True", "False"] = "false"


BODIES: dict[str, Any] = {
    "/api/rest/v2/write/experiment/llm": TypeAdapter(list[Entry]),
    "/api/rest/v2/write/experiment/parameter": TypeAdapter(OneParameter),
    "/api/rest/v2/write/experiment/metric": TypeAdapter(OneMetric),
    "/api/rest/v2/write/experiment/log-other": TypeAdapter(OneOther),
    "/api/rest/v2/write/experiment/tags": TypeAdapter(Tags),
    "/api/rest/v2/write/experiment/set-start-end-time": TypeAdapter(Times),
    "/clientlib/logger/add/run": TypeAdapter(AddRun),
    "/clientlib/batch/logger/experiment/parameter": TypeAdapter(ParameterBatch),
    "/clientlib/batch/logger/experiment/metric": TypeAdapter(MetricBatch),
}
"""What each endpoint takes that llm_trace writes to."""
_UPLOAD = "/api/rest/v2/write/experiment/upload-asset"
_CLIENT_UPLOAD, _CLIENT_TAGS = "/clientlib/asset/upload", "/clientlib/tags/add-tags-to-experiment"
_CLIENT_TIMES = "/clientlib/status-report/offline-metadata"
"""What `comet upload` writes to."""
_VERSION = ("/api/isAlive/ver", "/clientlib/isAlive/ver")
_CLIENTS_OWN = (
    "/clientlib/health/ping",
    "/clientlib/logger/get/run",
    "/clientlib/asset/3d-limits",
    "/clientlib/status-report/update",
    "/clientlib/notification/experiment",
    "/api/rest/v2/write/experiment/update-status",
)
"""What comet_ml asks besides."""
_READ = "/api/rest/v2/experiment"
"""What comet_ml's API reads back."""
_BEAT = {"is_alive_beat_duration_millis": 60_000, "gpu_monitor_interval_millis": 60_000}


@dataclass
class Experiment:
    """One experiment as the backend has it."""

    project: str
    kind: Literal["LLM", "EXPERIMENT"]
    asset: dict[str, Any] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    times: tuple[int | None, int | None] = (None, None)


class Backend:
    """The backend without a server around it.

    Args:
        version: what it says of itself.
    """

    def __init__(self, version: str = "3.49.11") -> None:
        self.version = version
        self.experiments: dict[str, Experiment] = {}

    def serve(self, request: Received) -> Reply:
        """Return the answer to a request."""
        parts = urlsplit(request.path)
        if request.headers.get("authorization") != KEY:
            return _bad(401, "the API key is not valid", NO_KEY)
        if parts.path in _VERSION:
            return _json({"version": self.version})
        try:
            if parts.path == _UPLOAD:
                return self._upload(parts.query, request)
            if parts.path in BODIES:
                return self._write(BODIES[parts.path].validate_json(request.body))
            if parts.path in (_CLIENT_UPLOAD, _CLIENT_TAGS, _CLIENT_TIMES):
                return self._take_upload(parts.path, parts.query, request)
        except (ValidationError, ValueError) as exc:
            return _bad(400, str(exc)[:500])
        if parts.path.startswith(_READ):
            return self._read(parts.path.removeprefix(_READ), parse_qs(parts.query))
        if parts.path in _CLIENTS_OWN:
            key = parse_qs(parts.query).get("experimentKey", [""])[0]
            return _json(
                {"experimentKey": key, "workspaceName": WORKSPACE, "projectName": "demo", "runId": "r"}
                | _BEAT
            )
        return _bad(404, f"no endpoint {parts.path}")

    def _read(self, path: str, query: dict[str, list[str]]) -> Reply:
        if path == "s":
            experiments = {k: e for k, e in self.experiments.items() if e.project == query["projectName"][0]}
            return _json(
                {
                    "experiments": [
                        {"experimentKey": k, "experimentName": e.others.get("Name")}
                        for k, e in experiments.items()
                    ]
                }
            )
        key = query["experimentKey"][0]
        experiment = self.experiments[key]
        files = [ASSET, *experiment.files] if experiment.asset else [*experiment.files]
        answers = {
            "/metadata": {
                "experimentKey": key, "workspaceName": WORKSPACE, "projectName": experiment.project,
                "experimentName": experiment.others.get("Name"),
            },
            "/log-other": {"values": [{"name": n, "valueCurrent": v} for n, v in experiment.others.items()]},
            "/tags": {"tags": experiment.tags},
            "/asset/list": {"assets": [{"fileName": name, "assetId": name} for name in files]},
            "/asset/get-asset": experiment.asset,
        }  # fmt: skip
        return _json(answers[path])

    def _take_upload(self, path: str, query: str, request: Received) -> Reply:
        """Take what `comet upload` sends, as loosely as its own server may."""
        if path == _CLIENT_UPLOAD:
            fields = parse_qs(query)
            self.experiments[fields["experimentId"][0]].files[fields["fileName"][0]] = _file(request)
            return _json({"assetId": "a"})
        body = request.json()
        experiment = self.experiments[body["experimentKey"]]
        if path == _CLIENT_TAGS:
            experiment.tags += body["addedTags"]
        else:
            experiment.times = (body["startTimestamp"], body["endTimestamp"])
        return _json({})

    def _write(self, body: Any) -> Reply:
        if isinstance(body, list):
            return _json({entry.experimentKey: self._llm(entry) for entry in body})
        if isinstance(body, AddRun):
            return self._add_run(body)
        experiment = self.experiments.get(body.experimentKey)
        if experiment is None:
            return _bad(400, f"no experiment {body.experimentKey}")
        if isinstance(body, Times):
            experiment.times = (body.startTimeMillis, body.endTimeMillis)  # type: ignore[assignment]
        elif isinstance(body, Tags):
            experiment.tags = list(dict.fromkeys(experiment.tags + body.addedTags))
        for each in getattr(body, "values", [body]):
            if isinstance(each, Parameter):
                experiment.parameters[each.parameterName] = each.parameterValue
            elif isinstance(each, Metric):
                experiment.metrics[each.metricName] = each.metricValue
            elif isinstance(each, Other):
                experiment.others[each.key] = each.value
        return _json({"msg": "Saved"})

    def _llm(self, entry: Entry) -> dict[str, Any]:
        where = entry.createExperimentRequest
        if where.workspaceName not in (None, WORKSPACE):
            return _inner(f"no workspace {where.workspaceName}", NO_WORKSPACE)
        if where.projectName == CLASSIC:
            return _inner("not an LLM project", NOT_LLM)
        self.experiments[entry.experimentKey] = Experiment(
            where.projectName,
            "LLM",
            entry.jsonAsset.file.model_dump(),
            {p.parameterName: p.parameterValue for p in entry.parameters},
            {m.metricName: m.metricValue for m in entry.metrics},
            {o.key: o.value for o in entry.others},
            entry.tags or [],
        )
        link = f"https://comet.example/{WORKSPACE}/{where.projectName}/{entry.experimentKey}"
        return {"status": 200, "content": {"link": link}}

    def _add_run(self, body: AddRun) -> Reply:
        if body.teamName not in (None, WORKSPACE):
            return _bad(400, f"no workspace {body.teamName}", NO_WORKSPACE)
        if body.experimentKey in self.experiments and not body.getOrCreateEnabled:
            return _bad(400, "the experiment is there already", EXISTS)
        self.experiments.setdefault(body.experimentKey, Experiment(body.projectName, "EXPERIMENT"))
        return _json({"runId": "r", "project_id": "p"})

    def _upload(self, query: str, request: Received) -> Reply:
        upload = Upload.model_validate({name: values[0] for name, values in parse_qs(query).items()})
        experiment = self.experiments.get(upload.experimentKey)
        if experiment is None:
            return _bad(400, f"no experiment {upload.experimentKey}")
        experiment.files[upload.fileName] = _file(request)
        return _json({"assetId": "a"})


class Comet(Loopback):
    """The backend as a server for the length of a `with` block."""

    def __init__(self, version: str = "3.49.11") -> None:
        self.backend = Backend(version)
        self.experiments = self.backend.experiments
        super().__init__(self.backend.serve)


def _file(request: Received) -> bytes:
    """Return the field `file` of a form."""
    kind, _, mark = request.headers.get("content-type", "").partition("; boundary=")
    pieces = request.body.split(b"--" + mark.encode())
    if kind != "multipart/form-data" or len(pieces) != 3:
        raise ValueError("an asset comes as a form with one file")
    head, _, content = pieces[1].partition(b"\r\n\r\n")
    if b'name="file"' not in head:
        raise ValueError("the form has no field 'file'")
    return content.removesuffix(b"\r\n")


def _json(value: Any) -> Reply:
    return Reply(body=json.dumps(value).encode())


def _inner(message: str, code: int) -> dict[str, Any]:
    return {"status": 400, "content": {"msg": message, "sdk_error_code": code}}


def _bad(status: int, message: str, code: int = 0) -> Reply:
    return Reply(status, json.dumps({"msg": message, "code": status, "sdk_error_code": code}).encode())
