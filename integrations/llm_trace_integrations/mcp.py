"""The Python SDK of the Model Context Protocol: what a client asks servers for.

Why not ride: OpenLLMetry's instrumentation (0.62.4) wraps a module that mcp 2 no longer has and ends with an
ImportError; OpenInference's carries the context across and makes no spans; the spans of mcp 2 itself have the
tool's name, neither its arguments nor its result.

    python -m benchmarks.ridden mcp
"""

from __future__ import annotations

from llm_trace.instrumentation.integration import Integration, TracedMethod

_SESSION = "mcp.client.session:ClientSession"
INTEGRATION = Integration(
    library="mcp",
    module="mcp",
    distribution="mcp",
    versions=">=1.6",
    tried="1.30.0, 2.3.0",
    methods=(
        TracedMethod(f"{_SESSION}.call_tool", "mcp.call_tool", "tool"),
        TracedMethod(f"{_SESSION}.read_resource", "mcp.read_resource", "retriever"),
        TracedMethod(f"{_SESSION}.get_prompt", "mcp.get_prompt", "chain"),
    ),
)
