"""CometLLM: the JSON Lines of its offline mode, and its prompts and chains as they are downloaded.

A record is `{"type": "PromptMessage" | "ChainMessage", "message": {…}}` around an asset of version 3; see
tests/recorded. A prompt that begins and ends at once has the duration that its caller gave, in seconds as the
documentation shows it; all else counts milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from llm_trace import semconv
from llm_trace.imports import Imported, Origin
from llm_trace.imports.values import list_left_over, make_span_id, make_trace_id

NAME = "comet"
_ASSETS = {"PromptMessage": "prompt_asset_data", "ChainMessage": "chain_data"}
_KINDS = {
    "llm-call": "llm",
    "llm": "llm",
    "tool": "tool",
    "retriever": "retriever",
    "retrieval": "retriever",
    "embedding": "embedding",
    "agent": "agent",
    "guardrail": "guardrail",
}
_READ = {"id", "duration", "metadata", "tags", "VERSION", *_ASSETS.values()}


def recognises(record: Any) -> bool:
    """Say whether a record is a message of CometLLM's offline mode."""
    return (
        isinstance(record, dict) and record.get("type") in _ASSETS and isinstance(record.get("message"), dict)
    )


def calls(record: Any, origin: Origin) -> Iterator[Imported]:
    """Yield the call of a prompt; or of a chain, and of its nodes."""
    if not recognises(record):
        raise ValueError("neither a PromptMessage nor a ChainMessage")
    message = record["message"]
    asset = message.get(_ASSETS[record["type"]])
    if not isinstance(asset, dict) or not isinstance(asset.get("chain_nodes"), list):
        raise ValueError(f"{record['type']} without {_ASSETS[record['type']]}.chain_nodes")
    if asset.get("version", 3) > 3:
        raise ValueError(f"asset version {asset['version']!r} is newer than 3")
    try:
        yield from _read_calls(asset, message, str(message.get("id") or origin.key))
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"a node is not as CometLLM writes it: {exc!r}") from exc


def _read_calls(asset: dict[str, Any], message: Mapping[str, Any], own: str) -> Iterator[Imported]:
    unknown = list_left_over(message, _READ)
    if asset.get("category") == "single_prompt":
        (node,) = asset["chain_nodes"]
        yield _read_prompt(node, message, own, unknown)
        return
    yield _read_root(asset, message, own, unknown)
    for node in asset["chain_nodes"]:
        yield _read_node(node, own)


def _read_prompt(
    node: dict[str, Any], message: Mapping[str, Any], own: str, unknown: dict[str, Any]
) -> Imported:
    asked = node["inputs"].get("final_prompt")
    shared = _read_shared(node, own)
    duration = message.get("duration")
    if shared["end_ns"] == shared["start_ns"] and isinstance(duration, (int, float)):
        shared["end_ns"] += round(duration * 1e9)
    call = {
        **shared,
        "span_id": make_span_id(NAME, own),
        "name": _get_name(message) or str(node["name"]),
        "kind": "llm",
        "input": {"messages" if isinstance(asked, list) else "prompt": asked},
        "tags": list(message.get("tags") or ()),
    }
    return _with_prompt(call, node["inputs"], unknown)


def _read_root(
    asset: dict[str, Any], message: Mapping[str, Any], own: str, unknown: dict[str, Any]
) -> Imported:
    named = {
        "inputs": asset.get("chain_inputs") or {},
        "outputs": asset.get("chain_outputs") or {},
        "category": "chain",
    }
    call = {
        **_read_shared({**asset, **named}, own),
        "span_id": make_span_id(NAME, own),
        "name": _get_name(message) or "chain",
        "tags": list(message.get("tags") or ()),
    }
    return Imported(call, unknown)


def _read_node(node: dict[str, Any], own: str) -> Imported:
    parents = node.get("parent_ids") or []
    call = {
        **_read_shared(node, own),
        "span_id": make_span_id(NAME, own, node["id"]),
        "parent_id": make_span_id(NAME, own, parents[-1]) if parents else make_span_id(NAME, own),
        "name": str(node["name"]),
    }
    return _with_prompt(call, node["inputs"], list_left_over(node, _NODE))


_NODE = {
    "id", "category", "name", "inputs", "outputs", "duration", "start_timestamp", "end_timestamp",
    "parent_ids", "metadata",
}  # fmt: skip


def _read_shared(node: Mapping[str, Any], own: str) -> dict[str, Any]:
    """Return the fields that prompts, chains and nodes have alike."""
    outputs, metadata = node.get("outputs") or {}, dict(node.get("metadata") or {})
    category = str(node.get("category"))
    start = _convert_ns(node["start_timestamp"])
    end = node.get("end_timestamp")
    if category not in _KINDS and category != "chain":
        metadata["category"] = category
    fields = {
        "trace_id": make_trace_id(NAME, own),
        "kind": _KINDS.get(category, "chain"),
        "input": node.get("inputs"),
        "output": outputs["output"] if set(outputs) == {"output"} else outputs,
        "start_ns": start,
        "end_ns": start if end is None else _convert_ns(end),
        "status": "ok",
        "metadata": metadata,
        "model": _get_first(metadata, "model", "output_model", "input.model"),
        "provider": _get_first(metadata, "provider", "input.provider", "created_from"),
        "usage": semconv.usage(metadata.get("usage") or _read_flat_usage(metadata)),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _with_prompt(call: dict[str, Any], inputs: Mapping[str, Any], unknown: dict[str, Any]) -> Imported:
    """Return the call with its prompt, where the template is recorded; templates have no names there."""
    template = inputs.get("prompt_template")
    if not isinstance(template, str):
        return Imported(call, unknown)
    version = sha256(template.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    prompt = {"name": "comet", "version": version}
    variables = inputs.get("prompt_template_variables")
    call["prompt"] = {**prompt, "variables": variables if isinstance(variables, dict) else {}}
    call["input"] = {
        k: v for k, v in call["input"].items() if k not in ("prompt_template", "prompt_template_variables")
    }
    return Imported(call, unknown, prompt={**prompt, "template": template})


def _get_name(message: Mapping[str, Any]) -> str | None:
    name = (message.get("others") or {}).get("Name")
    return str(name) if name else None


def _read_flat_usage(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix("usage."): v for k, v in metadata.items() if k.startswith("usage.")}


def _get_first(metadata: Mapping[str, Any], *names: str) -> str | None:
    return next((value for name in names if isinstance(value := metadata.get(name), str) and value), None)


def _convert_ns(milliseconds: Any) -> int:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
        raise ValueError(f"{milliseconds!r} is no time in milliseconds")
    return round(milliseconds * 1000) * 1000  # a float holds microseconds exactly, not nanoseconds
