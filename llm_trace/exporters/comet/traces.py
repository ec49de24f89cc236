"""A tree of calls as CometLLM keeps it: an LLM experiment with its asset, parameters, metrics and tags.

Times are milliseconds, durations too: the platform has one field for both prompts and chains, and its own
chains count milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llm_trace.exporters.attribution_payload import build_searchable
from llm_trace.semconv.export import list_input_messages, list_output_messages

if TYPE_CHECKING:
    from llm_trace.exporters.trees import Tree
    from llm_trace.semconv.shapes import CallFields

ASSET_VERSION = 3
ASSET_NAME = "comet_llm_data.json"

_USAGE = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "reasoning_tokens": "reasoning_tokens",
}
_PLAIN = ("model", "provider", "cost_usd", "session", "user", "run", "replay_of")


def build_experiment(tree: Tree, workspace: str | None, project: str) -> dict[str, Any]:
    """Return one entry of the batch that `POST write/experiment/llm` takes."""
    asset = trace_asset(tree)
    return {
        "experimentKey": tree.key,
        "createExperimentRequest": {"workspaceName": workspace, "projectName": project, "type": "LLM"},
        "parameters": [
            {"parameterName": name, "parameterValue": value}
            for name, value in flatten_names(asset["metadata"]).items()
        ],
        "metrics": [{"metricName": n, "metricValue": v} for n, v in build_trace_metrics(tree).items()],
        "others": [
            {"key": "Name", "value": str(tree.root["name"])},
            {"key": "llm_trace_span_id", "value": tree.root["span_id"]},
        ],
        "tags": list(dict.fromkeys(tag for call in tree.calls for tag in call.get("tags") or ())) or None,
        "jsonAsset": {"extension": "json", "type": "llm_data", "fileName": ASSET_NAME, "file": asset},
    }


def trace_asset(tree: Tree) -> dict[str, Any]:
    """Return the asset: a lone model call is a single prompt, everything else a chain.

    The root of a chain is the chain itself where it only holds the others together; a root that asked a model
    is a node too.
    """
    root = tree.root
    single = len(tree.calls) == 1 and root.get("kind") == "llm"
    is_chain = not single and len(tree.calls) > 1 and root.get("kind") != "llm"
    numbers = {c["span_id"]: n for n, c in enumerate(tree.calls[1:] if is_chain else tree.calls, 1)}
    nodes = [_build_node(tree, c, numbers) for c in tree.calls if c["span_id"] in numbers]
    end = _find_last_end(tree.calls)
    return {
        "version": ASSET_VERSION,
        "chain_nodes": nodes,
        "chain_inputs": nodes[0]["inputs"] if single else _build_inputs(root),
        "chain_outputs": _build_outputs(root, single=single),
        "category": "single_prompt" if single else "chain",
        "metadata": _build_metadata(root) | _collect_findings(tree),
        "start_timestamp": _convert_ms(root["start_ns"]),
        "end_timestamp": _convert_ms(end),
        "chain_duration": _compute_duration(root["start_ns"], end),
    }


def _build_node(tree: Tree, call: CallFields, numbers: Mapping[str, int]) -> dict[str, Any]:
    single = len(tree.calls) == 1 and call.get("kind") == "llm"
    span = call["span_id"]
    metadata = _build_metadata(call)
    if span in tree.attributions:
        metadata["attribution"] = _get_one_or_all(tree.attributions[span])
    if span in tree.scores:
        metadata["scores"] = {score["name"]: score["value"] for score in tree.scores[span]}
    return {
        "id": numbers[span],
        "category": "llm-call" if call.get("kind") == "llm" else call.get("kind") or "chain",
        "name": str(call["name"]),
        "inputs": _build_prompt_inputs(call) if single else _build_inputs(call),
        "outputs": _build_outputs(call, single=single),
        "duration": _compute_duration(call["start_ns"], call.get("end_ns")),
        "start_timestamp": _convert_ms(call["start_ns"]),
        "end_timestamp": _convert_ms(call.get("end_ns")),
        "parent_ids": [numbers[c["span_id"]] for c in tree.ancestors(call) if c["span_id"] in numbers],
        "metadata": metadata,
    }


def _get_one_or_all(attributions: Sequence[CallFields]) -> Any:
    return dict(attributions[0]) if len(attributions) == 1 else [dict(each) for each in attributions]


def _build_prompt_inputs(call: CallFields) -> dict[str, Any]:
    """Return the three inputs of a single prompt."""
    return {
        "final_prompt": _get_final_prompt(call),
        "prompt_template": None,
        "prompt_template_variables": None,
        **_get_template(call),
    }


def _build_inputs(call: CallFields) -> dict[str, Any]:
    return {**_as_dict(call.get("input"), "input"), **_get_template(call)}


def _get_template(call: CallFields) -> dict[str, Any]:
    prompt = call.get("prompt")
    if not prompt:
        return {}
    return {
        "prompt_template": prompt.get("template"),
        "prompt_template_variables": prompt.get("variables") or {},
    }


def _get_final_prompt(call: CallFields) -> Any:
    """Return what the model was asked: the text of a lone user message, else the messages, else the input."""
    messages = list_input_messages(call)
    if messages:
        text = _get_text(messages[0])
        if len(messages) == 1 and messages[0]["role"] == "user" and text is not None:
            return text
        return [
            {"role": m["role"], "content": m["parts"] if (t := _get_text(m)) is None else t} for m in messages
        ]
    arguments = call.get("input")
    return (
        next(iter(arguments.values()))
        if isinstance(arguments, Mapping) and len(arguments) == 1
        else arguments
    )


def _build_outputs(call: CallFields, *, single: bool) -> dict[str, Any]:
    """Return the outputs; those of a single prompt are the model's text, where it is only text."""
    if single:
        messages = list_output_messages(call)
        text = _get_text(messages[0]) if len(messages) == 1 else None
        return {"output": call.get("output") if text is None else text}
    return _as_dict(call.get("output"), "output")


def _get_text(message: Mapping[str, Any]) -> str | None:
    """Return the text of a message that holds nothing else."""
    parts = message.get("parts") or []
    if all(p.get("type") == "text" and isinstance(p.get("content"), str) for p in parts):
        return "\n".join(p["content"] for p in parts)
    return None


def _as_dict(value: Any, name: str) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {name: value}


def _build_metadata(call: CallFields) -> dict[str, Any]:
    """Return what is known of a call beside its text; the user's own metadata wins over a name of ours."""
    metadata: dict[str, Any] = {name: call.get(name) for name in _PLAIN}
    metadata |= {"params": call.get("params"), "usage": _build_usage(call), "error": call.get("error")}
    if call.get("status") not in (None, "ok"):
        metadata["status"] = call["status"]
    if prompt := call.get("prompt"):
        metadata["prompt"] = {"name": prompt["name"], "version": prompt["version"]}
    if (first := call.get("first_token_ns")) is not None:
        metadata["first_token_ms"] = _compute_duration(call["start_ns"], first)
    return {k: v for k, v in metadata.items() if v not in (None, {})} | dict(call.get("metadata") or {})


def _build_usage(call: CallFields) -> dict[str, int]:
    usage = call.get("usage") or {}
    counts = {other: usage[own] for own, other in _USAGE.items() if usage.get(own) is not None}
    if "prompt_tokens" in counts and "completion_tokens" in counts:
        counts["total_tokens"] = counts["prompt_tokens"] + counts["completion_tokens"]
    return counts


def _collect_findings(tree: Tree) -> dict[str, Any]:
    """Return what a search finds of attributions and scores: the last of a name; the nodes hold them all."""
    findings: dict[str, Any] = {}
    for call in tree.calls:
        for attribution in tree.attributions.get(call["span_id"], ()):
            findings["attribution"] = build_searchable(attribution)
        for score in tree.scores.get(call["span_id"], ()):
            findings.setdefault("scores", {})[score["name"]] = score["value"]
    return findings


def build_trace_metrics(tree: Tree) -> dict[str, float | None]:
    """Return duration (milliseconds), tokens, cost in USD and numeric scores of the whole tree."""
    root = tree.root
    metrics: dict[str, float | None] = {
        "chain_duration": _compute_duration(root["start_ns"], _find_last_end(tree.calls))
    }
    counted = [c for c in tree.calls if c.get("usage") and not any(a.get("usage") for a in tree.ancestors(c))]
    for own in ("input_tokens", "output_tokens"):
        known = [n for c in counted if (n := c["usage"].get(own)) is not None]
        if known:
            metrics[own] = sum(known)
    paid = [c for c in tree.calls if _sum_paid(c) and not any(_sum_paid(a) for a in tree.ancestors(c))]
    if paid:
        metrics["cost_usd"] = sum(c["cost_usd"] for c in paid)
    for scores in tree.scores.values():
        metrics |= {s["name"]: float(s["value"]) for s in scores if isinstance(s["value"], (int, float))}
    return metrics


def _sum_paid(call: CallFields) -> bool:
    return call.get("cost_usd") is not None


def flatten_names(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested names joined by dots; what is `None` is left out, as comet_llm does."""
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        path = f"{before}{name}"
        if isinstance(inner, Mapping):
            flat |= flatten_names(inner, f"{path}.")
        elif inner is not None:
            flat[path] = inner
    return flat


def _find_last_end(calls: Sequence[CallFields]) -> int | None:
    """Return the end of the root, or of what lasted longer."""
    return max((c["end_ns"] for c in calls if c.get("end_ns") is not None), default=None)


def _convert_ms(time_ns: int | None) -> int | None:
    return None if time_ns is None else time_ns // 1_000_000


def _compute_duration(start_ns: int, end_ns: int | None) -> float | None:
    return None if end_ns is None else (end_ns - start_ns) / 1e6
