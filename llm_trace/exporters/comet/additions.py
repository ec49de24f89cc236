"""What is added to experiments that Comet has: scores and attributions that came later; and runs, which are
experiments of their own.

These go through the endpoints that comet_ml itself writes to.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from llm_trace.exporters.attribution_payload import build_searchable, encode_attribution_page
from llm_trace.exporters.bodies import JSON, encode_form, encode_json
from llm_trace.exporters.comet.traces import flatten_names
from llm_trace.exporters.protocol import Event, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

_WRITE = "api/rest/v2/write/experiment/"
_ADD_RUN = "clientlib/logger/add/run"
_PARAMETERS = "clientlib/batch/logger/experiment/parameter"


def score_requests(event: Event, key: str) -> list[Request]:
    """Return what adds a score: a metric where it is a number, and a parameter by which it is found."""
    name, value = str(event.data["name"]), event.data["value"]
    requests = [_build_parameters(event, key, {f"scores.{name}": value}, event.data["time_ns"])]
    if isinstance(value, (int, float)):
        requests.append(_build_metric(event, key, name, float(value)))
    return requests


def build_attribution_requests(event: Event, key: str, *, whole: bool) -> list[Request]:
    """Return what adds an attribution: its page, and with `whole` also its values and the parameters by
    which it is found.
    """
    data, stem = event.data, f"attribution-{event.data['span_id']}"
    requests = [
        _build_asset(event, key, f"{stem}-{data['method']}.html", encode_attribution_page(data), "text/html")
    ]
    if whole:
        requests.append(
            _build_asset(event, key, f"{stem}-{data['method']}.json", encode_json(data), "application/json")
        )
        parameters = {f"attribution.{name}": value for name, value in build_searchable(data).items()}
        requests.append(_build_parameters(event, key, parameters, data.get("time_ns") or 0))
    return requests


def run_key(run: str) -> str:
    """Return the experiment key of a run: keys have at least 32 characters."""
    return hashlib.sha256(f"run:{run}".encode()).hexdigest()[:32]


def run_requests(event: Event, api_key: str, workspace: str | None, project: str) -> list[Request]:
    """Return what makes an experiment of a run, or brings one that is there up to date."""
    run, key = event.data, run_key(event.id)
    requests = [
        _build_post(event, _ADD_RUN, _build_experiment_requests(run, key, api_key, workspace, project))
    ]
    if config := flatten_names(run.get("config") or {}):
        requests.append(_build_parameters(event, key, config, run["start_ns"]))
    requests += [_build_other(event, key, name, value) for name, value in list_others(run).items()]
    if run.get("tags"):
        requests.append(
            _build_post(event, f"{_WRITE}tags", {"experimentKey": key, "addedTags": list(run["tags"])})
        )
    requests += [
        _build_metric(event, key, name, float(value)) for name, value in (run.get("metrics") or {}).items()
    ]
    if run.get("environment"):
        requests.append(
            _build_asset(event, key, "environment.json", encode_json(run["environment"]), "application/json")
        )
    if run.get("end_ns") is not None:
        times = {"startTimeMillis": run["start_ns"] // 1_000_000, "endTimeMillis": run["end_ns"] // 1_000_000}
        requests.append(_build_post(event, f"{_WRITE}set-start-end-time", {"experimentKey": key, **times}))
    return requests


def _build_experiment_requests(
    run: Mapping[str, Any], key: str, api_key: str, workspace: str | None, project: str
) -> dict[str, Any]:
    """Return what creates an experiment, or finds the one with this key."""
    return {
        "apiKey": api_key,
        "local_timestamp": run["start_ns"] // 1_000_000,
        "experimentKey": key,
        "offline": False,
        "projectName": project,
        "teamName": workspace,
        "libVersion": "llm-trace",
        "getOrCreateEnabled": True,
    }


def list_others(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Comet keeps beside a run's configuration: name and environment, without packages."""
    environment = {k: v for k, v in (run.get("environment") or {}).items() if k != "packages"}
    others = {
        "Name": run["name"],
        "llm_trace_run": run["id"],
        "replay_of": run.get("replay_of"),
        "fork_of": run.get("fork_of"),
        **environment,
    }
    return {name: value for name, value in others.items() if value is not None}


def _build_post(event: Event, path: str, body: Mapping[str, Any]) -> Request:
    return Request(path, encode_json(body), (event,), headers=JSON)


def _build_parameters(event: Event, key: str, parameters: Mapping[str, Any], time_ns: int) -> Request:
    """Return one request for all parameters of an event."""
    fixed = {"step": None, "source": "manual", "context": None, "timestamp": time_ns // 1_000_000}
    values = [{"parameterName": name, "parameterValue": value, **fixed} for name, value in parameters.items()]
    return _build_post(event, _PARAMETERS, {"experimentKey": key, "values": values})


def _build_metric(event: Event, key: str, name: str, value: float) -> Request:
    return _build_post(
        event, f"{_WRITE}metric", {"experimentKey": key, "metricName": name, "metricValue": value}
    )


def _build_other(event: Event, key: str, name: str, value: Any) -> Request:
    return _build_post(event, f"{_WRITE}log-other", {"experimentKey": key, "key": name, "value": value})


def _build_asset(event: Event, key: str, name: str, content: bytes, mime: str) -> Request:
    """Return the upload of a file; one of the same name is replaced."""
    query = {
        "experimentKey": key,
        "fileName": name,
        "extension": name.rpartition(".")[2],
        "type": "asset",
        "overwrite": "true",
    }
    body, headers = encode_form(name, content, mime)
    return Request(f"{_WRITE}upload-asset?{urlencode(query)}", body, (event,), headers=headers)
