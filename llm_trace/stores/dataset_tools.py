"""The tools that a model could call, in OpenAI's format, from what the request or the span said of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm_trace.semconv.unflatten import nest_attributes
from llm_trace.semconv.values import list_items, load_container

_NAMES = ("tools", "functions", "toolConfig", "tool_config", "tool_definitions", "available_tools")
_ATTRIBUTES = ("gen_ai.tool.definitions", "llm.tools", "llm.request.functions")
_WRAPPERS = ("function", "toolSpec", "tool", "json_schema", "tool.json_schema")
_DEPTH = 3


def list_tools(input_value: Any, metadata: Any) -> list[dict[str, Any]]:
    """Return the tools of a call; empty where none are known.

    Args:
        input_value: its input.
        metadata: what else is kept of it; attributes of a span lie under `otel`.
    """
    tools = _search(input_value, _DEPTH)
    if not tools and isinstance(metadata, Mapping):
        attributes = metadata.get("otel")
        attributes = attributes if isinstance(attributes, Mapping) else {}
        listings = (
            load_container(attributes.get(name)) or nest_attributes(attributes, name) for name in _ATTRIBUTES
        )
        tools = next((listed for each in listings if (listed := list(_iter_listed(each)))), [])
    return tools


def _search(container: Any, depth: int) -> list[dict[str, Any]]:
    container = load_container(container)
    if not isinstance(container, Mapping) or depth == 0:
        return []
    for name in _NAMES:
        if tools := list(_iter_listed(load_container(container.get(name)))):
            return tools
    inner = (value for value in container.values() if isinstance(value, (Mapping, str)))
    return next((tools for value in inner if (tools := _search(value, depth - 1))), [])


def _iter_listed(listing: Any) -> Iterator[dict[str, Any]]:
    """Yield tools; Bedrock and Gemini put them a level or two further down."""
    if isinstance(listing, Mapping):
        listing = (
            listing.get("tools")
            or listing.get("function_declarations")
            or listing.get("functionDeclarations")
        )
    for entry in list_items(listing):
        tool = load_container(entry)
        if not isinstance(tool, Mapping):
            continue
        declared = tool.get("functionDeclarations") or tool.get("function_declarations")
        if declared:
            yield from _iter_listed(declared)
        elif (built := _build_tool(tool)) is not None:
            yield built


def _build_tool(tool: Mapping[str, Any]) -> dict[str, Any] | None:
    inner = next((load_container(tool[name]) for name in _WRAPPERS if name in tool), None)
    if isinstance(inner, Mapping):
        if tool.get("type") == "function" and inner is tool.get("function"):
            return dict(tool)
        return _build_tool(inner)
    name = tool.get("name")
    if not isinstance(name, str):
        return None
    keys = ("parameters", "input_schema", "inputSchema", "parameters_json_schema", "parametersJsonSchema")
    schema = next((load_container(tool[key]) for key in keys if tool.get(key)), None)
    if isinstance(schema, Mapping) and isinstance(schema.get("json"), Mapping):  # Bedrock
        schema = schema["json"]
    function = {
        "name": name,
        "description": tool.get("description"),
        "parameters": schema,
        "strict": tool.get("strict"),
    }
    return {
        "type": "function",
        "function": {key: value for key, value in function.items() if value is not None},
    }
