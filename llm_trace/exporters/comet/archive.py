"""Archives that `comet upload` takes, for where no network is: a zip for each tree of calls and each run.

The layout is that of `comet_ml.OfflineExperiment`: experiment.json, messages.json with one message a line,
and the files they name.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_trace.exporters.attribution_payload import encode_attribution_page
from llm_trace.exporters.bodies import encode_json
from llm_trace.exporters.comet.additions import list_others, run_key
from llm_trace.exporters.comet.traces import build_experiment, flatten_names
from llm_trace.exporters.protocol import Event
from llm_trace.exporters.trees import build_trees

if TYPE_CHECKING:
    from pathlib import Path

    from llm_trace.exporters.trees import Tree

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of the files in a zip: the same calls give the same bytes."""


@dataclass
class Offline:
    """One experiment."""

    key: str
    start_ns: int
    end_ns: int | None
    tags: Sequence[str] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


def write_archives(
    events: Iterable[Event], folder: Path, *, workspace: str | None = None, project: str | None = None
) -> list[Path]:
    """Write an archive for each tree of calls and each run among the events, and return their paths.

    What is uploaded twice is one experiment. `comet upload` makes plain experiments, so the project must not
    be one for LLM experiments; the asset of the trace is among the files.

    Args:
        events: whole traces, with the scores and attributions of their calls.
        folder: is made where it is absent.
        workspace: where the upload goes; `None` leaves it to the configuration of whoever uploads.
        project: the same.
    """
    distinct = list(events)
    experiments = [_build_tree_messages(tree) for tree in build_trees(distinct)]
    experiments += [_build_run_messages(event.data) for event in distinct if event.kind == "run"]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [_write(each, folder, workspace, project) for each in experiments]


def _build_tree_messages(tree: Tree) -> Offline:
    entry = build_experiment(tree, None, "")
    pages = {
        f"attribution-{span}-{attribution['method']}.html": encode_attribution_page(attribution)
        for span, attributions in tree.attributions.items()
        for attribution in attributions
    }
    return Offline(
        key=tree.key,
        start_ns=tree.root["start_ns"],
        end_ns=tree.root.get("end_ns"),
        tags=entry["tags"] or (),
        parameters={p["parameterName"]: p["parameterValue"] for p in entry["parameters"]},
        metrics={m["metricName"]: m["metricValue"] for m in entry["metrics"] if m["metricValue"] is not None},
        others={other["key"]: other["value"] for other in entry["others"]},
        files={entry["jsonAsset"]["fileName"]: encode_json(entry["jsonAsset"]["file"]), **pages},
    )


def _build_run_messages(run: Mapping[str, Any]) -> Offline:
    environment = run.get("environment")
    return Offline(
        key=run_key(run["id"]),
        start_ns=run["start_ns"],
        end_ns=run.get("end_ns"),
        tags=run.get("tags") or (),
        parameters=flatten_names(run.get("config") or {}),
        others=list_others(run),
        files={"environment.json": encode_json(environment)} if environment else {},
    )


def _write(experiment: Offline, folder: Path, workspace: str | None, project: str | None) -> Path:
    path = folder / f"{experiment.key}.zip"
    files = {f"file-{n}": content for n, content in enumerate(experiment.files.values())}
    lines = b"\n".join(map(encode_json, _number_messages(experiment))) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        head = encode_json(_build_head(experiment, workspace, project))
        for name, content in {"experiment.json": head, "messages.json": lines, **files}.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return path


def _build_head(experiment: Offline, workspace: str | None, project: str | None) -> dict[str, Any]:
    start = experiment.start_ns // 1_000_000
    return {
        "offline_id": experiment.key,
        "project_name": project,
        "workspace": workspace,
        "start_time": start,
        "stop_time": start if experiment.end_ns is None else experiment.end_ns // 1_000_000,
        "tags": [_make_line(tag) for tag in experiment.tags],
        "resume_strategy": "get_or_create",
        "customer_error_reported": False,
        "customer_error_message": None,
        "user_provided_experiment_key": True,
        "comet_start_sourced": False,
    }


def _number_messages(experiment: Offline) -> list[dict[str, Any]]:
    """Return the messages in the order in which comet_ml replays them, numbered from 1."""
    at = experiment.start_ns // 1_000_000
    messages: list[tuple[str, dict[str, Any]]] = []
    for name, value in experiment.parameters.items():
        one, shown = ("params", value) if _is_plain_list(value) else ("param", _convert_scalar(value))
        parameter = {"paramName": _make_line(name), "paramValue": shown, "step": None, "source": "manual"}
        messages.append(("parameter_msg", {"local_timestamp": at, one: parameter}))
    for name, value in experiment.metrics.items():
        metric = {"metricName": _make_line(name), "metricValue": value, "step": None, "epoch": None}
        messages.append(("metric_msg", {"local_timestamp": at, "metric": metric}))
    messages += [("log_other", {"key": name, "value": value}) for name, value in experiment.others.items()]
    messages += [("file_upload", _upload(name, n, at)) for n, name in enumerate(experiment.files)]
    return [
        {"type": kind, "payload": {**payload, "message_id": n}}
        for n, (kind, payload) in enumerate(messages, 1)
    ]


def _is_plain_list(value: Any) -> bool:
    """Say whether a value is a list as Comet's schema has it: of numbers, texts and the like."""
    return isinstance(value, list) and all(_is_scalar(entry) for entry in value)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _convert_scalar(value: Any) -> Any:
    """Return a parameter's value; what is nested as JSON text."""
    return value if _is_scalar(value) else encode_json(value).decode()


def _make_line(text: str) -> str:
    """Return a name or tag in one line, as Comet's schema demands."""
    return " ".join(str(text).splitlines())


def _upload(name: str, number: int, at: int) -> dict[str, Any]:
    extra = {
        "context": None,
        "step": None,
        "runId": None,
        "fileName": name,
        "extension": name.rpartition(".")[2],
        "overwrite": True,
    }
    return {
        "file_path": f"file-{number}",
        "upload_type": "llm_data" if name == "comet_llm_data.json" else "asset",
        "local_timestamp": at,
        "additional_params": extra,
        "metadata": {},
        "clean": True,
    }
